/* The unigram language model of SentencePiece: after normalising, the cutting of the text whose
 * tokens' log probabilities sum up highest (Viterbi; Kudo 2018, arXiv:1804.10959). The normaliser
 * is the file's own table of replacements, a double array compressed by XOR (Kanda et al. 2018). */
#include <float.h>
#include <stdlib.h>
#include <utf8proc.h>

#include "model/tokenizer_internal.h"

#define UNKNOWN_PENALTY 10.0F
#define SPACE "\xE2\x96\x81"

static enum status read_charsmap(struct tokenizer *t, const struct gguf *g, struct error *err)
{
    const struct gguf_value *v = gguf_find(g, STR("tokenizer.ggml.precompiled_charsmap"));
    if (v == NULL || v->n == 0) {
        return STATUS_OK;
    }
    uint32_t bytes = 0;
    if (v->type != GGUF_ARRAY || (v->element != GGUF_I8 && v->element != GGUF_U8) ||
        v->bytes.len < sizeof bytes) {
        return error_set(err, STATUS_INVALID, "the vocabulary's table of replacements is damaged");
    }
    memcpy(&bytes, v->bytes.ptr, sizeof bytes);
    if (bytes > v->bytes.len - sizeof bytes || bytes % sizeof(uint32_t) != 0) {
        return error_set(err, STATUS_INVALID, "the vocabulary's table of replacements is cut off");
    }
    uint32_t *map = malloc(bytes + sizeof *map); /* the file need not align it */
    if (map == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    memcpy(map, v->bytes.ptr + sizeof bytes, bytes);
    t->charsmap = map;
    t->n_charsmap = bytes / sizeof *map;
    t->replacements = (struct str){.ptr = v->bytes.ptr + sizeof bytes + bytes,
                                   .len = v->bytes.len - sizeof bytes - bytes};
    return STATUS_OK;
}

enum status unigram_open(struct tokenizer *t, const struct gguf *g, struct error *err)
{
    if (t->scores == NULL || t->unknown >= t->n) {
        return error_set(err, STATUS_INVALID,
                         "a unigram vocabulary needs scores and an unknown token");
    }
    float lowest = FLT_MAX;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->types[i] == TOKEN_NORMAL && t->scores[i] < lowest) {
            lowest = t->scores[i];
        }
    }
    t->unknown_score = lowest - UNKNOWN_PENALTY;
    return read_charsmap(t, g, err);
}

/* ---- normalising ---- */

static uint32_t node_base(uint32_t node)
{
    return node >> 10 << ((node & 1U << 9) >> 6);
}

/* The longest beginning of text that the table replaces; 0: none. */
static size_t find_replacement(const struct tokenizer *t, struct str text, struct str *out)
{
    size_t found = 0;
    if (t->n_charsmap == 0) {
        return 0;
    }
    uint32_t at = node_base(t->charsmap[0]);
    for (size_t i = 0; i < text.len; i++) {
        uint32_t c = (unsigned char)text.ptr[i];
        at ^= c;
        if (c == 0 || at >= t->n_charsmap) {
            break;
        }
        uint32_t node = t->charsmap[at];
        if ((node & (1U << 31 | 0xFFU)) != c) {
            break;
        }
        at ^= node_base(node);
        if ((node >> 8 & 1U) != 0 && at < t->n_charsmap) {
            size_t offset = t->charsmap[at] & ~(1U << 31);
            const char *end =
                offset < t->replacements.len
                    ? memchr(t->replacements.ptr + offset, '\0', t->replacements.len - offset)
                    : NULL;
            if (end != NULL) {
                *out = (struct str){t->replacements.ptr + offset,
                                    (size_t)(end - t->replacements.ptr) - offset};
                found = i + 1;
            }
        }
    }
    return found;
}

static size_t user_token(const struct tokenizer *t, struct str text)
{
    for (size_t i = 0; i < t->n_specials; i++) {
        struct str piece = t->pieces[t->specials[i]];
        if (t->types[t->specials[i]] == TOKEN_USER && str_starts(text, piece)) {
            return piece.len;
        }
    }
    return 0;
}

