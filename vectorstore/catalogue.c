#include "vectorstore/catalogue.h"

#include <stdlib.h>
#include <string.h>

#include "vectorstore/catalogue_query.h"

const char *const catalogue_statements[Q_COUNT] = {
#define AS_SQL(name, sql) [Q_##name] = sql,
    CATALOGUE_STATEMENTS(AS_SQL)
#undef AS_SQL
};

static const struct db_migration migrations[] = {{1, CATALOGUE_SCHEMA_1}, {2, CATALOGUE_SCHEMA_2},
                                                 {3, CATALOGUE_SCHEMA_3}, {4, CATALOGUE_SCHEMA_4},
                                                 {5, CATALOGUE_SCHEMA_5}, {6, CATALOGUE_SCHEMA_6},
                                                 {7, CATALOGUE_SCHEMA_7}, {8, CATALOGUE_SCHEMA_8}};

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
        s = db_exec(c->db,
                    writer ? "PRAGMA cache_size=-4096; PRAGMA wal_autocheckpoint=1000"
                           : "PRAGMA cache_size=-4096",
                    err);
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

void catalogue_roomy(struct catalogue *c, bool roomy)
{
    struct error err; /* without it, it is slower and no less right */
    (void)!db_exec(
        c->db, roomy ? "PRAGMA cache_size=-65536" : "PRAGMA cache_size=-4096; PRAGMA shrink_memory",
        &err);
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
                                        .retained = col_int(&q, 5),
                                        .versions_from = col_int(&q, 6)};
    } else if (q.s == STATUS_OK) {
        q.s = error_set(err, STATUS_CORRUPT, "store.db: its counters are missing");
    }
    return done(&q);
}

static enum status begin(struct catalogue *c, const char *how, struct catalogue_state *out,
                         struct error *err)
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

enum status catalogue_begin_read(struct catalogue *c, struct catalogue_state *out,
                                 struct error *err)
{
    return begin(c, "BEGIN", out, err);
}

enum status catalogue_begin_write(struct catalogue *c, struct catalogue_state *out,
                                  struct error *err)
{
    return begin(c, "BEGIN IMMEDIATE", out, err);
}

enum status catalogue_commit(struct catalogue *c, const struct catalogue_state *st,
                             struct error *err)
{
    struct query q = query(c, Q_STATE_SET, err);
    const int64_t v[] = {st->generation,  st->documents, st->visible,      st->next_chunk,
                         st->next_vector, st->retained,  st->versions_from};
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
            db_reset(
                c->prepared[Q_CHUNK_RESCORE]); /* a row still being read would hold the snapshot */
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
    k.author = col_copy(q, 13, a).ptr;
    k.keywords = col_copy(q, 14, a).ptr;
    k.has_created = sqlite3_column_type(q->st, 15) != SQLITE_NULL;
    k.created_ms = col_int(q, 15); /* NULL reads as 0 */
    k.has_modified = sqlite3_column_type(q->st, 16) != SQLITE_NULL;
    k.modified_ms = col_int(q, 16);
    if (q->s == STATUS_OK) {
        *out = k;
    }
    return done(q);
}

enum status catalogue_content_find(struct catalogue *c, const uint8_t hash[SHA256_BYTES],
                                   const char *pipeline, struct arena *a, struct content *out,
                                   struct error *err)
{
    struct query q = query(c, Q_CONTENT_FIND, err);
    put_bytes(&q, hash, SHA256_BYTES);
    put_z(&q, pipeline);
    return content_row(&q, a, out);
}

enum status catalogue_content_by_pk(struct catalogue *c, int64_t pk, struct arena *a,
                                    struct content *out, struct error *err)
{
    struct query q = query(c, Q_CONTENT_BY_PK, err);
    put_int(&q, pk);
    return content_row(&q, a, out);
}

enum status catalogue_content_by_id(struct catalogue *c, struct str id, struct arena *a,
                                    struct content *out, struct error *err)
{
    struct query q = query(c, Q_CONTENT_BY_ID, err);
    put_text(&q, id);
    return content_row(&q, a, out);
}

enum status catalogue_content_after(struct catalogue *c, int64_t pk, struct arena *a,
                                    struct content *out, struct error *err)
{
    struct query q = query(c, Q_CONTENT_AFTER, err);
    put_int(&q, pk);
    return content_row(&q, a, out);
}

enum status catalogue_content_unsettled(struct catalogue *c, enum content_state state,
                                        struct arena *a, struct content *out, struct error *err)
{
    struct query q = query(c, Q_CONTENT_UNSETTLED, err);
    put_int(&q, (int64_t)state);
    return content_row(&q, a, out);
}

enum status catalogue_content_add(struct catalogue *c, const struct content *in, int64_t *pk,
                                  struct error *err)
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
    put_z(&q, in->author);
    put_z(&q, in->keywords);
    put_maybe(&q, in->has_created, in->created_ms);
    put_maybe(&q, in->has_modified, in->modified_ms);
    enum status s = run(&q);
    if (s == STATUS_OK) {
        *pk = sqlite3_last_insert_rowid(c->db);
    }
    return s;
}

enum status catalogue_content_update(struct catalogue *c, const struct content *in,
                                     struct error *err)
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

enum status catalogue_content_delete(struct catalogue *c, int64_t pk, struct error *err)
{
    return run_int(c, Q_CONTENT_DELETE, pk, err);
}

enum status catalogue_content_uses(struct catalogue *c, const uint8_t hash[SHA256_BYTES],
                                   const char *pipeline, int64_t *original, int64_t *structure,
                                   struct error *err)
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
    out->tags = col_copy(q, 10, a);
    out->dated = sqlite3_column_type(q->st, 11) != SQLITE_NULL;
    out->date_ms = out->dated ? col_int(q, 11) : out->modified_ms;
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

