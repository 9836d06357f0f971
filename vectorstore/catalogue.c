#include "vectorstore/catalogue.h"

#include <stdlib.h>
#include <string.h>

#include "base/db.h"
#include "vectorstore/catalogue_sql.h"

#define BLOCKS_A_TERM ((int64_t)1 << 20)
#define GRAMS_A_PAGE 1024U

enum statement {
#define AS_ENUM(name, sql) Q_##name,
    CATALOGUE_STATEMENTS(AS_ENUM)
#undef AS_ENUM
        Q_COUNT
};

static const char *const statement_sql[Q_COUNT] = {
#define AS_SQL(name, sql) [Q_##name] = sql,
    CATALOGUE_STATEMENTS(AS_SQL)
#undef AS_SQL
};

static const struct db_migration migrations[] = {{1, CATALOGUE_SCHEMA_1}};

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

static struct query query(struct catalogue *c, enum statement which, struct error *err)
{
    struct query q = {.c = c, .err = err};
    if (c->prepared[which] == NULL) {
        q.s = db_prepare(c->db, statement_sql[which], &c->prepared[which], err);
    }
    q.st = c->prepared[which];
    return q;
}

static void bound(struct query *q, int rc)
{
    if (rc != SQLITE_OK) {
        q->s = db_error(q->c->db, q->err, "store: binding");
    }
}

static void put_int(struct query *q, int64_t v)
{
    if (q->s == STATUS_OK) {
        bound(q, sqlite3_bind_int64(q->st, ++q->at, v));
    }
}

static void put_blob(struct query *q, struct str v)
{
    if (q->s == STATUS_OK) {
        bound(q, sqlite3_bind_blob64(q->st, ++q->at, v.len == 0 ? "" : v.ptr, v.len, SQLITE_STATIC));
    }
}

static void put_text(struct query *q, struct str v)
{
    if (q->s == STATUS_OK) {
        bound(q, sqlite3_bind_text64(q->st, ++q->at, v.len == 0 ? "" : v.ptr, v.len, SQLITE_STATIC, SQLITE_UTF8));
    }
}

static void put_z(struct query *q, const char *v)
{
    put_text(q, str_from(v == NULL ? "" : v));
}

static void put_null(struct query *q)
{
    if (q->s == STATUS_OK) {
        bound(q, sqlite3_bind_null(q->st, ++q->at));
    }
}

static void put_bytes(struct query *q, const void *p, size_t n)
{
    put_blob(q, (struct str){.ptr = p, .len = n});
}

static bool next(struct query *q)
{
    bool row = false;
    if (q->s == STATUS_OK) {
        q->s = db_row(q->st, &row, q->err);
    }
    return q->s == STATUS_OK && row;
}

static enum status done(struct query *q)
{
    if (q->st != NULL) {
        db_reset(q->st);
    }
    return q->s;
}

static enum status run(struct query *q)
{
    while (next(q)) {
    }
    return done(q);
}

static int64_t col_int(const struct query *q, int col)
{
    return sqlite3_column_int64(q->st, col);
}

