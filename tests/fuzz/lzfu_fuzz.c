/* Compressed RTF: never more than it says of itself. */
#include "ingest/formats/lzfu.h"
#include "ingest/formats/octets.h"
#include "tests/fuzz/format_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str s = {len == 0 ? "" : (const char *)data, len};
    struct buf out;
    buf_init(&out, 1U << 20);
    lzfu_decode(s, &out);
    if (out.len > le32(s, 4)) {
        abort();
    }
    buf_deinit(&out);
    return 0;
}
