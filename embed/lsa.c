#include "embed/lsa.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/hash.h"
#include "base/text/text.h"

#define BAG_MAX ((size_t)65536)
#define AVERAGE_LENGTH_MAX 1e6F

struct lsa_model {
    uint8_t *blob;
    size_t len;
    uint32_t dimensions, terms, passages;
    float average_length;
    const uint8_t *offsets;
    const char *strings;
    const uint8_t *idf;
    const uint8_t *projection;
    char languages[LSA_LANGUAGES][8];
    size_t n_languages;
    char encoder[LSA_ENCODER_CAP];
};

static uint32_t read_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static float read_f32(const uint8_t *p)
{
    uint32_t bits = read_u32(p);
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t read_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return le16toh(v);
}

static struct str term_at(const struct lsa_model *m, size_t i)
{
    uint32_t from = read_u32(m->offsets + 4 * i), to = read_u32(m->offsets + 4 * (i + 1));
    return (struct str){.ptr = m->strings + from, .len = to - from};
}

static enum status damaged(struct error *err, const char *what)
{
    return error_set(err, STATUS_CORRUPT, "the encoder's fit is damaged: %s", what);
}

void lsa_encoder_of(const uint8_t *blob, size_t len, char out[LSA_ENCODER_CAP])
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_CAP];
    sha256_of(blob, len, digest);
    sha256_hex(digest, hex);
    memcpy(out, "carrel-lsa-", 11);
    memcpy(out + 11, hex, 16);
    out[27] = '\0';
}

static enum status check_languages(struct lsa_model *m, struct error *err)
{
    memcpy(m->languages, m->blob + 32, sizeof m->languages);
    for (size_t i = 0; i < LSA_LANGUAGES; i++) {
        if (m->languages[i][7] != '\0') {
            return damaged(err, "a language's name does not end");
        }
        if (m->languages[i][0] != '\0' && m->n_languages == i) {
            m->n_languages++;
        }
    }
    return STATUS_OK;
}

static enum status check_terms(const struct lsa_model *m, uint32_t string_bytes, struct error *err)
{
    if (read_u32(m->offsets) != 0 || read_u32(m->offsets + 4 * (size_t)m->terms) != string_bytes) {
        return damaged(err, "its term table does not cover its terms");
    }
    for (size_t i = 0; i < m->terms; i++) {
        uint32_t from = read_u32(m->offsets + 4 * i), to = read_u32(m->offsets + 4 * (i + 1));
        if (from >= to || to > string_bytes) {
            return damaged(err, "a term's place is wrong");
        }
        if (i > 0 && str_compare(term_at(m, i - 1), term_at(m, i)) >= 0) {
            return damaged(err, "its terms are not sorted");
        }
        float idf = read_f32(m->idf + 4 * i);
        if (!(idf >= 0 && idf < 100)) {
            return damaged(err, "a term's weight is out of range");
        }
    }
    for (size_t i = 0; i < (size_t)m->terms * m->dimensions; i++) {
        if (!half_finite(read_u16(m->projection + 2 * i))) {
            return damaged(err, "a number of its projection is not finite");
        }
    }
    return STATUS_OK;
}

static enum status check(struct lsa_model *m, struct error *err)
{
    const uint8_t *p = m->blob;
    if (m->len < LSA_HEADER_BYTES + SHA256_BYTES || m->len > LSA_BLOB_MAX) {
        return damaged(err, "its size is impossible");
    }
    if (memcmp(p, "CARLSA1\n", 8) != 0) {
        return damaged(err, "it does not begin as a fit does");
    }
    size_t body = m->len - SHA256_BYTES;
    uint8_t digest[SHA256_BYTES];
    sha256_of(p, body, digest);
    if (memcmp(digest, p + body, SHA256_BYTES) != 0) {
        return damaged(err, "its checksum does not fit");
    }
    if (read_u32(p + 8) != TEXT_WORDS_VERSION) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the encoder was fitted with text analysis %u, this build has %d: fit it "
                         "again",
                         read_u32(p + 8), TEXT_WORDS_VERSION);
    }
    m->dimensions = read_u32(p + 12);
    m->terms = read_u32(p + 16);
    m->passages = read_u32(p + 20);
    m->average_length = read_f32(p + 24);
    uint32_t string_bytes = read_u32(p + 28);
    if (m->dimensions == 0 || m->dimensions > LSA_DIMENSIONS_MAX || m->terms == 0 ||
        m->terms > LSA_TERMS_MAX || string_bytes > LSA_TERM_BYTES_MAX ||
        !(m->average_length > 0 && m->average_length < AVERAGE_LENGTH_MAX)) {
        return damaged(err, "a number in its header is out of range");
    }
    /* All factors are capped above, so the sum cannot wrap. */
    size_t n = m->terms, padded = ((size_t)string_bytes + 3) / 4 * 4;
    size_t offsets = LSA_HEADER_BYTES, strings = offsets + 4 * (n + 1), idf = strings + padded;
    size_t projection = idf + 4 * n;
    if (projection + 2 * n * m->dimensions != body) {
        return damaged(err, "its parts do not add up to its size");
    }
    m->offsets = p + offsets;
    m->strings = (const char *)(p + strings);
    m->idf = p + idf;
    m->projection = p + projection;
    enum status s = check_languages(m, err);
    return s != STATUS_OK ? s : check_terms(m, string_bytes, err);
}