static uint32_t col_u32(const struct query *q, int col)
{
    int64_t v = sqlite3_column_int64(q->st, col);
    return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static struct str col_copy(struct query *q, int col, struct arena *a)
{
    struct str v = db_column(q->st, col);
    char *copy = arena_strndup(a, v.ptr, v.len);
    if (copy == NULL) {
        q->s = error_set(q->err, STATUS_NO_MEMORY, "store: a row is too large for this request's memory");
        return STR("");
    }
    return (struct str){.ptr = copy, .len = v.len};
}

/* ---- life ---- */

enum status catalogue_open(const char *path, bool writer, struct catalogue **out, struct error *err)
{
    struct catalogue *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    enum status s = db_open(path, writer ? DB_CREATE : DB_READONLY, migrations,
                            sizeof migrations / sizeof migrations[0], &c->db, err);
    if (s == STATUS_OK) {
        s = db_exec(c->db, writer ? "PRAGMA cache_size=-4096; PRAGMA wal_autocheckpoint=1000"
                                  : "PRAGMA cache_size=-4096", err);
    }
    if (s != STATUS_OK) {
        catalogue_close(c);
        return s;
    }
    *out = c;
    return STATUS_OK;
}

void catalogue_close(struct catalogue *c)
{
    if (c != NULL) {
        catalogue_end(c);
        db_close(c->db);
        free(c);
    }
}

static enum status state_get(struct catalogue *c, struct catalogue_state *out, struct error *err)
{
    struct query q = query(c, Q_STATE_GET, err);
    if (next(&q)) {
        *out = (struct catalogue_state){.generation = col_int(&q, 0),
                                        .documents = col_int(&q, 1),
                                        .visible = col_int(&q, 2),
                                        .next_chunk = col_int(&q, 3),
                                        .next_vector = col_int(&q, 4),
                                        .next_term = col_int(&q, 5),
                                        .next_gram = col_int(&q, 6),
                                        .gram_base = col_int(&q, 7),
                                        .indexed = col_int(&q, 8),
                                        .length_total = col_int(&q, 9),
                                        .gram_length_total = col_int(&q, 10),
                                        .plain_length_total = col_int(&q, 11),
                                        .purge_debt = col_int(&q, 12),
                                        .analyzer = col_int(&q, 13),
                                        .reindex_from = col_int(&q, 14)};
    } else if (q.s == STATUS_OK) {
        q.s = error_set(err, STATUS_CORRUPT, "store.db: its counters are missing");
    }
    return done(&q);
}

static enum status begin(struct catalogue *c, const char *how, struct catalogue_state *out, struct error *err)
{
    enum status s = db_exec(c->db, how, err);
    if (s == STATUS_OK) {
        c->in_transaction = true;
        s = state_get(c, out, err);
        if (s != STATUS_OK) {
            catalogue_end(c);
        }
    }
    return s;
}

enum status catalogue_begin_read(struct catalogue *c, struct catalogue_state *out, struct error *err)
{
    return begin(c, "BEGIN", out, err);
}

enum status catalogue_begin_write(struct catalogue *c, struct catalogue_state *out, struct error *err)
{
    return begin(c, "BEGIN IMMEDIATE", out, err);
}

enum status catalogue_commit(struct catalogue *c, const struct catalogue_state *st, struct error *err)
{
    struct query q = query(c, Q_STATE_SET, err);
    const int64_t v[] = {st->generation,  st->documents,    st->visible,           st->next_chunk,
                         st->next_vector, st->next_term,    st->next_gram,         st->gram_base,
                         st->indexed,     st->length_total, st->gram_length_total, st->plain_length_total,
                         st->purge_debt,  st->analyzer,     st->reindex_from};
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        put_int(&q, v[i]);
    }
    enum status s = run(&q);
    if (s == STATUS_OK) {
        s = db_exec(c->db, "COMMIT", err);
    }
    if (s == STATUS_OK) {
        c->in_transaction = false;
    }
    catalogue_end(c);
    return s;
}

void catalogue_end(struct catalogue *c)
{
    if (c->in_transaction) {
        c->in_transaction = false;
        if (c->prepared[Q_CHUNK_RESCORE] != NULL) {
            db_reset(c->prepared[Q_CHUNK_RESCORE]); /* a row still being read would hold the snapshot */
        }
        (void)sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL); /* nothing to roll back is fine */
    }
}

/* ---- contents ---- */

static enum status content_row(struct query *q, struct arena *a, struct content *out)
{
    if (!next(q)) {
        if (q->s == STATUS_OK) {
            q->s = error_set(q->err, STATUS_NOT_FOUND, "no such content is stored");
        }
        return done(q);
    }
    struct content k = {.pk = col_int(q, 0)};
    struct str id = db_column(q->st, 1);
    struct str hash = db_column(q->st, 2);
    if (id.len != ID_CAP - 1 || hash.len != SHA256_BYTES) {
        q->s = error_set(q->err, STATUS_CORRUPT, "store.db: a damaged row of contents");
        return done(q);
    }
    memcpy(k.id, id.ptr, id.len);
    memcpy(k.hash, hash.ptr, hash.len);
    k.pipeline = col_copy(q, 3, a).ptr;
    k.format = col_copy(q, 4, a).ptr;
    k.title = col_copy(q, 5, a).ptr;
    k.language = col_copy(q, 6, a).ptr;
    k.pages = col_u32(q, 7);
    k.size = (uint64_t)col_int(q, 8);
    k.text_size = (uint64_t)col_int(q, 9);
    k.boxes = col_u32(q, 10);
    k.chunks = col_u32(q, 11);
    k.state = (enum content_state)col_u32(q, 12);
    if (q->s == STATUS_OK) {
        *out = k;
    }
    return done(q);
}

enum status catalogue_content_find(struct catalogue *c, const uint8_t hash[SHA256_BYTES], const char *pipeline,
                                   struct arena *a, struct content *out, struct error *err)
{
    struct query q = query(c, Q_CONTENT_FIND, err);
    put_bytes(&q, hash, SHA256_BYTES);
    put_z(&q, pipeline);
    return content_row(&q, a, out);
}

