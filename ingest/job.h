/* One row's way through the pipeline:
 *   put:    snapshot -> lookup -> (extract -> (pages read by OCR) -> chunk -> encode) -> put
 *           -> (members) -> record
 *           a member of a container: lookup by its hash, a snapshot only of what is not known
 *   move:   move -> record
 *   remove: remove -> (trash) -> record
 *   recut:  read what is stored -> chunk -> encode -> put -> record
 * A job works on a private copy of the file, taken while it is hashed: what is hashed, extracted
 * and stored are the same bytes whatever happens to the file meanwhile. Loop thread. */
#ifndef CARREL_INGEST_JOB_H
#define CARREL_INGEST_JOB_H

#include "embed/embed_rpc.h"
#include "ingest/access.h"
#include "ingest/chunk.h"
#include "ingest/clamd.h"
#include "ingest/formats/detect.h"
#include "ingest/ingest.h"
#include "ingest/ingest_rpc.h"
#include "ingest/unpack.h"
#include "vectorstore/vectorstore_rpc.h"

enum job_phase {
    JOB_SNAPSHOT,
    JOB_SCAN,
    JOB_LOOKUP,
    JOB_WAIT_EXTRACT,
    JOB_EXTRACT,
    JOB_OCR,
    JOB_CHUNK,
    JOB_RECUT,
    JOB_ENCODE,
    JOB_PUT,
    JOB_MOVE,
    JOB_REMOVE,
    JOB_TRASH,
    JOB_RECORD,
};

enum job_outcome {
    OUTCOME_DONE,
    OUTCOME_MOVED,
    OUTCOME_REMOVED,
    OUTCOME_EXCLUDED,
    OUTCOME_FAILED,  /* cannot be read: said to people, not tried again */
    OUTCOME_RETRY,   /* may pass */
    OUTCOME_CHANGED, /* the file is not what the row says: look again */
    OUTCOME_REQUEUE, /* the store has lost it: put it anew */
    OUTCOME_WAITS,   /* a member whose container has to be unpacked again */
    OUTCOME_HELD,    /* a part is down: the row stays as it is */
};

enum put_stage { PUT_ORIGINAL, PUT_TEXT, PUT_BOXES, PUT_BLOCKS, PUT_CHUNKS, PUT_COMMIT, PUT_SENT };

struct snapshot {
    int fd; /* -1: none. Read-only, private */
    bool in_memory;
    uint8_t hash[SHA256_BYTES];
    char head[FORMAT_HEAD]; /* first bytes, to tell the format */
    size_t head_len;
};

struct job {
    struct list link; /* in->want_extractor, or the queue's unrecorded */
    struct tenant *t;
    struct file_row row; /* texts live in the arena */
    enum job_phase phase;
    enum job_outcome outcome;
    struct arena arena;
    struct effort effort; /* processor time of this attempt, */
    int64_t cpu_us;       /* as it is written down */
    uint64_t charged;     /* bytes of its original */
    bool leaves;          /* nothing of it is read: job_begin has it removed */
    bool large;           /* for turns.h; counted in in->active_large, its bytes in active_bytes */
    uint64_t extracted;   /* bytes counted in in->extracted_bytes */
    struct error err;
    bool cancelled;
    bool in_lane; /* a lane works on it: freed only afterwards */

    struct snapshot snap;
    const char *format;
    char malware[CLAMD_NAME_CAP]; /* what the scanner found; "" nothing */
    char quarantine[ID_CAP];      /* its entry */
    enum clamd_verdict scanned;
    bool allowed;           /* a person has let this content in */
    bool known;             /* the store has this content */
    bool known_was_wrong;   /* it said so and did not */
    char banned_by[ID_CAP]; /* the erasure its content fell to; "" none */
    uint32_t stored_chunks;
    struct { /* what the store has of the document; texts live in the arena, NULL: it has not told
              */
        char *title, *author, *language;
        uint32_t pages;
        bool dated;
        int64_t own_ms;
    } stored;
    struct extraction *extraction;
    const Ex__Document *info; /* as meta_settle left it; NULL: it was not read */
    Ex__Block **blocks;
    size_t n_blocks;
    struct ocr_reading *reading; /* job_ocr.c; NULL: none of its pages is a picture */
    const char *note;            /* what of it could not be read, for people; NULL or "": nothing */
    struct chunked_document doc;
    struct str table;            /* of its blocks, for the store */
    struct recutting *recutting; /* job_recut.c; NULL: none */
    bool applied;                /* the store did what it was told */
    char pipeline[INGEST_PIPELINE_CAP];

    /* job_unpack.c: of a container, */
    struct unpacking *unpacking; /* NULL: it is none, or is not unpacked */
    struct container_look container;
    struct journal_member *page; /* rows being written, */
    size_t *page_at;             /* and which members they are */
    size_t n_page, page_end, placed;
    struct members_left_out left_out, page_left_out;
    struct spooled spooled; /* of a member: while it is copied */

    struct rpc_request *request;
    char encoder[128]; /* of the vectors; "" none */
    uint32_t dimensions;
    uint8_t *vectors; /* fp16, encoded of doc.n_chunks */
    size_t encoded;

    enum put_stage stage;
    size_t offset; /* bytes or items of the stage */
    uint8_t *piece;
    size_t piece_len;
    struct error piece_err; /* the reading thread's own */

    struct access_view view;  /* the rules that `verdict` borrows from, */
    struct disk_view folders; /* and what the folders above the file say */
    bool unseen;              /* they could not be asked: what the store was told goes on to hold */
    struct share_readers share; /* and whom the share lets read, where a rule asks it */
    struct verdict verdict;
    const char *access; /* it, as rules_write; NULL: the store was told nothing */

    struct journal_op op;
    int64_t retry_at_ms;
    bool counted;
};

/* Starts work on a copy of row; NULL: out of memory. It has not ended before job_begin. */
struct job *job_start(struct tenant *t, const struct file_row *row);
/* Once its owner has it in his books: takes the first step where that may be the last. It may have
 * ended, and be freed, on return. */
void job_begin(struct job *j);
/* Stops its work; it still ends through queue_job_ended. */
void job_cancel(struct job *j);
/* "reading page 12 of 240" while its pictures are read, else "". */
void job_reading(const struct job *j, char *out, size_t cap);
/* Writes the outcome down (again). */
void job_record(struct job *j);

/* snapshot.c, on a lane: STATUS_CONFLICT when the file is not, or did not stay, what stamp says. */
enum status snapshot_take(int root, struct str path, const struct file_stamp *stamp,
                          uint64_t max_bytes, const char *home, struct snapshot *out,
                          struct error *err) MUST_CHECK;
/* snapshot.c: an unlinked file of our own, in memory when small. */
enum status snapshot_file(uint64_t size, const char *home, int *fd, bool *in_memory,
                          struct error *err) MUST_CHECK;
/* What snapshot_file made is whole: it cannot be changed any more (in memory), and out->fd reads
 * it. */
enum status snapshot_seal(int fd, struct snapshot *out, struct error *err) MUST_CHECK;
/* A read-only descriptor with an offset of its own, for handing to the extractor. */
enum status snapshot_reopen(int fd, int *out, struct error *err) MUST_CHECK;

#endif
