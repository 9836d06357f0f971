/* Versions, the places they make, and the log of what changed about them. */
#include <string.h>

#include "vectorstore/catalogue_query.h"

#define ROW_ARENA ((size_t)1024 * 1024)

/* ---- versions ---- */

enum status catalogue_version_recut(struct catalogue *c, const char *document, int64_t from,
                                    int64_t to, struct error *err)
{
    struct query q = query(c, Q_VERSION_RECUT, err);
    put_z(&q, document);
    put_int(&q, from);
    put_int(&q, to);
    return run(&q);
}

enum status catalogue_version(struct catalogue *c, const struct location *l, const uint8_t *hash,
                              int64_t now_ms, struct error *err)
{
    int64_t last = 0;
    struct query before = query(c, Q_VERSION_LAST, err);
    put_z(&before, l->document);
    enum status s = one_int(&before, &last);
    int64_t at = now_ms > last ? now_ms : last; /* clocks are set back at times */
    if (s == STATUS_OK) {
        struct query close = query(c, Q_VERSION_CLOSE, err);
        put_z(&close, l->document);
        put_int(&close, at);
        s = run(&close);
    }
    if (s == STATUS_OK && hash != NULL) {
        struct query open = query(c, Q_VERSION_OPEN, err);
        put_z(&open, l->document);
        put_int(&open, at);
        put_int(&open, (int64_t)l->sequence);
        put_bytes(&open, hash, SHA256_BYTES);
        put_blob(&open, l->path);
        put_int(&open, l->content);
        put_z(&open, l->collection);
        put_z(&open, l->label);
        put_blob(&open, l->tags);
        put_maybe(&open, l->dated, l->date_ms);
        put_int(&open, l->modified_ms);
        s = run(&open);
    }
    return s;
}

/* A row of VERSION_KEY_COLUMNS. Held is what a hold names as it was then, or as its document stands
 * now. */
static void version_key(struct query *q, bool any_hold, struct version_key *k)
{
    *k =
        (struct version_key){.no = col_int(q, 0), .content = col_int(q, 1), .to_ms = col_int(q, 2)};
    if (any_hold) {
        q->s = catalogue_held(q->c, db_column(q->st, 3), db_column(q->st, 4), db_column(q->st, 5),
                              k->hold, q->err);
    }
    if (any_hold && k->hold[0] == '\0' && q->s == STATUS_OK) {
        q->s = catalogue_held(q->c, STR(""), db_column(q->st, 6), db_column(q->st, 7), k->hold,
                              q->err);
    }
}

static enum status version_keys(struct query *q, struct version_key *out, size_t cap, size_t *n)
{
    bool known = false;
    int64_t holds = 0;
    enum status s = catalogue_holds(q->c, &known, &holds, q->err);
    q->s = q->s == STATUS_OK ? s : q->s;
    *n = 0;
    while (*n < cap && next(q)) {
        version_key(q, holds > 0, &out[(*n)++]);
    }
    return done(q);
}

static enum status visit_held(struct query *q, held_visit visit, void *data)
{
    bool known = false;
    int64_t holds = 0;
    enum status s = catalogue_holds(q->c, &known, &holds, q->err);
    q->s = q->s == STATUS_OK ? s : q->s;
    while (holds > 0 && next(q)) {
        struct version_key k;
        version_key(q, true, &k);
        if (q->s == STATUS_OK && k.hold[0] != '\0') {
            q->s = visit(db_column(q->st, 3), db_column(q->st, 4), k.hold, data, q->err);
        }
    }
    return done(q);
}

enum status catalogue_held_of(struct catalogue *c, const char *document, held_visit visit,
                              void *data, struct error *err)
{
    struct query q = query(c, Q_VERSION_KEYS_OF, err);
    put_z(&q, document);
    return visit_held(&q, visit, data);
}

enum status catalogue_held_elsewhere(struct catalogue *c, int64_t content, const char *document,
                                     held_visit visit, void *data, struct error *err)
{
    struct query q = query(c, Q_VERSION_KEYS_ELSEWHERE, err);
    put_int(&q, content);
    put_z(&q, document);
    return visit_held(&q, visit, data);
}

enum status catalogue_versions_excess(struct catalogue *c, const char *document, uint32_t keep,
                                      struct version_key *out, size_t cap, size_t *n,
                                      struct error *err)
{
    struct query q = query(c, Q_VERSION_EXCESS, err);
    put_z(&q, document);
    put_int(&q, keep);
    return version_keys(&q, out, cap, n);
}

enum status catalogue_versions_expired(struct catalogue *c, int64_t before_ms,
                                       const struct version_key *after, struct version_key *out,
                                       size_t cap, size_t *n, struct error *err)
{
    struct query q = query(c, Q_VERSION_EXPIRED, err);
    put_int(&q, before_ms);
    put_int(&q, after->to_ms);
    put_int(&q, after->no);
    put_int(&q, (int64_t)cap);
    return version_keys(&q, out, cap, n);
}

enum status catalogue_version_delete(struct catalogue *c, int64_t no, struct error *err)
{
    return run_int(c, Q_VERSION_DELETE, no, err);
}

enum status catalogue_content_versioned(struct catalogue *c, int64_t content, bool *any,
                                        struct error *err)
{
    struct query q = query(c, Q_VERSION_ANY, err);
    put_int(&q, content);
    *any = next(&q);
    return done(&q);
}

