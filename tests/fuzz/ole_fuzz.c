/* Compound files. What is none, the first byte makes one of: a sound document with the bytes
 * changed that the following triples name (where, two bytes; what), or the streams that follow, cut
 * at 0xFF 0xFE. */
#include <string.h>

#include "tests/fuzz/format_fuzz.h"
#include "tests/unit/ingest/ole_fixtures.h"

static void patch(struct buf *b, const uint8_t *data, size_t len)
{
    for (; len >= 3 && b->len > 0; data += 3, len -= 3) {
        b->ptr[((size_t)data[0] << 8 | data[1]) % b->len] = (char)data[2];
    }
}

static void make_streams(struct buf *b, unsigned kind, struct str rest)
{
    static const char *const names[][3] = {{"WordDocument", "0Table", "1Table"},
                                           {"Workbook", "Book", "x"},
                                           {"PowerPoint Document", "Current User", "x"}};
    struct cfb_stream streams[3];
    for (size_t i = 0; i < 3; i++) {
        const char *end = rest.len < 2 ? NULL : memmem(rest.ptr, rest.len, "\xFF\xFE", 2);
        size_t n = end == NULL ? rest.len : (size_t)(end - rest.ptr);
        streams[i] = (struct cfb_stream){names[kind][i], {rest.ptr, n}};
        n += end == NULL ? 0 : 2;
        rest.ptr += n;
        rest.len -= n;
    }
    make_cfb(streams, 3, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static void (*const makers[])(struct buf * b) = {make_doc, make_xls, make_ppt, make_msg};
    struct buf b;
    if (len == 0 || data[0] == 0xD0) {
        return fuzz_format(ole_extract, data, len, NULL);
    }
    buf_init(&b, 16U << 20);
    if (data[0] % 7 < 4) {
        makers[data[0] % 7](&b);
        patch(&b, data + 1, len - 1);
    } else {
        make_streams(&b, data[0] % 7 - 4, (struct str){(const char *)data + 1, len - 1});
    }
    (void)fuzz_format(ole_extract, (const uint8_t *)b.ptr, b.len, NULL);
    buf_deinit(&b);
    return 0;
}
