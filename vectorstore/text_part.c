#include "vectorstore/text_part.h"

#include <stdlib.h>

#include "base/map.h"
#include "vectorstore/text_image.h"

struct text_part {
    _Atomic uint32_t refs;
    struct text_about about;
    struct segment_file *file; /* NULL: an image */
    void *image;
    size_t image_len;
    struct str in_image[TEXT_SECTIONS];
    struct segment_section in_file[TEXT_SECTIONS];
    struct segment_view lengths, index; /* held */
    uint64_t n_groups;
};

static enum status damaged(const struct text_part *p, const char *what, struct error *err)
{
    return error_set(err, STATUS_CORRUPT, "full text of passages %u to %u: %s", p->about.first,
                     p->about.last, what);
}

/* ---- sections ---- */

enum status text_part_view(struct text_part *p, enum text_section section, uint64_t at,
                           uint64_t len, struct segment_view *out, struct error *err)
{
    if (p->file != NULL) {
        return segment_file_view(p->file, &p->in_file[section], at, (size_t)len, out, err);
    }
    struct str s = p->in_image[section];
    if (at > s.len || len > s.len - at) {
        return damaged(p, "points outside a section", err);
    }
    *out = (struct segment_view){.ptr = (const unsigned char *)s.ptr + at, .len = (size_t)len};
    return STATUS_OK;
}

uint64_t text_part_size(const struct text_part *p, enum text_section section)
{
    return p->file != NULL ? p->in_file[section].size : p->in_image[section].len;
}

static struct text_row row(const struct text_part *p, uint64_t group)
{
    struct text_row r;
    memcpy(&r, p->index.ptr + group * sizeof r, sizeof r);
    return r;
}

static enum status hold_sections(struct text_part *p, struct error *err)
{
    uint64_t n = (uint64_t)p->about.last - p->about.first + 1;
    uint64_t index = text_part_size(p, TEXT_INDEX);
    p->n_groups = (p->about.terms + TEXT_GROUP - 1) / TEXT_GROUP;
    if (p->about.last < p->about.first || p->about.terms / TEXT_GROUP > index ||
        index != (p->n_groups + 1) * sizeof(struct text_row) ||
        text_part_size(p, TEXT_LENGTHS) != n * sizeof(struct lexical_length)) {
        return damaged(p, "its sections do not fit together", err);
    }
    enum status s =
        text_part_view(p, TEXT_LENGTHS, 0, text_part_size(p, TEXT_LENGTHS), &p->lengths, err);
    return s == STATUS_OK ? text_part_view(p, TEXT_INDEX, 0, index, &p->index, err) : s;
}

/* ---- life ---- */

static struct text_part *part_new(struct error *err)
{
    struct text_part *p = calloc(1, sizeof *p);
    if (p == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "full text: out of memory");
        return NULL;
    }
    atomic_init(&p->refs, 1);
    return p;
}

static enum status take_image(struct text_part *p, struct error *err)
{
    struct text_image h = {.hash = 0};
    const char *at = p->image;
    bool first = p->image_len >= sizeof h.magic && memcmp(at, TEXT_MAGIC_1, sizeof h.magic) == 0;
    size_t sections = first ? TEXT_SECTIONS_1 : TEXT_SECTIONS;
    size_t head = offsetof(struct text_image, sizes) + sections * sizeof h.sizes[0];
    if (p->image_len < head) {
        return damaged(p, "is cut short", err);
    }
    memcpy(&h, at, head);
    p->about = h.about;
    size_t hashed = offsetof(struct text_image, about);
    uint64_t left = p->image_len - head;
    uint64_t offset = head;
    if ((!first && memcmp(h.magic, TEXT_MAGIC, sizeof h.magic) != 0) ||
        h.hash != hash64(at + hashed, p->image_len - hashed)) {
        return damaged(p, "does not match its checksum", err);
    }
    for (size_t i = 0; i < sections; i++) {
        uint64_t len = h.sizes[i] > left ? UINT64_MAX : text_aligned(h.sizes[i]);
        if (len > left) {
            return damaged(p, "is cut short", err);
        }
        p->in_image[i] = (struct str){at + offset, (size_t)h.sizes[i]};
        offset += len;
        left -= len;
    }
    return hold_sections(p, err);
}

enum status text_part_image(void *image, size_t len, struct text_part **out, struct error *err)
{
    struct text_part *p = part_new(err);
    if (p == NULL) {
        free(image);
        return STATUS_NO_MEMORY;
    }
    p->image = image;
    p->image_len = len;
    enum status s = take_image(p, err);
    if (s != STATUS_OK) {
        text_part_drop(p);
        return s;
    }
    *out = p;
    return STATUS_OK;
}

