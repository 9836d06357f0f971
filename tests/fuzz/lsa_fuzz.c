/* A fit's blob as it may come from a damaged disk; the checksum is made good so that the checks behind it
 * are reached. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "embed/lsa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char magic[] = "CARLSA1\n\1\0\0\0";
    size_t total = len + SHA256_BYTES;
    uint8_t *blob = malloc(total);
    if (blob == NULL) {
        return 0;
    }
    memcpy(blob, data, len);
    memcpy(blob, magic, len < sizeof magic - 1 ? len : sizeof magic - 1);
    sha256_of(blob, len, blob + len);
    struct lsa_model *m = NULL;
    struct error err;
    if (lsa_open(blob, total, &m, &err) != STATUS_OK) {
        free(blob);
        return 0;
    }
    struct lsa_bag bag;
    float *out = calloc(LSA_DIMENSIONS_MAX, sizeof *out);
    lsa_bag_init(&bag);
    for (size_t i = 0; out != NULL && i + 4 < len && i < 256; i += 4) {
        struct str stem = {.ptr = (const char *)data + i, .len = 1 + i % 4};
        if (lsa_bag_add(&bag, m, stem, (uint32_t)(i % LSA_LANGUAGES), &err) != STATUS_OK) {
            break;
        }
    }
    if (out != NULL) {
        lsa_fold(m, &bag, out);
    }
    free(out);
    lsa_bag_deinit(&bag);
    lsa_close(m);
    return 0;
}
