/* What the files of following share. */
#ifndef CARREL_INGEST_FOLLOW_INTERNAL_H
#define CARREL_INGEST_FOLLOW_INTERNAL_H

#include "base/map.h"
#include "ingest/follow.h"

/* The way of a change:
 *   event -> touched (waits until at rest) -> check batch (journal lane) -> on_work
 *   move  -> moved op (journal lane)                                     -> on_work
 *   new folder, start, lost events -> scan step (scan lane) -> seen op (journal lane) -> ...
 *                                  -> verify ops (what the journal has and the disk no longer) */
#define FOLLOW_FINISHED_MS 50
#define FOLLOW_RETRY_MS 2000
#define FOLLOW_ROWS_A_STEP 512

struct wanted_scan {
    struct list link;
    size_t len;
    char path[];
};

struct scanning;

struct follow {
    struct follow_options o;
    int root;
    struct watch *watch;
    uv_timer_t settle;
    uv_timer_t rescan;
    struct map touched;      /* path -> struct touched */
    struct list soon, later; /* each in order of due */
    bool checking;
    size_t moves;
    struct list scans;
    size_t n_scans;
    struct scanning *scanning;
    bool whole_wanted;
    unsigned deferred; /* whole scans in a row that met files not yet at rest */
    struct follow_status st;
    bool missing_said, limit_said, network_said;
    uint64_t mounts_written; /* by the lane, not yet committed */
    uint64_t mounts_kept;
    bool closing;
    int open_handles;
    void (*on_closed)(void *data);
    void *closed_data;
};

int64_t follow_now(const struct follow *f);
/* follow_rest.c: waits until path has come to rest (queue: soon or later), then looks. */
void follow_touch_at(struct follow *f, struct str path, struct list *queue, int64_t delay);
void follow_arm(struct follow *f);
void follow_on_settle(uv_timer_t *timer);
void follow_free_touched(struct list *queue);
/* path is gone, unless a scan under way finds it under another name. */
void follow_gone(struct follow *f, struct str path);
void follow_moved(void *data, struct str from, struct str to, bool folder);
/* follow_scan.c */
void follow_want_scan(struct follow *f, struct str prefix);
void follow_scan(struct follow *f); /* the next one that is wanted, unless one is under way */
void follow_on_rescan(uv_timer_t *timer);
/* In the journal's lane: where something is mounted, if that has changed; kept: it was committed.
 */
enum status follow_keep_mounts(struct journal *j, struct follow *f, struct error *err) MUST_CHECK;
void follow_mounts_kept(struct follow *f, const struct journal_op *op);
/* follow.c */
bool follow_open_root(struct follow *f);
bool follow_open_watch(struct follow *f);
void follow_maybe_closed(struct follow *f);

#endif
