/* Versions of documents: how they begin and end, how long they are kept, and the two calls that
 * show them. A content that lost its last location stays as long as a version names it (content.c).
 */
#include <string.h>

#include "base/clock.h"
#include "vectorstore/store_internal.h"

#define EXPIRED_AT_ONCE 128U
#define TOUCHED_KEPT 8192
#define TOUCHED_SLACK 8192
#define HOUR_MS 3600000
#define MINUTE_MS 60000

/* In the writer's transaction: the versions that no hold keeps go, and what only they kept. */
static enum status forget(struct store *s, struct catalogue_state *state,
                          const struct version_key *keys, size_t n, struct error *err)
{
    enum status st = STATUS_OK;
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        st = keys[i].hold[0] != '\0' ? STATUS_OK
                                     : catalogue_version_delete(s->writer, keys[i].no, err);
    }
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        if (keys[i].content != 0 && keys[i].hold[0] == '\0') {
            st = content_unlocated(s, state, keys[i].content, err);
        }
    }
    return st;
}

enum status version_begin(struct store *s, struct catalogue_state *state, const struct location *l,
                          const uint8_t *hash, struct error *err)
{
    struct version_key old[16];
    size_t n = 0;
    enum status st = catalogue_version(s->writer, l, hash, clock_wall_ms(), err);
    if (st == STATUS_OK && atomic_load(&s->holds_known)) {
        st =
            catalogue_versions_excess(s->writer, l->document, STORE_VERSIONS_MAX, old, 16, &n, err);
    }
    return st == STATUS_OK ? forget(s, state, old, n, err) : st;
}

/* The log of changes: readers that are further behind fill their table anew. */
static enum status prune_log(struct store *s, bool *changed, struct error *err)
{
    int64_t first = 0;
    int64_t last = 0;
    enum status st = catalogue_touched_range(s->writer, &first, &last, err);
    if (st == STATUS_OK && last - first > TOUCHED_KEPT + TOUCHED_SLACK) {
        *changed = true;
        st = catalogue_touched_prune(s->writer, last - TOUCHED_KEPT, err);
    }
    return st;
}

/* The next expired versions. Held ones are passed over, not read again at every step: a hold may be
 * over a million of them. Lifting one begins anew, and so does an hour, in which a document may
 * have moved out of a folder that is held. */
static enum status expired(struct store *s, int64_t now, int64_t before, struct version_key *old,
                           size_t *n, size_t *n_held, struct error *err)
{
    if (now - s->passed_since_ms >= HOUR_MS || now < s->passed_since_ms) {
        s->passed = (struct version_key){.no = 0};
        s->passed_since_ms = now;
    }
    *n_held = 0;
    enum status st =
        catalogue_versions_expired(s->writer, before, &s->passed, old, EXPIRED_AT_ONCE, n, err);
    for (size_t i = 0; i < *n && st == STATUS_OK; i++) {
        *n_held += old[i].hold[0] != '\0' ? 1 : 0;
    }
    if (st == STATUS_OK && *n_held > 0) {
        s->passed = old[*n - 1];
    }
    return st;
}

enum status maintain_versions(struct store *s, int64_t now_wall_ms, bool *more, struct error *err)
{
    struct catalogue_state state;
    struct version_key old[EXPIRED_AT_ONCE];
    size_t n = 0;
    size_t held = 0;
    bool changed = false;
    int64_t before = now_wall_ms - atomic_load(&s->retain_ms);
    enum status st = catalogue_begin_write(s->writer, &state, err);
    if (st == STATUS_OK && atomic_load(&s->holds_known)) {
        st = expired(s, now_wall_ms, before, old, &n, &held, err);
    }
    if (st == STATUS_OK && n > held) {
        st = forget(s, &state, old, n, err);
    }
    if (st == STATUS_OK) {
        st = prune_log(s, &changed, err);
    }
    /* moves on with the clock alone, so that it tells nothing of anyone's documents */
    int64_t slack = before == now_wall_ms ? MINUTE_MS : HOUR_MS; /* nothing kept: nearly now */
    if (st == STATUS_OK && before > state.versions_from + slack) {
        state.versions_from = before;
        changed = true;
    }
    if (st == STATUS_OK && (changed || n > held)) {
        st = catalogue_commit(s->writer, &state, err);
    }
    catalogue_end(s->writer);
    *more = st == STATUS_OK && (n > held || n == EXPIRED_AT_ONCE);
    return st;
}

/* From when on what stood is told to everybody. */
static int64_t kept_from(struct store *s, const struct catalogue_state *state)
{
    int64_t from = clock_wall_ms() - atomic_load(&s->retain_ms);
    return from > state->versions_from ? from : state->versions_from;
}