/* The next stretch of text as it is after normalising. */
static size_t next_normal(const struct tokenizer *t, struct str text, struct str *out)
{
    size_t n = t->special_starts[(unsigned char)text.ptr[0]] ? user_token(t, text) : 0;
    if (n == 0) {
        size_t replaced = find_replacement(t, text, out);
        if (replaced > 0) {
            return replaced;
        }
        utf8proc_int32_t point = 0;
        utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)text.ptr,
                                                (utf8proc_ssize_t)text.len, &point);
        if (len <= 0) {
            *out = STR("\xEF\xBF\xBD");
            return 1;
        }
        n = (size_t)len;
    }
    *out = (struct str){text.ptr, n};
    return n;
}

static void normalise(const struct tokenizer *t, struct str text, struct buf *out)
{
    bool prepend = t->space_prefix && !t->spaces_behind;
    bool prepended = false;
    bool in_word = false;
    const char *space = t->escape_spaces ? SPACE : " ";
    for (size_t at = 0; at < text.len;) {
        struct str normal = STR("");
        at += next_normal(t, (struct str){text.ptr + at, text.len - at}, &normal);
        for (size_t i = 0; i < normal.len; i++) {
            if (normal.ptr[i] == ' ') {
                in_word = false;
                if (!t->merge_spaces) {
                    buf_z(out, space);
                }
                continue;
            }
            if (!in_word && ((prepend && !prepended) || t->merge_spaces)) {
                buf_z(out, space);
                prepended = true;
            }
            in_word = true;
            buf_char(out, normal.ptr[i]);
        }
    }
    if (t->space_prefix && t->spaces_behind) {
        buf_z(out, space);
    }
}

/* ---- cutting ---- */

struct best_cut {
    double score;
    uint32_t token;
    uint32_t from;
};

static void offer_cut(struct best_cut *to, double score, uint32_t token, size_t from)
{
    if (score > to->score) {
        *to = (struct best_cut){.score = score, .token = token, .from = (uint32_t)from};
    }
}

static void find_cuts(const struct tokenizer *t, struct str text, struct best_cut *best)
{
    for (size_t i = 1; i <= text.len; i++) {
        best[i] = (struct best_cut){.score = -DBL_MAX, .token = t->unknown};
    }
    best[0] = (struct best_cut){.token = t->unknown};
    for (size_t at = 0; at < text.len;) {
        size_t one = char_bytes(text.ptr[at]);
        one = one > text.len - at ? text.len - at : one;
        bool whole = false;
        uint64_t h = PIECE_HASH_START;
        for (size_t n = 1; n <= t->longest && at + n <= text.len; n++) {
            h = piece_hash_add(h, text.ptr[at + n - 1]);
            uint32_t id = tokenizer_lookup_hashed(t, h, (struct str){text.ptr + at, n});
            if (id == TOKEN_NONE || (t->types[id] != TOKEN_NORMAL && t->types[id] != TOKEN_USER &&
                                     t->types[id] != TOKEN_UNUSED)) {
                continue;
            }
            whole = whole || n == one;
            double score = t->types[id] == TOKEN_USER ? 0 : (double)t->scores[id];
            offer_cut(&best[at + n], best[at].score + score, id, at);
        }
        if (!whole) {
            offer_cut(&best[at + one], best[at].score + (double)t->unknown_score, t->unknown, at);
        }
        at += one;
    }
}

enum status unigram_encode(const struct tokenizer *t, struct str text, struct token_list *out,
                           struct error *err)
{
    struct buf normal;
    struct best_cut *best = NULL;
    buf_init(&normal, 16 * text.len + 64);
    normalise(t, text, &normal);
    enum status s = buf_status(&normal);
    if (s == STATUS_OK && normal.len > 0) {
        best = calloc(normal.len + 1, sizeof *best);
        s = best == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    }
    if (s != STATUS_OK) {
        s = error_set(err, s, "tokenizing: the text is too large");
    }
    if (s == STATUS_OK && best != NULL) {
        find_cuts(t, buf_view(&normal), best);
        size_t from = out->n;
        bool after_unknown = false;
        for (size_t at = normal.len; at > 0 && s == STATUS_OK; at = best[at].from) {
            bool unknown = best[at].token == t->unknown;
            if (!(unknown && after_unknown) && !token_push(out, best[at].token)) {
                s = token_list_full(out, err);
            }
            after_unknown = unknown;
        }
        for (size_t i = from, j = out->n; s == STATUS_OK && i + 1 < j; i++, j--) {
            uint32_t id = out->ids[i];
            out->ids[i] = out->ids[j - 1];
            out->ids[j - 1] = id;
        }
    }
    free(best);
    buf_deinit(&normal);
    return s;
}
