/* Making forms: from a batch of chunks, from other parts. */
#include <stdlib.h>

#include "base/map.h"
#include "vectorstore/lexical_edits.h"
#include "vectorstore/text_forms.h"
#include "vectorstore/text_image.h"

#define BUCKETS_MAX 65536U
#define BUCKETS_A_GROUP 8U
#define TABLE_BYTES ((size_t)512 * 1024 * 1024)
#define REST_EVERY 4096U /* forms between two rests */

static enum status out_of_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "indexing: out of memory");
}

static int compare_forms(const struct lexical_form *a, const struct lexical_form *b)
{
    int c = str_compare(a->form, b->form);
    return c != 0 ? c : str_compare(a->stem, b->stem);
}

/* ---- writing ---- */

struct pair {
    uint32_t bucket, group;
};

struct text_forms_writer {
    chunk_no base;
    struct buf forms, index, last;
    uint64_t n;
    struct pair *pairs;
    size_t n_pairs, cap_pairs;
    uint32_t *in; /* BUCKETS_MAX: 1 + the last group that had it */
};

enum status text_forms_begin(chunk_no base, struct text_forms_writer **out, struct error *err)
{
    struct text_forms_writer *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return out_of_memory(err);
    }
    w->base = base;
    buf_init(&w->forms, (size_t)1 << 30);
    buf_init(&w->index, (size_t)1 << 30);
    buf_init(&w->last, TEXT_TERM_MAX);
    *out = w;
    return STATUS_OK;
}

void text_forms_free(struct text_forms_writer *w)
{
    if (w != NULL) {
        buf_deinit(&w->forms);
        buf_deinit(&w->index);
        buf_deinit(&w->last);
        free(w->pairs);
        free(w->in);
        free(w);
    }
}

static size_t shared(struct str a, struct str b)
{
    size_t n = 0;
    while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n]) {
        n++;
    }
    return n;
}

static void put_rest(struct buf *out, struct str s, size_t from)
{
    text_put_varint(out, s.len - from);
    buf_append(out, s.ptr + from, s.len - from);
}

static enum status add_pairs(struct text_forms_writer *w, struct str form, struct error *err)
{
    struct lexical_spelling s;
    uint32_t hashes[LEXICAL_SPELL_POINTS];
    uint32_t group = (uint32_t)((w->n) / TEXT_GROUP);
    if (w->in == NULL) {
        w->in = calloc(BUCKETS_MAX, sizeof *w->in);
    }
    if (w->cap_pairs - w->n_pairs < LEXICAL_SPELL_POINTS) {
        size_t cap = w->cap_pairs == 0 ? 16384 : w->cap_pairs + w->cap_pairs / 2;
        struct pair *pairs = realloc(w->pairs, cap * sizeof *pairs);
        if (pairs == NULL) {
            return out_of_memory(err);
        }
        w->pairs = pairs;
        w->cap_pairs = cap;
    }
    if (w->in == NULL) {
        return out_of_memory(err);
    }
    lexical_spell(form, &s);
    uint32_t n = lexical_trigrams(&s, hashes);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bucket = hashes[i] & (BUCKETS_MAX - 1);
        if (w->in[bucket] != group + 1) {
            w->in[bucket] = group + 1;
            w->pairs[w->n_pairs++] = (struct pair){.bucket = bucket, .group = group};
        }
    }
    return STATUS_OK;
}

/* Again what add_pairs left out while there were few. */
static enum status add_first_pairs(struct text_forms_writer *w, struct error *err)
{
    uint64_t n = w->n;
    size_t at = 0;
    enum status s = STATUS_OK;
    struct segment_view v = {.ptr = (const unsigned char *)buf_view(&w->forms).ptr,
                             .len = w->forms.len};
    buf_reset(&w->last);
    for (w->n = 0; w->n < n && s == STATUS_OK; w->n++) {
        uint64_t keep;
        uint64_t len;
        uint64_t skip = 0;
        if (w->n % TEXT_GROUP == 0) {
            buf_reset(&w->last);
        }
        bool good = text_varint(&v, &at, &keep) && text_varint(&v, &at, &len);
        if (good) {
            w->last.len = (size_t)keep;
            buf_append(&w->last, v.ptr + at, (size_t)len);
            at += (size_t)len;
            good = text_varint(&v, &at, &skip) && text_varint(&v, &at, &len);
            at += (size_t)len;
            good = good && text_varint(&v, &at, &skip);
        }
        for (uint64_t i = 0; i < skip && good; i++) {
            good = text_varint(&v, &at, &len);
        }
        s = good ? add_pairs(w, buf_view(&w->last), err)
                 : error_set(err, STATUS_INTERNAL, "indexing: spellings do not read as written");
    }
    return s;
}

