/* Whatever a model writes, in whatever pieces it comes: the same text and the same calls, each with
 * arguments that are a JSON object, and no byte of text that was not written. The first byte
 * chooses the form, the second the size of the pieces. */
#include <stdlib.h>

#include "model/json_text.h"
#include "model/tool_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct read {
    struct buf text, calls;
};

static void on_text(void *data, struct str s)
{
    struct read *r = data;
    buf_str(&r->text, s);
}

static void on_call(void *data, struct str name, struct str arguments)
{
    struct read *r = data;
    struct error err;
    json_t *v = json_text_parse(arguments, "arguments", &err);
    if (!json_is_object(v)) {
        abort();
    }
    json_decref(v);
    buf_printf(&r->calls, "%.*s %.*s\n", STR_ARG(name), STR_ARG(arguments));
}

static void read_all(enum template_tools form, struct str s, size_t step, struct read *out)
{
    static const struct str names[] = {{"rain", 4}, {"now", 3}};
    struct tool_sink sink = {.text = on_text, .call = on_call, .data = out};
    struct tool_reader r;
    struct error err;
    buf_init(&out->text, 1 << 20);
    buf_init(&out->calls, 1 << 20);
    tool_reader_init(&r, form, names, 2, &sink);
    for (size_t i = 0; i < s.len; i += step) {
        size_t n = step < s.len - i ? step : s.len - i;
        tool_reader_add(&r, (struct str){s.ptr + i, n});
    }
    if (tool_reader_end(&r, &err) != STATUS_OK) {
        abort();
    }
    tool_reader_deinit(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct read whole, pieces;
    if (size < 2 || size > 4096) {
        return 0;
    }
    enum template_tools form = (enum template_tools)(data[0] % TOOLS_FORMS);
    struct str s = {.ptr = (const char *)data + 2, .len = size - 2};
    read_all(form, s, size, &whole);
    read_all(form, s, 1 + data[1] % 16, &pieces);
    if (!str_eq(buf_view(&whole.text), buf_view(&pieces.text)) ||
        !str_eq(buf_view(&whole.calls), buf_view(&pieces.calls)) || whole.text.len > s.len) {
        abort();
    }
    buf_deinit(&whole.text);
    buf_deinit(&whole.calls);
    buf_deinit(&pieces.text);
    buf_deinit(&pieces.calls);
    return 0;
}
