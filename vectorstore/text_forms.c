/* Reading forms. */
#include "vectorstore/text_forms.h"

#include <stdlib.h>

#include "vectorstore/lexical_edits.h"
#include "vectorstore/text_image.h"

#define FORMS_BYTES ((size_t)4096) /* of a name or a stem */

static enum status damaged(struct text_part *p, const char *what, struct error *err)
{
    return error_set(err, STATUS_CORRUPT, "full text of passages %u to %u: %s",
                     text_part_about(p)->first, text_part_about(p)->last, what);
}

static uint64_t n_groups(struct text_part *p)
{
    uint64_t rows = text_part_size(p, TEXT_FORM_INDEX) / sizeof(uint64_t);
    return rows == 0 ? 0 : rows - 1;
}

static enum status view_group(struct text_part *p, uint64_t group, struct segment_view *out,
                              struct error *err)
{
    uint64_t rows[2];
    struct segment_view v;
    enum status s =
        text_part_view(p, TEXT_FORM_INDEX, group * sizeof rows[0], sizeof rows, &v, err);
    if (s != STATUS_OK) {
        return s;
    }
    memcpy(rows, v.ptr, sizeof rows);
    segment_view_drop(&v);
    if (rows[1] < rows[0]) {
        return damaged(p, "its groups of spellings are out of order", err);
    }
    return text_part_view(p, TEXT_FORMS, rows[0], rows[1] - rows[0], out, err);
}

/* ---- one after the other ---- */

static bool take(const struct segment_view *v, size_t *at, struct buf *out)
{
    uint64_t n;
    if (!text_varint(v, at, &n) || n > v->len - *at || n > FORMS_BYTES) {
        return false;
    }
    buf_append(out, v->ptr + *at, (size_t)n);
    *at += (size_t)n;
    return true;
}

static bool read_chunks(struct text_forms_walk *w)
{
    const struct text_about *a = text_part_about(w->part);
    uint64_t n;
    uint64_t c = a->first;
    if (!text_varint(&w->view, &w->at, &n) || n == 0 || n > TEXT_FORM_CHUNKS) {
        return false;
    }
    for (w->n_chunks = 0; w->n_chunks < n; w->n_chunks++) {
        uint64_t step;
        if (!text_varint(&w->view, &w->at, &step) || step > a->last - c) {
            return false;
        }
        c += step;
        w->chunks[w->n_chunks] = (chunk_no)c;
    }
    return true;
}

static enum status read_form(struct text_forms_walk *w, struct error *err)
{
    uint64_t shared;
    uint64_t kept;
    bool good = text_varint(&w->view, &w->at, &shared) && shared <= w->name.len;
    if (good) {
        w->name.len = (size_t)shared;
        good = take(&w->view, &w->at, &w->name) && text_varint(&w->view, &w->at, &kept) &&
               kept <= w->name.len;
    }
    if (good) {
        buf_reset(&w->stem);
        buf_append(&w->stem, buf_view(&w->name).ptr, (size_t)kept);
        good = take(&w->view, &w->at, &w->stem) && read_chunks(w);
    }
    if (!good || buf_status(&w->name) != STATUS_OK || buf_status(&w->stem) != STATUS_OK) {
        return damaged(w->part, "a damaged group of spellings", err);
    }
    w->form = (struct lexical_form){.form = buf_view(&w->name), .stem = buf_view(&w->stem)};
    return STATUS_OK;
}

static void begin(struct text_forms_walk *w)
{
    if (!w->begun) {
        buf_init(&w->name, 2 * FORMS_BYTES);
        buf_init(&w->stem, 2 * FORMS_BYTES);
        w->begun = true;
    }
}

enum status text_forms_next(struct text_forms_walk *w, bool *more, struct error *err)
{
    begin(w);
    *more = false;
    if (w->at >= w->view.len) {
        segment_view_drop(&w->view);
        w->view = (struct segment_view){0};
        w->at = 0;
        if (w->group >= n_groups(w->part)) {
            return STATUS_OK;
        }
        enum status s = view_group(w->part, w->group++, &w->view, err);
        if (s != STATUS_OK) {
            return s;
        }
        buf_reset(&w->name);
    }
    enum status s = read_form(w, err);
    *more = s == STATUS_OK;
    return s;
}

void text_forms_end(struct text_forms_walk *w)
{
    segment_view_drop(&w->view);
    if (w->begun) {
        buf_deinit(&w->name);
        buf_deinit(&w->stem);
    }
}

/* ---- those near a word ---- */

struct near {
    struct text_forms_walk walk;
    struct lexical_spelling word;
    uint32_t most;
    lexical_form_fn visit;
    void *data;
    bool wanted;
};

static enum status look_at_group(struct near *n, uint64_t group, struct error *err)
{
    struct text_forms_walk *w = &n->walk;
    enum status s = view_group(w->part, group, &w->view, err);
    w->at = 0;
    buf_reset(&w->name);
    while (s == STATUS_OK && n->wanted && w->at < w->view.len) {
        s = read_form(w, err);
        if (s == STATUS_OK &&
            lexical_form_apart(&n->word, w->form.form, w->form.stem, n->most) <= n->most) {
            n->wanted = n->visit(&w->form, w->chunks, w->n_chunks, n->data);
        }
    }
    segment_view_drop(&w->view);
    w->view = (struct segment_view){0};
    return s;
}