enum status text_part_open(const char *path, const struct segment_key *key,
                           struct segment_cache *cache, struct text_part **out, struct error *err)
{
    static const char *const names[TEXT_SECTIONS] = TEXT_SECTION_NAMES;
    struct text_part *p = part_new(err);
    struct segment_section about;
    struct segment_view v = {0};
    if (p == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status s = segment_file_open(path, TEXT_KIND, TEXT_VERSION, key, cache, &p->file, err);
    if (s == STATUS_OK) {
        s = segment_file_section(p->file, "about", &about, err);
    }
    if (s == STATUS_OK) {
        s = segment_file_view(p->file, &about, 0, sizeof p->about, &v, err);
    }
    if (s == STATUS_OK) {
        memcpy(&p->about, v.ptr, sizeof p->about);
        segment_view_drop(&v);
    }
    for (size_t i = 0; i < TEXT_SECTIONS && s == STATUS_OK; i++) {
        s = segment_file_section(p->file, names[i], &p->in_file[i], err);
        if (s == STATUS_CORRUPT && i >= TEXT_SECTIONS_1) { /* of an earlier version */
            p->in_file[i] = (struct segment_section){0};
            s = STATUS_OK;
        }
    }
    if (s == STATUS_OK) {
        s = hold_sections(p, err);
    }
    if (s != STATUS_OK) {
        text_part_drop(p);
        return s;
    }
    *out = p;
    return STATUS_OK;
}

struct text_part *text_part_hold(struct text_part *p)
{
    (void)atomic_fetch_add(&p->refs, 1);
    return p;
}

void text_part_drop(struct text_part *p)
{
    if (p == NULL || atomic_fetch_sub(&p->refs, 1) != 1) {
        return;
    }
    if (p->file != NULL) {
        segment_view_drop(&p->lengths);
        segment_view_drop(&p->index);
        segment_file_close(p->file);
    }
    free(p->image);
    free(p);
}

const struct text_about *text_part_about(const struct text_part *p)
{
    return &p->about;
}

const struct lexical_length *text_part_lengths(const struct text_part *p)
{
    return (const struct lexical_length *)(const void *)p->lengths.ptr;
}

struct str text_part_bytes(const struct text_part *p)
{
    return (struct str){.ptr = p->image == NULL ? "" : p->image, .len = p->image_len};
}

bool text_part_clear(const struct text_part *p)
{
    return p->file != NULL && segment_file_clear(p->file);
}

bool text_part_sealed(const struct text_part *p)
{
    return p->file != NULL;
}

/* ---- lists ---- */

void text_pins_drop(struct text_pins *pins)
{
    for (size_t i = 0; i < pins->n; i++) {
        segment_view_drop(&pins->views[i]);
    }
    free(pins->views);
    *pins = (struct text_pins){0};
}

/* Keeps v where something must be held for it. */
static enum status pin(struct text_pins *pins, struct segment_view *v, struct error *err)
{
    if (v->pin == NULL && v->copy == NULL) {
        return STATUS_OK;
    }
    if (pins->n == pins->cap) {
        size_t cap = pins->cap == 0 ? 32 : pins->cap * 2;
        struct segment_view *views = realloc(pins->views, cap * sizeof *views);
        if (views == NULL) {
            segment_view_drop(v);
            return error_set(err, STATUS_NO_MEMORY, "full text: out of memory");
        }
        pins->views = views;
        pins->cap = cap;
    }
    pins->views[pins->n++] = *v;
    return STATUS_OK;
}

static enum status list_at(struct text_part *p, uint64_t at, uint64_t len, uint64_t df,
                           struct text_pins *pins, struct lexical_list *out, struct error *err)
{
    struct segment_view v;
    uint32_t n = p->about.last - p->about.first + 1;
    if (df == 0 || df > n) {
        return damaged(p, "a damaged frequency", err);
    }
    enum status s = text_part_view(p, TEXT_POSTINGS, at, len, &v, err);
    if (s == STATUS_OK) {
        *out = (struct lexical_list){.bytes = {(const char *)v.ptr, v.len},
                                     .df = (uint32_t)df,
                                     .base = p->about.first,
                                     .lengths = text_part_lengths(p),
                                     .n_lengths = n};
        s = pin(pins, &v, err);
    }
    return s;
}

struct entry {
    uint64_t shared, df, postings;
    struct str rest;
};

static bool read_entry(const struct segment_view *v, size_t *at, struct entry *e)
{
    uint64_t len;
    if (!text_varint(v, at, &e->shared) || !text_varint(v, at, &len) || len > v->len - *at) {
        return false;
    }
    e->rest = (struct str){(const char *)v->ptr + *at, (size_t)len};
    *at += (size_t)len;
    return text_varint(v, at, &e->df) && text_varint(v, at, &e->postings);
}

static enum status view_group(struct text_part *p, uint64_t group, struct segment_view *out,
                              struct error *err)
{
    struct text_row here = row(p, group);
    struct text_row past = row(p, group + 1);
    if (past.terms < here.terms) {
        return damaged(p, "its groups of words are out of order", err);
    }
    return text_part_view(p, TEXT_TERMS, here.terms, past.terms - here.terms, out, err);
}

/* The last group whose first term is not above `term`. */
static enum status find_group(struct text_part *p, struct str term, uint64_t *out,
                              struct error *err)
{
    uint64_t low = 0;
    uint64_t high = p->n_groups;
    enum status s = STATUS_OK;
    while (s == STATUS_OK && high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        struct segment_view v;
        struct entry e;
        size_t at = 0;
        s = view_group(p, middle, &v, err);
        if (s == STATUS_OK) {
            if (!read_entry(&v, &at, &e)) {
                s = damaged(p, "a damaged group of words", err);
            } else if (str_compare(e.rest, term) <= 0) {
                low = middle;
            } else {
                high = middle;
            }
            segment_view_drop(&v);
        }
    }
    *out = low;
    return s;
}

/* Whether a term sharing `shared` bytes with the one before, which agreed with `term` in *agreed of
 * them, is `term`; *past when it lies behind. */
static bool is_term(const struct entry *e, struct str term, size_t *agreed, bool *past)
{
    if (e->shared > *agreed) {
        return false; /* as the one before: below */
    }
    if (e->shared < *agreed) {
        *past = true; /* it differs upwards where the one before agreed */
        return false;
    }
    size_t n = 0;
    while (n < e->rest.len && *agreed + n < term.len && e->rest.ptr[n] == term.ptr[*agreed + n]) {
        n++;
    }
    *agreed += n;
    if (n == e->rest.len) {
        return *agreed == term.len;
    }
    *past = *agreed == term.len || (unsigned char)e->rest.ptr[n] > (unsigned char)term.ptr[*agreed];
    return false;
}

enum status text_part_list(struct text_part *p, struct str term, struct text_pins *pins,
                           struct lexical_list *out, struct error *err)
{
    uint64_t group = 0;
    struct segment_view v = {0};
    size_t at = 0;
    size_t agreed = 0;
    bool past = false;
    *out = (struct lexical_list){.base = p->about.first,
                                 .lengths = text_part_lengths(p),
                                 .n_lengths = p->about.last - p->about.first + 1};
    if (p->n_groups == 0) {
        return STATUS_OK;
    }
    enum status s = find_group(p, term, &group, err);
    if (s == STATUS_OK) {
        s = view_group(p, group, &v, err);
    }
    uint64_t postings = s == STATUS_OK ? row(p, group).postings : 0;
    while (s == STATUS_OK && at < v.len && !past) {
        struct entry e;
        if (!read_entry(&v, &at, &e)) {
            s = damaged(p, "a damaged group of words", err);
        } else if (is_term(&e, term, &agreed, &past)) {
            s = list_at(p, postings, e.postings, e.df, pins, out, err);
            break;
        } else {
            postings += e.postings;
        }
    }
    segment_view_drop(&v);
    return s;
}

/* ---- all of it ---- */

enum status text_terms_next(struct text_terms *t, struct str *term, struct text_pins *pins,
                            struct lexical_list *list, bool *more, struct error *err)
{
    struct text_part *p = t->part;
    struct entry e;
    enum status s = STATUS_OK;
    if (!t->begun) {
        buf_init(&t->name, TEXT_TERM_MAX);
        t->begun = true;
    }
    *more = false;
    if (t->at >= t->view.len) {
        segment_view_drop(&t->view);
        if (t->group == p->n_groups) {
            return STATUS_OK;
        }
        t->at = 0;
        t->postings = row(p, t->group).postings;
        s = view_group(p, t->group++, &t->view, err);
        if (s != STATUS_OK) {
            return s;
        }
        buf_reset(&t->name);
    }
    if (!read_entry(&t->view, &t->at, &e) || e.shared > t->name.len) {
        return damaged(p, "a damaged group of words", err);
    }
    t->name.len = (size_t)e.shared;
    buf_str(&t->name, e.rest);
    if (buf_status(&t->name) != STATUS_OK) {
        return damaged(p, "a word that is too long", err);
    }
    s = list_at(p, t->postings, e.postings, e.df, pins, list, err);
    t->postings += e.postings;
    *term = buf_view(&t->name);
    *more = s == STATUS_OK;
    return s;
}

void text_terms_end(struct text_terms *t)
{
    segment_view_drop(&t->view);
    if (t->begun) {
        buf_deinit(&t->name);
    }
}

enum status text_part_grams(struct text_part *p, int sign, _Atomic uint32_t *counts,
                            struct error *err)
{
    struct segment_view v;
    size_t at = 0;
    uint64_t bucket = 0;
    enum status s = text_part_view(p, TEXT_GRAMS, 0, text_part_size(p, TEXT_GRAMS), &v, err);
    while (s == STATUS_OK && at < v.len) {
        uint64_t step, n;
        if (!text_varint(&v, &at, &step) || !text_varint(&v, &at, &n) ||
            step >= LEXICAL_GRAM_BUCKETS - bucket) {
            s = damaged(p, "damaged counts of 4-grams", err);
        } else {
            bucket += step;
            /* one writer at a time: no other addition comes between */
            uint32_t there = atomic_load_explicit(&counts[bucket], memory_order_relaxed);
            atomic_store_explicit(&counts[bucket],
                                  sign > 0 ? there + (uint32_t)n : there - (uint32_t)n,
                                  memory_order_relaxed);
        }
    }
    segment_view_drop(&v);
    return s;
}

enum status text_part_check(struct text_part *p, const _Atomic bool *cancelled, struct error *err)
{
    return p->file == NULL ? STATUS_OK : segment_file_check(p->file, cancelled, err);
}
