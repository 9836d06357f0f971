/* Byte pair encoding, in two dresses. Byte-level: the text is split by patterns, its bytes are
 * written as the printable characters of GPT-2's table, neighbours join by the rank of their merge
 * rule. SentencePiece: spaces become U+2581, neighbours join by the score of the token they make,
 * what has no token falls back to bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

#include "base/map.h"
#include "model/tokenizer_internal.h"

/* GPT-2's table: printable bytes stand for themselves, the others follow from U+0100 on. */
static bool is_printable(unsigned b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

static void byte_to_char(unsigned char b, struct buf *out)
{
    unsigned point = b;
    if (!is_printable(b)) {
        point = 0x100;
        for (unsigned i = 0; i < b; i++) {
            point += is_printable(i) ? 0 : 1;
        }
    }
    if (point < 0x80) {
        buf_char(out, (char)point);
    } else {
        buf_char(out, (char)(0xC0U | point >> 6));
        buf_char(out, (char)(0x80U | (point & 0x3FU)));
    }
}

/* The byte that a character of the table stands for; -1: none. */
static int char_to_byte(unsigned point)
{
    if (point < 0x100) {
        return is_printable(point) ? (int)point : -1;
    }
    unsigned n = point - 0x100;
    for (unsigned b = 0; b < 256; b++) {
        if (!is_printable(b) && n-- == 0) {
            return (int)b;
        }
    }
    return -1;
}

void bpe_piece_bytes(struct str piece, struct buf *out)
{
    for (size_t i = 0; i < piece.len;) {
        utf8proc_int32_t point = 0;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)piece.ptr + i,
                                              (utf8proc_ssize_t)(piece.len - i), &point);
        int b = n > 0 ? char_to_byte((unsigned)point) : -1;
        if (b >= 0) {
            buf_char(out, (char)b);
        } else { /* a token in plain writing, as user-defined ones are */
            buf_append(out, piece.ptr + i, n > 0 ? (size_t)n : 1);
        }
        i += n > 0 ? (size_t)n : 1;
    }
}

/* ---- merge rules ---- */

static uint64_t pair_hash(struct str left, struct str right)
{
    return hash64(left.ptr, left.len) * 31 + hash64(right.ptr, right.len);
}

static uint32_t find_merge(const struct tokenizer *t, struct str left, struct str right)
{
    uint32_t i = (uint32_t)pair_hash(left, right) & t->by_merge.mask;
    for (; t->by_merge.slots[i] != 0; i = (i + 1) & t->by_merge.mask) {
        uint32_t rank = t->by_merge.slots[i] - 1;
        if (str_eq(t->merges[rank].left, left) && str_eq(t->merges[rank].right, right)) {
            return rank;
        }
    }
    return TOKEN_NONE;
}

static enum status read_merges(struct tokenizer *t, const struct gguf *g, struct error *err)
{
    const struct gguf_value *v = gguf_find(g, STR("tokenizer.ggml.merges"));
    if (v == NULL || v->type != GGUF_ARRAY || v->element != GGUF_STRING || v->n > (1U << 26)) {
        return error_set(err, STATUS_INVALID, "the vocabulary has no merge rules");
    }
    t->merges = calloc((size_t)v->n + 1, sizeof *t->merges);
    if (t->merges == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = piece_table_new(&t->by_merge, (size_t)v->n, err);
    if (s != STATUS_OK) {
        return s;
    }
    struct str line;
    for (size_t at = 0; gguf_next_string(v, &at, &line);) {
        const char *space = line.len < 2 ? NULL : memchr(line.ptr + 1, ' ', line.len - 1);
        struct merge_rule *r = &t->merges[t->n_merges];
        if (space != NULL) {
            size_t n = (size_t)(space - line.ptr);
            r->left = (struct str){line.ptr, n};
            r->right = (struct str){space + 1, line.len - n - 1};
        }
        if (space != NULL && find_merge(t, r->left, r->right) == TOKEN_NONE) {
            uint32_t i = (uint32_t)pair_hash(r->left, r->right) & t->by_merge.mask;
            while (t->by_merge.slots[i] != 0) {
                i = (i + 1) & t->by_merge.mask;
            }
            t->by_merge.slots[i] = t->n_merges + 1;
        }
        t->n_merges++;
    }
    return STATUS_OK;
}

enum status bpe_open(struct tokenizer *t, const struct gguf *g, struct error *err)
{
    struct str name = STR("default");
    struct str model = STR("");
    (void)gguf_string(g, "tokenizer.ggml.pre", &name);
    if (gguf_string(g, "tokenizer.ggml.model", &model) && str_eq(model, STR("gemma4"))) {
        name = model; /* a kind of its own there, but for its patterns the same */
    }
    const struct pretokenizer_rules *r = pretokenizer_rules(name);
    if (r == NULL) {
        return error_set(err, STATUS_UNSUPPORTED, "the pre-tokenizer \"%.*s\" is not known",
                         name.len > 64 ? 64 : (int)name.len, name.ptr);
    }
    t->whole_words_first = r->whole_words_first;
    t->add_bos = r->add_bos;
    t->add_separator = r->add_separator;
    t->byte_encoded = !r->raw;
    t->escape_spaces = r->raw;
    (void)snprintf(t->name, sizeof t->name, "byte-level BPE (%.*s)",
                   name.len > 32 ? 32 : (int)name.len, name.ptr);
    enum status s = pretokenizer_new(r, &t->pre, err);
    return s == STATUS_OK ? read_merges(t, g, err) : s;
}

/* ---- encoding ---- */

struct encoding {
    const struct tokenizer *t;
    struct token_list *out;
    struct merger merger;
    struct buf word;
    enum status s;
    struct error *err;
};

static bool merge_rank(const struct tokenizer *t, struct str left, struct str right, double *cost)
{
    uint32_t rank = find_merge(t, left, right);
    *cost = (double)rank;
    return rank != TOKEN_NONE;
}

static bool push_or_stop(struct encoding *e, uint32_t id)
{
    if (!token_push(e->out, id)) {
        e->s = token_list_full(e->out, e->err);
    }
    return e->s == STATUS_OK;
}

/* What no token stands for: its bytes. Those of the byte-level table are characters, a token each.
 */
static bool push_bytes(struct encoding *e, struct str piece)
{
    struct buf raw;
    buf_init(&raw, piece.len + 8);
    if (e->t->byte_encoded) {
        bpe_piece_bytes(piece, &raw);
    } else {
        buf_str(&raw, piece);
    }
    for (size_t i = 0; i < raw.len && e->s == STATUS_OK; i++) {
        uint32_t id = e->t->byte_tokens[(unsigned char)raw.ptr[i]];
        id = id == TOKEN_NONE && e->t->kind == TOKENIZER_SPM ? e->t->unknown : id;
        if (id != TOKEN_NONE) {
            (void)push_or_stop(e, id);
        }
    }
    buf_deinit(&raw);
    return e->s == STATUS_OK;
}

static bool on_piece(struct str piece, void *data)
{
    struct encoding *e = data;
    uint32_t id = tokenizer_lookup(e->t, piece);
    return id == TOKEN_NONE ? push_bytes(e, piece) : push_or_stop(e, id);
}

static bool only_newlines(struct str s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] == '\n') {
        n++;
    }
    return n == s.len;
}

