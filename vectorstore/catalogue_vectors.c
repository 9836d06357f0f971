#include "vectorstore/catalogue.h"

#include "vectorstore/catalogue_query.h"

/* ---- encoders and vectors ---- */

static enum status encoder_row(struct query *q, struct arena *a, struct encoder *out)
{
    struct encoder e = {0};
    if (next(q)) {
        e = (struct encoder){.pk = col_int(q, 0),
                             .name = col_copy(q, 1, a).ptr,
                             .dimensions = col_u32(q, 2),
                             .fitted_on = col_u32(q, 3),
                             .state = (enum encoder_state)col_u32(q, 4),
                             .vectors = col_int(q, 5),
                             .retired_ms = col_int(q, 6),
                             .intent = (enum encoder_intent)col_u32(q, 7),
                             .comparison = col_copy(q, 8, a),
                             .fitted_to = col_int(q, 9),
                             .fitted_contents = col_int(q, 10)};
    } else if (q->s == STATUS_OK) {
        q->s = error_set(q->err, STATUS_NOT_FOUND, "no such encoder is stored");
    }
    if (q->s == STATUS_OK) {
        *out = e;
    }
    return done(q);
}

enum status catalogue_encoder_by_name(struct catalogue *c, struct str name, struct arena *a,
                                      struct encoder *out, struct error *err)
{
    struct query q = query(c, Q_ENCODER_BY_NAME, err);
    put_text(&q, name);
    return encoder_row(&q, a, out);
}

enum status catalogue_encoder_by_state(struct catalogue *c, enum encoder_state state,
                                       struct arena *a, struct encoder *out, struct error *err)
{
    struct query q = query(c, Q_ENCODER_BY_STATE, err);
    put_int(&q, (int64_t)state);
    return encoder_row(&q, a, out);
}

enum status catalogue_encoder_after(struct catalogue *c, int64_t pk, struct arena *a,
                                    struct encoder *out, struct error *err)
{
    struct query q = query(c, Q_ENCODER_AFTER, err);
    put_int(&q, pk);
    return encoder_row(&q, a, out);
}

enum status catalogue_encoder_add(struct catalogue *c, const struct encoder *in, struct error *err)
{
    struct query q = query(c, Q_ENCODER_ADD, err);
    put_z(&q, in->name);
    put_int(&q, in->dimensions);
    put_int(&q, in->fitted_on);
    put_int(&q, (int64_t)in->state);
    put_int(&q, (int64_t)in->intent);
    return run(&q);
}

enum status catalogue_encoder_set(struct catalogue *c, const struct encoder *in, struct error *err)
{
    struct query q = query(c, Q_ENCODER_SET, err);
    put_int(&q, in->pk);
    put_int(&q, (int64_t)in->state);
    put_int(&q, in->retired_ms);
    put_int(&q, in->fitted_on);
    put_int(&q, (int64_t)in->intent);
    return run(&q);
}

enum status catalogue_encoder_fitted(struct catalogue *c, const char *name, int64_t to,
                                     int64_t contents, struct error *err)
{
    struct query q = query(c, Q_ENCODER_FITTED, err);
    put_z(&q, name);
    put_int(&q, to);
    put_int(&q, contents);
    return run(&q);
}

enum status catalogue_contents_ever(struct catalogue *c, int64_t *last, struct error *err)
{
    struct query q = query(c, Q_CONTENTS_EVER, err);
    if (next(&q)) {
        *last = col_int(&q, 0);
    }
    return done(&q);
}

enum status catalogue_contents_to(struct catalogue *c, int64_t last, int64_t *all, int64_t *alive,
                                  struct error *err)
{
    struct query q = query(c, Q_CONTENTS_TO, err);
    put_int(&q, last);
    if (next(&q)) {
        *all = col_int(&q, 0);
        *alive = col_int(&q, 1);
    }
    return done(&q);
}

enum status catalogue_encoder_compared(struct catalogue *c, int64_t encoder, struct str packed,
                                       struct error *err)
{
    struct query q = query(c, Q_ENCODER_COMPARED, err);
    put_int(&q, encoder);
    put_blob(&q, packed);
    return run(&q);
}

enum status catalogue_encoder_count(struct catalogue *c, int64_t encoder, int64_t delta,
                                    struct error *err)
{
    struct query q = query(c, Q_ENCODER_COUNT, err);
    put_int(&q, encoder);
    put_int(&q, delta);
    return run(&q);
}

