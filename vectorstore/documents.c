/* Documents as the store knows them: one, a list of them, their files and chunks. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vectorstore/store_internal.h"

enum status document_info(const struct location *l, const struct content *k, struct arena *a,
                          Vs__DocumentInfo *out, struct error *err)
{
    Vs__Location *loc = arena_alloc(a, sizeof *loc);
    vs__document_info__init(out);
    if (loc == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    vs__location__init(loc);
    loc->document = arena_strdup(a, l->document);
    loc->path = (ProtobufCBinaryData){.data = (uint8_t *)arena_strndup(a, l->path.ptr, l->path.len),
                                      .len = l->path.len};
    loc->source = arena_strdup(a, l->source);
    loc->collection = arena_strdup(a, l->collection);
    loc->label = arena_strdup(a, l->label);
    loc->sequence = l->sequence;
    loc->modified_wall_ms = l->modified_ms;
    loc->has_excluded = true;
    loc->excluded = l->excluded;
    loc->has_date_wall_ms = l->dated;
    loc->date_wall_ms = l->date_ms;
    out->location = loc;
    out->hash = (ProtobufCBinaryData){
        .data = (uint8_t *)arena_strndup(a, (const char *)k->hash, SHA256_BYTES),
        .len = SHA256_BYTES};
    out->chunks = k->chunks;
    out->format = arena_strdup(a, k->format);
    out->title = arena_strdup(a, k->title);
    out->has_pages = k->pages > 0;
    out->pages = k->pages;
    out->size = k->size;
    out->author = arena_strdup(a, k->author);
    out->has_created_ms = k->has_created;
    out->created_ms = k->created_ms;
    out->has_modified_ms = k->has_modified;
    out->modified_ms = k->modified_ms;
    out->keywords = arena_strdup(a, k->keywords);
    out->language = arena_strdup(a, k->language);
    out->has_date_ms = true;
    out->date_ms = access_date_of(l, k);
    if (out->author == NULL || out->keywords == NULL || out->language == NULL ||
        loc->document == NULL || loc->path.data == NULL || loc->source == NULL ||
        loc->collection == NULL || loc->label == NULL || out->hash.data == NULL ||
        out->format == NULL || out->title == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status st = location_list(l->tags, a, &loc->n_tags, &loc->tags, err);
    return st == STATUS_OK ? location_list(l->readers, a, &loc->n_readers, &loc->readers, err) : st;
}

/* The place of another time, as the location it was; readers and exclusion are today's. */
static void location_then(const struct doc_place *p, struct location *l)
{
    l->path = p->path;
    l->collection = p->collection;
    l->label = p->label;
    l->tags = p->tags;
    l->dated = true;
    l->date_ms = p->date_ms;
    l->content = p->content;
}

/* What may not be read takes the same path and the same work as what never was: one row is read and
 * judged, whosever it is (tests/unit/vectorstore/refusal_test.c counts). */
enum status document_asked(struct catalogue *c, const struct asker *who, const char *document,
                           struct arena *a, struct location *l, struct error *err)
{
    bool same = false;
    enum status st = catalogue_location_asked(c, str_from(document), a, l, &same, err);
    if (st == STATUS_OK) {
        bool may = who->caller == NULL || access_location(l, NULL, who->caller, NULL);
        st = same && may ? st : error_set(err, STATUS_NOT_FOUND, "no such document is stored");
    }
    return st;
}

enum status document_find(struct store *s, struct reader *r, const struct catalogue_state *state,
                          const struct asker *who, const char *document, const int64_t *as_of,
                          struct arena *a, struct location *l, struct content *k, struct error *err)
{
    struct doc_place then;
    enum status st = version_time_check(s, state, who, as_of, err);
    if (st == STATUS_OK) {
        st = document_asked(r->db, who, document, a, l, err);
    }
    if (st == STATUS_OK && as_of != NULL) {
        st = catalogue_place_at(r->db, str_from(document), *as_of, a, &then, err);
        if (st == STATUS_OK) {
            location_then(&then, l);
        }
    }
    if (st == STATUS_OK && l->content == 0) {
        st = error_set(err, STATUS_NOT_FOUND, "no such document is stored");
    }
    return st == STATUS_OK ? catalogue_content_by_pk(r->db, l->content, a, k, err) : st;
}

enum status store_document(struct store *s, const struct asker *who, const char *document,
                           const int64_t *as_of, struct arena *a, Vs__DocumentInfo *out,
                           struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct location l;
    struct content k;
    enum status st = reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = document_find(s, r, &state, who, document, as_of, a, &l, &k, err);
    }
    if (st == STATUS_OK) {
        st = document_info(&l, &k, a, out, err);
    }
    reader_give(s, r);
    return st;
}

