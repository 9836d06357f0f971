/* Server-sent events, as far as our own server sends them: the data lines. Pure. */
#ifndef CARREL_CLI_SSE_H
#define CARREL_CLI_SSE_H

#include "base/buf.h"

#define SSE_LINE_MAX ((size_t)8 * 1024 * 1024)

struct sse {
    struct buf line;
};

void sse_init(struct sse *s);
void sse_deinit(struct sse *s);
/* Calls on_data once for each complete "data:" line, without the prefix, NUL-terminated. False when
 * a line is too long. */
bool sse_feed(struct sse *s, const char *p, size_t n, void (*on_data)(void *data, const char *text),
              void *data);

#endif
