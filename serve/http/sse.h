/* Server-sent events. */
#ifndef CARREL_SERVE_HTTP_SSE_H
#define CARREL_SERVE_HTTP_SSE_H

#include "serve/http/http.h"

void sse_begin(struct http_request *r);
/* One event of one line of data (JSON has no line ends), written to out, which is initialised;
 * takes data. name: of the event, or NULL. */
void sse_event(struct buf *out, const char *name, struct buf *data);
/* The same, sent. As http_stream_write. */
enum status sse_data(struct http_request *r, struct str line);

#endif