/* That there is a hold, and on what, is told to nobody else. */
static bool sees_held(const struct asker *who)
{
    return who->caller == NULL || who->caller->admin;
}

enum status version_time_check(struct store *s, const struct catalogue_state *state,
                               const struct asker *who, const int64_t *as_of, struct error *err)
{
    int64_t retain = atomic_load(&s->retain_ms);
    int64_t from = kept_from(s, state);
    if (as_of == NULL || (atomic_load(&s->holds_any) && sees_held(who))) {
        return STATUS_OK;
    }
    if (retain == 0) {
        return error_set(err, STATUS_INVALID,
                         "as_of: earlier versions are not kept (store.retain_versions_days is 0)");
    }
    if (*as_of < from) {
        return error_set(err, STATUS_INVALID,
                         "as_of: versions are kept from %lld (milliseconds since 1970) on; "
                         "store.retain_versions_days sets how long",
                         (long long)from);
    }
    return STATUS_OK;
}

enum status filter_check(struct store *s, const struct catalogue_state *state,
                         const struct asker *who, const Vs__Filter *filter, struct error *err)
{
    enum status st = access_check(filter, err);
    if (st == STATUS_OK && filter != NULL && filter->has_as_of_ms) {
        st = version_time_check(s, state, who, &filter->as_of_ms, err);
    }
    return st;
}

/* ---- the calls ---- */

enum status store_facets(struct store *s, const struct asker *who, const Vs__FacetsRequest *m,
                         struct arena *a, Vs__FacetsReply *out, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    uint32_t limit = m->has_limit && m->limit > 0 ? m->limit : 100;
    vs__facets_reply__init(out);
    enum status st = limit > 256 ? error_set(err, STATUS_INVALID,
                                             "facets: at most 256 values of a kind are counted")
                                 : reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = filter_check(s, &state, who, m->filter, err);
    }
    if (st == STATUS_OK) {
        st = rights_facets(s->rights, r->db, &state, who->caller, m->filter, limit, a, out, err);
    }
    reader_give(s, r);
    return st;
}

struct listing {
    struct arena *a;
    int64_t from_ms; /* what ended before is not told */
    Vs__ListVersionsReply *out;
};

static enum status list_version(const struct version *v, void *data, struct error *err)
{
    struct listing *l = data;
    struct arena *a = l->a;
    if (v->to_ms < l->from_ms) {
        return STATUS_OK;
    }
    Vs__Version *m = arena_alloc(a, sizeof *m);
    if (m == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    vs__version__init(m);
    m->valid_from_ms = v->from_ms;
    m->has_valid_to_ms = v->to_ms != INT64_MAX;
    m->valid_to_ms = m->has_valid_to_ms ? v->to_ms : 0;
    m->hash = (ProtobufCBinaryData){
        .data = (uint8_t *)arena_strndup(a, (const char *)v->hash, SHA256_BYTES),
        .len = SHA256_BYTES};
    m->path = (ProtobufCBinaryData){.data = (uint8_t *)arena_strndup(a, v->path.ptr, v->path.len),
                                    .len = v->path.len};
    m->title = arena_strdup(a, v->title);
    m->collection = arena_strdup(a, v->collection);
    m->label = arena_strdup(a, v->label);
    m->has_date_wall_ms = true;
    m->date_wall_ms = v->date_ms;
    m->stored = v->stored;
    if (m->hash.data == NULL || m->path.data == NULL || m->title == NULL || m->collection == NULL ||
        m->label == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    l->out->versions[l->out->n_versions++] = m;
    return location_list(v->tags, a, &m->n_tags, &m->tags, err);
}

enum status store_list_versions(struct store *s, const struct asker *who,
                                const Vs__ListVersionsRequest *m, struct arena *a,
                                Vs__ListVersionsReply *out, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct location l;
    struct listing listing = {.a = a, .out = out};
    uint32_t limit = m->has_limit && m->limit > 0 ? m->limit : 100;
    vs__list_versions_reply__init(out);
    if (limit > 1000) {
        return error_set(err, STATUS_INVALID, "at most 1000 versions are listed at once");
    }
    out->versions = arena_array(a, (size_t)limit + 1, sizeof *out->versions);
    enum status st = out->versions == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                           : reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = document_asked(r->db, who, m->document, a, &l, err);
    }
    if (st == STATUS_OK) {
        listing.from_ms = sees_held(who) ? INT64_MIN : kept_from(s, &state);
        st = catalogue_versions_of(r->db, m->document, limit, list_version, &listing, err);
    }
    if (st == STATUS_OK && out->n_versions == 0) { /* all forgotten: as one that never was */
        st = error_set(err, STATUS_NOT_FOUND, "no such document is stored");
    }
    reader_give(s, r);
    return st;
}
