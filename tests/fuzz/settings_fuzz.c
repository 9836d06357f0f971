/* Any bytes as a configuration file: either settings whose every number lies in its range, or a
 * sentence with the file's name. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena a;
    struct settings s;
    struct error err = {0};

    arena_init(&a, (size_t)8 << 20);
    enum status got = settings_parse("/home/x", (struct str){.ptr = (const char *)data, .len = len},
                                     "carrel.yaml", &a, &s, &err);
    if (got == STATUS_OK) {
        if (s.http.port < 0 || s.http.port > 65535 || s.chunk.target_words > s.chunk.max_words ||
            s.retrieve.lsa_weight < 0 || s.retrieve.lsa_weight > 1 || s.log_level[0] == '\0') {
            abort();
        }
    } else if (strncmp(err.text, "carrel.yaml", 11) != 0) {
        abort();
    }
    arena_reset(&a);
    return 0;
}