enum status catalogue_location_get(struct catalogue *c, struct str document, struct arena *a,
                                   struct location *out, struct error *err)
{
    struct query q = query(c, Q_LOCATION_GET, err);
    put_text(&q, document);
    return location_row(&q, a, out);
}

enum status catalogue_location_asked(struct catalogue *c, struct str document, struct arena *a,
                                     struct location *out, bool *same, struct error *err)
{
    struct query q = query(c, Q_LOCATION_ASKED, err);
    put_text(&q, document);
    enum status s = location_row(&q, a, out);
    *same = s == STATUS_OK && str_eq(document, str_from(out->document));
    return s;
}

enum status catalogue_location_after(struct catalogue *c, struct str document, struct arena *a,
                                     struct location *out, struct error *err)
{
    struct query q = query(c, Q_LOCATION_AFTER, err);
    put_text(&q, document);
    return location_row(&q, a, out);
}

enum status catalogue_location_set(struct catalogue *c, const struct location *in,
                                   struct error *err)
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
    put_blob(&q, in->tags);
    put_maybe(&q, in->dated, in->date_ms);
    return run(&q);
}

enum status catalogue_content_located(struct catalogue *c, int64_t content, bool *any,
                                      struct error *err)
{
    struct query q = query(c, Q_LOCATION_ANY, err);
    put_int(&q, content);
    *any = next(&q);
    return done(&q);
}

enum status catalogue_location_count(struct catalogue *c, int64_t *locations,
                                     int64_t *open_versions, struct error *err)
{
    struct query q = query(c, Q_LOCATION_COUNT, err);
    enum status s = one_int(&q, locations);
    if (s == STATUS_OK) {
        struct query v = query(c, Q_VERSION_OPEN_COUNT, err);
        s = one_int(&v, open_versions);
    }
    return s;
}

/* ---- chunks ---- */

enum status catalogue_chunk_add(struct catalogue *c, const struct stored_chunk *in,
                                struct error *err)
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
    put_text(&q, in->unit);
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
                                 .text = db_column(q->st, 11),
                                 .unit = db_column(q->st, 12)};
}

static enum status chunk_row(struct query *q, struct arena *a, struct stored_chunk *out)
{
    if (next(q)) {
        struct stored_chunk k = chunk_columns(q);
        k.heading = col_copy(q, 10, a);
        k.text = col_copy(q, 11, a);
        k.unit = col_copy(q, 12, a);
        if (q->s == STATUS_OK) {
            *out = k;
        }
    } else if (q->s == STATUS_OK) {
        q->s = error_set(q->err, STATUS_NOT_FOUND, "no such passage is stored");
    }
    return done(q);
}

enum status catalogue_chunk_by_ordinal(struct catalogue *c, int64_t content, uint32_t ordinal,
                                       struct arena *a, struct stored_chunk *out, struct error *err)
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

enum status catalogue_chunks_of(struct catalogue *c, int64_t content, uint32_t ordinal,
                                uint32_t limit, chunk_visit visit, void *data, struct error *err)
{
    struct query q = query(c, Q_CHUNKS_OF, err);
    put_int(&q, content);
    put_int(&q, ordinal);
    put_int(&q, limit);
    return visit_chunks(&q, visit, data);
}

enum status catalogue_chunks_from(struct catalogue *c, chunk_no from, uint32_t limit,
                                  chunk_visit visit, void *data, struct error *err)
{
    struct query q = query(c, Q_CHUNKS_AFTER, err);
    put_int(&q, from);
    put_int(&q, limit);
    return visit_chunks(&q, visit, data);
}

enum status catalogue_chunks_scan(struct catalogue *c, chunk_no from, uint32_t limit,
                                  int64_t missing, chunk_visit visit, void *data, struct error *err)
{
    struct query q = query(c, missing > 0 ? Q_CHUNKS_MISSING : Q_CHUNKS_PUBLISHED, err);
    put_int(&q, from);
    put_int(&q, limit);
    if (missing > 0) {
        put_int(&q, missing);
    }
    return visit_chunks(&q, visit, data);
}

enum status catalogue_chunk_rescore(struct catalogue *c, chunk_no no, struct str *text,
                                    struct str *title, struct str *heading, struct str *language,
                                    uint32_t *length, uint32_t *gram_length, struct error *err)
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
        q.s = error_set(err, STATUS_CORRUPT,
                        "store.db: the index names a passage that is not stored");
    }
    return q.s;
}

enum status catalogue_chunk_name(struct catalogue *c, chunk_no no, char content[ID_CAP],
                                 uint32_t *ordinal, struct error *err)
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

enum status catalogue_chunk_count_of(struct catalogue *c, int64_t content, int64_t *n,
                                     struct error *err)
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

enum status catalogue_spans_all(struct catalogue *c, span_visit visit, void *data,
                                struct error *err)
{
    struct query q = query(c, Q_SPANS_ALL, err);
    while (next(&q)) {
        q.s = visit(col_u32(&q, 0), col_u32(&q, 1), data, err);
    }
    return done(&q);
}

/* ---- the whole ---- */

enum status catalogue_integrity(struct catalogue *c, struct error *err)
{
    struct query q = query(c, Q_INTEGRITY, err);
    if (next(&q)) {
        struct str said = db_column(q.st, 0);
        if (!str_eq(said, STR("ok"))) {
            q.s = error_set(err, STATUS_CORRUPT, "store.db: %.*s",
                            (int)(said.len > 150 ? 150 : said.len), said.ptr);
        }
    }
    return done(&q);
}
