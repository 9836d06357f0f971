/* A mailbox where it begins as one, else a message. */
#include "tests/fuzz/format_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    bool box = len >= 5 && memcmp(data, "From ", 5) == 0;
    return fuzz_format(box ? mbox_extract : eml_extract, data, len, NULL);
}
