#include "vectorstore/text_build.h"

#include <stdlib.h>

#include "base/map.h"
#include "vectorstore/text_image.h"

#define SECTION_MAX ((size_t)3 << 30)
#define POSTINGS_FLUSH ((size_t)256 * 1024)
#define BUCKETS_MAX ((size_t)32 * 1024)
#define REST_POSTINGS 32768U /* between two rests: a few milliseconds */

static enum status out_of_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "indexing: out of memory");
}

/* ---- the sections of a part being made ---- */

struct builder {
    struct text_about about;
    struct lexical_length *lengths; /* owned */
    _Atomic uint32_t *grams;        /* owned; LEXICAL_GRAM_BUCKETS counts, or NULL: in sections */
    struct buf sections[TEXT_SECTIONS];
    struct buf last;   /* the term before */
    uint64_t postings; /* bytes so far, those written to the file included */
    uint64_t in_group;
    struct segment_writer *w; /* NULL: an image */
};

static void put_varint(struct buf *out, uint64_t v)
{
    for (; v >= 0x80U; v >>= 7) {
        buf_char(out, (char)(v | 0x80U));
    }
    buf_char(out, (char)v);
}

static enum status builder_begin(struct builder *b, chunk_no first, chunk_no last,
                                 uint32_t analyzer, struct error *err)
{
    *b = (struct builder){.about = {.first = first, .last = last, .analyzer = analyzer}};
    for (size_t i = 0; i < TEXT_SECTIONS; i++) {
        buf_init(&b->sections[i], SECTION_MAX);
    }
    buf_init(&b->last, TEXT_TERM_MAX);
    b->lengths = calloc((size_t)(last - first) + 1, sizeof *b->lengths);
    return b->lengths == NULL ? out_of_memory(err) : STATUS_OK;
}

static void builder_end(struct builder *b)
{
    for (size_t i = 0; i < TEXT_SECTIONS; i++) {
        buf_deinit(&b->sections[i]);
    }
    buf_deinit(&b->last);
    free(b->lengths);
    free(b->grams);
    segment_writer_end(b->w);
}

/* Once the lengths are set: the statistics, and the file begins. */
static enum status builder_count(struct builder *b, const char *path, const struct segment_key *key,
                                 struct error *err)
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

static enum status flush_postings(struct builder *b, struct error *err)
{
    struct buf *p = &b->sections[TEXT_POSTINGS];
    enum status s = b->w == NULL ? STATUS_OK : segment_writer_add(b->w, p->ptr, p->len, err);
    if (b->w != NULL) {
        buf_reset(p);
    }
    return s;
}

/* Terms come in order. */
static enum status builder_term(struct builder *b, struct str term, const struct lexical_add *adds,
                                uint32_t n, struct error *err)
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
    put_varint(terms, shared);
    put_varint(terms, term.len - shared);
    buf_append(terms, term.ptr + shared, term.len - shared);
    put_varint(terms, n);
    put_varint(terms, postings->len - before);
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

static enum status finish_sections(struct builder *b, struct error *err)
{
    struct text_row past = {.terms = b->sections[TEXT_TERMS].len, .postings = b->postings};
    buf_append(&b->sections[TEXT_INDEX], &past, sizeof past);
    uint32_t last = 0;
    for (uint32_t i = 0; b->grams != NULL && i < LEXICAL_GRAM_BUCKETS; i++) {
        uint32_t n = atomic_load_explicit(&b->grams[i], memory_order_relaxed);
        if (n != 0) {
            put_varint(&b->sections[TEXT_GRAMS], i - last);
            put_varint(&b->sections[TEXT_GRAMS], n);
            last = i;
        }
    }
    return buf_status(&b->sections[TEXT_INDEX]) == STATUS_OK &&
                   buf_status(&b->sections[TEXT_GRAMS]) == STATUS_OK
               ? STATUS_OK
               : out_of_memory(err);
}

static enum status finish_file(struct builder *b, struct error *err)
{
    static const char *const names[TEXT_SECTIONS] = TEXT_SECTION_NAMES;
    static const enum text_section rest[] = {TEXT_TERMS, TEXT_INDEX, TEXT_GRAMS};
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

static enum status finish_image(struct builder *b, struct text_part **out, struct error *err)
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

static enum status builder_finish(struct builder *b, struct text_part **out, struct error *err)
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
        free(b);
    }
}

