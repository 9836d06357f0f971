#include "vectorstore/text_build.h"

#include <stdlib.h>

#include "base/map.h"
#include "vectorstore/text_builder.h"

#define SECTION_MAX ((size_t)3 << 30)
#define POSTINGS_FLUSH ((size_t)256 * 1024)
#define BUCKETS_MAX ((size_t)32 * 1024)

static enum status out_of_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "indexing: out of memory");
}

/* ---- the sections of a part being made ---- */

enum status text_builder_begin(struct text_builder *b, chunk_no first, chunk_no last,
                               uint32_t analyzer, struct error *err)
{
    *b = (struct text_builder){.about = {.first = first, .last = last, .analyzer = analyzer}};
    for (size_t i = 0; i < TEXT_SECTIONS; i++) {
        buf_init(&b->sections[i], SECTION_MAX);
    }
    buf_init(&b->last, TEXT_TERM_MAX);
    b->lengths = calloc((size_t)(last - first) + 1, sizeof *b->lengths);
    return b->lengths == NULL ? out_of_memory(err) : text_forms_begin(first, &b->forms, err);
}

void text_builder_end(struct text_builder *b)
{
    for (size_t i = 0; i < TEXT_SECTIONS; i++) {
        buf_deinit(&b->sections[i]);
    }
    buf_deinit(&b->last);
    free(b->lengths);
    free(b->grams);
    text_forms_free(b->forms);
    segment_writer_end(b->w);
}

enum status text_builder_count(struct text_builder *b, const char *path,
                               const struct segment_key *key, struct error *err)
{
    static const char *const names[TEXT_SECTIONS] = TEXT_SECTION_NAMES;
    struct text_about *a = &b->about;
    size_t n = (size_t)(a->last - a->first) + 1;
    for (size_t i = 0; i < n; i++) {
        const struct lexical_length *l = &b->lengths[i];
        a->chunks += l->length > 0 || l->grams > 0 ? 1 : 0;
        a->length_total += l->length;
        a->gram_length_total += l->grams;
        a->plain_length_total += l->plain;
    }
    if (path == NULL) {
        return STATUS_OK;
    }
    enum status s = segment_writer_begin(path, TEXT_KIND, TEXT_VERSION, key, &b->w, err);
    if (s == STATUS_OK) {
        s = segment_writer_section(b->w, names[TEXT_LENGTHS], err);
    }
    if (s == STATUS_OK) {
        s = segment_writer_add(b->w, b->lengths, n * sizeof *b->lengths, err);
    }
    return s == STATUS_OK ? segment_writer_section(b->w, names[TEXT_POSTINGS], err) : s;
}

static enum status flush_postings(struct text_builder *b, struct error *err)
{
    struct buf *p = &b->sections[TEXT_POSTINGS];
    enum status s = b->w == NULL ? STATUS_OK : segment_writer_add(b->w, p->ptr, p->len, err);
    if (b->w != NULL) {
        buf_reset(p);
    }
    return s;
}

enum status text_builder_term(struct text_builder *b, struct str term,
                              const struct lexical_add *adds, uint32_t n, struct error *err)
{
    struct buf *terms = &b->sections[TEXT_TERMS];
    struct buf *postings = &b->sections[TEXT_POSTINGS];
    size_t before = postings->len;
    size_t shared = 0;
    if (b->in_group % TEXT_GROUP == 0) {
        struct text_row r = {.terms = terms->len, .postings = b->postings};
        buf_append(&b->sections[TEXT_INDEX], &r, sizeof r);
        buf_reset(&b->last);
    }
    while (shared < b->last.len && shared < term.len && b->last.ptr[shared] == term.ptr[shared]) {
        shared++;
    }
    enum status s = lexical_list_encode(adds, n, b->about.first, b->lengths, postings, err);
    if (s != STATUS_OK) {
        return s;
    }
    text_put_varint(terms, shared);
    text_put_varint(terms, term.len - shared);
    buf_append(terms, term.ptr + shared, term.len - shared);
    text_put_varint(terms, n);
    text_put_varint(terms, postings->len - before);
    b->postings += postings->len - before;
    buf_reset(&b->last);
    buf_str(&b->last, term);
    b->in_group++;
    b->about.terms++;
    if (buf_status(terms) != STATUS_OK || buf_status(&b->last) != STATUS_OK) {
        return out_of_memory(err);
    }
    return postings->len >= POSTINGS_FLUSH ? flush_postings(b, err) : STATUS_OK;
}

