/* Phases: words are interned and each passage becomes a row of (stem, count); solve then picks the
 * vocabulary, weights the rows, decomposes, and writes the blob. */
#include "embed/lsa_fit.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/text/text.h"
#include "base/half.h"

#define NO_STEM UINT32_MAX
#define PASSAGE_WORDS_MAX ((size_t)65536)
#define LANGUAGES_SEEN 32

struct language_count {
    char code[8];
    size_t n;
};

struct lsa_fit {
    struct lsa_fit_options options;
    /* stems: slots hold stem number + 1; strings are back to back, stem i ends where i + 1 begins */
    uint32_t *slots;
    size_t n_slots;
    char *strings;
    size_t strings_len, strings_cap;
    uint32_t *string_start;
    size_t n_stems, stems_cap;
    /* the passage being read */
    uint32_t *words;
    size_t n_words, words_cap, passage_length;
    /* rows: row r holds entries row_start[r] .. row_start[r + 1] - 1 */
    size_t *row_start;
    uint32_t *row_length;
    size_t n_rows, rows_cap, rows_max;
    uint32_t *stem;
    uint8_t *count;
    size_t n_entries, entries_cap;
    size_t stride, seen;
    struct language_count languages[LANGUAGES_SEEN];
    size_t n_languages;
};

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "not enough memory to fit the encoder");
}

/* Makes *array hold at least `need` items of `size` bytes. */
static bool grow(void *array, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) {
        return true;
    }
    size_t wanted = *cap == 0 ? 1024 : *cap + *cap / 2;
    wanted = wanted < need ? need : wanted;
    void *old, *fresh;
    memcpy(&old, array, sizeof old);
    if (wanted > SIZE_MAX / size || (fresh = realloc(old, wanted * size)) == NULL) {
        return false;
    }
    memcpy(array, &fresh, sizeof fresh);
    *cap = wanted;
    return true;
}

enum status lsa_fit_new(const struct lsa_fit_options *o, struct lsa_fit **out, struct error *err)
{
    if (o->dimensions == 0 || o->dimensions > LSA_DIMENSIONS_MAX || o->min_document_frequency == 0) {
        return error_set(err, STATUS_INVALID,
                         "a fit needs 1 to %d dimensions and a document frequency of at least 1",
                         LSA_DIMENSIONS_MAX);
    }
    struct lsa_fit *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return no_memory(err);
    }
    f->options = *o;
    f->stride = 1;
    f->rows_max = o->rows_max == 0 || o->rows_max > LSA_FIT_ROWS_MAX ? LSA_FIT_ROWS_MAX : o->rows_max;
    *out = f;
    return STATUS_OK;
}

static void free_stems(struct lsa_fit *f)
{
    free(f->slots);
    free(f->strings);
    free(f->string_start);
    f->slots = NULL;
    f->strings = NULL;
    f->string_start = NULL;
}

void lsa_fit_free(struct lsa_fit *f)
{
    if (f != NULL) {
        free_stems(f);
        free(f->words);
        free(f->row_start);
        free(f->row_length);
        free(f->stem);
        free(f->count);
        free(f);
    }
}

static struct str stem_at(const struct lsa_fit *f, size_t i)
{
    size_t end = i + 1 < f->n_stems ? f->string_start[i + 1] : f->strings_len;
    return (struct str){.ptr = f->strings + f->string_start[i], .len = end - f->string_start[i]};
}

static bool rehash(struct lsa_fit *f)
{
    size_t n = f->n_slots == 0 ? 16384 : f->n_slots * 2;
    uint32_t *slots = calloc(n, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < f->n_stems; i++) {
        struct str s = stem_at(f, i);
        size_t at = hash64(s.ptr, s.len) & (n - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (n - 1);
        }
        slots[at] = (uint32_t)i + 1;
    }
    free(f->slots);
    f->slots = slots;
    f->n_slots = n;
    return true;
}

