#include <stdlib.h>

#include "ingest/share.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* No list lets more read than it says: whom share_level names is let by share_lets, and what
 * everybody may, each may who is not denied. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct rules_group groups[] = {{"a", KNOWN_BY_GID, 5, "5"},
                                                {"b", KNOWN_BY_UID, 6, "6"},
                                                {"c", KNOWN_BY_SID, 0, "S-1-5-21-1-2-3-1105"},
                                                {"d", KNOWN_BY_NFS, 0, "hr@example.org"}};
    const struct rules rules = {.groups = (struct rules_group *)(uintptr_t)groups, .n_groups = 4};
    if (len < 1) {
        return 0;
    }
    struct str blob = {(const char *)data + 1, len - 1};
    struct arena a;
    struct error err;
    struct share_acl acl = {0};
    struct share_readers out;
    arena_init(&a, 4 << 20);
    enum status s = data[0] % 3 == 0   ? share_posix(blob, 0640, 6, 5, &a, &acl, &err)
                    : data[0] % 3 == 1 ? share_windows(blob, &a, &acl, &err)
                                       : share_nfs4(blob, 6, 5, &a, &acl, &err);
    if (s == STATUS_OK) {
        if (acl.n > SHARE_ENTRIES_MAX ||
            share_level(&acl, SHARE_READ, &rules, &a, &out, &err) != STATUS_OK) {
            abort();
        }
        bool granted = false;
        for (size_t i = 0; i < acl.n; i++) {
            granted = granted || !acl.items[i].deny;
        }
        if (!granted && (out.everyone || out.n > 0)) {
            abort(); /* out of a list that grants nothing */
        }
    }
    arena_reset(&a);
    return 0;
}
