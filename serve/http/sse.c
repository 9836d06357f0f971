#include "serve/http/sse.h"

void sse_begin(struct http_request *r)
{
    http_header(r, "Cache-Control", "no-store");
    http_header(r, "X-Accel-Buffering", "no");
    http_stream_begin(r, 200, "text/event-stream; charset=utf-8", -1);
}

void sse_event(struct buf *out, const char *name, struct buf *data)
{
    buf_init(out, data->len + 128);
    if (name != NULL) {
        buf_printf(out, "event: %s\n", name);
    }
    buf_z(out, "data: ");
    buf_str(out, buf_view(data));
    buf_z(out, "\n\n");
    if (buf_status(data) != STATUS_OK) {
        out->failed = buf_status(data);
    }
    buf_deinit(data);
}

enum status sse_data(struct http_request *r, struct str line)
{
    struct buf b;
    buf_init(&b, line.len + 16);
    buf_z(&b, "data: ");
    buf_str(&b, line);
    buf_z(&b, "\n\n");
    enum status s = buf_status(&b);
    if (s == STATUS_OK) {
        s = http_stream_write(r, b.ptr, b.len);
    }
    buf_deinit(&b);
    return s;
}