enum status catalogue_content_by_pk(struct catalogue *c, int64_t pk, struct arena *a, struct content *out,
                                    struct error *err)
{
    struct query q = query(c, Q_CONTENT_BY_PK, err);
    put_int(&q, pk);
    return content_row(&q, a, out);
}

enum status catalogue_content_by_id(struct catalogue *c, struct str id, struct arena *a, struct content *out,
                                    struct error *err)
{
    struct query q = query(c, Q_CONTENT_BY_ID, err);
    put_text(&q, id);
    return content_row(&q, a, out);
}

enum status catalogue_content_after(struct catalogue *c, int64_t pk, struct arena *a, struct content *out,
                                    struct error *err)
{
    struct query q = query(c, Q_CONTENT_AFTER, err);
    put_int(&q, pk);
    return content_row(&q, a, out);
}

enum status catalogue_content_unsettled(struct catalogue *c, enum content_state state, struct arena *a,
                                        struct content *out, struct error *err)
{
    struct query q = query(c, Q_CONTENT_UNSETTLED, err);
    put_int(&q, (int64_t)state);
    return content_row(&q, a, out);
}

enum status catalogue_content_add(struct catalogue *c, const struct content *in, int64_t *pk, struct error *err)
{
    struct query q = query(c, Q_CONTENT_ADD, err);
    put_z(&q, in->id);
    put_bytes(&q, in->hash, SHA256_BYTES);
    put_z(&q, in->pipeline);
    put_z(&q, in->format);
    put_z(&q, in->title);
    put_z(&q, in->language);
    put_int(&q, in->pages);
    put_int(&q, (int64_t)in->size);
    put_int(&q, (int64_t)in->text_size);
    put_int(&q, in->boxes);
    put_int(&q, in->chunks);
    put_int(&q, (int64_t)in->state);
    enum status s = run(&q);
    if (s == STATUS_OK) {
        *pk = sqlite3_last_insert_rowid(c->db);
    }
    return s;
}

enum status catalogue_content_update(struct catalogue *c, const struct content *in, struct error *err)
{
    struct query q = query(c, Q_CONTENT_UPDATE, err);
    put_int(&q, in->pk);
    put_z(&q, in->language);
    put_int(&q, (int64_t)in->text_size);
    put_int(&q, in->boxes);
    put_int(&q, in->chunks);
    put_int(&q, (int64_t)in->state);
    return run(&q);
}

static enum status run_int(struct catalogue *c, enum statement which, int64_t v, struct error *err)
{
    struct query q = query(c, which, err);
    put_int(&q, v);
    return run(&q);
}

enum status catalogue_content_delete(struct catalogue *c, int64_t pk, struct error *err)
{
    return run_int(c, Q_CONTENT_DELETE, pk, err);
}

enum status catalogue_content_uses(struct catalogue *c, const uint8_t hash[SHA256_BYTES], const char *pipeline,
                                   int64_t *original, int64_t *structure, struct error *err)
{
    struct query q = query(c, Q_CONTENT_USES, err);
    put_bytes(&q, hash, SHA256_BYTES);
    put_z(&q, pipeline);
    if (next(&q)) {
        *original = col_int(&q, 0);
        *structure = col_int(&q, 1);
    }
    return done(&q);
}

/* ---- locations and versions ---- */

static void location_columns(struct query *q, struct arena *a, struct location *out)
{
    out->document = col_copy(q, 0, a).ptr;
    out->path = col_copy(q, 1, a);
    out->source = col_copy(q, 2, a).ptr;
    out->collection = col_copy(q, 3, a).ptr;
    out->label = col_copy(q, 4, a).ptr;
    out->readers = col_copy(q, 5, a);
    out->sequence = (uint64_t)col_int(q, 6);
    out->modified_ms = col_int(q, 7);
    out->excluded = col_int(q, 8) != 0;
    out->content = col_int(q, 9); /* NULL reads as 0 */
}

static enum status location_row(struct query *q, struct arena *a, struct location *out)
{
    struct location l = {0};
    if (next(q)) {
        location_columns(q, a, &l);
    } else if (q->s == STATUS_OK) {
        q->s = error_set(q->err, STATUS_NOT_FOUND, "no such document is stored");
    }
    if (q->s == STATUS_OK) {
        *out = l;
    }
    return done(q);
}

enum status catalogue_location_get(struct catalogue *c, struct str document, struct arena *a, struct location *out,
                                   struct error *err)
{
    struct query q = query(c, Q_LOCATION_GET, err);
    put_text(&q, document);
    return location_row(&q, a, out);
}

enum status catalogue_location_after(struct catalogue *c, struct str document, struct arena *a,
                                     struct location *out, struct error *err)
{
    struct query q = query(c, Q_LOCATION_AFTER, err);
    put_text(&q, document);
    return location_row(&q, a, out);
}