enum status text_forms_add(struct text_forms_writer *w, const struct lexical_form *f,
                           const chunk_no *chunks, uint32_t n, struct error *err)
{
    enum status s = STATUS_OK;
    if (w->n == (uint64_t)TEXT_FORM_SCAN * TEXT_GROUP) {
        s = add_first_pairs(w, err);
    }
    if (s == STATUS_OK && w->n >= (uint64_t)TEXT_FORM_SCAN * TEXT_GROUP) {
        s = add_pairs(w, f->form, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    if (w->n % TEXT_GROUP == 0) {
        uint64_t at = w->forms.len;
        buf_append(&w->index, &at, sizeof at);
        buf_reset(&w->last);
    }
    size_t same = shared(buf_view(&w->last), f->form);
    size_t kept = shared(f->form, f->stem);
    text_put_varint(&w->forms, same);
    put_rest(&w->forms, f->form, same);
    text_put_varint(&w->forms, kept);
    put_rest(&w->forms, f->stem, kept);
    text_put_varint(&w->forms, n);
    for (uint32_t i = 0; i < n; i++) {
        text_put_varint(&w->forms, chunks[i] - (i == 0 ? w->base : chunks[i - 1]));
    }
    buf_reset(&w->last);
    buf_str(&w->last, f->form);
    w->n++;
    bool full = buf_status(&w->forms) != STATUS_OK || buf_status(&w->last) != STATUS_OK;
    return full ? out_of_memory(err) : STATUS_OK;
}

static enum status write_trigrams(struct text_forms_writer *w, struct buf *out, struct error *err)
{
    uint64_t groups = (w->n + TEXT_GROUP - 1) / TEXT_GROUP;
    uint32_t n = 1;
    while (n < BUCKETS_MAX && n < groups * BUCKETS_A_GROUP) {
        n *= 2;
    }
    uint32_t *ends = calloc((size_t)n + 2, sizeof *ends);
    uint32_t *sorted = malloc((w->n_pairs + 1) * sizeof *sorted);
    uint32_t *offsets = calloc((size_t)n + 1, sizeof *offsets);
    struct buf lists;
    buf_init(&lists, (size_t)1 << 30);
    bool made = ends != NULL && sorted != NULL && offsets != NULL;
    for (size_t i = 0; made && i < w->n_pairs; i++) {
        ends[(w->pairs[i].bucket & (n - 1)) + 2]++;
    }
    for (uint32_t b = 0; made && b < n; b++) {
        ends[b + 1] += ends[b];
    }
    /* ends[b + 1] is where bucket b begins, and moves to its end while it is filled */
    for (size_t i = 0; made && i < w->n_pairs; i++) {
        sorted[ends[(w->pairs[i].bucket & (n - 1)) + 1]++] = w->pairs[i].group + 1;
    }
    for (uint32_t b = 0; made && b < n; b++) {
        uint32_t last = 0;
        offsets[b] = (uint32_t)lists.len;
        for (uint32_t i = ends[b]; i < ends[b + 1]; i++) {
            if (sorted[i] != last) { /* two trigrams of a group in one bucket */
                text_put_varint(&lists, sorted[i] - last);
                last = sorted[i];
            }
        }
    }
    if (made) {
        offsets[n] = (uint32_t)lists.len;
        buf_append(out, &n, sizeof n);
        buf_append(out, offsets, ((size_t)n + 1) * sizeof *offsets);
        buf_str(out, buf_view(&lists));
    }
    made = made && buf_status(&lists) == STATUS_OK && buf_status(out) == STATUS_OK;
    buf_deinit(&lists);
    free(ends);
    free(sorted);
    free(offsets);
    return made ? STATUS_OK : out_of_memory(err);
}

/* They may be hundreds of megabytes: the memory goes, not a copy. */
static void hand_over(struct buf *from, struct buf *to)
{
    struct buf empty = *to;
    *to = *from;
    buf_reset(&empty);
    *from = empty;
}

enum status text_forms_finish(struct text_forms_writer *w, struct buf *forms, struct buf *index,
                              struct buf *trigrams, struct error *err)
{
    uint64_t end = w->forms.len;
    if (w->n == 0) {
        return STATUS_OK;
    }
    buf_append(&w->index, &end, sizeof end);
    if (buf_status(&w->index) != STATUS_OK) {
        return out_of_memory(err);
    }
    hand_over(&w->index, index);
    hand_over(&w->forms, forms);
    return w->n_pairs > 0 ? write_trigrams(w, trigrams, err) : STATUS_OK;
}

/* ---- from a batch ---- */

struct gathered {
    struct lexical_form f;
    uint64_t hash;
    chunk_no chunks[TEXT_FORM_CHUNKS];
    uint32_t n;
};

struct text_forms_table {
    struct arena names;
    struct gathered *forms;
    size_t n, cap;
    uint32_t *slots; /* twice cap; 1 more than the place */
};

static bool grow(struct text_forms_table *t)
{
    size_t cap = t->cap == 0 ? 512 : t->cap * 2;
    struct gathered *forms = realloc(t->forms, cap * sizeof *forms);
    if (forms == NULL) {
        return false;
    }
    t->forms = forms;
    uint32_t *slots = calloc(cap * 2, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < t->n; i++) {
        size_t s = (size_t)t->forms[i].hash & (cap * 2 - 1);
        while (slots[s] != 0) {
            s = (s + 1) & (cap * 2 - 1);
        }
        slots[s] = (uint32_t)i + 1;
    }
    free(t->slots);
    t->slots = slots;
    t->cap = cap;
    return true;
}

static struct gathered *slot_of(struct text_forms_table *t, const struct lexical_form *f)
{
    if (t->n == t->cap && !grow(t)) {
        return NULL;
    }
    uint64_t hash = hash64(f->form.ptr, f->form.len);
    size_t s = (size_t)hash & (t->cap * 2 - 1);
    for (; t->slots[s] != 0; s = (s + 1) & (t->cap * 2 - 1)) {
        struct gathered *g = &t->forms[t->slots[s] - 1];
        if (g->hash == hash && str_eq(g->f.form, f->form) && str_eq(g->f.stem, f->stem)) {
            return g;
        }
    }
    const char *form = arena_strndup(&t->names, f->form.ptr, f->form.len);
    const char *stem = arena_strndup(&t->names, f->stem.ptr, f->stem.len);
    if (form == NULL || stem == NULL) {
        return NULL;
    }
    struct gathered *g = &t->forms[t->n++];
    *g = (struct gathered){.f = {{form, f->form.len}, {stem, f->stem.len}}, .hash = hash};
    t->slots[s] = (uint32_t)t->n;
    return g;
}

enum status text_forms_table_add(struct text_forms_table **table, const struct lexical_form *f,
                                 chunk_no chunk, struct error *err)
{
    if (*table == NULL) {
        *table = calloc(1, sizeof **table);
        if (*table == NULL) {
            return out_of_memory(err);
        }
        arena_init(&(*table)->names, TABLE_BYTES);
    }
    struct gathered *g = slot_of(*table, f);
    if (g == NULL) {
        return out_of_memory(err);
    }
    if (g->n < TEXT_FORM_CHUNKS && (g->n == 0 || g->chunks[g->n - 1] < chunk)) {
        g->chunks[g->n++] = chunk;
    }
    return STATUS_OK;
}

static int by_form(const void *x, const void *y)
{
    const struct gathered *a = x;
    const struct gathered *b = y;
    return compare_forms(&a->f, &b->f);
}

enum status text_forms_table_write(struct text_forms_table *t, struct text_forms_writer *w,
                                   struct error *err)
{
    enum status s = STATUS_OK;
    if (t == NULL || t->n == 0) {
        return s;
    }
    qsort(t->forms, t->n, sizeof *t->forms, by_form);
    for (size_t i = 0; i < t->n && s == STATUS_OK; i++) {
        s = text_forms_add(w, &t->forms[i].f, t->forms[i].chunks, t->forms[i].n, err);
    }
    t->n = 0;
    free(t->slots); /* the places have changed */
    t->slots = NULL;
    t->cap = 0;
    return s;
}

void text_forms_table_free(struct text_forms_table *t)
{
    if (t != NULL) {
        arena_reset(&t->names);
        free(t->forms);
        free(t->slots);
        free(t);
    }
}

/* ---- from parts ---- */

struct source {
    struct text_forms_walk walk;
    bool more;
};

/* Of all that have it some, from first to last. */
static uint32_t pick(chunk_no *all, uint32_t n)
{
    if (n <= TEXT_FORM_CHUNKS) {
        return n;
    }
    for (uint32_t i = 0; i < TEXT_FORM_CHUNKS; i++) {
        all[i] = all[(uint64_t)i * n / TEXT_FORM_CHUNKS];
    }
    return TEXT_FORM_CHUNKS;
}

static enum status merge_form(struct source *all, size_t least, size_t n,
                              const struct text_pace *pace, struct text_forms_writer *w,
                              struct error *err)
{
    chunk_no chunks[TEXT_MERGE_MAX * TEXT_FORM_CHUNKS];
    bool mine[TEXT_MERGE_MAX] = {false};
    uint32_t n_chunks = 0;
    enum status s = STATUS_OK;
    const struct lexical_form *f = &all[least].walk.form;
    for (size_t i = least; i < n; i++) {
        const struct text_forms_walk *have = &all[i].walk;
        mine[i] = all[i].more && (i == least || compare_forms(&have->form, f) == 0);
        for (uint32_t k = 0; mine[i] && k < have->n_chunks; k++) {
            if (text_pace_keeps(pace, have->chunks[k])) {
                chunks[n_chunks++] = have->chunks[k];
            }
        }
    }
    if (n_chunks > 0) {
        s = text_forms_add(w, f, chunks, pick(chunks, n_chunks), err);
    }
    for (size_t i = least; i < n && s == STATUS_OK; i++) {
        if (mine[i]) {
            s = text_forms_next(&all[i].walk, &all[i].more, err);
        }
    }
    return s;
}

static enum status merge_all(struct source *all, size_t n, const struct text_pace *pace,
                             struct text_forms_writer *w, struct error *err)
{
    enum status s = STATUS_OK;
    uint32_t since_rest = 0;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = text_forms_next(&all[i].walk, &all[i].more, err);
    }
    while (s == STATUS_OK) {
        size_t least = n;
        for (size_t i = 0; i < n; i++) {
            if (all[i].more &&
                (least == n || compare_forms(&all[i].walk.form, &all[least].walk.form) < 0)) {
                least = i;
            }
        }
        if (least == n) {
            break;
        }
        s = merge_form(all, least, n, pace, w, err);
        if (++since_rest == REST_EVERY && s == STATUS_OK) {
            since_rest = 0;
            s = text_pace_rest(pace, err);
        }
    }
    return s;
}

enum status text_forms_merge(struct text_part *const *parts, size_t n, const struct text_pace *pace,
                             struct text_forms_writer *w, struct error *err)
{
    struct source *all = calloc(n, sizeof *all);
    if (all == NULL || n > TEXT_MERGE_MAX) {
        free(all);
        return out_of_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        all[i].walk.part = parts[i];
    }
    enum status s = merge_all(all, n, pace, w, err);
    for (size_t i = 0; i < n; i++) {
        text_forms_end(&all[i].walk);
    }
    free(all);
    return s;
}
