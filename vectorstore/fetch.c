/* Passages by id: checked against the caller's rights once more, named by a location he may read,
 * labelled by all of them, widened and with their boxes where asked. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vectorstore/store_internal.h"

#define FETCH_MAX 1000U
#define WIDEN_MAX 8U
#define BOXES_AT_ONCE 1024U
#define BOXES_A_PASSAGE 1024U
#define PASSAGE_BYTES ((size_t)2 * 1024 * 1024)

/* From open to strict; anything else, and none, is stricter than all. */
static const char *const labels[] = {"public", "internal", "confidential", "restricted"};
#define LABELS (sizeof labels / sizeof labels[0])

struct locating {
    const struct asker *who;
    const Vs__Filter *filter;
    struct arena *a;
    struct str document, path; /* ptr NULL: none that the caller may read */
    const char *collection;
    int64_t date_ms;
    size_t label;
};

static void see_label(struct locating *lo, const char *label)
{
    size_t rank = 0;
    while (rank < LABELS && strcmp(labels[rank], label) != 0) {
        rank++;
    }
    lo->label = rank > lo->label ? rank : lo->label;
}

/* Labels of every place that the content has now or had at the time asked for: what one of them
 * forbids to leave does not leave by another. */
static enum status see_place(const struct doc_place *p, void *data, struct error *err)
{
    struct locating *lo = data;
    if (p->current || access_time(lo->filter, p->current, p->from_ms, p->to_ms)) {
        see_label(lo, p->label);
        see_label(lo, p->label_now);
    }
    if (lo->document.ptr != NULL || !access_place(p, lo->who->caller, lo->filter)) {
        return STATUS_OK;
    }
    lo->document.len = strlen(p->document);
    lo->document.ptr = arena_strndup(lo->a, p->document, lo->document.len);
    lo->path.len = p->path.len;
    lo->path.ptr = arena_strndup(lo->a, p->path.ptr, p->path.len);
    lo->collection = arena_strdup(lo->a, p->collection);
    lo->date_ms = p->date_ms;
    if (lo->document.ptr == NULL || lo->path.ptr == NULL || lo->collection == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    return STATUS_OK;
}

struct joining {
    struct arena *a;
    struct str unit;     /* pieces of others do not count */
    const char *context; /* of the first piece */
    struct buf text;
    bool any, placed; /* placed: every piece knows its place in the text */
    uint32_t start, end, page, page_end;
    int64_t byte, byte_end;
};

/* s without its first n code points. */
static struct str skip_points(struct str s, uint32_t n)
{
    while (n > 0 && s.len > 0) {
        size_t i = 1;
        while (i < s.len && ((unsigned char)s.ptr[i] & 0xC0U) == 0x80U) {
            i++;
        }
        s.ptr += i;
        s.len -= i;
        n--;
    }
    return s;
}

static enum status join(const struct stored_chunk *k, void *data, struct error *err)
{
    struct joining *j = data;
    struct str text = k->text;
    if (!str_eq(k->unit, j->unit)) {
        return STATUS_OK;
    }
    if (!j->any) {
        struct str path, context = chunk_context(k->heading, &path);
        j->any = j->placed = true;
        j->start = k->start;
        j->page = k->page;
        j->byte = k->byte;
        j->context = arena_strndup(j->a, context.ptr, context.len);
    } else if (k->start > j->end) {
        buf_z(&j->text, "\n\n");
    } else {
        text = skip_points(text, j->end - k->start); /* the two overlap */
    }
    buf_str(&j->text, text);
    j->placed = j->placed && k->byte >= 0;
    j->end = k->end;
    j->page_end = k->page_end > k->page ? k->page_end : k->page;
    j->byte_end = k->byte + (int64_t)k->text.len;
    return buf_status(&j->text) == STATUS_OK && j->context != NULL
               ? STATUS_OK
               : error_set(err, STATUS_TOO_LARGE, "a passage is too large to widen");
}

/* The exact range of the text, with what stands between the pieces. */
static void read_range(struct store *s, const struct content *k, struct joining *j)
{
    char path[1300];
    struct error err;
    size_t len = j->byte_end > j->byte ? (size_t)(j->byte_end - j->byte) : 0;
    if (!j->placed || len <= j->text.len || len > PASSAGE_BYTES ||
        blobs_path(&s->blobs, k->hash, k->pipeline, BLOB_TEXT, path, sizeof path, &err) !=
            STATUS_OK) {
        return; /* one piece, or pieces without a gap: already exact */
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *raw = fd < 0 ? NULL : malloc(len);
    if (raw != NULL && pread(fd, raw, len, (off_t)j->byte) == (ssize_t)len) {
        buf_reset(&j->text);
        buf_append(&j->text, raw, len);
    }
    free(raw);
    if (fd >= 0) {
        (void)close(fd);
    }
}

static enum status add_boxes(struct store *s, const struct content *k, Vs__Passage *p,
                             struct arena *a, struct error *err)
{
    char path[1300];
    enum status st =
        blobs_path(&s->blobs, k->hash, k->pipeline, BLOB_BOXES, path, sizeof path, err);
    int fd = st == STATUS_OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return st; /* a passage without its boxes is still a passage; verify names the file */
    }
    p->boxes = arena_array(a, BOXES_A_PASSAGE, sizeof *p->boxes);
    st = p->boxes == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    for (uint64_t at = 0; at < k->boxes && st == STATUS_OK && p->n_boxes < BOXES_A_PASSAGE;
         at += BOXES_AT_ONCE) {
        struct arena page;
        arena_init(&page, (size_t)1024 * 1024);
        Vs__Box **boxes = NULL;
        size_t n = 0;
        st = store_boxes_read(fd, at, BOXES_AT_ONCE, &page, &boxes, &n, err);
        for (size_t i = 0; i < n && st == STATUS_OK && p->n_boxes < BOXES_A_PASSAGE; i++) {
            if (boxes[i]->start < p->end && boxes[i]->end > p->start) {
                Vs__Box *b = arena_alloc(a, sizeof *b);
                if (b == NULL) {
                    st = error_set(err, STATUS_NO_MEMORY, "out of memory");
                } else {
                    *b = *boxes[i];
                    p->boxes[p->n_boxes++] = b;
                }
            }
        }
        arena_reset(&page);
    }
    (void)close(fd);
    return st;
}

static enum status describe(const struct content *k, const struct stored_chunk *chunk,
                            const struct locating *lo, const struct joining *j, struct arena *a,
                            Vs__Passage *p, struct error *err)
{
    uint8_t hash[SHA256_BYTES];
    sha256_of(j->text.ptr, j->text.len, hash);
    p->document = arena_strndup(a, lo->document.ptr, lo->document.len);
    p->path = (ProtobufCBinaryData){.data = (uint8_t *)arena_strndup(a, lo->path.ptr, lo->path.len),
                                    .len = lo->path.len};
    p->collection = arena_strdup(a, lo->collection);
    p->title = arena_strdup(a, k->title);
    struct str path, context = chunk_context(chunk->heading, &path);
    (void)context; /* of the chunk; the passage may begin before it */
    p->heading_path = arena_strndup(a, path.ptr, path.len);
    p->unit = chunk->unit.len == 0 ? NULL : arena_strndup(a, chunk->unit.ptr, chunk->unit.len);
    p->context = j->context == NULL || j->context[0] == '\0' ? NULL : arena_strdup(a, j->context);
    p->has_page = p->has_page_end = j->page > 0;
    p->page = j->page;
    p->page_end = j->page_end;
    p->start = j->start;
    p->end = j->end;
    p->text = (ProtobufCBinaryData){.data = (uint8_t *)arena_strndup(a, j->text.ptr, j->text.len),
                                    .len = j->text.len};
    p->hash = (ProtobufCBinaryData){
        .data = (uint8_t *)arena_strndup(a, (const char *)hash, sizeof hash), .len = sizeof hash};
    p->label = arena_strdup(a, lo->label < LABELS ? labels[lo->label] : "");
    p->format = arena_strdup(a, k->format);
    p->content = arena_strdup(a, k->id);
    p->author = arena_strdup(a, k->author);
    p->language = arena_strdup(a, k->language);
    p->has_date_ms = true;
    p->date_ms = lo->date_ms;
    p->has_pages = k->pages > 0;
    p->pages = k->pages;
    if (p->document == NULL || p->path.data == NULL || p->collection == NULL || p->title == NULL ||
        p->heading_path == NULL || p->text.data == NULL || p->hash.data == NULL ||
        p->label == NULL || p->format == NULL || p->content == NULL || p->author == NULL ||
        p->language == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "the passages are too large for one reply");
    }
    return STATUS_OK;
}