enum status catalogue_location_set(struct catalogue *c, const struct location *in, struct error *err)
{
    struct query q = query(c, Q_LOCATION_SET, err);
    put_z(&q, in->document);
    put_blob(&q, in->path);
    put_z(&q, in->source);
    put_z(&q, in->collection);
    put_z(&q, in->label);
    put_blob(&q, in->readers);
    put_int(&q, (int64_t)in->sequence);
    put_int(&q, in->modified_ms);
    put_int(&q, in->excluded ? 1 : 0);
    if (in->content == 0) {
        put_null(&q);
    } else {
        put_int(&q, in->content);
    }
    return run(&q);
}

enum status catalogue_locations_of(struct catalogue *c, int64_t content, location_visit visit, void *data,
                                   struct error *err)
{
    struct arena a;
    arena_init(&a, (size_t)1024 * 1024);
    struct query q = query(c, Q_LOCATIONS_OF, err);
    put_int(&q, content);
    while (next(&q)) {
        struct location l = {0};
        location_columns(&q, &a, &l);
        if (q.s == STATUS_OK) {
            q.s = visit(&l, data, err);
        }
        arena_reset(&a);
    }
    arena_reset(&a);
    return done(&q);
}

enum status catalogue_content_located(struct catalogue *c, int64_t content, bool *any, struct error *err)
{
    struct query q = query(c, Q_LOCATION_ANY, err);
    put_int(&q, content);
    *any = next(&q);
    return done(&q);
}

static enum status one_int(struct query *q, int64_t *out)
{
    if (next(q)) {
        *out = col_int(q, 0);
    }
    return done(q);
}

enum status catalogue_location_count(struct catalogue *c, int64_t *locations, int64_t *open_versions,
                                     struct error *err)
{
    struct query q = query(c, Q_LOCATION_COUNT, err);
    enum status s = one_int(&q, locations);
    if (s == STATUS_OK) {
        struct query v = query(c, Q_VERSION_OPEN_COUNT, err);
        s = one_int(&v, open_versions);
    }
    return s;
}

enum status catalogue_version(struct catalogue *c, const struct location *l, const uint8_t *hash, int64_t now_ms,
                              struct error *err)
{
    struct query close = query(c, Q_VERSION_CLOSE, err);
    put_z(&close, l->document);
    put_int(&close, now_ms);
    enum status s = run(&close);
    if (s == STATUS_OK && hash != NULL) {
        struct query open = query(c, Q_VERSION_OPEN, err);
        put_z(&open, l->document);
        put_int(&open, now_ms);
        put_int(&open, (int64_t)l->sequence);
        put_bytes(&open, hash, SHA256_BYTES);
        put_blob(&open, l->path);
        s = run(&open);
    }
    if (s == STATUS_OK) {
        struct query prune = query(c, Q_VERSION_PRUNE, err);
        put_z(&prune, l->document);
        s = run(&prune);
    }
    return s;
}

/* ---- chunks ---- */

enum status catalogue_chunk_add(struct catalogue *c, const struct stored_chunk *in, struct error *err)
{
    struct query q = query(c, Q_CHUNK_ADD, err);
    put_int(&q, in->no);
    put_int(&q, in->content);
    put_int(&q, in->ordinal);
    put_int(&q, in->start);
    put_int(&q, in->end);
    put_int(&q, in->byte);
    put_int(&q, in->page);
    put_int(&q, in->page_end);
    put_int(&q, in->length);
    put_int(&q, in->gram_length);
    put_text(&q, in->heading);
    put_blob(&q, in->text);
    return run(&q);
}

enum status catalogue_chunk_set_lengths(struct catalogue *c, chunk_no no, uint32_t length, uint32_t gram_length,
                                        struct error *err)
{
    struct query q = query(c, Q_CHUNK_SET_LENGTHS, err);
    put_int(&q, no);
    put_int(&q, length);
    put_int(&q, gram_length);
    return run(&q);
}

static struct stored_chunk chunk_columns(const struct query *q)
{
    return (struct stored_chunk){.no = col_u32(q, 0),
                                 .content = col_int(q, 1),
                                 .ordinal = col_u32(q, 2),
                                 .start = col_u32(q, 3),
                                 .end = col_u32(q, 4),
                                 .byte = col_int(q, 5),
                                 .page = col_u32(q, 6),
                                 .page_end = col_u32(q, 7),
                                 .length = col_u32(q, 8),
                                 .gram_length = col_u32(q, 9),
                                 .heading = db_column(q->st, 10),
                                 .text = db_column(q->st, 11)};
}

