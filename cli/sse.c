#include "cli/sse.h"

#include <string.h>

void sse_init(struct sse *s)
{
    buf_init(&s->line, SSE_LINE_MAX);
}

void sse_deinit(struct sse *s)
{
    buf_deinit(&s->line);
}

bool sse_feed(struct sse *s, const char *p, size_t n, void (*on_data)(void *data, const char *text),
              void *data)
{
    while (n > 0) {
        const char *end = memchr(p, '\n', n);
        size_t take = end == NULL ? n : (size_t)(end - p);
        buf_append(&s->line, p, take);
        p += take;
        n -= take;
        if (buf_status(&s->line) != STATUS_OK) {
            return false;
        }
        if (end == NULL) {
            break;
        }
        p++;
        n--;
        if (s->line.len > 0 && s->line.ptr[s->line.len - 1] == '\r') {
            s->line.ptr[--s->line.len] = '\0';
        }
        if (s->line.len >= 5 && memcmp(s->line.ptr, "data:", 5) == 0) {
            on_data(data, s->line.ptr + 5 + (s->line.ptr[5] == ' '));
        }
        buf_reset(&s->line);
    }
    return true;
}