/* realloc'ed to hold `need`; NULL when out of memory, *p then stays. */
static void *grown(void *p, size_t *cap, size_t need, size_t size)
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
        void *p = grown(b->postings, &b->cap_postings, need, sizeof *b->postings);
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
static enum status batch_grams(struct text_batch *b, struct builder *out, struct error *err)
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
        put_varint(&out->sections[TEXT_GRAMS], b->buckets[i] - last);
        put_varint(&out->sections[TEXT_GRAMS], j - i);
        last = b->buckets[i];
        i = j;
    }
    return STATUS_OK;
}

static enum status batch_build(struct text_batch *b, uint32_t analyzer, const char *path,
                               const struct segment_key *key, struct text_part **out,
                               struct error *err)
{
    struct builder w;
    struct lexical_add *adds = calloc((size_t)b->most + 1, sizeof *adds);
    enum status s = builder_begin(&w, b->first, b->first + (b->n - 1), analyzer, err);
    if (s == STATUS_OK && adds == NULL) {
        s = out_of_memory(err);
    }
    if (s == STATUS_OK) {
        memcpy(w.lengths, b->lengths, b->n * sizeof *b->lengths);
        s = builder_count(&w, path, key, err);
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
        s = builder_term(&w, b->terms[i].name, adds, n, err);
    }
    if (s == STATUS_OK) {
        s = batch_grams(b, &w, err);
    }
    if (s == STATUS_OK) {
        s = builder_finish(&w, out, err);
    }
    builder_end(&w);
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

/* ---- from parts ---- */

struct source {
    struct text_terms terms;
    struct text_pins pins; /* of the list at hand */
    struct str term;
    struct lexical_list list;
    bool more;
};

struct merging {
    struct builder out;
    const struct text_pace *pace;
    struct source *sources;
    size_t n;
    struct lexical_add *adds;
    size_t n_adds, cap_adds;
    uint32_t since_rest;
};

static bool is_there(const struct text_pace *pace, uint64_t n)
{
    return pace->there == NULL || n >= pace->there->limit || lexical_allowed(pace->there, n);
}

static enum status advance(struct source *s, struct error *err)
{
    text_pins_drop(&s->pins);
    return text_terms_next(&s->terms, &s->term, &s->pins, &s->list, &s->more, err);
}

static enum status take_list(struct merging *m, const struct lexical_list *list, struct error *err)
{
    struct lexical_reader r;
    struct lexical_postings p;
    enum status s = lexical_list_open(list, &r, err);
    if (s == STATUS_OK && m->n_adds + list->df > m->cap_adds) {
        void *adds = grown(m->adds, &m->cap_adds, m->n_adds + list->df, sizeof *m->adds);
        if (adds == NULL) {
            return out_of_memory(err);
        }
        m->adds = adds;
    }
    for (uint32_t i = 0; s == STATUS_OK && i < r.n_blocks; i++) {
        s = lexical_list_block(&r, i, &p, err);
        for (uint32_t j = 0; s == STATUS_OK && j < p.n; j++) {
            if (is_there(m->pace, (uint64_t)list->base + p.chunk[j])) {
                m->adds[m->n_adds++] =
                    (struct lexical_add){list->base + p.chunk[j], p.tf_text[j], p.tf_title[j]};
            }
        }
    }
    m->since_rest += list->df + 4;
    return s;
}

static int compare_terms(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static enum status merge_term(struct merging *m, size_t least, struct error *err)
{
    enum status s = STATUS_OK;
    bool mine[TEXT_MERGE_MAX] = {false};
    m->n_adds = 0;
    for (size_t i = least; i < m->n && s == STATUS_OK; i++) {
        mine[i] = m->sources[i].more &&
                  (i == least || str_eq(m->sources[i].term, m->sources[least].term));
        if (mine[i]) {
            s = take_list(m, &m->sources[i].list, err);
        }
    }
    if (s == STATUS_OK && m->n_adds > 0) {
        s = builder_term(&m->out, m->sources[least].term, m->adds, (uint32_t)m->n_adds, err);
    }
    for (size_t i = least; i < m->n && s == STATUS_OK; i++) {
        if (mine[i]) {
            s = advance(&m->sources[i], err);
        }
    }
    return s;
}

static enum status merge_terms(struct merging *m, struct error *err)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < m->n && s == STATUS_OK; i++) {
        s = advance(&m->sources[i], err);
    }
    while (s == STATUS_OK) {
        size_t least = m->n;
        for (size_t i = 0; i < m->n; i++) {
            if (m->sources[i].more &&
                (least == m->n || compare_terms(m->sources[i].term, m->sources[least].term) < 0)) {
                least = i;
            }
        }
        if (least == m->n) {
            break;
        }
        s = merge_term(m, least, err);
        if (m->since_rest >= REST_POSTINGS) {
            m->since_rest = 0;
            if (m->pace->cancelled != NULL && atomic_load(m->pace->cancelled)) {
                return error_set(err, STATUS_CANCELLED, "indexing was cancelled");
            }
            if (m->pace->rest != NULL) {
                m->pace->rest(m->pace->data);
            }
        }
    }
    return s;
}

