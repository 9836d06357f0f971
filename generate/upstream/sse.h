/* Server-sent events (WHATWG HTML 9.2): bytes in, in any pieces; the data of each event out. Only data lines
 * matter here; event names, ids and comments are skipped. Pure. */
#ifndef CARREL_GENERATE_UPSTREAM_SSE_H
#define CARREL_GENERATE_UPSTREAM_SSE_H

#include "base/buf.h"

#define SSE_EVENT_MAX ((size_t)1024 * 1024)

/* The data of one event, lines joined by \n. false: stop reading. */
typedef bool (*sse_event_fn)(struct str event, void *data);

struct sse {
    struct buf line;
    struct buf event;
    bool any;     /* the event has a data line */
    bool skip_lf; /* the last byte was the CR of a line end */
    bool stopped;
};

void sse_init(struct sse *s);
void sse_deinit(struct sse *s);
/* STATUS_TOO_LARGE when a line or event passes SSE_EVENT_MAX. Nothing is read after fn said stop. */
enum status sse_add(struct sse *s, const char *p, size_t len, sse_event_fn fn, void *data,
                    struct error *err) MUST_CHECK;

#endif