static bool on_word(struct str piece, void *data)
{
    struct encoding *e = data;
    struct str word = piece;
    if (e->t->byte_encoded) {
        buf_reset(&e->word);
        for (size_t i = 0; i < piece.len; i++) {
            byte_to_char((unsigned char)piece.ptr[i], &e->word);
        }
        word = buf_view(&e->word);
        if (buf_status(&e->word) != STATUS_OK) {
            e->s = error_set(e->err, STATUS_NO_MEMORY, "tokenizing: out of memory");
            return false;
        }
    }
    bool whole = e->t->whole_words_first || (!e->t->byte_encoded && only_newlines(word));
    uint32_t id = whole ? tokenizer_lookup(e->t, word) : TOKEN_NONE;
    if (id != TOKEN_NONE) {
        return push_or_stop(e, id);
    }
    enum status s = merger_run(&e->merger, e->t, word, merge_rank, on_piece, e, e->err);
    e->s = e->s == STATUS_OK ? s : e->s;
    return e->s == STATUS_OK;
}

/* Byte sequences that are no UTF-8 become U+FFFD, byte by byte. */
static void clean(struct str text, bool escape, struct buf *out)
{
    for (size_t i = 0; i < text.len;) {
        utf8proc_int32_t point = 0;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text.ptr + i,
                                              (utf8proc_ssize_t)(text.len - i), &point);
        if (n <= 0) {
            buf_z(out, "\xEF\xBF\xBD");
            i++;
        } else if (escape && point == ' ') {
            buf_z(out, "\xE2\x96\x81");
            i++;
        } else {
            buf_append(out, text.ptr + i, (size_t)n);
            i += (size_t)n;
        }
    }
}

enum status bpe_encode(const struct tokenizer *t, struct str text, struct token_list *out,
                       struct error *err)
{
    struct encoding e = {.t = t, .out = out, .err = err};
    struct buf cleaned;
    buf_init(&cleaned, 3 * text.len + 16);
    buf_init(&e.word, 2 * TOKENIZER_TEXT_MAX);
    clean(text, t->escape_spaces, &cleaned);
    enum status s = buf_status(&cleaned) == STATUS_OK
                        ? pretokenize(t->pre, buf_view(&cleaned), on_word, &e, err)
                        : error_set(err, STATUS_NO_MEMORY, "tokenizing: out of memory");
    merger_deinit(&e.merger);
    buf_deinit(&e.word);
    buf_deinit(&cleaned);
    return e.s != STATUS_OK ? e.s : s;
}

static bool merge_score(const struct tokenizer *t, struct str left, struct str right, double *cost)
{
    /* neighbours lie side by side in the text */
    uint32_t id = tokenizer_lookup(t, (struct str){left.ptr, left.len + right.len});
    if (id == TOKEN_NONE) {
        return false;
    }
    *cost = t->scores == NULL ? 0 : -(double)t->scores[id];
    return true;
}

enum status spm_encode(const struct tokenizer *t, struct str text, struct token_list *out,
                       struct error *err)
{
    struct encoding e = {.t = t, .out = out, .err = err};
    struct buf escaped;
    buf_init(&escaped, 3 * text.len + 16);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ' ') {
            buf_z(&escaped, "\xE2\x96\x81");
        } else {
            buf_char(&escaped, text.ptr[i]);
        }
    }
    enum status s =
        buf_status(&escaped) == STATUS_OK
            ? merger_run(&e.merger, t, buf_view(&escaped), merge_score, on_piece, &e, err)
            : error_set(err, STATUS_NO_MEMORY, "tokenizing: out of memory");
    merger_deinit(&e.merger);
    buf_deinit(&escaped);
    return e.s != STATUS_OK ? e.s : s;
}