static enum status chunk_row(struct query *q, struct arena *a, struct stored_chunk *out)
{
    if (next(q)) {
        struct stored_chunk k = chunk_columns(q);
        k.heading = col_copy(q, 10, a);
        k.text = col_copy(q, 11, a);
        if (q->s == STATUS_OK) {
            *out = k;
        }
    } else if (q->s == STATUS_OK) {
        q->s = error_set(q->err, STATUS_NOT_FOUND, "no such passage is stored");
    }
    return done(q);
}

enum status catalogue_chunk_get(struct catalogue *c, chunk_no no, struct arena *a, struct stored_chunk *out,
                                struct error *err)
{
    struct query q = query(c, Q_CHUNK_GET, err);
    put_int(&q, no);
    return chunk_row(&q, a, out);
}

enum status catalogue_chunk_by_ordinal(struct catalogue *c, int64_t content, uint32_t ordinal, struct arena *a,
                                       struct stored_chunk *out, struct error *err)
{
    struct query q = query(c, Q_CHUNK_BY_ORDINAL, err);
    put_int(&q, content);
    put_int(&q, ordinal);
    return chunk_row(&q, a, out);
}

static enum status visit_chunks(struct query *q, chunk_visit visit, void *data)
{
    while (next(q)) {
        struct stored_chunk k = chunk_columns(q);
        q->s = visit(&k, data, q->err);
    }
    return done(q);
}

enum status catalogue_chunks_of(struct catalogue *c, int64_t content, uint32_t ordinal, uint32_t limit,
                                chunk_visit visit, void *data, struct error *err)
{
    struct query q = query(c, Q_CHUNKS_OF, err);
    put_int(&q, content);
    put_int(&q, ordinal);
    put_int(&q, limit);
    return visit_chunks(&q, visit, data);
}

enum status catalogue_chunks_from(struct catalogue *c, chunk_no from, uint32_t limit, chunk_visit visit, void *data,
                                  struct error *err)
{
    struct query q = query(c, Q_CHUNKS_AFTER, err);
    put_int(&q, from);
    put_int(&q, limit);
    return visit_chunks(&q, visit, data);
}

enum status catalogue_chunks_scan(struct catalogue *c, chunk_no from, uint32_t limit, int64_t missing,
                                  chunk_visit visit, void *data, struct error *err)
{
    struct query q = query(c, missing > 0 ? Q_CHUNKS_MISSING : Q_CHUNKS_PUBLISHED, err);
    put_int(&q, from);
    put_int(&q, limit);
    if (missing > 0) {
        put_int(&q, missing);
    }
    return visit_chunks(&q, visit, data);
}

enum status catalogue_chunk_rescore(struct catalogue *c, chunk_no no, struct str *text, struct str *title,
                                    struct str *heading, struct str *language, uint32_t *length,
                                    uint32_t *gram_length, struct error *err)
{
    struct query q = query(c, Q_CHUNK_RESCORE, err);
    if (q.st != NULL) {
        db_reset(q.st); /* the row of the last call stays readable until here */
    }
    put_int(&q, no);
    if (next(&q)) {
        *text = db_column(q.st, 0);
        *title = db_column(q.st, 1);
        *heading = db_column(q.st, 2);
        *language = db_column(q.st, 3);
        *length = col_u32(&q, 4);
        *gram_length = col_u32(&q, 5);
    } else if (q.s == STATUS_OK) {
        q.s = error_set(err, STATUS_CORRUPT, "store.db: the index names a passage that is not stored");
    }
    return q.s;
}

enum status catalogue_chunk_name(struct catalogue *c, chunk_no no, char content[ID_CAP], uint32_t *ordinal,
                                 struct error *err)
{
    struct query q = query(c, Q_CHUNK_NAME, err);
    put_int(&q, no);
    if (next(&q)) {
        struct str id = db_column(q.st, 0);
        *ordinal = col_u32(&q, 1);
        if (id.len == ID_CAP - 1) {
            memcpy(content, id.ptr, id.len);
            content[id.len] = '\0';
        } else {
            q.s = error_set(err, STATUS_CORRUPT, "store.db: a damaged row of contents");
        }
    } else if (q.s == STATUS_OK) {
        q.s = error_set(err, STATUS_NOT_FOUND, "no such passage is stored");
    }
    return done(&q);
}

enum status catalogue_chunk_count_of(struct catalogue *c, int64_t content, int64_t *n, struct error *err)
{
    struct query q = query(c, Q_CHUNK_COUNT_OF, err);
    put_int(&q, content);
    return one_int(&q, n);
}