/* Lengths of what stays; dropped ones are counted. */
static uint32_t merge_lengths(struct merging *m, struct text_part *p)
{
    const struct text_about *a = text_part_about(p);
    const struct lexical_length *from = text_part_lengths(p);
    struct lexical_length *to = m->out.lengths + (a->first - m->out.about.first);
    uint32_t dropped = 0;
    for (size_t i = 0; i <= a->last - a->first; i++) {
        bool counts = from[i].length > 0 || from[i].grams > 0;
        if (counts && is_there(m->pace, (uint64_t)a->first + i)) {
            to[i] = from[i];
        } else if (counts) {
            dropped++;
        }
    }
    return dropped;
}

/* What dropped chunks had of the 4-grams is not known any more: the counts shrink in proportion. */
static enum status merge_grams(struct merging *m, struct text_part *p, uint32_t dropped,
                               struct error *err)
{
    uint64_t all = text_part_about(p)->chunks;
    if (dropped == 0) {
        return text_part_grams(p, 1, m->out.grams, err);
    }
    _Atomic uint32_t *room = calloc(LEXICAL_GRAM_BUCKETS, sizeof *room);
    enum status s = room == NULL ? out_of_memory(err) : text_part_grams(p, 1, room, err);
    for (size_t i = 0; i < LEXICAL_GRAM_BUCKETS && s == STATUS_OK; i++) {
        uint64_t n = atomic_load_explicit(&room[i], memory_order_relaxed);
        uint64_t kept = (n * (all - dropped) + all / 2) / all;
        uint32_t there = atomic_load_explicit(&m->out.grams[i], memory_order_relaxed);
        atomic_store_explicit(&m->out.grams[i], there + (uint32_t)kept, memory_order_relaxed);
    }
    free(room);
    return s;
}

static enum status merge(struct merging *m, struct text_part *const *parts, size_t n,
                         const char *path, const struct segment_key *key, struct text_part **out,
                         struct error *err)
{
    m->out.grams = calloc(LEXICAL_GRAM_BUCKETS, sizeof *m->out.grams);
    m->sources = calloc(n, sizeof *m->sources);
    enum status s = m->out.grams == NULL || m->sources == NULL ? out_of_memory(err) : STATUS_OK;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        const struct text_about *a = text_part_about(parts[i]);
        uint32_t dropped = merge_lengths(m, parts[i]);
        m->out.about.dropped += a->dropped + dropped;
        m->out.about.analyzer =
            a->analyzer < m->out.about.analyzer ? a->analyzer : m->out.about.analyzer;
        m->sources[i].terms.part = parts[i];
        m->n = i + 1;
        s = merge_grams(m, parts[i], dropped, err);
    }
    if (s == STATUS_OK) {
        s = builder_count(&m->out, path, key, err);
    }
    if (s == STATUS_OK) {
        s = merge_terms(m, err);
    }
    return s == STATUS_OK ? builder_finish(&m->out, out, err) : s;
}

static enum status merge_parts(struct text_part *const *parts, size_t n,
                               const struct text_pace *pace, const char *path,
                               const struct segment_key *key, struct text_part **out,
                               struct error *err)
{
    struct merging m = {.pace = pace};
    if (n == 0 || n > TEXT_MERGE_MAX) {
        return error_set(err, STATUS_INTERNAL, "indexing: %zu parts cannot be merged", n);
    }
    enum status s = builder_begin(&m.out, text_part_about(parts[0])->first,
                                  text_part_about(parts[n - 1])->last, UINT32_MAX, err);
    if (s == STATUS_OK) {
        s = merge(&m, parts, n, path, key, out, err);
    }
    for (size_t i = 0; i < m.n; i++) {
        text_pins_drop(&m.sources[i].pins);
        text_terms_end(&m.sources[i].terms);
    }
    free(m.sources);
    free(m.adds);
    builder_end(&m.out);
    return s;
}

enum status text_merge_image(struct text_part *const *parts, size_t n, const struct text_pace *pace,
                             struct text_part **out, struct error *err)
{
    return merge_parts(parts, n, pace, NULL, NULL, out, err);
}

enum status text_merge_file(struct text_part *const *parts, size_t n, const struct text_pace *pace,
                            const char *path, const struct segment_key *key, struct error *err)
{
    struct text_part *unused = NULL;
    return merge_parts(parts, n, pace, path, key, &unused, err);
}