/* NO_STEM into *out when the limit of distinct stems is reached. */
static enum status intern(struct lsa_fit *f, struct str stem, uint32_t *out, struct error *err)
{
    if (f->n_stems * 2 >= f->n_slots && !rehash(f)) {
        return no_memory(err);
    }
    size_t at = hash64(stem.ptr, stem.len) & (f->n_slots - 1);
    for (; f->slots[at] != 0; at = (at + 1) & (f->n_slots - 1)) {
        if (str_eq(stem_at(f, f->slots[at] - 1), stem)) {
            *out = f->slots[at] - 1;
            return STATUS_OK;
        }
    }
    if (f->n_stems >= LSA_FIT_STEMS_MAX) {
        *out = NO_STEM;
        return STATUS_OK;
    }
    if (!grow(&f->strings, &f->strings_cap, f->strings_len + stem.len, 1) ||
        !grow(&f->string_start, &f->stems_cap, f->n_stems + 1, sizeof *f->string_start)) {
        return no_memory(err);
    }
    memcpy(f->strings + f->strings_len, stem.ptr, stem.len);
    f->string_start[f->n_stems] = (uint32_t)f->strings_len; /* at most STEMS_MAX * STEM_BYTES */
    f->strings_len += stem.len;
    *out = (uint32_t)f->n_stems++;
    f->slots[at] = *out + 1;
    return STATUS_OK;
}

enum status lsa_fit_word(struct lsa_fit *f, struct str stem, struct error *err)
{
    f->passage_length++;
    if (stem.len == 0 || stem.len > LSA_FIT_STEM_BYTES || f->n_words >= PASSAGE_WORDS_MAX ||
        f->seen % f->stride != 0) {
        return STATUS_OK;
    }
    uint32_t id = NO_STEM;
    enum status s = intern(f, stem, &id, err);
    if (s != STATUS_OK || id == NO_STEM) {
        return s;
    }
    if (!grow(&f->words, &f->words_cap, f->n_words + 1, sizeof *f->words)) {
        return no_memory(err);
    }
    f->words[f->n_words++] = id;
    return STATUS_OK;
}

static void count_language(struct lsa_fit *f, const char *code)
{
    if (code == NULL || code[0] == '\0' || strlen(code) > 7) {
        return;
    }
    for (size_t i = 0; i < f->n_languages; i++) {
        if (strcmp(f->languages[i].code, code) == 0) {
            f->languages[i].n++;
            return;
        }
    }
    if (f->n_languages < LANGUAGES_SEEN) {
        struct language_count *l = &f->languages[f->n_languages++];
        memcpy(l->code, code, strlen(code) + 1);
        l->n = 1;
    }
}