enum status catalogue_chunk_delete(struct catalogue *c, chunk_no no, struct error *err)
{
    return run_int(c, Q_CHUNK_DELETE, no, err);
}

enum status catalogue_span_add(struct catalogue *c, int64_t content, chunk_no first, chunk_no last,
                               struct error *err)
{
    struct query q = query(c, Q_SPAN_ADD, err);
    put_int(&q, content);
    put_int(&q, first);
    put_int(&q, last);
    return run(&q);
}

enum status catalogue_span_delete(struct catalogue *c, int64_t content, struct error *err)
{
    return run_int(c, Q_SPAN_DELETE, content, err);
}

enum status catalogue_spans_visible(struct catalogue *c, span_visit visit, void *data, struct error *err)
{
    struct query q = query(c, Q_SPANS_VISIBLE, err);
    while (next(&q)) {
        q.s = visit(col_u32(&q, 2), col_u32(&q, 3), db_column(q.st, 0), db_column(q.st, 1), data, err);
    }
    return done(&q);
}

enum status catalogue_spans_all(struct catalogue *c, span_visit visit, void *data, struct error *err)
{
    struct query q = query(c, Q_SPANS_ALL, err);
    while (next(&q)) {
        q.s = visit(col_u32(&q, 0), col_u32(&q, 1), STR(""), STR(""), data, err);
    }
    return done(&q);
}

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
                             .retired_ms = col_int(q, 6)};
    } else if (q->s == STATUS_OK) {
        q->s = error_set(q->err, STATUS_NOT_FOUND, "no such encoder is stored");
    }
    if (q->s == STATUS_OK) {
        *out = e;
    }
    return done(q);
}

enum status catalogue_encoder_by_name(struct catalogue *c, struct str name, struct arena *a, struct encoder *out,
                                      struct error *err)
{
    struct query q = query(c, Q_ENCODER_BY_NAME, err);
    put_text(&q, name);
    return encoder_row(&q, a, out);
}

enum status catalogue_encoder_by_state(struct catalogue *c, enum encoder_state state, struct arena *a,
                                       struct encoder *out, struct error *err)
{
    struct query q = query(c, Q_ENCODER_BY_STATE, err);
    put_int(&q, (int64_t)state);
    return encoder_row(&q, a, out);
}

enum status catalogue_encoder_after(struct catalogue *c, int64_t pk, struct arena *a, struct encoder *out,
                                    struct error *err)
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
    return run(&q);
}

enum status catalogue_encoder_set(struct catalogue *c, const struct encoder *in, struct error *err)
{
    struct query q = query(c, Q_ENCODER_SET, err);
    put_int(&q, in->pk);
    put_int(&q, (int64_t)in->state);
    put_int(&q, in->retired_ms);
    put_int(&q, in->fitted_on);
    return run(&q);
}

enum status catalogue_encoder_count(struct catalogue *c, int64_t encoder, int64_t delta, struct error *err)
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

enum status catalogue_vectors_between(struct catalogue *c, int64_t encoder, int64_t after, int64_t until,
                                      vector_visit visit, void *data, struct error *err)
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

enum status catalogue_vectors_count(struct catalogue *c, int64_t encoder, int64_t after, int64_t until, int64_t *n,
                                    int64_t *last, struct error *err)
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

enum status catalogue_vectors_delete_some(struct catalogue *c, int64_t encoder, uint32_t limit, int64_t *n,
                                          struct error *err)
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

enum status catalogue_content_encoder_add(struct catalogue *c, int64_t content, int64_t encoder, int64_t n,
                                          struct error *err)
{
    struct query q = query(c, Q_CONTENT_ENCODER_ADD, err);
    put_int(&q, content);
    put_int(&q, encoder);
    put_int(&q, n);
    return run(&q);
}

enum status catalogue_content_encoders_count(struct catalogue *c, int64_t content, int sign, struct error *err)
{
    struct query q = query(c, Q_CONTENT_ENCODERS, err);
    put_int(&q, content);
    while (next(&q)) {
        q.s = catalogue_encoder_count(c, col_int(&q, 0), sign * col_int(&q, 1), err);
    }
    return done(&q);
}

enum status catalogue_content_encoders_delete(struct catalogue *c, int64_t content, struct error *err)
{
    return run_int(c, Q_CONTENT_ENCODERS_DELETE, content, err);
}

enum status catalogue_missing(struct catalogue *c, int64_t encoder, int64_t *n, struct error *err)
{
    struct query q = query(c, Q_MISSING_COUNT, err);
    put_int(&q, encoder);
    return one_int(&q, n);
}

enum status catalogue_vectors_check(struct catalogue *c, int64_t encoder, int64_t *stray, int64_t *counted,
                                    struct error *err)
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