/* The next document after *at, now or as of the filter's time; *wanted when the asker gets it. */
static enum status list_next(struct reader *r, const struct asker *who, const Vs__Filter *filter,
                             struct str at, struct arena *a, struct location *l, struct content *k,
                             bool *wanted, struct error *err)
{
    struct doc_place then;
    if (filter == NULL || !filter->has_as_of_ms) {
        enum status st = catalogue_location_after(r->db, at, a, l, err);
        if (st == STATUS_OK) {
            st = catalogue_content_by_pk(r->db, l->content, a, k, err);
        }
        if (st != STATUS_OK) {
            return st;
        }
        /* the appliance sees what is excluded too */
        bool shown = who->caller != NULL || !l->excluded;
        struct location seen = *l;
        seen.excluded = shown && l->excluded;
        *wanted = access_location(&seen, k, who->caller, filter);
        return st;
    }
    enum status st = catalogue_place_after(r->db, at, filter->as_of_ms, a, &then, err);
    if (st == STATUS_OK) {
        st = catalogue_location_get(r->db, str_from(then.document), a, l, err);
    }
    if (st == STATUS_OK) {
        location_then(&then, l);
        *wanted = access_place(&then, who->caller, filter);
        st = catalogue_content_by_pk(r->db, l->content, a, k, err);
    }
    return st;
}

enum status store_list(struct store *s, const struct asker *who, const Vs__Filter *filter,
                       const char *after, uint32_t limit, struct arena *a, Vs__ListReply *out,
                       struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct arena skipped; /* what is passed over does not fill the reply's memory */
    struct buf at;
    vs__list_reply__init(out);
    arena_init(&skipped, (size_t)1024 * 1024);
    buf_init(&at, (size_t)64 * 1024);
    buf_z(&at, after);
    out->documents = arena_array(a, (size_t)limit + 1, sizeof *out->documents);
    enum status st = out->documents == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                            : reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = filter_check(s, &state, who, filter, err);
    }
    while (st == STATUS_OK && out->n_documents < limit) {
        struct location l;
        struct content k;
        bool wanted = false;
        arena_reset(&skipped);
        st = list_next(r, who, filter, buf_view(&at), &skipped, &l, &k, &wanted, err);
        if (st != STATUS_OK) {
            break;
        }
        buf_reset(&at);
        buf_z(&at, l.document);
        if (who->cancelled != NULL && atomic_load(who->cancelled)) {
            st = error_set(err, STATUS_CANCELLED, "the call was cancelled");
        } else if (buf_status(&at) != STATUS_OK) {
            st = error_set(err, STATUS_NO_MEMORY, "out of memory");
        } else if (wanted) {
            Vs__DocumentInfo *d = arena_alloc(a, sizeof *d);
            st = d == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                           : document_info(&l, &k, a, d, err);
            out->documents[out->n_documents++] = d;
        }
    }
    reader_give(s, r);
    buf_deinit(&at);
    arena_reset(&skipped);
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

enum status store_has_content(struct store *s, const Vs__HasContentRequest *m,
                              Vs__HasContentReply *out, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct content k;
    struct arena a;
    arena_init(&a, (size_t)1024 * 1024);
    enum status st = m->hash.len != SHA256_BYTES
                         ? error_set(err, STATUS_INVALID, "a hash must be 32 bytes")
                         : reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = catalogue_content_find(r->db, m->hash.data, m->pipeline, &a, &k, err);
        out->present = st == STATUS_OK;
        out->has_chunks = out->present;
        out->chunks = out->present ? k.chunks : 0;
        st = st == STATUS_NOT_FOUND ? STATUS_OK : st;
    }
    reader_give(s, r);
    arena_reset(&a);
    return st;
}

static int open_blob(struct store *s, const struct content *k, enum blob_kind kind, enum status *st,
                     struct error *err)
{
    char path[1300];
    if (*st != STATUS_OK) {
        return -1;
    }
    *st = blobs_path(&s->blobs, k->hash, k->pipeline, kind, path, sizeof path, err);
    int fd = *st == STATUS_OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (*st == STATUS_OK && fd < 0) {
        *st = error_set(err, STATUS_CORRUPT, "%s is missing: put the document again", path);
    }
    return fd;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

enum status store_document_files(struct store *s, const struct asker *who, const char *document,
                                 const int64_t *as_of, struct arena *a, Vs__DocumentInfo *info,
                                 int *original, int *text, int *boxes, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct location l;
    struct content k;
    int fds[3] = {-1, -1, -1};
    enum status st = reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = document_find(s, r, &state, who, document, as_of, a, &l, &k, err);
    }
    if (st == STATUS_OK) {
        st = document_info(&l, &k, a, info, err);
    }
    fds[0] = open_blob(s, &k, BLOB_ORIGINAL, &st, err);
    fds[1] = open_blob(s, &k, BLOB_TEXT, &st, err);
    if (st == STATUS_OK && k.boxes > 0) {
        fds[2] = open_blob(s, &k, BLOB_BOXES, &st, err);
    }
    reader_give(s, r);
    if (st != STATUS_OK) {
        for (size_t i = 0; i < 3; i++) {
            close_fd(&fds[i]);
        }
        return st;
    }
    *original = fds[0];
    *text = fds[1];
    *boxes = fds[2];
    return STATUS_OK;
}