static enum status finish_sections(struct text_builder *b, struct error *err)
{
    struct text_row past = {.terms = b->sections[TEXT_TERMS].len, .postings = b->postings};
    buf_append(&b->sections[TEXT_INDEX], &past, sizeof past);
    uint32_t last = 0;
    for (uint32_t i = 0; b->grams != NULL && i < LEXICAL_GRAM_BUCKETS; i++) {
        uint32_t n = atomic_load_explicit(&b->grams[i], memory_order_relaxed);
        if (n != 0) {
            text_put_varint(&b->sections[TEXT_GRAMS], i - last);
            text_put_varint(&b->sections[TEXT_GRAMS], n);
            last = i;
        }
    }
    if (buf_status(&b->sections[TEXT_INDEX]) != STATUS_OK ||
        buf_status(&b->sections[TEXT_GRAMS]) != STATUS_OK) {
        return out_of_memory(err);
    }
    return text_forms_finish(b->forms, &b->sections[TEXT_FORMS], &b->sections[TEXT_FORM_INDEX],
                             &b->sections[TEXT_TRIGRAMS], err);
}

static enum status finish_file(struct text_builder *b, struct error *err)
{
    static const char *const names[TEXT_SECTIONS] = TEXT_SECTION_NAMES;
    static const enum text_section rest[] = {TEXT_TERMS, TEXT_INDEX,      TEXT_GRAMS,
                                             TEXT_FORMS, TEXT_FORM_INDEX, TEXT_TRIGRAMS};
    enum status s = flush_postings(b, err);
    for (size_t i = 0; i < sizeof rest / sizeof rest[0] && s == STATUS_OK; i++) {
        s = segment_writer_section(b->w, names[rest[i]], err);
        if (s == STATUS_OK) {
            s = segment_writer_add(b->w, b->sections[rest[i]].ptr, b->sections[rest[i]].len, err);
        }
    }
    if (s == STATUS_OK) {
        s = segment_writer_section(b->w, "about", err);
    }
    if (s == STATUS_OK) {
        s = segment_writer_add(b->w, &b->about, sizeof b->about, err);
    }
    return s == STATUS_OK ? segment_writer_finish(b->w, err) : s;
}

static enum status finish_image(struct text_builder *b, struct text_part **out, struct error *err)
{
    size_t n = (size_t)(b->about.last - b->about.first) + 1;
    struct text_image h = {.about = b->about};
    uint64_t len = sizeof h;
    memcpy(h.magic, TEXT_MAGIC, sizeof h.magic);
    for (size_t i = 0; i < TEXT_SECTIONS; i++) {
        h.sizes[i] = i == TEXT_LENGTHS ? n * sizeof *b->lengths : b->sections[i].len;
        len += text_aligned(h.sizes[i]);
    }
    char *image = calloc(1, (size_t)len);
    if (image == NULL) {
        return out_of_memory(err);
    }
    uint64_t at = sizeof h;
    for (size_t i = 0; i < TEXT_SECTIONS; i++) {
        const void *from = i == TEXT_LENGTHS ? (const void *)b->lengths : b->sections[i].ptr;
        if (h.sizes[i] > 0) {
            memcpy(image + at, from, (size_t)h.sizes[i]);
        }
        at += text_aligned(h.sizes[i]);
    }
    memcpy(image, &h, sizeof h);
    size_t hashed = offsetof(struct text_image, about);
    h.hash = hash64(image + hashed, (size_t)len - hashed);
    memcpy(image, &h, sizeof h);
    return text_part_image(image, (size_t)len, out, err);
}

enum status text_builder_finish(struct text_builder *b, struct text_part **out, struct error *err)
{
    enum status s = finish_sections(b, err);
    if (s == STATUS_OK) {
        s = b->w != NULL ? finish_file(b, err) : finish_image(b, out, err);
    }
    return s;
}

/* ---- from a batch ---- */

struct batch_term {
    struct str name; /* in names */
    uint64_t hash;
    uint32_t first, last; /* of its postings; 1 more than the place, 0: none */
    uint32_t n;
};

struct batch_posting {
    struct lexical_add add;
    uint32_t next;
};

struct text_batch {
    chunk_no first;
    uint32_t n;
    struct lexical_length *lengths;
    struct arena names;
    struct batch_term *terms;
    size_t n_terms, cap_terms;
    uint32_t *slots; /* twice cap_terms; 1 more than the place */
    struct batch_posting *postings;
    size_t n_postings, cap_postings;
    uint32_t most;     /* postings of a term */
    uint32_t *buckets; /* BUCKETS_MAX of them, then folded into grams */
    size_t n_buckets;
    _Atomic uint32_t *grams; /* NULL: there are only buckets */
    struct text_forms_table *forms;
};