/* ---- full text ---- */

enum status catalogue_term_get(struct catalogue *c, struct str term, struct term *out, bool *found,
                               struct error *err)
{
    struct query q = query(c, Q_TERM_GET, err);
    put_blob(&q, term);
    *found = next(&q);
    if (*found) {
        *out = (struct term){.id = col_int(&q, 0), .df = (uint64_t)col_int(&q, 1), .blocks = col_int(&q, 2)};
    }
    return done(&q);
}

enum status catalogue_term_set(struct catalogue *c, struct str term, const struct term *in, struct error *err)
{
    struct query q = query(c, Q_TERM_SET, err);
    put_blob(&q, term);
    put_int(&q, in->id);
    put_int(&q, (int64_t)in->df);
    put_int(&q, in->blocks);
    return run(&q);
}

enum status catalogue_term_delete(struct catalogue *c, struct str term, struct error *err)
{
    struct query q = query(c, Q_TERM_DELETE, err);
    put_blob(&q, term);
    return run(&q);
}

enum status catalogue_term_after(struct catalogue *c, struct str term, struct arena *a, struct str *name,
                                 struct term *out, bool *found, struct error *err)
{
    struct query q = query(c, Q_TERM_AFTER, err);
    put_blob(&q, term);
    *found = next(&q);
    if (*found) {
        *out = (struct term){.id = col_int(&q, 0), .df = (uint64_t)col_int(&q, 1), .blocks = col_int(&q, 2)};
        *name = col_copy(&q, 3, a);
    }
    return done(&q);
}

enum status catalogue_block_get(struct catalogue *c, int64_t term, int64_t n, struct buf *out, struct error *err)
{
    struct query q = query(c, Q_BLOCK_GET, err);
    put_int(&q, term * BLOCKS_A_TERM + n);
    buf_reset(out);
    if (next(&q)) {
        buf_str(out, db_column(q.st, 0));
        if (buf_status(out) != STATUS_OK) {
            q.s = error_set(err, STATUS_CORRUPT, "store.db: a block of postings is too large");
        }
    } else if (q.s == STATUS_OK) {
        q.s = error_set(err, STATUS_CORRUPT, "store.db: a block of postings is missing");
    }
    return done(&q);
}

enum status catalogue_block_set(struct catalogue *c, int64_t term, int64_t n, struct str block, struct error *err)
{
    if (n >= BLOCKS_A_TERM) {
        return error_set(err, STATUS_TOO_LARGE, "a word occurs in too many passages");
    }
    struct query q = query(c, Q_BLOCK_SET, err);
    put_int(&q, term * BLOCKS_A_TERM + n);
    put_blob(&q, block);
    return run(&q);
}

enum status catalogue_block_delete(struct catalogue *c, int64_t term, int64_t n, struct error *err)
{
    return run_int(c, Q_BLOCK_DELETE, term * BLOCKS_A_TERM + n, err);
}

enum status catalogue_blocks(struct catalogue *c, int64_t term, bool (*visit)(struct str block, void *data),
                             void *data, struct error *err)
{
    struct query q = query(c, Q_BLOCKS_OF, err);
    put_int(&q, term * BLOCKS_A_TERM);
    put_int(&q, (term + 1) * BLOCKS_A_TERM);
    while (next(&q)) {
        if (!visit(db_column(q.st, 0), data)) {
            break;
        }
    }
    return done(&q);
}

static enum status run_none(struct catalogue *c, enum statement which, struct error *err)
{
    struct query q = query(c, which, err);
    return run(&q);
}

enum status catalogue_index_clear(struct catalogue *c, struct error *err)
{
    enum status s = run_none(c, Q_TERMS_CLEAR, err);
    if (s == STATUS_OK) {
        s = run_none(c, Q_BLOCKS_CLEAR, err);
    }
    if (s == STATUS_OK) {
        s = run_none(c, Q_GRAM_LOG_CLEAR, err);
    }
    if (s == STATUS_OK) {
        s = run_none(c, Q_GRAM_PAGES_CLEAR, err);
    }
    return s == STATUS_OK ? catalogue_purge_set(c, STR(""), err) : s;
}

enum status catalogue_gram_log_add(struct catalogue *c, int64_t seq, int sign, struct str counts,
                                   struct error *err)
{
    struct query q = query(c, Q_GRAM_LOG_ADD, err);
    put_int(&q, seq);
    put_int(&q, sign);
    put_blob(&q, counts);
    return run(&q);
}

