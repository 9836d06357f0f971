/* What a folder says of itself (.carrelignore, .carrel.yaml): rules, or a sentence; and a path is
 * judged by any rules. */
#include <stdlib.h>

#include "base/settings/rules.h"
#include "ingest/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str s = {len == 0 ? "" : (const char *)data, len};
    const char *cut = len == 0 ? NULL : memchr(data, '\0', len);
    struct str path = STR("a/b/draft.log");
    struct arena a;
    struct error err = {0};
    struct ignore_rules rules = {0};
    struct folder_rule folder;
    if (cut != NULL) { /* rules, then a path */
        path = (struct str){cut + 1, (size_t)(s.ptr + len - cut - 1)};
        s.len = (size_t)(cut - s.ptr);
    }
    arena_init(&a, (size_t)8 << 20);
    if (ignore_parse(s, &a, &rules, &err) == STATUS_OK) {
        (void)ignore_judge(&rules, path, false, len);
        (void)ignore_judge(&rules, path, true, 0);
    } else if (err.text[0] == '\0') {
        abort();
    }
    if (rules_parse_folder(s, ".carrel.yaml", &a, &folder, &err) != STATUS_OK &&
        strncmp(err.text, ".carrel.yaml", 12) != 0) {
        abort();
    }
    arena_reset(&a);
    return 0;
}
