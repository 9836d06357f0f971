/* The state of the ingest service: what its files share. Loop thread, except where a function says
 * that it runs on a lane. */
#ifndef CARREL_INGEST_INGEST_H
#define CARREL_INGEST_INGEST_H

#include <limits.h>

#include "base/lane.h"
#include "base/map.h"
#include "base/service.h"
#include "ingest/extractor.h"
#include "ingest/follow.h"
#include "ingest/journal_lane.h"
#include "ingest/pace.h"
#include "ingest/unpack.h"

#define INGEST_ACTIVE_MAX 48                         /* jobs at once, all tenants */
#define INGEST_ACTIVE_LARGE 32                       /* of them with large documents (turns.h) */
#define INGEST_ACTIVE_BYTES ((uint64_t)192 << 20)    /* of the large ones' originals */
#define INGEST_EXTRACTED_BYTES ((uint64_t)256 << 20) /* above it no further large one is read */
#define INGEST_EXTRACTED_SMALL ((uint64_t)64 << 20)  /* and so much above it no small one */
#define INGEST_PIPELINE_CAP 64

struct queue;
struct migration;
struct recut;
struct erasing;
struct renders;
struct access;
struct sources;

struct ingest {
    struct service *svc;
    uv_loop_t *loop;
    const struct settings *settings;
    char watch_dir[PATH_MAX];
    struct extractor_pool *pool;
    struct lane work;    /* reading, hashing, chunking, uploads, trash */
    struct lane scans;   /* reading folders */
    struct lane scanner; /* asking the malware scanner; */
    int scan_cancel;     /* an eventfd: nobody wants its answers any more */
    struct list tenants;
    size_t n_tenants;
    struct renders *renders;
    struct access *access; /* access.c */
    struct sources *sources;
    uv_timer_t tick;
    bool tick_closed, pool_closed, closing;
    bool looking_for_tenants;
    int64_t tenants_due, trash_due;

    size_t active;
    size_t active_large;                 /* jobs with large documents, */
    uint64_t active_bytes;               /* their bytes */
    uint64_t large_ended;                /* so far */
    size_t extracting, extracting_large; /* handed to the pool: small ones, large ones; each at */
    size_t extracting_max;               /* most so many */
    uint64_t extracted_bytes;            /* memory of what was extracted and is not stored yet */
    struct list want_extractor, want_extractor_large; /* jobs */
    struct list reading; /* job_ocr.c: documents with pages to be read from their pictures */
    size_t pages_running, pages_max;

    char unknown_folders[160]; /* names in the watched folder that are no tenant's, for people */
    uint32_t n_unknown_folders;
    uint64_t jobs_done, jobs_failed, jobs_retried, bytes_done, chunks_done;
    uint64_t extractions; /* begun; content that the store has needs none */
};

struct delete_waiter { /* a Delete that waits for its job */
    struct list link;
    struct rpc_call *call;
    char document[ID_CAP];
};

struct tenant {
    struct list link;
    struct ingest *in;
    char id[65];
    char root[PATH_MAX];
    struct journal_lane journal;
    struct disk *disk;
    struct follow *follow;
    struct queue *queue;
    struct migration *migration;
    struct recut *recut;
    struct erasing *erasing;
    size_t uploads;      /* under way */
    struct list deletes; /* struct delete_waiter */
    struct held held;    /* what was unpacked and waits to be read */
    size_t asking;       /* questions about the quarantine */
    bool follow_closed;
    bool paused_before; /* when the journal was opened */
    struct pace pace;

    struct journal_counts counts; /* as of the last count */
    uint64_t quota;               /* bytes of its documents; 0: no limit */
    uint64_t quota_pending;       /* of files that were let in and are not ready yet */
    uint64_t upload_bytes;        /* of uploads under way */
    uint64_t quota_seen, quota_seen_failed, quota_asked; /* quota.c, looking for what waits */
    uint64_t quota_found, quota_queued, quota_waiting;
    bool quota_looking;
    struct journal_op quota_op;
    bool counted_late; /* something was added to counts while they were made */
    bool counting, counts_stale;
    struct journal_op count_op;
    struct journal_counts counted;

    bool had_rules;    /* access.yaml has had rules while it was followed */
    bool rules_noted;  /* the journal says so too */
    bool rules_noting; /* it is being written, as: */
    bool rules_writing;
    bool has_access;   /* when opened: some document was stored under a rule, of a folder too */
    struct journal_op note_op;
    bool reapply_due; /* the rules have changed */
    bool rights_due;   /* a scan is over: those of the share are asked again at */
    int64_t rights_ms; /* this time */
    bool reapplying;
    struct reapply *reapply_held; /* it failed: goes on from where it was, at reapply_ms */
    int64_t reapply_ms;

    struct list holdings; /* questions about holds: one at a time */
    bool holds_told;      /* the store knows what the journal has */
    int64_t holds_due;
    uint64_t holds_round;

    bool reconciled; /* the journal and the store have been compared since the start */
    bool reconciling;
    int64_t reconcile_due;

    char encoder[128]; /* published; "" none or not known yet */
};

/* tenants.c */
#define INGEST_NOTE_PAUSED "paused" /* the journal's note: "1", or "" */
#define INGEST_NOTE_RULES "rules"   /* likewise: "1", "0", or "" when nobody has noted it yet */
/* NULL when there is no such tenant (tenants/<id>/ must exist). */
struct tenant *tenant_find(struct ingest *in, const char *id);
enum status tenants_open(struct ingest *in, struct error *err) MUST_CHECK;
/* Every second: new tenants, counts, trash, reconciliation. */
void tenants_tick(struct ingest *in);
void tenants_close(struct ingest *in);
bool tenants_closed(const struct ingest *in);
void tenants_free(struct ingest *in);
void tenant_counts_stale(struct tenant *t);

/* reconcile.c: compares the journal with what the store lists, once after the start. */
void reconcile_start(struct tenant *t);

/* hold_rpc.c: tells the store what is held, again until it knows. Every second. */
void holds_tick(struct tenant *t);

/* trash.c; both on a lane */
/* Moves the file at path away into trash/<tenant>/<date>/; a file with another inode is left alone.
 */
enum status trash_move(int root, const char *home, const char *tenant, struct str path,
                       const char *document, uint64_t ino, struct error *err) MUST_CHECK;
/* Deletes what has been in the trash for more than `days`. */
void trash_purge(const char *home, int64_t days);

#endif