static bool varint(struct str *s, uint32_t *out)
{
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 35 && s->len > 0; shift += 7) {
        uint8_t b = (uint8_t)*s->ptr;
        s->ptr++;
        s->len--;
        v |= (uint32_t)(b & 0x7fU) << shift;
        if ((b & 0x80U) == 0) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* Both directions wrap modulo 2^32 and cancel out, whatever the order of the log. */
static bool gram_apply(struct str log, bool add, uint32_t *counts)
{
    uint32_t bucket = 0;
    while (log.len > 0) {
        uint32_t step;
        uint32_t n;
        if (!varint(&log, &step) || !varint(&log, &n) || step >= LEXICAL_GRAM_BUCKETS - bucket) {
            return false;
        }
        bucket += step;
        counts[bucket] = add ? counts[bucket] + n : counts[bucket] - n;
    }
    return true;
}

enum status catalogue_grams_refresh(struct catalogue *c, const struct catalogue_state *state, uint32_t *counts,
                                    int64_t *at, struct error *err)
{
    enum status s = STATUS_OK;
    if (*at < state->gram_base || *at == 0) {
        memset(counts, 0, LEXICAL_GRAM_BUCKETS * sizeof *counts);
        struct query q = query(c, Q_GRAM_PAGES, err);
        while (next(&q)) {
            struct str page = db_column(q.st, 1);
            int64_t n = col_int(&q, 0);
            if (n < 0 || n >= LEXICAL_GRAM_BUCKETS / GRAMS_A_PAGE || page.len != GRAMS_A_PAGE * sizeof *counts) {
                q.s = error_set(err, STATUS_CORRUPT, "store.db: a page of 4-gram counts is damaged");
            } else {
                memcpy(counts + (size_t)n * GRAMS_A_PAGE, page.ptr, page.len);
            }
        }
        s = done(&q);
        *at = state->gram_base;
    }
    if (s == STATUS_OK && *at < state->next_gram) {
        struct query q = query(c, Q_GRAM_LOG_SINCE, err);
        put_int(&q, *at);
        while (next(&q)) {
            if (!gram_apply(db_column(q.st, 2), col_int(&q, 1) > 0, counts)) {
                q.s = error_set(err, STATUS_CORRUPT, "store.db: the log of 4-gram counts is damaged");
            }
        }
        s = done(&q);
        *at = state->next_gram;
    }
    if (s != STATUS_OK) {
        *at = 0;
    }
    return s;
}

enum status catalogue_grams_fold(struct catalogue *c, const uint32_t *counts, struct error *err)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < LEXICAL_GRAM_BUCKETS / GRAMS_A_PAGE && s == STATUS_OK; i++) {
        struct query q = query(c, Q_GRAM_PAGE_SET, err);
        put_int(&q, (int64_t)i);
        put_bytes(&q, counts + i * GRAMS_A_PAGE, GRAMS_A_PAGE * sizeof *counts);
        s = run(&q);
    }
    return s == STATUS_OK ? run_none(c, Q_GRAM_LOG_CLEAR, err) : s;
}

enum status catalogue_language_add(struct catalogue *c, const char *language, int64_t chunks, struct error *err)
{
    struct query q = query(c, Q_LANGUAGE_ADD, err);
    put_z(&q, language);
    put_int(&q, chunks);
    return run(&q);
}

enum status catalogue_languages(struct catalogue *c, struct arena *a, const char *const **out, size_t *n,
                                struct error *err)
{
    const char **list = arena_array(a, 16, sizeof *list);
    size_t k = 0;
    if (list == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    struct query q = query(c, Q_LANGUAGES, err);
    while (next(&q)) {
        struct str name = col_copy(&q, 0, a);
        if (name.len > 0 && k < 16) {
            list[k++] = name.ptr;
        }
    }
    *out = list;
    *n = k;
    return done(&q);
}

enum status catalogue_purge_get(struct catalogue *c, struct arena *a, struct str *after, struct error *err)
{
    struct query q = query(c, Q_PURGE_GET, err);
    *after = next(&q) ? col_copy(&q, 0, a) : STR("");
    return done(&q);
}

enum status catalogue_purge_set(struct catalogue *c, struct str after, struct error *err)
{
    struct query q = query(c, Q_PURGE_SET, err);
    put_blob(&q, after);
    return run(&q);
}

enum status catalogue_integrity(struct catalogue *c, struct error *err)
{
    struct query q = query(c, Q_INTEGRITY, err);
    if (next(&q)) {
        struct str said = db_column(q.st, 0);
        if (!str_eq(said, STR("ok"))) {
            q.s = error_set(err, STATUS_CORRUPT, "store.db: %.*s", (int)(said.len > 150 ? 150 : said.len), said.ptr);
        }
    }
    return done(&q);
}
