/* Heads of pictures. */
#include "tests/fuzz/format_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    return fuzz_format(image_extract, data, len, NULL);
}
