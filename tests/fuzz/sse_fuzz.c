/* What an upstream may send: events cut anywhere, and JSON in them. */
#include <stdlib.h>

#include "generate/upstream/openai.h"
#include "generate/upstream/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool on_event(struct str event, void *data)
{
    struct openai_piece piece = {.text = data};
    struct error err;
    return openai_piece(event, &piece, &err) == STATUS_OK && !piece.done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct sse s;
    struct buf text;
    struct error err;
    size_t cut = len == 0 ? 0 : data[0] % len;
    sse_init(&s);
    buf_init(&text, 65536);
    if (sse_add(&s, (const char *)data, cut, on_event, &text, &err) == STATUS_OK) {
        enum status rest = sse_add(&s, (const char *)data + cut, len - cut, on_event, &text, &err);
        (void)rest;
    }
    buf_deinit(&text);
    sse_deinit(&s);
    return 0;
}
