/* How the catalogue's files run statements. Only they include this. */
#ifndef CARREL_VECTORSTORE_CATALOGUE_QUERY_H
#define CARREL_VECTORSTORE_CATALOGUE_QUERY_H

#include "base/db.h"
#include "vectorstore/catalogue.h"
#include "vectorstore/catalogue_sql.h"

enum statement {
#define AS_ENUM(name, sql) Q_##name,
    CATALOGUE_STATEMENTS(AS_ENUM)
#undef AS_ENUM
        Q_COUNT
};

extern const char *const catalogue_statements[Q_COUNT];

struct catalogue {
    sqlite3 *db;
    bool in_transaction;
    sqlite3_stmt *prepared[Q_COUNT];
};

/* A statement in use: prepared at first need, bound in order, always reset by done(). */
struct query {
    struct catalogue *c;
    sqlite3_stmt *st;
    enum status s;
    struct error *err;
    int at;
};

static inline struct query query(struct catalogue *c, enum statement which, struct error *err)
{
    struct query q = {.c = c, .err = err};
    if (c->prepared[which] == NULL) {
        q.s = db_prepare(c->db, catalogue_statements[which], &c->prepared[which], err);
    }
    q.st = c->prepared[which];
    return q;
}

static inline void bound(struct query *q, int rc)
{
    if (rc != SQLITE_OK) {
        q->s = db_error(q->c->db, q->err, "store: binding");
    }
}

static inline void put_int(struct query *q, int64_t v)
{
    if (q->s == STATUS_OK) {
        bound(q, sqlite3_bind_int64(q->st, ++q->at, v));
    }
}

static inline void put_blob(struct query *q, struct str v)
{
    if (q->s == STATUS_OK) {
        bound(q,
              sqlite3_bind_blob64(q->st, ++q->at, v.len == 0 ? "" : v.ptr, v.len, SQLITE_STATIC));
    }
}

static inline void put_text(struct query *q, struct str v)
{
    if (q->s == STATUS_OK) {
        bound(q, sqlite3_bind_text64(q->st, ++q->at, v.len == 0 ? "" : v.ptr, v.len, SQLITE_STATIC,
                                     SQLITE_UTF8));
    }
}

static inline void put_z(struct query *q, const char *v)
{
    put_text(q, str_from(v == NULL ? "" : v));
}

static inline void put_null(struct query *q)
{
    if (q->s == STATUS_OK) {
        bound(q, sqlite3_bind_null(q->st, ++q->at));
    }
}

static inline void put_maybe(struct query *q, bool there, int64_t v)
{
    if (there) {
        put_int(q, v);
    } else {
        put_null(q);
    }
}

static inline void put_bytes(struct query *q, const void *p, size_t n)
{
    put_blob(q, (struct str){.ptr = p, .len = n});
}

static inline bool next(struct query *q)
{
    bool row = false;
    if (q->s == STATUS_OK) {
        q->s = db_row(q->st, &row, q->err);
    }
    return q->s == STATUS_OK && row;
}

static inline enum status done(struct query *q)
{
    if (q->st != NULL) {
        db_reset(q->st);
    }
    return q->s;
}

static inline enum status run(struct query *q)
{
    while (next(q)) {
    }
    return done(q);
}

static inline int64_t col_int(const struct query *q, int col)
{
    return sqlite3_column_int64(q->st, col);
}

static inline uint32_t col_u32(const struct query *q, int col)
{
    int64_t v = sqlite3_column_int64(q->st, col);
    return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static inline struct str col_copy(struct query *q, int col, struct arena *a)
{
    struct str v = db_column(q->st, col);
    char *copy = arena_strndup(a, v.ptr, v.len);
    if (copy == NULL) {
        q->s = error_set(q->err, STATUS_NO_MEMORY,
                         "store: a row is too large for this request's memory");
        return STR("");
    }
    return (struct str){.ptr = copy, .len = v.len};
}

static inline enum status run_int(struct catalogue *c, enum statement which, int64_t v,
                                  struct error *err)
{
    struct query q = query(c, which, err);
    put_int(&q, v);
    return run(&q);
}

static inline enum status one_int(struct query *q, int64_t *out)
{
    if (next(q)) {
        *out = col_int(q, 0);
    }
    return done(q);
}

#endif