enum status store_document_blocks(struct store *s, const struct asker *who, const char *document,
                                  struct arena *a, const char **pipeline, int *fd,
                                  struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct location l;
    struct content k;
    char path[1300];
    *fd = -1;
    enum status st = reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = document_find(s, r, &state, who, document, NULL, a, &l, &k, err);
    }
    reader_give(s, r);
    if (st == STATUS_OK) {
        *pipeline = k.pipeline;
        st = blobs_path(&s->blobs, k.hash, k.pipeline, BLOB_BLOCKS, path, sizeof path, err);
    }
    if (st == STATUS_OK) {
        *fd = open(path, O_RDONLY | O_CLOEXEC);
        st = *fd >= 0 ? STATUS_OK
                      : error_set(err, STATUS_NOT_FOUND, "the blocks of its text are not stored");
    }
    return st;
}

struct taking {
    struct arena *a;
    Vs__Chunk **out;
    size_t n;
};

static enum status take_chunk(const struct stored_chunk *k, void *data, struct error *err)
{
    struct taking *t = data;
    Vs__Chunk *m = arena_alloc(t->a, sizeof *m);
    char *text = arena_strndup(t->a, k->text.ptr, k->text.len);
    struct str path, context = chunk_context(k->heading, &path);
    char *heading = arena_strndup(t->a, path.ptr, path.len);
    char *said = arena_strndup(t->a, context.ptr, context.len);
    char *unit = arena_strndup(t->a, k->unit.ptr, k->unit.len);
    if (m == NULL || text == NULL || heading == NULL || said == NULL || unit == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    vs__chunk__init(m);
    m->ordinal = k->ordinal;
    m->start = k->start;
    m->end = k->end;
    m->text = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = k->text.len};
    m->heading_path = heading;
    m->context = context.len > 0 ? said : NULL;
    m->unit = k->unit.len > 0 ? unit : NULL;
    m->has_page = m->has_page_end = k->page > 0;
    m->page = k->page;
    m->page_end = k->page_end;
    t->out[t->n++] = m;
    return STATUS_OK;
}

enum status store_document_chunks(struct store *s, const struct asker *who, const char *document,
                                  const int64_t *as_of, uint32_t from, uint32_t limit,
                                  struct arena *a, Vs__Chunk ***out, size_t *n, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct location l;
    struct content k;
    struct taking t = {.a = a, .out = arena_array(a, (size_t)limit + 1, sizeof *t.out)};
    enum status st = t.out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                   : reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = document_find(s, r, &state, who, document, as_of, a, &l, &k, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_chunks_of(r->db, k.pk, from, limit, take_chunk, &t, err);
    }
    reader_give(s, r);
    if (st == STATUS_OK) {
        *out = t.out;
        *n = t.n;
    }
    return st;
}

static uint32_t get_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static float get_float(const unsigned char *p)
{
    uint32_t bits = get_u32(p);
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

enum status store_boxes_read(int fd, uint64_t from, size_t n, struct arena *a, Vs__Box ***out,
                             size_t *n_out, struct error *err)
{
    unsigned char *raw = arena_array(a, n + 1, BOX_BYTES);
    Vs__Box **boxes = arena_array(a, n + 1, sizeof *boxes);
    if (raw == NULL || boxes == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    ssize_t got = pread(fd, raw, n * BOX_BYTES, (off_t)(from * BOX_BYTES));
    size_t k = got < 0 ? 0 : (size_t)got / BOX_BYTES;
    for (size_t i = 0; i < k; i++) {
        const unsigned char *p = raw + i * BOX_BYTES;
        Vs__Box *b = arena_alloc(a, sizeof *b);
        if (b == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        vs__box__init(b);
        b->page = get_u32(p);
        b->x0 = get_float(p + 4);
        b->y0 = get_float(p + 8);
        b->x1 = get_float(p + 12);
        b->y1 = get_float(p + 16);
        b->has_start = b->has_end = true;
        b->start = get_u32(p + 20);
        b->end = get_u32(p + 24);
        boxes[i] = b;
    }
    *out = boxes;
    *n_out = k;
    return STATUS_OK;
}
