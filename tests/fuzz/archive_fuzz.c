/* The binding of libarchive, by what the first byte chooses: all kinds of archives are told by
 * their content. */
#include "tests/fuzz/format_fuzz.h"

#include "ingest/member_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    char name[MEMBER_NAME_CAP];
    size_t n = member_name_clean((struct str){(const char *)data, len}, "unnamed", name);
    if (n == 0 || n >= MEMBER_NAME_CAP || name[0] == '/' || name[n - 1] == '/' ||
        strstr(name, "//") != NULL || strncmp(name, "../", 3) == 0 ||
        strstr(name, "/../") != NULL) {
        abort();
    }
    return fuzz_format(data[0] & 1 ? gz_extract : zip_extract, data + 1, len - 1, NULL);
}
