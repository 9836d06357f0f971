/* tesseract's table. */
#include "tests/fuzz/tool_output.h"

#include "ingest/formats/ocr.h"

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
