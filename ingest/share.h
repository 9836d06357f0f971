/* Who may read a file by the share that it lies on: by its own access list, and by that of every
 * folder above it up to the watched one. Those are groups of keys, as `groups:` of access.yaml
 * names them; a group of the system that it does not name is one of the same name; whom nobody
 * knows, nobody is. What cannot be asked is closed. Any thread; blocks. */
#ifndef CARREL_INGEST_SHARE_H
#define CARREL_INGEST_SHARE_H

#include "base/settings/rules.h"
#include "ingest/share_acl.h"

struct share_readers {
    bool asked;    /* false: nobody has; then nobody reads */
    bool everyone; /* all of the tenant */
    const char *names[RULES_VALUES];
    size_t n;
    char why[160]; /* it is closed because its rights cannot be told; "" */
};

/* names live in a or are the rules'. root: the watched folder. NO_MEMORY is the only failure: what
 * else goes wrong closes, and `why` says so. */
enum status share_look(int root, struct str path, const struct rules *rules, struct arena *a,
                       struct share_readers *out, struct error *err) MUST_CHECK;

/* One list, as share_look reads each of them: those of `rules` whom it lets do what is wanted. For
 * tests. */
enum status share_level(const struct share_acl *acl, uint32_t wanted, const struct rules *rules,
                        struct arena *a, struct share_readers *out, struct error *err) MUST_CHECK;
/* Whom both let read. */
void share_both(struct share_readers *upper, const struct share_readers *lower);

#endif
