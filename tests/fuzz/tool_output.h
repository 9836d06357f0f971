/* A tool's output, as it might be if the tool had been taken over: in two pieces. */
#ifndef CARREL_TESTS_FUZZ_TOOL_OUTPUT_H
#define CARREL_TESTS_FUZZ_TOOL_OUTPUT_H

#include "tests/fuzz/format_fuzz.h"

struct played {
    const uint8_t *data;
    size_t len;
};

static enum status play(const struct tool_runner *r,
                        enum status (*on_data)(void *data, struct str piece, struct error *err),
                        void *data, struct error *err)
{
    const struct played *p = r->data;
    size_t half = p->len / 2;
    enum status s = on_data(data, (struct str){(const char *)p->data, half}, err);
    return s == STATUS_OK
               ? on_data(data, (struct str){(const char *)p->data + half, p->len - half}, err)
               : s;
}

#endif
