/* Parts from other parts. */
#include <stdlib.h>

#include "vectorstore/text_build.h"
#include "vectorstore/text_builder.h"

#define REST_POSTINGS 32768U /* between two rests: a few milliseconds */

static enum status out_of_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "indexing: out of memory");
}

enum status text_pace_rest(const struct text_pace *pace, struct error *err)
{
    if (pace->cancelled != NULL && atomic_load(pace->cancelled)) {
        return error_set(err, STATUS_CANCELLED, "indexing was cancelled");
    }
    if (pace->rest != NULL) {
        pace->rest(pace->data);
    }
    return STATUS_OK;
}

struct source {
    struct text_terms terms;
    struct text_pins pins; /* of the list at hand */
    struct str term;
    struct lexical_list list;
    bool more;
};

struct merging {
    struct text_builder out;
    const struct text_pace *pace;
    struct source *sources;
    size_t n;
    struct lexical_add *adds;
    size_t n_adds, cap_adds;
    uint32_t since_rest;
};

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
        void *adds = text_grown(m->adds, &m->cap_adds, m->n_adds + list->df, sizeof *m->adds);
        if (adds == NULL) {
            return out_of_memory(err);
        }
        m->adds = adds;
    }
    for (uint32_t i = 0; s == STATUS_OK && i < r.n_blocks; i++) {
        s = lexical_list_block(&r, i, &p, err);
        for (uint32_t j = 0; s == STATUS_OK && j < p.n; j++) {
            if (text_pace_keeps(m->pace, (uint64_t)list->base + p.chunk[j])) {
                m->adds[m->n_adds++] =
                    (struct lexical_add){list->base + p.chunk[j], p.tf_text[j], p.tf_title[j]};
            }
        }
    }
    m->since_rest += list->df + 4;
    return s;
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
        s = text_builder_term(&m->out, m->sources[least].term, m->adds, (uint32_t)m->n_adds, err);
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
                (least == m->n || str_compare(m->sources[i].term, m->sources[least].term) < 0)) {
                least = i;
            }
        }
        if (least == m->n) {
            break;
        }
        s = merge_term(m, least, err);
        if (m->since_rest >= REST_POSTINGS) {
            m->since_rest = 0;
            s = s == STATUS_OK ? text_pace_rest(m->pace, err) : s;
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
        if (counts && text_pace_keeps(m->pace, (uint64_t)a->first + i)) {
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
        s = text_builder_count(&m->out, path, key, err);
    }
    if (s == STATUS_OK) {
        s = merge_terms(m, err);
    }
    if (s == STATUS_OK) {
        s = text_forms_merge(parts, n, m->pace, m->out.forms, err);
    }
    return s == STATUS_OK ? text_builder_finish(&m->out, out, err) : s;
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
    enum status s = text_builder_begin(&m.out, text_part_about(parts[0])->first,
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
    text_builder_end(&m.out);
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
