#include "vectorstore/lexical_list.h"

#define HEAD sizeof(struct lexical_head)
#define TEXT_BITS 15U
#define TITLE_MAX 7U

_Static_assert(sizeof(struct lexical_head) == 20, "heads are written as they lie in memory");

static uint32_t blocks_of(uint32_t n)
{
    return (n + LEXICAL_BLOCK - 1) / LEXICAL_BLOCK;
}

/* ---- packing ---- */

static void put_varint(struct buf *out, uint32_t n)
{
    while (n >= 0x80) {
        buf_char(out, (char)(n | 0x80));
        n >>= 7;
    }
    buf_char(out, (char)n);
}

static void pack(struct buf *out, const uint32_t *v, uint32_t n, unsigned width)
{
    uint64_t bits = 0;
    unsigned held = 0;
    char *to = buf_reserve(out, ((size_t)n * width + 7) / 8 + 1);
    if (to == NULL) {
        return; /* the buffer remembers it */
    }
    for (uint32_t i = 0; i < n; i++) {
        bits |= (uint64_t)v[i] << held;
        held += width;
        while (held >= 8) {
            *to++ = (char)(bits & 0xFF);
            bits >>= 8;
            held -= 8;
        }
    }
    if (held > 0) {
        *to = (char)bits;
    }
    out->len += ((size_t)n * width + 7) / 8;
}

static unsigned tf_class(uint32_t tf)
{
    return tf <= 1 ? 0 : tf == 2 ? 1 : tf <= 4 ? 2 : 3;
}

static void pack_block(const struct lexical_add *adds, uint32_t n, chunk_no base, int64_t before,
                       const struct lexical_length *lengths, struct buf *out,
                       struct lexical_head *head)
{
    uint32_t deltas[LEXICAL_BLOCK];
    uint32_t all = 0;
    *head = (struct lexical_head){.count_less_one = (uint8_t)(n - 1)};
    for (size_t i = 0; i < LEXICAL_TF_CLASSES; i++) {
        head->shortest[i] = LEXICAL_NO_LENGTH;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t chunk = adds[i].chunk - base;
        deltas[i] = (uint32_t)((int64_t)chunk - before - 1);
        before = chunk;
        all |= deltas[i];
        uint64_t tf = adds[i].tf_text + (uint64_t)LEXICAL_TITLE_WEIGHT * adds[i].tf_title;
        uint16_t length = lengths[chunk].length;
        uint16_t *shortest = &head->shortest[tf_class(tf > UINT16_MAX ? UINT16_MAX : (uint32_t)tf)];
        length = length == LEXICAL_NO_LENGTH ? LEXICAL_NO_LENGTH - 1 : length;
        *shortest = length < *shortest ? length : *shortest;
        tf = tf > UINT16_MAX ? UINT16_MAX : tf;
        head->max_tf = tf > head->max_tf ? (uint16_t)tf : head->max_tf;
    }
    head->last = (uint32_t)before;
    while (all >> head->width != 0 && ++head->width < 32) {
    }
    pack(out, deltas, n, head->width);
    char *to = buf_reserve(out, n);
    for (uint32_t i = 0; to != NULL && i < n; i++) {
        uint32_t text = adds[i].tf_text < TEXT_BITS ? adds[i].tf_text : TEXT_BITS;
        uint32_t title = adds[i].tf_title < TITLE_MAX ? adds[i].tf_title : TITLE_MAX;
        to[i] = (char)(text | title << 4);
    }
    out->len += to != NULL ? n : 0;
    for (uint32_t i = 0; i < n; i++) {
        if (adds[i].tf_text >= TEXT_BITS) {
            put_varint(out, adds[i].tf_text - TEXT_BITS);
        }
    }
}

enum status lexical_list_encode(const struct lexical_add *adds, uint32_t n, chunk_no base,
                                const struct lexical_length *lengths, struct buf *out,
                                struct error *err)
{
    struct lexical_head head;
    uint32_t blocks = blocks_of(n);
    size_t start = out->len;
    for (uint32_t i = 0; i < n; i++) {
        if (adds[i].chunk < base || (i > 0 && adds[i].chunk <= adds[i - 1].chunk)) {
            return error_set(err, STATUS_INVALID, "posting of chunk %u is out of order",
                             adds[i].chunk);
        }
    }
    if (n <= LEXICAL_BLOCK) {
        buf_char(out, 0);
        pack_block(adds, n, base, -1, lengths, out, &head);
        if (buf_status(out) == STATUS_OK) {
            out->ptr[start] = (char)head.width;
        }
    } else {
        char *room = buf_reserve(out, blocks * HEAD);
        if (room != NULL) {
            memset(room, 0, blocks * HEAD);
            out->len += blocks * HEAD;
        }
        size_t body = out->len;
        int64_t before = -1;
        for (uint32_t i = 0; i < blocks && buf_status(out) == STATUS_OK; i++) {
            uint32_t at = i * LEXICAL_BLOCK;
            uint32_t count = n - at < LEXICAL_BLOCK ? n - at : LEXICAL_BLOCK;
            size_t offset = out->len - body;
            pack_block(adds + at, count, base, before, lengths, out, &head);
            before = head.last;
            head.at = (uint32_t)offset;
            if (buf_status(out) == STATUS_OK) {
                memcpy(out->ptr + start + i * HEAD, &head, sizeof head);
            }
        }
    }
    return buf_status(out) == STATUS_OK
               ? STATUS_OK
               : error_set(err, buf_status(out), "a list of %u postings is too large", n);
}

/* ---- unpacking ---- */

static enum status damaged(const struct lexical_reader *r, struct error *err)
{
    return error_set(err, STATUS_CORRUPT, "a list of %u postings from chunk %u on is damaged",
                     r->list->df, r->list->base);
}