enum status catalogue_versions_of(struct catalogue *c, const char *document, uint32_t limit,
                                  version_visit visit, void *data, struct error *err)
{
    struct arena a;
    arena_init(&a, ROW_ARENA);
    struct query q = query(c, Q_VERSIONS_OF, err);
    put_z(&q, document);
    put_int(&q, limit);
    while (next(&q)) {
        struct version v = {.from_ms = col_int(&q, 0), .to_ms = col_int(&q, 1)};
        struct str hash = db_column(q.st, 2);
        v.path = col_copy(&q, 3, &a);
        v.title = col_copy(&q, 4, &a).ptr;
        v.collection = col_copy(&q, 5, &a).ptr;
        v.label = col_copy(&q, 6, &a).ptr;
        v.tags = col_copy(&q, 7, &a);
        v.date_ms = col_int(&q, 8);
        v.stored = col_int(&q, 9) != 0;
        if (q.s == STATUS_OK && hash.len != SHA256_BYTES) {
            q.s = error_set(err, STATUS_CORRUPT, "store.db: a damaged row of versions");
        }
        if (q.s == STATUS_OK) {
            memcpy(v.hash, hash.ptr, hash.len);
            q.s = visit(&v, data, err);
        }
        arena_reset(&a);
    }
    arena_reset(&a);
    return done(&q);
}

/* ---- places ---- */

static void place_columns(struct query *q, struct arena *a, struct doc_place *out)
{
    out->content = col_int(q, 0);
    out->document = col_copy(q, 1, a).ptr;
    out->path = col_copy(q, 2, a);
    out->collection = col_copy(q, 3, a).ptr;
    out->label = col_copy(q, 4, a).ptr;
    out->tags = col_copy(q, 5, a);
    out->date_ms = col_int(q, 6);
    out->from_ms = col_int(q, 7);
    out->to_ms = col_int(q, 8);
    out->readers = col_copy(q, 9, a);
    out->excluded = col_int(q, 10) != 0;
    out->label_now = col_copy(q, 11, a).ptr;
    out->language = col_copy(q, 12, a).ptr;
    out->format = col_copy(q, 13, a).ptr;
    out->current = col_int(q, 14) != 0;
    out->author = col_copy(q, 15, a).ptr;
    out->pages = col_u32(q, 16);
    out->hash = hash_head(db_column(q->st, 17).ptr, db_column(q->st, 17).len);
}

enum status catalogue_places(struct catalogue *c, int64_t content, place_visit visit, void *data,
                             struct error *err)
{
    struct arena a;
    arena_init(&a, ROW_ARENA);
    struct query q = query(c, content == 0 ? Q_PLACES_ALL : Q_PLACES_OF, err);
    if (content != 0) {
        put_int(&q, content);
    }
    while (next(&q)) {
        struct doc_place p = {0};
        place_columns(&q, &a, &p);
        if (q.s == STATUS_OK) {
            q.s = visit(&p, data, err);
        }
        arena_reset(&a);
    }
    arena_reset(&a);
    return done(&q);
}

static enum status place_row(struct query *q, struct arena *a, struct doc_place *out)
{
    struct doc_place p = {0};
    if (next(q)) {
        place_columns(q, a, &p);
    } else if (q->s == STATUS_OK) {
        q->s = error_set(q->err, STATUS_NOT_FOUND, "no such document is stored");
    }
    if (q->s == STATUS_OK) {
        *out = p;
    }
    return done(q);
}

enum status catalogue_place_at(struct catalogue *c, struct str document, int64_t when_ms,
                               struct arena *a, struct doc_place *out, struct error *err)
{
    struct query q = query(c, Q_PLACE_AT, err);
    put_text(&q, document);
    put_int(&q, when_ms);
    return place_row(&q, a, out);
}

enum status catalogue_place_after(struct catalogue *c, struct str document, int64_t when_ms,
                                  struct arena *a, struct doc_place *out, struct error *err)
{
    struct query q = query(c, Q_PLACE_AFTER_AT, err);
    put_text(&q, document);
    put_int(&q, when_ms);
    return place_row(&q, a, out);
}

enum status catalogue_spans(struct catalogue *c, int64_t content, content_span_visit visit,
                            void *data, struct error *err)
{
    struct query q = query(c, content == 0 ? Q_SPANS_EACH : Q_SPANS_OF, err);
    if (content != 0) {
        put_int(&q, content);
    }
    while (next(&q)) {
        q.s = visit(col_int(&q, 0), col_u32(&q, 1), col_u32(&q, 2), data, err);
    }
    return done(&q);
}

/* ---- the log of changes ---- */

enum status catalogue_touched_range(struct catalogue *c, int64_t *first, int64_t *last,
                                    struct error *err)
{
    struct query q = query(c, Q_TOUCHED_RANGE, err);
    if (next(&q)) {
        *first = col_int(&q, 0);
        *last = col_int(&q, 1);
    }
    return done(&q);
}

enum status catalogue_touched_since(struct catalogue *c, int64_t seq, touched_visit visit,
                                    void *data, struct error *err)
{
    struct query q = query(c, Q_TOUCHED_SINCE, err);
    put_int(&q, seq);
    while (next(&q)) {
        q.s = visit(col_int(&q, 0), data, err);
    }
    return done(&q);
}

enum status catalogue_touched_prune(struct catalogue *c, int64_t below, struct error *err)
{
    return run_int(c, Q_TOUCHED_PRUNE, below, err);
}
