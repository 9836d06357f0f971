/* Legal holds over versions. The journal of ingest is the truth; what it tells is kept here, so
 * that housekeeping needs nobody: a hold reaches this store before it is confirmed to anyone, and
 * leaves it after it was lifted there. A store that has not been told since it was made from a
 * copy, or by a version before there were holds here, forgets nothing. */
#include <string.h>

#include "vectorstore/store_internal.h"

#define HOLDS_AT_ONCE 256U
#define HOLDS_MAX 20000
#define TARGET_BYTES 16384U

enum status holds_load(struct store *s, struct error *err)
{
    bool known = false;
    int64_t n = 0;
    enum status st = catalogue_holds(s->writer, &known, &n, err);
    if (st == STATUS_OK) {
        atomic_store(&s->holds_known, known);
        atomic_store(&s->holds_any, n > 0);
    }
    return st;
}

bool holds_keep(const struct store *s)
{
    return atomic_load(&s->holds_any) || !atomic_load(&s->holds_known);
}

static enum status check(const Vs__HoldVersionsRequest *m, struct error *err)
{
    bool good = m->n_holds <= HOLDS_AT_ONCE;
    for (size_t i = 0; i < m->n_holds && good; i++) {
        const Vs__HoldVersionsRequest__Hold *h = m->holds[i];
        good = h->target.len > 0 && h->target.len <= TARGET_BYTES && h->id[0] != '\0' &&
               strlen(h->id) < ID_CAP &&
               h->kind >= VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__DOCUMENT &&
               h->kind <= VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__COLLECTION;
    }
    return good ? STATUS_OK
                : error_set(err, STATUS_INVALID,
                            "holds: at most %u at once, each with an id, a kind and a target",
                            HOLDS_AT_ONCE);
}

static enum status write_holds(struct store *s, const Vs__HoldVersionsRequest *m, struct error *err)
{
    struct catalogue_state state;
    int64_t round = (int64_t)m->round;
    int64_t n = 0;
    bool known = false;
    enum status st = catalogue_begin_write(s->writer, &state, err);
    for (size_t i = 0; i < m->n_holds && st == STATUS_OK; i++) {
        const Vs__HoldVersionsRequest__Hold *h = m->holds[i];
        st = catalogue_hold_set(
            s->writer, h->id, (enum hold_target)h->kind,
            (struct str){.ptr = (const char *)h->target.data, .len = h->target.len}, round, err);
    }
    if (st == STATUS_OK && m->has_complete && m->complete) {
        st = catalogue_holds_lift(s->writer, round, err);
        if (st == STATUS_OK) {
            st = catalogue_holds_known(s->writer, true, err);
        }
    }
    if (st == STATUS_OK) {
        st = catalogue_holds(s->writer, &known, &n, err);
    }
    if (st == STATUS_OK && n > HOLDS_MAX) {
        st = error_set(err, STATUS_TOO_LARGE, "more than %d holds", HOLDS_MAX);
    }
    if (st == STATUS_OK) {
        st = catalogue_commit(s->writer, &state, err);
    }
    catalogue_end(s->writer);
    return st;
}

enum status store_hold_versions(struct store *s, const Vs__HoldVersionsRequest *m,
                                Vs__HoldVersionsReply *out, struct error *err)
{
    bool known = false;
    int64_t n = 0;
    enum status st = check(m, err);
    if (st == STATUS_OK) {
        st = catalogue_holds(s->writer, &known, &n, err);
    }
    bool same = m->n_holds == 0 && n == 0 && known; /* as at nearly every start: nothing to write */
    if (st == STATUS_OK && !same) {
        st = write_holds(s, m, err);
        s->passed = (struct version_key){.no = 0};
    }
    if (st == STATUS_OK) {
        st = holds_load(s, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_holds(s->writer, &known, &n, err);
    }
    if (st == STATUS_OK) {
        out->holds = (uint32_t)n;
    }
    return st;
}