enum status text_batch_new(chunk_no first, uint32_t n, struct text_batch **out, struct error *err)
{
    struct text_batch *b = calloc(1, sizeof *b);
    if (b == NULL || n == 0) {
        free(b);
        return out_of_memory(err);
    }
    b->first = first;
    b->n = n;
    arena_init(&b->names, (size_t)512 * 1024 * 1024);
    b->lengths = calloc(n, sizeof *b->lengths);
    b->buckets = malloc(BUCKETS_MAX * sizeof *b->buckets);
    if (b->lengths == NULL || b->buckets == NULL) {
        text_batch_free(b);
        return out_of_memory(err);
    }
    *out = b;
    return STATUS_OK;
}

void text_batch_free(struct text_batch *b)
{
    if (b != NULL) {
        arena_reset(&b->names);
        free(b->lengths);
        free(b->terms);
        free(b->slots);
        free(b->postings);
        free(b->buckets);
        free(b->grams);
        text_forms_table_free(b->forms);
        free(b);
    }
}

void *text_grown(void *p, size_t *cap, size_t need, size_t size)
{
    size_t to = *cap < 1024 ? 1024 : *cap;
    while (to < need) {
        to += to / 2;
    }
    void *bigger = realloc(p, to * size);
    if (bigger != NULL) {
        *cap = to;
    }
    return bigger;
}

static bool more_terms(struct text_batch *b)
{
    size_t cap = b->cap_terms == 0 ? 512 : b->cap_terms * 2;
    struct batch_term *terms = realloc(b->terms, cap * sizeof *terms);
    if (terms == NULL) {
        return false;
    }
    b->terms = terms;
    uint32_t *slots = calloc(cap * 2, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < b->n_terms; i++) {
        size_t s = (size_t)b->terms[i].hash & (cap * 2 - 1);
        while (slots[s] != 0) {
            s = (s + 1) & (cap * 2 - 1);
        }
        slots[s] = (uint32_t)i + 1;
    }
    free(b->slots);
    b->slots = slots;
    b->cap_terms = cap;
    return true;
}

static struct batch_term *batch_term(struct text_batch *b, struct str name)
{
    if (b->n_terms == b->cap_terms && !more_terms(b)) {
        return NULL;
    }
    uint64_t hash = hash64(name.ptr, name.len);
    size_t s = (size_t)hash & (b->cap_terms * 2 - 1);
    for (; b->slots[s] != 0; s = (s + 1) & (b->cap_terms * 2 - 1)) {
        struct batch_term *t = &b->terms[b->slots[s] - 1];
        if (t->hash == hash && str_eq(t->name, name)) {
            return t;
        }
    }
    const char *copy = arena_strndup(&b->names, name.ptr, name.len);
    if (copy == NULL) {
        return NULL;
    }
    struct batch_term *t = &b->terms[b->n_terms++];
    *t = (struct batch_term){.name = {copy, name.len}, .hash = hash};
    b->slots[s] = (uint32_t)b->n_terms;
    return t;
}

static bool fold_buckets(struct text_batch *b)
{
    if (b->grams == NULL) {
        b->grams = calloc(LEXICAL_GRAM_BUCKETS, sizeof *b->grams);
    }
    for (size_t i = 0; b->grams != NULL && i < b->n_buckets; i++) {
        _Atomic uint32_t *n = &b->grams[b->buckets[i]];
        atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                              memory_order_relaxed);
    }
    b->n_buckets = b->grams != NULL ? 0 : b->n_buckets;
    return b->grams != NULL;
}

static uint16_t clip(uint32_t n)
{
    return n > UINT16_MAX ? UINT16_MAX : (uint16_t)n;
}