enum status catalogue_encoder_delete(struct catalogue *c, int64_t encoder, struct error *err)
{
    enum status s = run_int(c, Q_CONTENT_ENCODERS_FORGET, encoder, err);
    return s == STATUS_OK ? run_int(c, Q_ENCODER_DELETE, encoder, err) : s;
}

enum status catalogue_vector_add(struct catalogue *c, int64_t encoder, int64_t seq, chunk_no chunk,
                                 struct str vector, bool *added, struct error *err)
{
    struct query q = query(c, Q_VECTOR_ADD, err);
    put_int(&q, encoder);
    put_int(&q, seq);
    put_int(&q, chunk);
    put_blob(&q, vector);
    enum status s = run(&q);
    if (s == STATUS_OK) {
        *added = sqlite3_changes(c->db) > 0;
    }
    return s;
}

enum status catalogue_vectors_between(struct catalogue *c, int64_t encoder, int64_t after,
                                      int64_t until, vector_visit visit, void *data,
                                      struct error *err)
{
    struct query q = query(c, Q_VECTORS_BETWEEN, err);
    put_int(&q, encoder);
    put_int(&q, after);
    put_int(&q, until);
    while (next(&q)) {
        q.s = visit(col_int(&q, 0), col_u32(&q, 1), db_column(q.st, 2), data, err);
    }
    return done(&q);
}

enum status catalogue_vectors_count(struct catalogue *c, int64_t encoder, int64_t after,
                                    int64_t until, int64_t *n, int64_t *last, struct error *err)
{
    struct query q = query(c, Q_VECTORS_COUNT_BETWEEN, err);
    put_int(&q, encoder);
    put_int(&q, after);
    put_int(&q, until);
    if (next(&q)) {
        *n = col_int(&q, 0);
        *last = *n == 0 ? after : col_int(&q, 1);
    }
    return done(&q);
}

enum status catalogue_vectors_delete_chunk(struct catalogue *c, chunk_no chunk, struct error *err)
{
    for (;;) {
        struct query find = query(c, Q_VECTORS_OF_CHUNK, err);
        put_int(&find, chunk);
        bool row = next(&find);
        int64_t encoder = row ? col_int(&find, 0) : 0;
        int64_t seq = row ? col_int(&find, 1) : 0;
        enum status s = done(&find);
        if (s != STATUS_OK || !row) {
            return s;
        }
        struct query q = query(c, Q_VECTOR_DELETE, err);
        put_int(&q, encoder);
        put_int(&q, seq);
        s = run(&q);
        if (s != STATUS_OK) {
            return s;
        }
    }
}

enum status catalogue_vectors_delete_some(struct catalogue *c, int64_t encoder, uint32_t limit,
                                          int64_t *n, struct error *err)
{
    struct query q = query(c, Q_VECTORS_DELETE_SOME, err);
    put_int(&q, encoder);
    put_int(&q, limit);
    enum status s = run(&q);
    if (s == STATUS_OK) {
        *n = sqlite3_changes(c->db);
    }
    return s;
}

enum status catalogue_content_encoder_add(struct catalogue *c, int64_t content, int64_t encoder,
                                          int64_t n, struct error *err)
{
    struct query q = query(c, Q_CONTENT_ENCODER_ADD, err);
    put_int(&q, content);
    put_int(&q, encoder);
    put_int(&q, n);
    return run(&q);
}

enum status catalogue_content_encoders_count(struct catalogue *c, int64_t content, int sign,
                                             struct error *err)
{
    struct query q = query(c, Q_CONTENT_ENCODERS, err);
    put_int(&q, content);
    while (next(&q)) {
        q.s = catalogue_encoder_count(c, col_int(&q, 0), sign * col_int(&q, 1), err);
    }
    return done(&q);
}

enum status catalogue_content_encoders_delete(struct catalogue *c, int64_t content,
                                              struct error *err)
{
    return run_int(c, Q_CONTENT_ENCODERS_DELETE, content, err);
}

enum status catalogue_missing(struct catalogue *c, int64_t encoder, int64_t *n, struct error *err)
{
    struct query q = query(c, Q_MISSING_COUNT, err);
    put_int(&q, encoder);
    return one_int(&q, n);
}

enum status catalogue_vectors_check(struct catalogue *c, int64_t encoder, int64_t *stray,
                                    int64_t *counted, struct error *err)
{
    struct query q = query(c, Q_VECTORS_STRAY, err);
    enum status s = one_int(&q, stray);
    if (s == STATUS_OK) {
        struct query k = query(c, Q_VECTORS_COUNTED, err);
        put_int(&k, encoder);
        s = one_int(&k, counted);
    }
    return s;
}
