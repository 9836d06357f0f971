/* Reading documents in sandboxed processes: a reader of its own for each, forked by a starter
 * (starter.h), at most `workers` at once, with the configured limits on memory, time, output,
 * processes and open files. A crash, a kill or a limit is an ordinary result with a reason for
 * people. Loop thread only. */
#ifndef CARREL_INGEST_EXTRACTOR_H
#define CARREL_INGEST_EXTRACTOR_H

#include <uv.h>

#include "base/arena.h"
#include "base/settings/settings.h"
#include "base/status.h"
#include "extract.pb-c.h"

/* Changes whenever the same file would give other blocks: all are read again. Part of "pipeline" in
 * the store. */
#define EXTRACTOR_VERSION 6

struct extractor_pool;
struct extraction;

struct extracted {
    const Ex__Document *document;
    Ex__Block **blocks; /* n_blocks; everything lives in the arena handed in */
    size_t n_blocks;
    Ex__UnreadPage **unread; /* n_unread: pages to be read by extractor_ocr, in order */
    size_t n_unread;
};

/* How many documents are read at once: ingest.workers, or one a core that this process may use. A
 * small document may be one more, where large ones have taken all places (turns.h). */
size_t extractor_places(const struct settings *settings);
/* program: path of carrel-extract. */
enum status extractor_pool_new(uv_loop_t *loop, const struct settings *settings,
                               const char *program, struct extractor_pool **out,
                               struct error *err) MUST_CHECK;
void extractor_pool_close(struct extractor_pool *p, void (*on_closed)(void *data), void *data);
/* The processor time of x, its reader's and ours, is for e's; x NULL is fine. */
struct effort;
void extraction_for(struct extraction *x, struct effort *e);
/* Extract from fd (takes it; read from its start). format: as format_detect names it, static. done
 * runs once, later, on the loop; out is valid for as long as a is. Queues when all workers are busy
 * (bounded: BUSY). NULL with err set when it could not start. */
typedef void (*extract_done_fn)(const struct error *err, const struct extracted *out, void *data);
struct extraction *extractor_start(struct extractor_pool *p, int fd, const char *format,
                                   struct arena *a, extract_done_fn done, void *data,
                                   struct error *err);
/* One page of fd (takes it) read from its picture; among the other extractions and as many at once.
 * out has the page's blocks, none when nothing stands on it. q is copied. */
struct ocr_request {
    uint32_t page, dpi, min_confidence;
    bool picture;          /* the document is a picture file, and the page one of its frames */
    const char *languages; /* as tessdata_choose gives them */
};
struct extraction *extractor_ocr(struct extractor_pool *p, int fd, const struct ocr_request *q,
                                 struct arena *a, extract_done_fn done, void *data,
                                 struct error *err);
/* The same of a container: its members come out beside its text. On the loop, all before done. */
struct extract_members {
    uint64_t members,
        bytes; /* so many of them with so many bytes; members 0: none, and that is said */
    /* Its memory is valid only during the call; an error ends the extraction. */
    enum status (*take)(void *data, const Ex__Child *child, struct error *err);
    void (*note)(void *data, const char *text);
    /* After what was read at one go: true stops the reading until extractor_go_on. */
    bool (*settle)(void *data);
    void *data;
};
struct extraction *extractor_unpack(struct extractor_pool *p, int fd, const char *format,
                                    struct arena *a, const struct extract_members *members,
                                    extract_done_fn done, void *data, struct error *err);
void extractor_go_on(struct extraction *e);
/* What was taken could not be kept: the extraction ends with why, through done. */
void extractor_fail(struct extraction *e, const struct error *why);
/* Kills the child; done will not run. */
void extractor_cancel(struct extraction *e);

/* One page of a PDF, or one frame of a picture, as PNG. width/height are the page's size in points,
 * the frame's in pixels: what its boxes are measured in. */
typedef void (*render_done_fn)(const struct error *err, struct str png, float width_points,
                               float height_points, void *data);
struct extraction *extractor_render(struct extractor_pool *p, int fd, bool picture, uint32_t page,
                                    uint32_t dpi, render_done_fn done, void *data,
                                    struct error *err);

#endif
