/* What the files of the pool share: extractor.c admits, launches and ends; extractor_take.c reads
 * what a reader says. Only extractor*.c include this. */
#ifndef CARREL_INGEST_EXTRACTOR_INTERNAL_H
#define CARREL_INGEST_EXTRACTOR_INTERNAL_H

#include "base/buf.h"
#include "base/effort.h"
#include "base/list.h"
#include "base/tessdata.h"
#include "ingest/extractor.h"
#include "ingest/starter.h"

#define RENDER_MAX (80U * 1024 * 1024)
#define STDERR_KEPT 400

enum phase { QUEUED, RUNNING, ENDED };

struct lane_of {              /* extractions and renderings each have their own */
    struct list small, large; /* waiting, by turns.h */
    size_t queued, at_once;
    size_t running_small, running_large;
};

struct extractor_pool {
    uv_loop_t *loop;
    char *program;
    int64_t memory_mb, cpu_s, wall_s, output_mb, processes, open_files, max_file_bytes;
    struct starter *starter; /* NULL: none yet, or it is spent */
    struct lane_of extracts, renders;
    struct list running;
    size_t live;       /* extractions and starters not yet freed */
    char bytes[65536]; /* what a read fills; its callback follows at once */
    uv_timer_t handle; /* makes on_closed come later even when nothing runs */
    bool closing, handle_closed;
    void (*on_closed)(void *data);
    void *closed_data;
};

struct extraction {
    struct extractor_pool *pool;
    struct lane_of *lane;
    struct list link; /* in the lane's queue or the pool's running list */
    enum phase phase;
    int fd;
    Ex__Task task; /* its texts are static, or below */
    char languages[TESSDATA_LIST];
    struct started reader;
    uv_pipe_t out, errs;
    uv_timer_t timer;
    unsigned open_handles;
    bool large; /* for turns.h: from the start, or since it has been read for long */
    bool exited, out_ended, cancelled;
    struct reader_end end; /* once exited; its error is in err */
    struct buf in;         /* a piece that is not all there */
    uint64_t total;
    char errs_kept[STDERR_KEPT + 1];
    size_t errs_len;
    bool done_seen, failed; /* the last piece; err holds why */
    struct error err;
    struct arena *arena; /* the caller's; &own for a rendering */
    struct arena own;
    struct extracted result;
    size_t cap_blocks, cap_unread;
    bool unpacks, paused; /* paused: its output is not read, */
    uint64_t left_ms;     /* and so much of its wall time is left */
    struct extract_members members;
    struct buf png;
    float width, height;
    struct effort_use use;
    extract_done_fn done;
    render_done_fn rendered;
    void *data;
};

/* Bytes of the reader's output: what they hold is checked and kept. */
enum status extraction_take(struct extraction *x, const char *p, size_t len,
                            struct error *err) MUST_CHECK;

#endif