enum status lexical_list_open(const struct lexical_list *list, struct lexical_reader *out,
                              struct error *err)
{
    struct lexical_reader r = {.list = list, .n_blocks = blocks_of(list->df)};
    size_t heads = list->df <= LEXICAL_BLOCK ? 1 : (size_t)r.n_blocks * HEAD;
    if (list->df == 0 || list->df > list->n_lengths || list->bytes.len < heads) {
        return damaged(&r, err);
    }
    r.heads = list->bytes.ptr;
    r.blocks = list->bytes.ptr + heads;
    r.blocks_len = list->bytes.len - heads;
    *out = r;
    return STATUS_OK;
}

struct lexical_head lexical_list_head(const struct lexical_reader *r, uint32_t block)
{
    struct lexical_head h;
    if (r->n_blocks > 1) {
        memcpy(&h, r->heads + (size_t)block * HEAD, sizeof h);
        return h;
    }
    h = (struct lexical_head){.last = r->list->n_lengths - 1,
                              .count_less_one = (uint8_t)(r->list->df - 1),
                              .width = (uint8_t)r->heads[0]};
    return h;
}

static inline uint64_t load(const char *p, size_t left)
{
    uint64_t v = 0;
    memcpy(&v, p, left < sizeof v ? left : sizeof v);
    return v;
}

static void unpack(const char *p, size_t len, uint32_t n, unsigned width, uint32_t *out)
{
    uint64_t mask = ((uint64_t)1 << width) - 1;
    uint32_t i = 0;
    size_t bit = 0;
    for (; i < n && bit / 8 + 8 <= len; i++, bit += width) {
        uint64_t v;
        memcpy(&v, p + bit / 8, sizeof v);
        out[i] = (uint32_t)(v >> (bit % 8) & mask);
    }
    for (; i < n; i++, bit += width) {
        out[i] =
            bit / 8 < len ? (uint32_t)(load(p + bit / 8, len - bit / 8) >> (bit % 8) & mask) : 0;
    }
}

static bool varint(const char **p, const char *end, uint32_t *out)
{
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 35 && *p < end; shift += 7) {
        uint32_t b = (unsigned char)*(*p)++;
        v |= (b & 0x7F) << shift;
        if (b < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* Those of 15 and more. */
static bool unpack_large(const char *p, const char *end, struct lexical_postings *out)
{
    for (uint32_t i = 0; i < out->n; i++) {
        uint32_t more;
        if (out->tf_text[i] == TEXT_BITS) {
            if (!varint(&p, end, &more)) {
                return false;
            }
            more += TEXT_BITS;
            out->tf_text[i] = more > UINT16_MAX ? UINT16_MAX : (uint16_t)more;
        }
    }
    return true;
}

enum status lexical_list_block(const struct lexical_reader *r, uint32_t block,
                               struct lexical_postings *out, struct error *err)
{
    struct lexical_head h = lexical_list_head(r, block);
    uint32_t n = (uint32_t)h.count_less_one + 1;
    size_t packed = ((size_t)n * h.width + 7) / 8;
    if (h.width > 32 || n > LEXICAL_BLOCK || h.at > r->blocks_len ||
        r->blocks_len - h.at < packed + n || h.last >= r->list->n_lengths) {
        return damaged(r, err);
    }
    const char *p = r->blocks + h.at;
    unpack(p, r->blocks_len - h.at, n, h.width, out->chunk);
    uint64_t at = block == 0 ? 0 : (uint64_t)lexical_list_head(r, block - 1).last + 1;
    for (uint32_t i = 0; i < n; i++) {
        at += out->chunk[i];
        out->chunk[i] = (uint32_t)at++;
    }
    if (at == 0 || at - 1 > h.last || (r->n_blocks > 1 && at - 1 != h.last)) {
        return damaged(r, err);
    }
    p += packed;
    unsigned char large = 0;
    for (uint32_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)p[i];
        out->tf_text[i] = b & 15U;
        out->tf_title[i] = b >> 4 & 7U;
        large |= (b & 15U) == TEXT_BITS;
    }
    out->n = n;
    if (large && !unpack_large(p + n, r->blocks + r->blocks_len, out)) {
        return damaged(r, err);
    }
    return STATUS_OK;
}

/* Is any of first..last, counted from 0, in the set? */
static bool any_between(const struct lexical_allowed *a, uint64_t first, uint64_t last)
{
    if (a->limit == 0 || first >= a->limit || last < first) {
        return false;
    }
    last = last < a->limit ? last : a->limit - 1;
    for (uint64_t w = first / 64; w <= last / 64; w++) {
        uint64_t bits = a->bits[w];
        bits = w == first / 64 ? bits >> (first % 64) << (first % 64) : bits;
        bits = w == last / 64 ? bits << (63 - last % 64) : bits;
        if (bits != 0) {
            return true;
        }
    }
    return false;
}

enum status lexical_list_any(const struct lexical_list *list, const struct lexical_allowed *allowed,
                             bool *any, struct error *err)
{
    struct lexical_reader r;
    struct lexical_postings p;
    uint64_t start = list->base;
    enum status s = lexical_list_open(list, &r, err);
    *any = false;
    for (uint32_t i = 0; s == STATUS_OK && i < r.n_blocks && !*any; i++) {
        uint64_t last = (uint64_t)list->base + lexical_list_head(&r, i).last;
        if (any_between(allowed, start, last)) {
            s = lexical_list_block(&r, i, &p, err);
            for (uint32_t j = 0; s == STATUS_OK && j < p.n && !*any; j++) {
                *any = lexical_allowed(allowed, (uint64_t)list->base + p.chunk[j]);
            }
        }
        start = last + 1;
    }
    return s;
}