/* Drop every second row and take half as many from here on. */
static void thin(struct lsa_fit *f)
{
    size_t rows = 0, entries = 0;
    for (size_t r = 0; r < f->n_rows; r += 2) {
        size_t from = f->row_start[r], n = f->row_start[r + 1] - from;
        memmove(f->stem + entries, f->stem + from, n * sizeof *f->stem);
        memmove(f->count + entries, f->count + from, n * sizeof *f->count);
        f->row_length[rows] = f->row_length[r];
        f->row_start[rows++] = entries;
        entries += n;
    }
    f->row_start[rows] = entries;
    f->n_rows = rows;
    f->n_entries = entries;
    f->stride *= 2;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static enum status add_row(struct lsa_fit *f, struct error *err)
{
    size_t cap = f->rows_cap;
    if (!grow(&f->row_start, &cap, f->n_rows + 2, sizeof *f->row_start) ||
        !grow(&f->row_length, &f->rows_cap, f->n_rows + 2, sizeof *f->row_length)) {
        return no_memory(err);
    }
    cap = f->entries_cap;
    if (!grow(&f->stem, &cap, f->n_entries + f->n_words, sizeof *f->stem) ||
        !grow(&f->count, &f->entries_cap, f->n_entries + f->n_words, sizeof *f->count)) {
        return no_memory(err);
    }
    qsort(f->words, f->n_words, sizeof *f->words, by_number);
    f->row_start[f->n_rows] = f->n_entries;
    for (size_t i = 0; i < f->n_words;) {
        size_t first = i;
        while (i < f->n_words && f->words[i] == f->words[first]) {
            i++;
        }
        f->stem[f->n_entries] = f->words[first];
        f->count[f->n_entries++] = (uint8_t)(i - first < 255 ? i - first : 255);
    }
    f->row_length[f->n_rows++] = (uint32_t)(f->passage_length < UINT32_MAX ? f->passage_length : UINT32_MAX);
    f->row_start[f->n_rows] = f->n_entries;
    return STATUS_OK;
}

enum status lsa_fit_passage(struct lsa_fit *f, const char *language, struct error *err)
{
    enum status s = STATUS_OK;
    if (f->seen % f->stride == 0 && f->n_words > 0) {
        s = add_row(f, err);
        count_language(f, language);
    }
    f->seen++;
    f->n_words = 0;
    f->passage_length = 0;
    if (s == STATUS_OK && (f->n_rows >= f->rows_max || f->n_entries >= LSA_FIT_ENTRIES_MAX)) {
        thin(f);
    }
    return s;
}

size_t lsa_fit_rows(const struct lsa_fit *f)
{
    return f->n_rows;
}

/* ---- solving ------------------------------------------------------------------------------------- */

struct solving {
    struct lsa_fit *f;
    uint32_t *frequency; /* by stem: passages it occurs in */
    uint32_t *place;     /* by stem: its column, or NO_STEM */
    uint32_t *chosen;    /* by column: the stem */
    size_t n_terms;
    size_t string_bytes;
    float average;
    float *idf;   /* by column */
    float *value; /* by entry */
    float *v;
    float *sigma;
};

/* The lowest document frequency that leaves at most LSA_TERMS_MAX stems. */
static uint32_t least_frequency(const struct solving *w)
{
    const struct lsa_fit *f = w->f;
    uint32_t least = f->options.min_document_frequency;
    for (;;) {
        size_t n = 0;
        uint32_t next = UINT32_MAX; /* smallest frequency above `least` among those in */
        for (size_t i = 0; i < f->n_stems; i++) {
            if (w->frequency[i] >= least) {
                n++;
                if (w->frequency[i] > least && w->frequency[i] < next) {
                    next = w->frequency[i];
                }
            }
        }
        if (n <= LSA_TERMS_MAX || next == UINT32_MAX) {
            return least;
        }
        least = next;
    }
}

/* qsort has no context argument in C11, so the strings travel with the keys. */
struct named_stem {
    struct str name;
    uint32_t stem;
};

static int by_name(const void *pa, const void *pb)
{
    const struct named_stem *a = pa, *b = pb;
    size_t n = a->name.len < b->name.len ? a->name.len : b->name.len;
    int c = memcmp(a->name.ptr, b->name.ptr, n);
    return c != 0 ? c : (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

static enum status choose_terms(struct solving *w, struct error *err)
{
    struct lsa_fit *f = w->f;
    w->frequency = calloc(f->n_stems + 1, sizeof *w->frequency);
    w->place = calloc(f->n_stems + 1, sizeof *w->place);
    w->chosen = calloc(LSA_TERMS_MAX, sizeof *w->chosen);
    struct named_stem *names = calloc(LSA_TERMS_MAX, sizeof *names);
    enum status s = STATUS_OK;
    if (w->frequency == NULL || w->place == NULL || w->chosen == NULL || names == NULL) {
        s = no_memory(err);
        goto out;
    }
    for (size_t i = 0; i < f->n_entries; i++) {
        w->frequency[f->stem[i]]++;
    }
    uint32_t least = least_frequency(w);
    for (size_t i = 0; i < f->n_stems; i++) {
        w->place[i] = NO_STEM;
        if (w->frequency[i] >= least && w->n_terms < LSA_TERMS_MAX) {
            names[w->n_terms++] = (struct named_stem){.name = stem_at(f, i), .stem = (uint32_t)i};
        }
    }
    if (w->n_terms < 2) {
        s = error_set(err, STATUS_INVALID,
                      "too few words occur in %u passages to fit the encoder (%zu passages seen)",
                      f->options.min_document_frequency, f->n_rows);
        goto out;
    }
    qsort(names, w->n_terms, sizeof *names, by_name);
    for (size_t i = 0; i < w->n_terms; i++) {
        w->chosen[i] = names[i].stem;
        w->place[names[i].stem] = (uint32_t)i;
        w->string_bytes += names[i].name.len;
    }
out:
    free(names);
    return s;
}

/* Entries become (column, BM25 weight), packed in place; stems that were not chosen fall out. */
static enum status weigh(struct solving *w, struct error *err)
{
    struct lsa_fit *f = w->f;
    w->idf = calloc(w->n_terms, sizeof *w->idf);
    w->value = calloc(f->n_entries, sizeof *w->value);
    if (w->idf == NULL || w->value == NULL) {
        return no_memory(err);
    }
    double n = (double)f->n_rows, words = 0;
    for (size_t i = 0; i < w->n_terms; i++) {
        double df = w->frequency[w->chosen[i]];
        w->idf[i] = (float)log(1 + (n - df + .5) / (df + .5));
    }
    for (size_t r = 0; r < f->n_rows; r++) {
        words += f->row_length[r];
    }
    w->average = (float)(words / n);
    size_t packed = 0;
    for (size_t r = 0; r < f->n_rows; r++) {
        size_t from = f->row_start[r], to = f->row_start[r + 1];
        float norm = LSA_K1 * (1 - LSA_B + LSA_B * (float)f->row_length[r] / w->average);
        f->row_start[r] = packed;
        for (size_t i = from; i < to; i++) {
            uint32_t column = w->place[f->stem[i]];
            if (column != NO_STEM) {
                float tf = f->count[i];
                w->value[packed] = w->idf[column] * (LSA_K1 + 1) * tf / (tf + norm);
                f->stem[packed++] = column;
            }
        }
    }
    f->row_start[f->n_rows] = packed;
    f->n_entries = packed;
    return STATUS_OK;
}

static enum status decompose(struct solving *w, svd_progress_fn progress, void *data,
                             struct error *err)
{
    struct lsa_fit *f = w->f;
    size_t d = f->options.dimensions;
    w->v = calloc(w->n_terms * d, sizeof *w->v);
    w->sigma = calloc(d, sizeof *w->sigma);
    if (w->v == NULL || w->sigma == NULL) {
        return no_memory(err);
    }
    struct svd_lapack *lapack = NULL;
    enum status s = svd_lapack_open(&lapack, err);
    if (s == STATUS_OK) {
        struct svd_matrix a = {.n_rows = f->n_rows,
                               .n_cols = w->n_terms,
                               .start = f->row_start,
                               .col = f->stem,
                               .value = w->value};
        s = svd_right(lapack, &a, d, f->options.seed, progress, data, w->v, w->sigma, err);
    }
    svd_lapack_close(lapack);
    return s;
}

/* A corpus that says one thing again and again: nearly all texts would lie at one place, or at none. */
static enum status check_usable(const struct solving *w, struct error *err)
{
    size_t d = w->f->options.dimensions, least = d < LSA_FIT_USABLE ? d : LSA_FIT_USABLE, usable = 0;
    for (size_t i = 0; i < d; i++) {
        usable += w->sigma[i] > 0 && w->sigma[i] >= w->sigma[0] * LSA_FIT_USABLE_PART ? 1 : 0;
    }
    return usable >= least
               ? STATUS_OK
               : error_set(err, STATUS_INVALID,
                           "the passages are too much alike to fit the encoder: they differ in %zu "
                           "of the %zu dimensions that it needs at least (%zu passages seen)",
                           usable, least, w->f->n_rows);
}

static void put_u32(uint8_t *p, size_t v)
{
    uint32_t le = htole32((uint32_t)v);
    memcpy(p, &le, sizeof le);
}

static void put_f32(uint8_t *p, float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    put_u32(p, bits);
}

static void put_languages(const struct lsa_fit *f, uint8_t *p)
{
    struct language_count order[LANGUAGES_SEEN];
    memcpy(order, f->languages, sizeof order);
    for (size_t i = 0; i < f->n_languages && i < LSA_LANGUAGES; i++) {
        size_t best = i;
        for (size_t j = i + 1; j < f->n_languages; j++) {
            best = order[j].n > order[best].n ? j : best;
        }
        struct language_count found = order[best];
        order[best] = order[i];
        order[i] = found;
        /* a language guessed for a few stray passages would cost every query a stemming */
        if (found.n * 100 < f->n_rows) {
            break;
        }
        memcpy(p + 8 * i, found.code, strlen(found.code));
    }
}

static enum status write_blob(const struct solving *w, uint8_t **out, size_t *out_len,
                              struct error *err)
{
    const struct lsa_fit *f = w->f;
    size_t n = w->n_terms, d = f->options.dimensions, padded = (w->string_bytes + 3) / 4 * 4;
    size_t len = LSA_HEADER_BYTES + 4 * (n + 1) + padded + 4 * n + 2 * n * d + SHA256_BYTES;
    uint8_t *blob = len > LSA_BLOB_MAX ? NULL : calloc(1, len);
    if (blob == NULL) {
        return len > LSA_BLOB_MAX ? error_set(err, STATUS_TOO_LARGE, "the fit is too large")
                                  : no_memory(err);
    }
    memcpy(blob, "CARLSA1\n", 8);
    put_u32(blob + 8, TEXT_WORDS_VERSION);
    put_u32(blob + 12, d);
    put_u32(blob + 16, n);
    put_u32(blob + 20, f->n_rows);
    put_f32(blob + 24, w->average);
    put_u32(blob + 28, w->string_bytes);
    put_languages(f, blob + 32);
    uint8_t *offset = blob + LSA_HEADER_BYTES, *strings = offset + 4 * (n + 1);
    uint8_t *idf = strings + padded, *projection = idf + 4 * n;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        struct str name = stem_at(f, w->chosen[i]);
        put_u32(offset + 4 * i, at);
        memcpy(strings + at, name.ptr, name.len);
        at += name.len;
        put_f32(idf + 4 * i, w->idf[i]);
    }
    put_u32(offset + 4 * n, at);
    for (size_t i = 0; i < n * d; i++) {
        uint16_t half = htole16(half_from_float(w->v[i]));
        memcpy(projection + 2 * i, &half, sizeof half);
    }
    sha256_of(blob, len - SHA256_BYTES, blob + len - SHA256_BYTES);
    *out = blob;
    *out_len = len;
    return STATUS_OK;
}

enum status lsa_fit_solve(struct lsa_fit *f, svd_progress_fn progress, void *data, uint8_t **blob,
                          size_t *len, struct error *err)
{
    struct solving w = {.f = f};
    enum status s = f->n_rows < 2 ? error_set(err, STATUS_INVALID, "a fit needs at least 2 passages")
                                  : choose_terms(&w, err);
    s = s != STATUS_OK ? s : weigh(&w, err);
    free(w.frequency);
    free(w.place);
    free(f->count);
    f->count = NULL;
    s = s != STATUS_OK ? s : decompose(&w, progress, data, err);
    s = s != STATUS_OK ? s : check_usable(&w, err);
    s = s != STATUS_OK ? s : write_blob(&w, blob, len, err);
    free(w.chosen);
    free(w.idf);
    free(w.value);
    free(w.v);
    free(w.sigma);
    return s;
}
