/* tesseract's table, as it might be if the tool had been taken over. */
#include "tests/fuzz/format_fuzz.h"

#include "ingest/formats/ocr.h"

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

static enum status read_page(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct ocr_options o = {.page = 1, .scale = 0.24F, .min_confidence = 20};
    return ocr_page(in->tools, &o, in->arena, e, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct played p = {data, len};
    struct tool_runner r = {.run = play, .data = &p};
    return fuzz_format(read_page, data, len, &r);
}
