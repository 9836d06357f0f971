/* Forms, cut anywhere: what comes out must not depend on the cuts. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "serve/http/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t run(const char *p, size_t len, size_t piece)
{
    struct multipart m;
    uint64_t sum = 1;
    size_t at = 0;
    if (multipart_init(&m, STR("multipart/form-data; boundary=b"), NULL) != STATUS_OK) {
        abort();
    }
    while (at < len) {
        size_t end = at + piece < len ? at + piece : len;
        for (;;) {
            size_t used;
            struct str d = {0};
            enum multipart_event e = multipart_next(&m, p + at, end - at, &used, &d);
            if (used > end - at) {
                abort();
            }
            at += used;
            if (e == MULTIPART_MORE) {
                break;
            }
            if (e == MULTIPART_DATA) {
                for (size_t i = 0; i < d.len; i++) {
                    sum = sum * 31 + (uint8_t)d.ptr[i];
                }
            } else {
                sum = sum * 31 + 1000 + (uint64_t)e + strlen(m.name);
            }
            if (e == MULTIPART_BAD) {
                return sum;
            }
        }
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 && run((const char *)data + 1, size - 1, 1 + data[0]) !=
                        run((const char *)data + 1, size - 1, size)) {
        abort();
    }
    return 0;
}
