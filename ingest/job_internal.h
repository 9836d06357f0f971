/* Between the steps of a job (job.h): job.c begins and ends it, job_read.c, job_ocr.c,
 * job_encode.c, put.c and job_leave.c are its steps. Each hands over to the next or calls
 * job_finish. Loop thread. */
#ifndef CARREL_INGEST_JOB_INTERNAL_H
#define CARREL_INGEST_JOB_INTERNAL_H

#include "ingest/job.h"

/* The end: writes the outcome down, then frees j. */
void job_finish(struct job *j, enum job_outcome outcome);
/* The attempt failed (j->err): once more later, or never when there were enough. */
void job_retry_counted(struct job *j);
/* A call to the store ended with err: holds the queue, tries again or gives up, by its kind. */
void job_store_failed(struct job *j, const struct error *err);
/* A call to the store could not begin, for want of memory: the queue waits. */
void job_store_unasked(struct job *j);

/* What there is to say of a document: of its pages, and of what lies in it (NULL: nothing was
 * unpacked). Lives in a, or is one of them. */
const char *job_notes(struct arena *a, const char *one, const char *other);

struct rpc_client *job_store(const struct job *j);
void job_options(struct job *j, struct rpc_options *o);
/* Whether the rules are others than those by which job_look asked the share: its answer, names of
 * groups that are theirs, is worth nothing then, and it is asked again. */
bool job_rules_changed(struct job *j);
/* By the rules and folders of job_look; borrows j. NO_MEMORY. */
enum status job_location(struct job *j, Vs__Location *out, struct error *err) MUST_CHECK;
/* Asks the folders above the file anew, on a lane; then done, with j->err. Fails when it is full.
 */
enum status job_look(struct job *j, void (*done)(void *data)) MUST_CHECK;
/* In done, first. False: the job is over, for it was cancelled, its file has gone or changed, or
 * the attempt failed. */
bool job_looked(struct job *j);
/* The store said that it has the content, and has not: do the whole way. */
void job_put_unknown(struct job *j);

/* job_scan.c: asks the malware scanner, where there is one, then on to job_look_up. */
void job_scan(struct job *j);
/* What it found (j->malware) has left the store: written down, moved away if so configured. */
void job_quarantine(struct job *j);
/* A copy of the file, then on to lookup. Cannot begin: the lane's error. */
enum status job_snapshot(struct job *j) MUST_CHECK;
/* Its place in the extractor pool is free. */
void job_extract_ended(const struct job *j);
/* Places in the extractor pool may be free. */
void job_extract_next(struct ingest *in);
/* Its blocks are all there: cuts them. */
void job_chunk(struct job *j);
/* Some of its pages are pictures: reads them, then job_chunk. */
void job_ocr(struct job *j, const struct extracted *out);
void job_ocr_cancel(struct job *j);
/* Places for pages may be free. */
void job_ocr_next(struct ingest *in);
/* Whether it may be read (its content may have been erased), and whether the store has it; then on.
 */
void job_look_up(struct job *j);
/* Into the queue for the extractor; for a format that is none, the end. */
void job_want_extract(struct job *j);
/* The extraction has what it needs, or a member's bytes are fetched first. */
void job_want_bytes(struct job *j);

/* job_unpack.c */
bool job_is_container(const struct job *j);
/* Does it have to be unpacked, and how much of it? Then on to job_put or job_want_bytes. */
void job_look_inside(struct job *j);
/* extractor_start for a container. NULL with j->err. */
struct extraction *job_unpack(struct job *j, int fd, extract_done_fn done);
/* False: out of memory. */
bool job_names_as_text(struct job *j);
/* It is in the store: its members become rows; then job_record. */
void job_write_members(struct job *j);
/* As job_snapshot, for a member. */
enum status job_member(struct job *j) MUST_CHECK;

void job_encode(struct job *j);
void job_put(struct job *j);
/* Reads what the store has of it. Cannot begin: why. */
enum status job_recut(struct job *j) MUST_CHECK;
/* A step of cutting anew failed: the document stays as it is. */
void job_recut_failed(struct job *j, const struct error *err);
void job_recut_free(struct job *j);
/* Starts with a look at what the folders say; fails when the lane is full. */
enum status job_move(struct job *j) MUST_CHECK;
/* Leaves the store. Also for a file that cannot be read, for good (j->err says why): what the store
 * still has of it is out of date. */
void job_remove(struct job *j);

#endif
