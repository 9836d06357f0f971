/* The parser of a connection, fed in pieces whose sizes the input chooses. What it hands out must
 * not depend on how the bytes were cut. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "serve/http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t run(const char *p, size_t len, size_t piece)
{
    struct http_parser *parser;
    uint64_t sum = 1;
    size_t at = 0;
    size_t given = 0;
    if (http_parser_new(4096, &parser) != STATUS_OK) {
        return 0;
    }
    for (;;) {
        size_t used;
        struct str body;
        enum http_event e = http_parser_next(parser, p + at, given - at, &used, &body);
        if (used > given - at) {
            abort();
        }
        at += used;
        if (e == HTTP_EVENT_HEAD) {
            const struct http_head *h = http_parser_head(parser);
            sum = sum * 31 + hash64(h->path.ptr, h->path.len) + h->verb;
            for (size_t i = 0; i < h->n_headers; i++) {
                sum = sum * 31 + hash64(h->headers[i].name.ptr, h->headers[i].name.len) +
                      hash64(h->headers[i].value.ptr, h->headers[i].value.len);
            }
        } else if (e == HTTP_EVENT_BODY) {
            for (size_t i = 0; i < body.len; i++) {
                sum = sum * 31 + (uint8_t)body.ptr[i];
            }
        } else if (e == HTTP_EVENT_END) {
            sum = sum * 31 + 7;
        } else if (e == HTTP_EVENT_BAD) {
            const char *why;
            sum = sum * 31 + (uint64_t)http_parser_bad(parser, &why);
            break;
        } else if (given == len) {
            break;
        } else {
            given = given + piece < len ? given + piece : len;
        }
    }
    http_parser_free(parser);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    const char *p = (const char *)data + 1;
    size_t piece = 1 + data[0];
    if (run(p, size - 1, piece) != run(p, size - 1, size)) {
        abort();
    }
    return 0;
}