/* *out stays NULL for what is not there or may not be read. */
static enum status fetch_one(struct store *s, struct reader *r, const struct asker *who,
                             const Vs__FetchRequest *m, ProtobufCBinaryData id, struct arena *a,
                             Vs__Passage **out, struct error *err)
{
    struct str content_id;
    uint32_t ordinal;
    struct content k;
    struct stored_chunk chunk;
    struct locating lo = {.who = who, .filter = m->filter, .a = a};
    struct joining j = {.a = a};
    uint32_t widen = m->has_widen && m->widen < WIDEN_MAX ? m->widen : m->has_widen ? WIDEN_MAX : 0;
    if (!chunk_id_parse(id, &content_id, &ordinal)) {
        return STATUS_OK;
    }
    enum status st = catalogue_content_by_id(r->db, content_id, a, &k, err);
    if (st == STATUS_OK && (k.state == CONTENT_PUBLISHED || k.state == CONTENT_RETAINED)) {
        st = catalogue_chunk_by_ordinal(r->db, k.pk, ordinal, a, &chunk, err);
    } else if (st == STATUS_OK) {
        st = STATUS_NOT_FOUND;
    }
    if (st == STATUS_OK) {
        st = catalogue_places(r->db, k.pk, see_place, &lo, err);
    }
    if (st == STATUS_NOT_FOUND || (st == STATUS_OK && lo.document.ptr == NULL)) {
        return STATUS_OK;
    }
    buf_init(&j.text, PASSAGE_BYTES);
    if (st == STATUS_OK) {
        uint32_t from = ordinal > widen ? ordinal - widen : 0;
        j.unit = chunk.unit;
        st = catalogue_chunks_of(r->db, k.pk, from, ordinal - from + widen + 1, join, &j, err);
    }
    Vs__Passage *p = arena_alloc(a, sizeof *p);
    if (st == STATUS_OK && p == NULL) {
        st = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (st == STATUS_OK) {
        vs__passage__init(p);
        read_range(s, &k, &j);
        st = chunk_id_make(k.id, ordinal, a, &p->chunk, err);
    }
    if (st == STATUS_OK) {
        st = describe(&k, &chunk, &lo, &j, a, p, err);
    }
    if (st == STATUS_OK && k.boxes > 0) {
        st = add_boxes(s, &k, p, a, err);
    }
    buf_deinit(&j.text);
    if (st == STATUS_OK) {
        *out = p;
    }
    return st;
}

enum status store_fetch(struct store *s, const struct asker *who, const Vs__FetchRequest *m,
                        struct arena *a, Vs__FetchReply *out, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    vs__fetch_reply__init(out);
    if (m->n_chunks > FETCH_MAX) {
        return error_set(err, STATUS_INVALID, "at most %u passages can be fetched at once",
                         FETCH_MAX);
    }
    out->passages = arena_array(a, m->n_chunks + 1, sizeof *out->passages);
    enum status st = out->passages == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                           : reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = filter_check(s, &state, who, m->filter, err);
    }
    for (size_t i = 0; i < m->n_chunks && st == STATUS_OK; i++) {
        Vs__Passage *p = NULL;
        if (who->cancelled != NULL && atomic_load(who->cancelled)) {
            st = error_set(err, STATUS_CANCELLED, "the call was cancelled");
            break;
        }
        st = fetch_one(s, r, who, m, m->chunks[i], a, &p, err);
        if (st == STATUS_OK && p != NULL) {
            out->passages[out->n_passages++] = p;
        }
    }
    reader_give(s, r);
    return st;
}
