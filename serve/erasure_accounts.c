/* Whose account names a data subject: users and keys of the tenant. An erasure does not take them,
 * for somebody whose name is in a document may still work here; it says which there are. */
#include <string.h>

#include "base/hash.h"
#include "base/text/subject.h"
#include "serve/api.h"
#include "serve/erasure_accounts.h"
#include "serve/service.h"
#include "serve/users.h"

static enum status set_of(char *const *subjects, size_t n, struct subject_set **out,
                          struct error *err)
{
    uint8_t key[KEYED_KEY_BYTES]; /* nothing is kept: any will do */
    struct subject_mark marks[SUBJECTS_MAX];
    random_bytes(key, sizeof key);
    for (size_t i = 0; i < n; i++) {
        enum status s = subject_mark_make(key, str_from(subjects[i]), &marks[i], err);
        if (s != STATUS_OK) {
            return s;
        }
    }
    *out = subject_set_new(key, marks, n);
    return *out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static void account(struct jsonw *w, const char *kind, const char *id, const char *name)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "kind", kind);
    jsonw_field_z(w, "id", id);
    jsonw_field_z(w, "name", name);
    jsonw_close(w, '}');
}

enum status erasure_accounts(struct request *q, char *const *subjects, size_t n, struct buf *out,
                             size_t *found, struct error *err)
{
    const struct auth *a = q->serve->auth;
    const char *tenant = q->who->tenant;
    struct subject_set *set = NULL;
    struct jsonw w;
    size_t pos = 0;
    *found = 0;
    enum status s = n > SUBJECTS_MAX ? error_set(err, STATUS_INVALID, "too many subjects")
                                     : set_of(subjects, n, &set, err);
    if (s != STATUS_OK) {
        return s;
    }
    jsonw_init(&w, out);
    jsonw_open(&w, '[');
    for (const struct user *u = auth_next_user(a, &pos); u != NULL; u = auth_next_user(a, &pos)) {
        if (strcmp(u->who.tenant, tenant) == 0 &&
            (subject_in(set, str_from(u->who.name)) || subject_in(set, str_from(u->subject)))) {
            account(&w, "user", u->who.user, u->who.name);
            ++*found;
        }
    }
    for (size_t i = 0; auth_at(a, i) != NULL; i++) {
        const struct principal *p = auth_at(a, i);
        if (!p->revoked && strcmp(p->tenant, tenant) == 0 && subject_in(set, str_from(p->name))) {
            account(&w, "key", p->key, p->name);
            ++*found;
        }
    }
    jsonw_close(&w, ']');
    subject_set_free(set);
    return buf_status(out) == STATUS_OK ? STATUS_OK
                                        : error_set(err, STATUS_TOO_LARGE, "too many accounts");
}
