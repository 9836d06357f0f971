/* A PDF's own objects: outline, annotations, attachments; pdftotext's part is played by a page. */
#include "tests/fuzz/format_fuzz.h"

static enum status play(const struct tool_runner *r,
                        enum status (*on_data)(void *data, struct str piece, struct error *err),
                        void *data, struct error *err)
{
    static const char page[] =
        "<html><body><doc><page width=\"600\" height=\"800\"><flow>"
        "<block xMin=\"72\" yMin=\"100\" xMax=\"300\" yMax=\"120\">"
        "<line xMin=\"72\" yMin=\"100\" xMax=\"300\" yMax=\"110\">"
        "<word xMin=\"72\" yMin=\"100\" xMax=\"160\" yMax=\"110\">Getting</word>"
        "<word xMin=\"165\" yMin=\"100\" xMax=\"300\" yMax=\"110\">Started</word></line>"
        "<line xMin=\"72\" yMin=\"112\" xMax=\"300\" yMax=\"122\">"
        "<word xMin=\"72\" yMin=\"112\" xMax=\"160\" yMax=\"122\">Order</word></line>"
        "</block></flow></page></doc></body></html>";
    (void)r;
    return on_data(data, STR(page), err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct tool_runner r = {.run = play};
    return fuzz_format(pdf_extract, data, len, &r);
}
