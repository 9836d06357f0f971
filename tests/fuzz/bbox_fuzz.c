/* pdftotext's output. */
#include "tests/fuzz/tool_output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct played p = {data, len};
    struct tool_runner r = {.run = play, .data = &p};
    return fuzz_format(pdf_extract, data, len, &r);
}
