/* Which format a file is, by a name of any bytes and a beginning of any bytes: a name that is a
 * format's, or none. */
#include "ingest/formats/detect.h"
#include "tests/fuzz/format_fuzz.h"

#define NAME_CAP 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char name[NAME_CAP + 1];
    size_t n = len == 0 ? 0 : data[0];
    n = n < len ? n : len;
    memcpy(name, data, n);
    name[n] = '\0';
    const char *format = format_detect(name, data + n, len - n);
    if (format != NULL && format_find(format) == NULL) {
        abort();
    }
    return 0;
}
