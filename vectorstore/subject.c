/* Looking for a data subject: every content's text as a whole (no boundary of passages hides
 * anything), its headings and title, its original where that is plain text, and in the last steps
 * every path and tag that a document has or had. Nothing is ranked or left out. */
#include <stdio.h>
#include <string.h>

#include "base/text/subject.h"
#include "vectorstore/catalogue_query.h"
#include "vectorstore/store_internal.h"

#define STEP_BYTES ((uint64_t)32 << 20)
#define STEP_CONTENTS 2000U
#define STEP_ITEMS 2000U /* a step ends behind the content that exceeds it */
#define ITEMS_MAX 20000U /* of one reply */
#define STEP_NAMES 512U  /* documents */
#define HASHES_MAX 4096U
#define PLAIN_LOOK 8192U
#define CHUNKS_MAX UINT32_C(10000000)

enum status catalogue_names(struct catalogue *c, struct str after, uint32_t documents,
                            char last[ID_CAP], name_visit visit, void *data, struct error *err)
{
    struct arena a;
    arena_init(&a, (size_t)1024 * 1024);
    struct query bound = query(c, Q_NAMES_BOUND, err);
    put_text(&bound, after);
    put_int(&bound, documents);
    last[0] = '\0';
    if (next(&bound) && col_int(&bound, 1) == (int64_t)documents) {
        struct str id = db_column(bound.st, 0);
        (void)snprintf(last, ID_CAP, "%.*s", STR_ARG(id));
    }
    enum status s = done(&bound);
    struct query q = query(c, Q_NAMES_SOME, err);
    q.s = q.s == STATUS_OK ? s : q.s;
    put_text(&q, after);
    put_z(&q, last[0] == '\0' ? "\xF4\x8F\xBF\xBF" : last); /* above every id */
    while (next(&q)) {
        const char *document = col_copy(&q, 0, &a).ptr;
        struct str path = col_copy(&q, 1, &a);
        struct str tags = col_copy(&q, 2, &a);
        if (q.s == STATUS_OK) {
            q.s = visit(document, path, tags, data, err);
        }
        arena_reset(&a);
    }
    arena_reset(&a);
    return done(&q);
}

struct finding {
    struct store *s;
    struct reader *r;
    struct subject_set *set;
    struct arena *a;
    Vs__FindSubjectReply *out;
    uint64_t bytes; /* looked through in this step */
    /* of the content at hand */
    uint32_t passages;
    bool named, unread;
};

/* ---- one content ---- */

/* *there false: what it holds is not known; NULL: nobody has to know. */
static enum status look_in_file(struct finding *f, const struct content *k, enum blob_kind kind,
                                bool *there, struct error *err)
{
    struct blob_view v;
    enum status st = blob_look(&f->s->blobs, k->hash, k->pipeline, kind, &v, err);
    size_t look = v.data.len < PLAIN_LOOK ? v.data.len : PLAIN_LOOK;
    bool plain = look > 0 && (kind == BLOB_TEXT || memchr(v.data.ptr, '\0', look) == NULL);
    if (st == STATUS_OK && plain) {
        f->named = f->named || subject_in(f->set, v.data);
        f->bytes += v.data.len;
    }
    if (there != NULL) {
        *there = v.there;
    }
    blob_looked(&v);
    return st;
}

static enum status count_passage(const struct stored_chunk *k, void *data, struct error *err)
{
    (void)err;
    struct finding *f = data;
    if (subject_in(f->set, k->text) || subject_in(f->set, k->heading)) {
        f->passages++;
    }
    return STATUS_OK;
}

static enum status look_in(struct finding *f, const struct content *k, struct error *err)
{
    bool text = false;
    f->named = f->unread = false;
    f->passages = 0;
    enum status st = look_in_file(f, k, BLOB_TEXT, &text, err);
    if (st == STATUS_OK && !f->named) {
        st = look_in_file(f, k, BLOB_ORIGINAL, NULL, err);
    }
    f->named = f->named || subject_in(f->set, str_from(k->title)) ||
               subject_in(f->set, str_from(k->author)) || subject_in(f->set, str_from(k->keywords));
    if (st == STATUS_OK && (f->named || !text)) {
        st = catalogue_chunks_of(f->r->db, k->pk, 0, CHUNKS_MAX, count_passage, f, err);
    }
    if (f->passages == 0 && f->named) {
        f->passages = 1; /* across passages, in the title, or in what is no passage */
    }
    f->named = f->passages > 0;
    f->unread = !f->named && !text && k->text_size > 0;
    return st;
}

/* ---- its documents ---- */

