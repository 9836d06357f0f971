/* A tenant's queue: takes due rows of the journal in pages and keeps a bounded number of jobs
 * running. While a part is down nothing is taken but one probe at a time, with backoff; the rows
 * stay as they are. */
#ifndef CARREL_INGEST_QUEUE_H
#define CARREL_INGEST_QUEUE_H

#include "ingest/ingest.h"

struct job;

struct queue *queue_new(struct tenant *t); /* NULL: out of memory */
/* Cancels the jobs; queue_idle tells when all are gone. */
void queue_close(struct queue *q);
bool queue_idle(const struct queue *q);
void queue_free(struct queue *q);
/* The journal has changed: rows taken earlier may be stale. */
void queue_changed(struct queue *q);
/* Start what fits, in every tenant. */
void queues_pump(struct ingest *in);
size_t queue_working(const struct queue *q);
/* "reading page 12 of 240" of that row, 0 any; "" when no pictures are read. */
void queue_reading(const struct queue *q, int64_t row, char *out, size_t cap);
bool queue_is_working(const struct queue *q, int64_t row);
/* Stops the job of a document; true while there is one. */
bool queue_cancel(struct queue *q, const char *document);
/* Why nothing is taken at present, for people; "" when work goes on. */
const char *queue_held(const struct queue *q);

/* Nothing new is read until it goes on; what is under way ends, removals and moves (of rights too)
 * go on. */
void queue_pause(struct queue *q, bool paused);
bool queue_paused(const struct queue *q);

/* For jobs. */
enum queue_hold { HOLD_SHORT, HOLD_DOWN, HOLD_DISK_FULL };
void queue_hold(struct queue *q, enum queue_hold kind, const char *why);
void queue_release(struct queue *q); /* the part answers again */
void queue_job_ended(struct queue *q, struct job *j);
/* The job's result could not be written down: call it again in a second. */
void queue_retry_record(struct queue *q, struct job *j);

/* Nothing is to be done or under way, and heavy work may be. */
bool queue_rests(const struct queue *q);
/* Works on a row that was not taken from the queue, while it rests; false: cannot now. */
bool queue_adopt(struct queue *q, const struct file_row *row);

#endif