enum status lsa_open(uint8_t *blob, size_t len, struct lsa_model **out, struct error *err)
{
    struct lsa_model *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    m->blob = blob;
    m->len = len;
    enum status s = check(m, err);
    if (s != STATUS_OK) {
        free(m);
        return s;
    }
    lsa_encoder_of(blob, len, m->encoder);
    *out = m;
    return STATUS_OK;
}

void lsa_close(struct lsa_model *m)
{
    if (m != NULL) {
        free(m->blob);
        free(m);
    }
}

void lsa_describe(const struct lsa_model *m, struct lsa_info *out)
{
    *out = (struct lsa_info){.dimensions = m->dimensions,
                             .terms = m->terms,
                             .passages = m->passages,
                             .n_languages = m->n_languages,
                             .bytes = m->len + sizeof *m};
    for (size_t i = 0; i < m->n_languages; i++) {
        out->languages[i] = m->languages[i];
    }
    memcpy(out->encoder, m->encoder, sizeof out->encoder);
}

/* The index of a term; false when the model does not know it. */
static bool lookup(const struct lsa_model *m, struct str stem, uint32_t *out)
{
    size_t low = 0, high = m->terms;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = str_compare(term_at(m, middle), stem);
        if (c == 0) {
            *out = (uint32_t)middle;
            return true;
        }
        if (c < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

void lsa_bag_init(struct lsa_bag *b)
{
    *b = (struct lsa_bag){0};
}

void lsa_bag_deinit(struct lsa_bag *b)
{
    free(b->words);
    *b = (struct lsa_bag){0};
}

void lsa_bag_reset(struct lsa_bag *b)
{
    b->n = 0;
    memset(b->length, 0, sizeof b->length);
}

enum status lsa_bag_add(struct lsa_bag *b, const struct lsa_model *m, struct str stem,
                        uint32_t reading, struct error *err)
{
    uint32_t term;
    b->length[reading]++;
    if (b->n >= BAG_MAX || !lookup(m, stem, &term)) {
        return STATUS_OK;
    }
    if (b->n == b->cap) {
        size_t cap = b->cap == 0 ? 512 : b->cap * 2;
        struct lsa_word *grown = realloc(b->words, cap * sizeof *grown);
        if (grown == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        b->words = grown;
        b->cap = cap;
    }
    b->words[b->n++] = (struct lsa_word){.term = term, .reading = reading};
    return STATUS_OK;
}

static int by_term(const void *pa, const void *pb)
{
    const struct lsa_word *a = pa, *b = pb;
    int c = (a->term > b->term) - (a->term < b->term);
    return c != 0 ? c : (a->reading > b->reading) - (a->reading < b->reading);
}

static void add_row(const uint8_t *restrict row, float weight, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] += weight * half_to_float(read_u16(row + 2 * i));
    }
}

void lsa_fold(const struct lsa_model *m, struct lsa_bag *b, float *out)
{
    size_t d = m->dimensions;
    memset(out, 0, d * sizeof *out);
    size_t length = 0;
    for (size_t i = 0; i < LSA_LANGUAGES; i++) {
        length = b->length[i] > length ? b->length[i] : length;
    }
    if (b->n == 0) {
        return;
    }
    qsort(b->words, b->n, sizeof *b->words, by_term);
    float norm = LSA_K1 * (1 - LSA_B + LSA_B * (float)length / m->average_length);
    for (size_t i = 0; i < b->n;) {
        uint32_t term = b->words[i].term;
        size_t most = 0;
        while (i < b->n && b->words[i].term == term) {
            uint32_t reading = b->words[i].reading;
            size_t count = 0;
            for (; i < b->n && b->words[i].term == term && b->words[i].reading == reading; i++) {
                count++;
            }
            most = count > most ? count : most;
        }
        float tf = (float)most;
        float weight = read_f32(m->idf + 4 * (size_t)term) * (LSA_K1 + 1) * tf / (tf + norm);
        add_row(m->projection + 2 * d * term, weight, out, d);
    }
    double sum = 0;
    for (size_t i = 0; i < d; i++) {
        sum += (double)out[i] * (double)out[i];
    }
    if (sum > 1e-20) {
        float scale = (float)(1 / sqrt(sum));
        for (size_t i = 0; i < d; i++) {
            out[i] *= scale;
        }
    } else {
        memset(out, 0, d * sizeof *out);
    }
}