static enum status newest_path(const struct version *v, void *data, struct error *err)
{
    struct str *out = ((void **)data)[0];
    struct arena *a = ((void **)data)[1];
    out->ptr = arena_strndup(a, v->path.ptr, v->path.len);
    out->len = v->path.len;
    return out->ptr == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static enum status add_item(struct finding *f, const char *document, bool current, bool name,
                            struct error *err)
{
    struct location l = {0};
    struct str path = STR("");
    Vs__FindSubjectReply *out = f->out;
    Vs__FindSubjectReply__Item *item = arena_alloc(f->a, sizeof *item);
    if (out->n_items == ITEMS_MAX) {
        return error_set(err, STATUS_TOO_LARGE,
                         "more than %u documents name the subject: say a more exact identifier",
                         ITEMS_MAX);
    }
    if (item == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status st = catalogue_location_get(f->r->db, str_from(document), f->a, &l, err);
    if (st == STATUS_OK) {
        path = l.path;
    }
    if (st == STATUS_NOT_FOUND || (st == STATUS_OK && path.len == 0)) {
        void *both[2] = {&path, f->a};
        st = catalogue_versions_of(f->r->db, document, 1, newest_path, both, err);
    }
    if (st != STATUS_OK) {
        return st;
    }
    vs__find_subject_reply__item__init(item);
    item->document = arena_strdup(f->a, document);
    item->path = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)path.ptr, .len = path.len};
    item->passages = name || f->unread ? 0 : f->passages;
    item->current = current;
    item->name = name;
    item->unread = !name && f->unread;
    if (item->document == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    out->items[out->n_items++] = item;
    return STATUS_OK;
}

static enum status take_place(const struct doc_place *p, void *data, struct error *err)
{
    return add_item(data, p->document, p->current, false, err);
}

static enum status take_name(const char *document, struct str path, struct str tags, void *data,
                             struct error *err)
{
    struct finding *f = data;
    return subject_in(f->set, path) || subject_in(f->set, tags)
               ? add_item(f, document, true, true, err)
               : STATUS_OK;
}

/* ---- a step ---- */

/* Contents from `*next` on; *end: there was none left. */
static enum status step(struct finding *f, int64_t *next, bool *end, struct error *err)
{
    struct arena a;
    enum status st = STATUS_OK;
    arena_init(&a, (size_t)1024 * 1024);
    *end = false;
    for (uint32_t n = 0; st == STATUS_OK && n < STEP_CONTENTS && f->bytes < STEP_BYTES &&
                         f->out->n_items < STEP_ITEMS;
         n++) {
        struct content k;
        st = catalogue_content_after(f->r->db, *next, &a, &k, err);
        if (st == STATUS_NOT_FOUND) {
            *end = true;
            st = STATUS_OK;
            break;
        }
        if (st == STATUS_OK && (k.state == CONTENT_PUBLISHED || k.state == CONTENT_RETAINED)) {
            st = look_in(f, &k, err);
            if (st == STATUS_OK && (f->named || f->unread)) {
                st = catalogue_places(f->r->db, k.pk, take_place, f, err);
            }
        }
        *next = st == STATUS_OK ? k.pk : *next;
        arena_reset(&a);
    }
    arena_reset(&a);
    return st;
}

static enum status which_are_stored(struct finding *f, const Vs__FindSubjectRequest *m,
                                    struct error *err)
{
    enum status st = STATUS_OK;
    f->out->stored = arena_array(f->a, m->n_hashes + 1, sizeof *f->out->stored);
    if (f->out->stored == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < m->n_hashes && st == STATUS_OK; i++) {
        int64_t n = 0;
        int64_t structure = 0;
        if (m->hashes[i].len == SHA256_BYTES) {
            st = catalogue_content_uses(f->r->db, m->hashes[i].data, "", &n, &structure, err);
        }
        f->out->stored[f->out->n_stored++] = n > 0;
    }
    return st;
}

static enum status open_set(const Vs__FindSubjectRequest *m, struct subject_set **out,
                            struct error *err)
{
    struct str packed[SUBJECTS_MAX];
    if (m->key.len != KEYED_KEY_BYTES || m->n_marks > SUBJECTS_MAX || m->n_hashes > HASHES_MAX) {
        return error_set(err, STATUS_INVALID, "a key of %d bytes, at most %u marks and %u hashes",
                         KEYED_KEY_BYTES, SUBJECTS_MAX, HASHES_MAX);
    }
    for (size_t i = 0; i < m->n_marks; i++) {
        packed[i] = (struct str){.ptr = (const char *)m->marks[i].data, .len = m->marks[i].len};
    }
    return subject_set_unpack(m->key.data, packed, m->n_marks, out, err);
}

enum status store_find_subject(struct store *s, const Vs__FindSubjectRequest *m, struct arena *a,
                               Vs__FindSubjectReply *out, struct error *err)
{
    struct finding f = {.s = s, .a = a, .out = out};
    struct catalogue_state state;
    char last[ID_CAP] = "";
    bool end = m->n_marks == 0;
    out->next = m->has_after ? m->after : 0;
    enum status st = open_set(m, &f.set, err);
    if (st == STATUS_OK) {
        out->items = arena_array(a, ITEMS_MAX + 1, sizeof(void *));
        st = out->items == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                : reader_take(s, &f.r, &state, err);
    }
    if (st == STATUS_OK) {
        st = which_are_stored(&f, m, err);
    }
    if (st == STATUS_OK && !end && m->names_after == NULL) {
        st = step(&f, &out->next, &end, err);
        out->names_next = end ? arena_strdup(a, "") : NULL;
        end = false;
    } else if (st == STATUS_OK && !end) {
        st = catalogue_names(f.r->db, str_from(m->names_after), STEP_NAMES, last, take_name, &f,
                             err);
        end = last[0] == '\0';
        out->names_next = end ? NULL : arena_strdup(a, last);
    }
    out->done = end;
    reader_give(s, f.r);
    subject_set_free(f.set);
    return st;
}
