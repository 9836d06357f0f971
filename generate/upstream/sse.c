#include "generate/upstream/sse.h"

void sse_init(struct sse *s)
{
    *s = (struct sse){0};
    buf_init(&s->line, SSE_EVENT_MAX);
    buf_init(&s->event, SSE_EVENT_MAX);
}

void sse_deinit(struct sse *s)
{
    buf_deinit(&s->line);
    buf_deinit(&s->event);
}

static void end_line(struct sse *s, sse_event_fn fn, void *data)
{
    struct str line = buf_view(&s->line);
    if (line.len == 0) {
        if (s->any) {
            s->stopped = !fn(buf_view(&s->event), data);
        }
        buf_reset(&s->event);
        s->any = false;
    } else if (str_starts(line, STR("data")) && (line.len == 4 || line.ptr[4] == ':')) {
        size_t skip = line.len == 4 ? 4 : line.len > 5 && line.ptr[5] == ' ' ? 6 : 5;
        if (s->any) {
            buf_char(&s->event, '\n');
        }
        buf_append(&s->event, line.ptr + skip, line.len - skip);
        s->any = true;
    }
    buf_reset(&s->line);
}

enum status sse_add(struct sse *s, const char *p, size_t len, sse_event_fn fn, void *data,
                    struct error *err)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < len && !s->stopped && status == STATUS_OK; i++) {
        if (s->skip_lf && p[i] == '\n') {
            s->skip_lf = false;
            continue;
        }
        s->skip_lf = p[i] == '\r';
        if (p[i] == '\r' || p[i] == '\n') {
            status = buf_status(&s->line); /* end_line forgets it */
            end_line(s, fn, data);
            status = status != STATUS_OK ? status : buf_status(&s->event);
        } else {
            buf_char(&s->line, p[i]);
            status = buf_status(&s->line);
        }
    }
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(err, status, "an event of the upstream: %s", status_text(status));
}