/* Adds one to each group in the bucket's list. */
static enum status count_bucket(struct text_part *p, uint32_t n_buckets, uint32_t bucket,
                                uint8_t *counts, uint64_t groups, struct error *err)
{
    uint32_t range[2];
    struct segment_view v;
    uint64_t head = sizeof(uint32_t) * ((uint64_t)n_buckets + 2);
    size_t at = 0;
    uint64_t group = 0;
    enum status s = text_part_view(p, TEXT_TRIGRAMS, sizeof(uint32_t) * ((uint64_t)bucket + 1),
                                   sizeof range, &v, err);
    if (s != STATUS_OK) {
        return s;
    }
    memcpy(range, v.ptr, sizeof range);
    segment_view_drop(&v);
    if (range[1] < range[0]) {
        return damaged(p, "its lists of trigrams are out of order", err);
    }
    s = text_part_view(p, TEXT_TRIGRAMS, head + range[0], range[1] - range[0], &v, err);
    while (s == STATUS_OK && at < v.len) {
        uint64_t step;
        if (!text_varint(&v, &at, &step) || step == 0 || step > groups - group) {
            s = damaged(p, "a damaged list of trigrams", err);
        } else {
            group += step;
            counts[group - 1]++; /* buckets are distinct: at most LEXICAL_SPELL_POINTS */
        }
    }
    segment_view_drop(&v);
    return s;
}

static enum status bucket_count(struct text_part *p, uint32_t *out, struct error *err)
{
    struct segment_view v;
    uint64_t size = text_part_size(p, TEXT_TRIGRAMS);
    *out = 0;
    if (size == 0) {
        return STATUS_OK;
    }
    enum status s = text_part_view(p, TEXT_TRIGRAMS, 0, sizeof *out, &v, err);
    if (s == STATUS_OK) {
        memcpy(out, v.ptr, sizeof *out);
        segment_view_drop(&v);
        if (*out == 0 || (*out & (*out - 1)) != 0 || *out > size / sizeof(uint32_t)) {
            s = damaged(p, "damaged trigrams", err);
        }
    }
    return s;
}

static uint32_t distinct_buckets(const struct lexical_spelling *word, uint32_t n_buckets,
                                 uint32_t out[LEXICAL_SPELL_POINTS])
{
    uint32_t hashes[LEXICAL_SPELL_POINTS];
    uint32_t n = lexical_trigrams(word, hashes);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bucket = hashes[i] & (n_buckets - 1);
        uint32_t k = 0;
        while (k < kept && out[k] != bucket) {
            k++;
        }
        out[kept] = bucket;
        kept += k == kept ? 1 : 0;
    }
    return kept;
}

/* Groups that share most trigrams first, as many as may be looked at. An edit changes three
 * trigrams, a swap four; where so little of a short word is left, one in common must do. */
static enum status look_by_trigrams(struct near *n, uint32_t n_buckets, struct error *err)
{
    uint32_t buckets[LEXICAL_SPELL_POINTS];
    uint32_t has[LEXICAL_SPELL_POINTS + 1] = {0};
    uint64_t groups = n_groups(n->walk.part);
    uint32_t left = TEXT_FORM_GROUPS;
    uint32_t n_distinct = distinct_buckets(&n->word, n_buckets, buckets);
    uint32_t least = n_distinct > 4 * n->most ? n_distinct - 4 * n->most : 1;
    uint8_t *counts = calloc((size_t)groups + 1, 1);
    enum status s =
        counts == NULL ? error_set(err, STATUS_NO_MEMORY, "full text: out of memory") : STATUS_OK;
    for (uint32_t i = 0; i < n_distinct && s == STATUS_OK; i++) {
        s = count_bucket(n->walk.part, n_buckets, buckets[i], counts, groups, err);
    }
    for (uint64_t g = 0; s == STATUS_OK && counts != NULL && g < groups; g++) {
        has[counts[g] < LEXICAL_SPELL_POINTS ? counts[g] : LEXICAL_SPELL_POINTS]++;
    }
    for (uint32_t c = n_distinct; s == STATUS_OK && c >= least && left > 0 && n->wanted; c--) {
        for (uint64_t g = 0; has[c] > 0 && counts != NULL && g < groups && left > 0; g++) {
            if (counts[g] == c && s == STATUS_OK && n->wanted) {
                s = look_at_group(n, g, err);
                left--;
            }
        }
    }
    free(counts);
    return s;
}

enum status text_forms_similar(struct text_part *p, struct str word, uint32_t max_edits,
                               lexical_form_fn visit, void *data, struct error *err)
{
    struct near n = {
        .walk = {.part = p}, .most = max_edits, .visit = visit, .data = data, .wanted = true};
    uint32_t n_buckets = 0;
    uint64_t groups = n_groups(p);
    lexical_spell(word, &n.word);
    begin(&n.walk);
    enum status s = bucket_count(p, &n_buckets, err);
    if (s == STATUS_OK && n_buckets > 0) {
        s = look_by_trigrams(&n, n_buckets, err);
    } else {
        for (uint64_t g = 0; g < groups && s == STATUS_OK && n.wanted; g++) {
            s = look_at_group(&n, g, err);
        }
    }
    text_forms_end(&n.walk);
    return s;
}