enum status text_batch_add(struct text_batch *b, chunk_no n, const struct lexical_entry *e,
                           struct error *err)
{
    size_t need = b->n_postings + e->n_postings;
    if (n < b->first || n - b->first >= b->n || need > UINT32_MAX / 2) {
        return error_set(err, STATUS_INTERNAL, "indexing: passage %u is not of the batch", n);
    }
    if (need > b->cap_postings) {
        void *p = text_grown(b->postings, &b->cap_postings, need, sizeof *b->postings);
        if (p == NULL) {
            return out_of_memory(err);
        }
        b->postings = p;
    }
    for (size_t i = 0; i < e->n_postings; i++) {
        struct batch_term *t =
            e->postings[i].term.len > TEXT_TERM_MAX - 1 ? NULL : batch_term(b, e->postings[i].term);
        if (t == NULL) {
            return out_of_memory(err);
        }
        b->postings[b->n_postings] =
            (struct batch_posting){.add = {n, e->postings[i].tf_text, e->postings[i].tf_title}};
        uint32_t place = (uint32_t)++b->n_postings;
        *(t->last == 0 ? &t->first : &b->postings[t->last - 1].next) = place;
        t->last = place;
        b->most = ++t->n > b->most ? t->n : b->most;
    }
    for (size_t i = 0; i < e->n_gram_buckets; i++) {
        if (b->n_buckets == BUCKETS_MAX && !fold_buckets(b)) {
            return out_of_memory(err);
        }
        b->buckets[b->n_buckets++] = e->gram_buckets[i];
    }
    for (size_t i = 0; i < e->n_forms; i++) {
        enum status s = text_forms_table_add(&b->forms, &e->forms[i], n, err);
        if (s != STATUS_OK) {
            return s;
        }
    }
    b->lengths[n - b->first] = (struct lexical_length){
        .length = clip(e->length), .plain = clip(e->plain_length), .grams = e->gram_length};
    return STATUS_OK;
}

static int by_name(const void *x, const void *y)
{
    const struct batch_term *a = x;
    const struct batch_term *b = y;
    size_t n = a->name.len < b->name.len ? a->name.len : b->name.len;
    int c = memcmp(a->name.ptr, b->name.ptr, n);
    return c != 0 ? c : (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

static int by_number(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x;
    uint32_t b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

/* Few buckets are sorted, many counted. */
static enum status batch_grams(struct text_batch *b, struct text_builder *out, struct error *err)
{
    if (b->grams != NULL) {
        if (!fold_buckets(b)) {
            return out_of_memory(err);
        }
        out->grams = b->grams;
        b->grams = NULL;
        return STATUS_OK;
    }
    if (b->n_buckets > 0) {
        qsort(b->buckets, b->n_buckets, sizeof *b->buckets, by_number);
    }
    uint32_t last = 0;
    for (size_t i = 0; i < b->n_buckets;) {
        size_t j = i;
        while (j < b->n_buckets && b->buckets[j] == b->buckets[i]) {
            j++;
        }
        text_put_varint(&out->sections[TEXT_GRAMS], b->buckets[i] - last);
        text_put_varint(&out->sections[TEXT_GRAMS], j - i);
        last = b->buckets[i];
        i = j;
    }
    return STATUS_OK;
}

static enum status batch_build(struct text_batch *b, uint32_t analyzer, const char *path,
                               const struct segment_key *key, struct text_part **out,
                               struct error *err)
{
    struct text_builder w;
    struct lexical_add *adds = calloc((size_t)b->most + 1, sizeof *adds);
    enum status s = text_builder_begin(&w, b->first, b->first + (b->n - 1), analyzer, err);
    if (s == STATUS_OK && adds == NULL) {
        s = out_of_memory(err);
    }
    if (s == STATUS_OK) {
        memcpy(w.lengths, b->lengths, b->n * sizeof *b->lengths);
        s = text_builder_count(&w, path, key, err);
    }
    if (s == STATUS_OK && b->n_terms > 0) {
        qsort(b->terms, b->n_terms, sizeof *b->terms, by_name);
        free(b->slots); /* the places have changed: nothing is added any more */
        b->slots = NULL;
        b->cap_terms = b->n_terms;
    }
    for (size_t i = 0; i < b->n_terms && s == STATUS_OK; i++) {
        uint32_t n = 0;
        for (uint32_t at = b->terms[i].first; at != 0; at = b->postings[at - 1].next) {
            adds[n++] = b->postings[at - 1].add;
        }
        s = text_builder_term(&w, b->terms[i].name, adds, n, err);
    }
    if (s == STATUS_OK) {
        s = batch_grams(b, &w, err);
    }
    if (s == STATUS_OK) {
        s = text_forms_table_write(b->forms, w.forms, err);
    }
    if (s == STATUS_OK) {
        s = text_builder_finish(&w, out, err);
    }
    text_builder_end(&w);
    free(adds);
    return s;
}

enum status text_batch_part(struct text_batch *b, uint32_t analyzer, struct text_part **out,
                            struct error *err)
{
    return batch_build(b, analyzer, NULL, NULL, out, err);
}

enum status text_batch_file(struct text_batch *b, uint32_t analyzer, const char *path,
                            const struct segment_key *key, struct error *err)
{
    struct text_part *unused = NULL;
    return batch_build(b, analyzer, path, key, &unused, err);
}
