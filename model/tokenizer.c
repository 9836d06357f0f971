/* The vocabulary, the tokens that a text may not write itself, and the way between text and ids
 * that all kinds share: text -> stretches between special tokens -> the kind's own encoder -> ids
 */
#include "model/tokenizer.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/tokenizer_internal.h"

#define TOKENS_MAX (1U << 24)
#define SPACE "\xE2\x96\x81"

/* ---- lists of tokens ---- */

void token_list_init(struct token_list *l, size_t max)
{
    *l = (struct token_list){.max = max};
}

void token_list_deinit(struct token_list *l)
{
    free(l->ids);
    *l = (struct token_list){.max = l->max};
}

bool token_push(struct token_list *l, uint32_t id)
{
    if (l->n == l->cap) {
        size_t cap = l->cap == 0 ? 64 : l->cap * 2;
        cap = cap > l->max ? l->max : cap;
        uint32_t *grown = cap == l->cap ? NULL : realloc(l->ids, cap * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        l->ids = grown;
        l->cap = cap;
    }
    l->ids[l->n++] = id;
    return true;
}

enum status token_list_full(const struct token_list *l, struct error *err)
{
    return l->n >= l->max
               ? error_set(err, STATUS_TOO_LARGE, "the text has more than %zu tokens", l->max)
               : error_set(err, STATUS_NO_MEMORY, "tokenizing: out of memory");
}

/* ---- the vocabulary ---- */

enum status piece_table_new(struct piece_table *p, size_t n, struct error *err)
{
    size_t cap = 64;
    while (cap < 2 * n) {
        cap *= 2;
    }
    p->slots = calloc(cap, sizeof *p->slots);
    p->mask = (uint32_t)(cap - 1);
    return p->slots == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

uint32_t tokenizer_lookup_hashed(const struct tokenizer *t, uint64_t hash, struct str piece)
{
    uint32_t i = piece_hash_end(hash) & t->by_piece.mask;
    for (; t->by_piece.slots[i] != 0; i = (i + 1) & t->by_piece.mask) {
        uint32_t id = t->by_piece.slots[i] - 1;
        if (str_eq(t->pieces[id], piece)) {
            return id;
        }
    }
    return TOKEN_NONE;
}

static uint64_t hash_of(struct str piece)
{
    uint64_t h = PIECE_HASH_START;
    for (size_t i = 0; i < piece.len; i++) {
        h = piece_hash_add(h, piece.ptr[i]);
    }
    return h;
}

uint32_t tokenizer_lookup(const struct tokenizer *t, struct str piece)
{
    return piece.len > t->longest ? TOKEN_NONE : tokenizer_lookup_hashed(t, hash_of(piece), piece);
}

static void index_piece(struct tokenizer *t, uint32_t id)
{
    uint64_t h = hash_of(t->pieces[id]);
    if (tokenizer_lookup_hashed(t, h, t->pieces[id]) != TOKEN_NONE) {
        return; /* the first of two equal ones counts */
    }
    uint32_t i = piece_hash_end(h) & t->by_piece.mask;
    while (t->by_piece.slots[i] != 0) {
        i = (i + 1) & t->by_piece.mask;
    }
    t->by_piece.slots[i] = id + 1;
}

static enum status read_pieces(struct tokenizer *t, const struct gguf *g, struct error *err)
{
    const struct gguf_value *v = gguf_find(g, STR("tokenizer.ggml.tokens"));
    if (v == NULL || v->type != GGUF_ARRAY || v->element != GGUF_STRING || v->n == 0 ||
        v->n > TOKENS_MAX) {
        return error_set(err, STATUS_INVALID, "the file has no vocabulary (tokenizer.ggml.tokens)");
    }
    t->n = (uint32_t)v->n;
    t->pieces = calloc(t->n, sizeof *t->pieces);
    t->types = calloc(t->n, sizeof *t->types);
    t->ends = calloc(t->n, sizeof *t->ends);
    t->strip_left = calloc(t->n, sizeof *t->strip_left);
    t->strip_right = calloc(t->n, sizeof *t->strip_right);
    if (t->pieces == NULL || t->types == NULL || t->ends == NULL || t->strip_left == NULL ||
        t->strip_right == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = piece_table_new(&t->by_piece, t->n, err);
    size_t at = 0;
    for (uint32_t i = 0; i < t->n && s == STATUS_OK; i++) {
        (void)gguf_next_string(v, &at, &t->pieces[i]);
        t->longest = t->pieces[i].len > t->longest ? t->pieces[i].len : t->longest;
        t->types[i] = TOKEN_NORMAL;
    }
    for (uint32_t i = 0; i < t->n && s == STATUS_OK; i++) {
        index_piece(t, i);
    }
    return s;
}

static enum status read_types(struct tokenizer *t, const struct gguf *g, struct error *err)
{
    const struct gguf_value *types = gguf_find(g, STR("tokenizer.ggml.token_type"));
    const struct gguf_value *scores = gguf_find(g, STR("tokenizer.ggml.scores"));
    if ((types != NULL && (types->type != GGUF_ARRAY || types->n != t->n)) ||
        (scores != NULL && (scores->type != GGUF_ARRAY || scores->n != t->n))) {
        return error_set(err, STATUS_INVALID,
                         "the vocabulary has another number of tokens than of types or scores");
    }
    for (uint32_t i = 0; types != NULL && i < t->n; i++) {
        int64_t k = gguf_int_at(types, i);
        t->types[i] = k >= TOKEN_NORMAL && k <= TOKEN_BYTE ? (uint8_t)k : TOKEN_NORMAL;
    }
    if (scores != NULL) {
        t->scores = calloc(t->n, sizeof *t->scores);
        if (t->scores == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        for (uint32_t i = 0; i < t->n; i++) {
            t->scores[i] = gguf_float_at(scores, i);
        }
    }
    return STATUS_OK;
}

/* ---- special tokens ---- */

static int longer_first(const void *a, const void *b, void *data)
{
    const struct tokenizer *t = data;
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    size_t n = t->pieces[x].len;
    size_t m = t->pieces[y].len;
    return n != m ? (n < m) - (n > m) : (x > y) - (x < y);
}

static enum status gather_specials(struct tokenizer *t, struct error *err)
{
    size_t n = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        n += t->types[i] == TOKEN_CONTROL || t->types[i] == TOKEN_USER ||
                     t->types[i] == TOKEN_UNKNOWN
                 ? 1
                 : 0;
    }
    t->specials = calloc(n + 1, sizeof *t->specials);
    if (t->specials == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < t->n; i++) {
        if ((t->types[i] == TOKEN_CONTROL || t->types[i] == TOKEN_USER ||
             t->types[i] == TOKEN_UNKNOWN) &&
            t->pieces[i].len > 0) {
            t->specials[t->n_specials++] = i;
            t->special_starts[(unsigned char)t->pieces[i].ptr[0]] = true;
        }
    }
    qsort_r(t->specials, t->n_specials, sizeof *t->specials, longer_first, t);
    return STATUS_OK;
}

static bool contains(struct str s, const char *z)
{
    return memmem(s.ptr, s.len, z, strlen(z)) != NULL;
}

/* What the files do not say: which special tokens take the white space beside them along. */
static void set_stripping(struct tokenizer *t, const struct gguf *g)
{
    struct str name = STR("");
    struct str pre = STR("");
    struct str architecture = STR("");
    char lower[64];
    (void)gguf_string(g, "general.name", &name);
    (void)gguf_string(g, "tokenizer.ggml.pre", &pre);
    (void)gguf_string(g, "general.architecture", &architecture);
    size_t n = name.len < sizeof lower ? name.len : sizeof lower;
    for (size_t i = 0; i < n; i++) {
        lower[i] = (char)tolower((unsigned char)name.ptr[i]);
    }
    struct str model = {lower, n};
    if (contains(pre, "jina-v2") || contains(architecture, "nomic-bert-moe") ||
        contains(architecture, "jina-bert-v3")) {
        uint32_t mask = tokenizer_lookup(t, STR("<mask>"));
        if (mask != TOKEN_NONE) {
            t->strip_left[mask] = true;
        }
    } else if (contains(model, "phi-3") || contains(model, "phi3")) {
        for (size_t i = 0; i < t->n_specials; i++) {
            struct str p = t->pieces[t->specials[i]];
            t->strip_right[t->specials[i]] = !str_eq(p, STR("<unk>")) && !str_eq(p, STR("<s>")) &&
                                             !str_eq(p, STR("<|endoftext|>"));
        }
    } else if (contains(model, "modern-bert")) {
        uint32_t mask = tokenizer_lookup(t, STR("[MASK]"));
        if (mask != TOKEN_NONE) {
            t->strip_left[mask] = true;
        }
    }
}

/* The end of a text by its key, and the ends of turns and messages by the names that families give
 * them. */
static void mark_ends(struct tokenizer *t, const struct gguf *g)
{
    static const char *const names[] = {"<|eot_id|>",
                                        "<|im_end|>",
                                        "<|end|>",
                                        "<|return|>",
                                        "<|call|>",
                                        "<end_of_turn>",
                                        "<turn|>",
                                        "<|eom_id|>",
                                        "<|endoftext|>",
                                        "<|end_of_text|>",
                                        "<EOT>",
                                        "_<EOT>",
                                        "</s>",
                                        "<｜end▁of▁sentence｜>",
                                        "<end_of_utterance>"};
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        uint32_t id = tokenizer_lookup(t, str_from(names[i]));
        if (id != TOKEN_NONE && t->types[id] != TOKEN_NORMAL) {
            t->ends[id] = true;
        }
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        uint32_t id = TOKEN_NONE;
        if (gguf_u32(g, keys[i], &id) && id < t->n) {
            t->ends[id] = true;
        }
    }
    /* some files call an end "user-defined", which any text may write: nobody's text ends a turn */
    for (uint32_t id = 0; id < t->n; id++) {
        if (t->ends[id] && t->types[id] == TOKEN_USER) {
            t->types[id] = TOKEN_CONTROL;
        }
    }
}

static void special_id(const struct tokenizer *t, const struct gguf *g, const char *key,
                       uint32_t *id)
{
    uint32_t given = TOKEN_NONE;
    if (gguf_u32(g, key, &given)) {
        *id = given;
    }
    *id = *id < t->n ? *id : TOKEN_NONE;
}

static void read_special_ids(struct tokenizer *t, const struct gguf *g)
{
    special_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos);
    special_id(t, g, "tokenizer.ggml.eos_token_id", &t->eos);
    special_id(t, g, "tokenizer.ggml.unknown_token_id", &t->unknown);
    special_id(t, g, "tokenizer.ggml.seperator_token_id", &t->separator); /* so spelled there */
    (void)gguf_bool(g, "tokenizer.ggml.add_bos_token", &t->add_bos);
    (void)gguf_bool(g, "tokenizer.ggml.add_eos_token", &t->add_eos);
    (void)gguf_bool(g, "tokenizer.ggml.add_sep_token", &t->add_separator);
    (void)gguf_bool(g, "tokenizer.ggml.add_space_prefix", &t->space_prefix);
    (void)gguf_bool(g, "tokenizer.ggml.remove_extra_whitespaces", &t->merge_spaces);
    (void)gguf_bool(g, "tokenizer.ggml.escape_whitespaces", &t->escape_spaces);
    (void)gguf_bool(g, "tokenizer.ggml.treat_whitespace_as_suffix", &t->spaces_behind);
    (void)gguf_bool(g, "tokenizer.ggml.normalizer.lowercase", &t->lowercase);
    t->strip_accents = t->lowercase;
    (void)gguf_bool(g, "tokenizer.ggml.normalizer.strip_accents", &t->strip_accents);
}

static void find_byte_tokens(struct tokenizer *t)
{
    for (unsigned b = 0; b < 256; b++) {
        t->byte_tokens[b] = TOKEN_NONE;
    }
    if (t->kind == TOKENIZER_BPE && t->byte_encoded) {
        for (uint32_t i = 0; i < t->n; i++) {
            struct buf raw;
            if (t->pieces[i].len > 2 || t->types[i] != TOKEN_NORMAL) {
                continue;
            }
            buf_init(&raw, 16);
            bpe_piece_bytes(t->pieces[i], &raw);
            if (raw.len == 1) {
                t->byte_tokens[(unsigned char)raw.ptr[0]] = i;
            }
            buf_deinit(&raw);
        }
        return;
    }
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        (void)snprintf(name, sizeof name, "<0x%02X>", b);
        t->byte_tokens[b] = tokenizer_lookup(t, str_from(name));
    }
}

/* ---- opening ---- */

struct kind_row {
    const char *model;
    enum tokenizer_kind kind;
    const char *name;
    uint32_t bos, eos, unknown, separator; /* where the file does not say */
    bool add_bos, add_eos, add_separator, space_prefix, escape_spaces;
};

static const struct kind_row *kind_of(struct str model)
{
    static const struct kind_row rows[] = {
        {"gpt2", TOKENIZER_BPE, "byte-level BPE", 11, 11, TOKEN_NONE, TOKEN_NONE, false, false,
         false, false, false},
        {"gemma4", TOKENIZER_BPE, "byte-level BPE", 2, 1, 3, TOKEN_NONE, true, false, false, false,
         true},
        {"llama", TOKENIZER_SPM, "SentencePiece BPE", 1, 2, 0, TOKEN_NONE, true, false, false, true,
         true},
        {"t5", TOKENIZER_UNIGRAM, "SentencePiece unigram", TOKEN_NONE, 1, 2, TOKEN_NONE, false,
         true, false, false, true},
        {"bert", TOKENIZER_WORDPIECE, "WordPiece", 101, TOKEN_NONE, 100, 102, true, false, true,
         false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (str_eq(str_from(rows[i].model), model)) {
            return &rows[i];
        }
    }
    return NULL;
}

static enum status open_kind(struct tokenizer *t, const struct gguf *g, struct error *err)
{
    struct str model = STR("");
    (void)gguf_string(g, "tokenizer.ggml.model", &model);
    const struct kind_row *k = kind_of(model);
    if (k == NULL) {
        return error_set(
            err, STATUS_UNSUPPORTED,
            "the vocabulary is of kind \"%.*s\"; known are gpt2, gemma4, llama, t5 and bert",
            model.len > 64 ? 64 : (int)model.len, model.ptr);
    }
    t->kind = k->kind;
    (void)snprintf(t->name, sizeof t->name, "%s", k->name);
    t->bos = k->bos;
    t->eos = k->eos;
    t->unknown = k->unknown;
    t->separator = k->separator;
    t->add_bos = k->add_bos;
    t->add_eos = k->add_eos;
    t->add_separator = k->add_separator;
    t->space_prefix = k->space_prefix;
    t->escape_spaces = k->escape_spaces;
    t->lowercase = true;
    return t->kind == TOKENIZER_BPE ? bpe_open(t, g, err) : STATUS_OK;
}

enum status tokenizer_new(const struct gguf *g, struct tokenizer **out, struct error *err)
{
    struct tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = read_pieces(t, g, err);
    if (s == STATUS_OK) {
        s = read_types(t, g, err);
    }
    if (s == STATUS_OK) {
        s = open_kind(t, g, err);
    }
    if (s == STATUS_OK) {
        read_special_ids(t, g);
        find_byte_tokens(t);
        mark_ends(t, g);
        s = gather_specials(t, err);
    }
    if (s == STATUS_OK) {
        set_stripping(t, g);
        s = t->kind == TOKENIZER_UNIGRAM ? unigram_open(t, g, err) : STATUS_OK;
    }
    if (s == STATUS_OK && t->kind == TOKENIZER_WORDPIECE && t->unknown == TOKEN_NONE) {
        s = error_set(err, STATUS_INVALID, "a WordPiece vocabulary needs an unknown token");
    }
    if (s != STATUS_OK) {
        tokenizer_free(t);
        return s;
    }
    *out = t;
    return STATUS_OK;
}

uint64_t tokenizer_bytes(const struct tokenizer *t)
{
    uint64_t each = sizeof *t->pieces + sizeof *t->types + sizeof *t->ends + sizeof *t->strip_left +
                    sizeof *t->strip_right + (t->scores == NULL ? 0 : sizeof *t->scores);
    uint64_t slots = (uint64_t)t->by_piece.mask + 1 +
                     (t->by_merge.slots == NULL ? 0 : (uint64_t)t->by_merge.mask + 1);
    return t->n * each + slots * sizeof(uint32_t) + t->n_merges * sizeof *t->merges +
           t->n_charsmap * sizeof *t->charsmap;
}

void tokenizer_free(struct tokenizer *t)
{
    if (t == NULL) {
        return;
    }
    union { /* free takes what malloc gave, without the const of ours */
        const uint32_t *in;
        uint32_t *out;
    } charsmap = {t->charsmap};
    free(charsmap.out);
    pretokenizer_free(t->pre);
    free(t->merges);
    free(t->by_merge.slots);
    free(t->by_piece.slots);
    free(t->pieces);
    free(t->scores);
    free(t->types);
    free(t->ends);
    free(t->strip_left);
    free(t->strip_right);
    free(t->specials);
    free(t);
}

enum tokenizer_kind tokenizer_kind(const struct tokenizer *t)
{
    return t->kind;
}

const char *tokenizer_name(const struct tokenizer *t)
{
    return t->name;
}

uint32_t tokenizer_size(const struct tokenizer *t)
{
    return t->n;
}

uint32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

uint32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

uint32_t tokenizer_separator(const struct tokenizer *t)
{
    return t->separator != TOKEN_NONE ? t->separator : t->eos;
}

bool tokenizer_is_end(const struct tokenizer *t, uint32_t id)
{
    return id < t->n && t->ends[id];
}

uint32_t tokenizer_find(const struct tokenizer *t, struct str piece)
{
    return tokenizer_lookup(t, piece);
}

/* ---- encoding ---- */

/* The special token that text begins with; user-defined ones always count, control ones only where
 * they may. */
static uint32_t special_at(const struct tokenizer *t, struct str text, unsigned flags)
{
    if (!t->special_starts[(unsigned char)text.ptr[0]]) {
        return TOKEN_NONE;
    }
    for (size_t i = 0; i < t->n_specials; i++) {
        uint32_t id = t->specials[i];
        if (str_starts(text, t->pieces[id]) &&
            (t->types[id] == TOKEN_USER || (flags & TOKENIZER_SPECIALS) != 0)) {
            return id;
        }
    }
    return TOKEN_NONE;
}

static enum status encode_stretch(const struct tokenizer *t, struct str text, bool after_special,
                                  struct token_list *out, struct error *err)
{
    if (text.len == 0) {
        return STATUS_OK;
    }
    switch (t->kind) {
    case TOKENIZER_BPE:
        return bpe_encode(t, text, out, err);
    case TOKENIZER_UNIGRAM:
        return unigram_encode(t, text, out, err);
    case TOKENIZER_WORDPIECE:
        return wordpiece_encode(t, text, out, err);
    case TOKENIZER_SPM:
        break;
    }
    if (!t->space_prefix || !after_special) {
        return spm_encode(t, text, out, err);
    }
    struct buf spaced;
    buf_init(&spaced, text.len + 2);
    buf_char(&spaced, ' ');
    buf_str(&spaced, text);
    enum status s = buf_status(&spaced) == STATUS_OK
                        ? spm_encode(t, buf_view(&spaced), out, err)
                        : error_set(err, STATUS_NO_MEMORY, "tokenizing: out of memory");
    buf_deinit(&spaced);
    return s;
}

static size_t strip_end(struct str s)
{
    while (s.len > 0 && isspace((unsigned char)s.ptr[s.len - 1])) {
        s.len--;
    }
    return s.len;
}

static enum status encode_text(const struct tokenizer *t, struct str text, unsigned flags,
                               struct token_list *out, struct error *err)
{
    enum status s = STATUS_OK;
    bool after_special = true;
    size_t from = 0;
    for (size_t at = 0; at < text.len && s == STATUS_OK;) {
        uint32_t id = special_at(t, (struct str){text.ptr + at, text.len - at}, flags);
        if (id == TOKEN_NONE) {
            at++;
            continue;
        }
        struct str before = {text.ptr + from, at - from};
        before.len = t->strip_left[id] ? strip_end(before) : before.len;
        s = encode_stretch(t, before, after_special, out, err);
        if (s == STATUS_OK && !token_push(out, id)) {
            s = token_list_full(out, err);
        }
        after_special = true;
        at += t->pieces[id].len;
        while (t->strip_right[id] && at < text.len && isspace((unsigned char)text.ptr[at])) {
            at++;
        }
        from = at;
    }
    return s == STATUS_OK ? encode_stretch(t, (struct str){text.ptr + from, text.len - from},
                                           after_special, out, err)
                          : s;
}

enum status tokenizer_encode(const struct tokenizer *t, struct str text, unsigned flags,
                             struct token_list *out, struct error *err)
{
    if (text.len > TOKENIZER_TEXT_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "the text is larger than 64 MiB");
    }
    bool affix = (flags & TOKENIZER_AFFIX) != 0;
    if (affix && t->add_bos && t->bos != TOKEN_NONE && !token_push(out, t->bos)) {
        return token_list_full(out, err);
    }
    enum status s = encode_text(t, text, flags, out, err);
    bool separator = t->kind == TOKENIZER_WORDPIECE && t->add_separator;
    uint32_t last = separator ? t->separator : t->add_eos ? t->eos : TOKEN_NONE;
    if (s == STATUS_OK && affix && last != TOKEN_NONE && !token_push(out, last)) {
        s = token_list_full(out, err);
    }
    return s;
}

/* ---- decoding ---- */

static bool byte_of(struct str piece, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    if (piece.len != 6 || memcmp(piece.ptr, "<0x", 3) != 0 || piece.ptr[5] != '>') {
        return false;
    }
    const char *high = memchr(digits, piece.ptr[3], 16);
    const char *low = memchr(digits, piece.ptr[4], 16);
    if (high == NULL || low == NULL) {
        return false;
    }
    *out = (char)((high - digits) << 4 | (low - digits));
    return true;
}

static void unescape(struct str piece, bool first, struct buf *out)
{
    size_t k = sizeof SPACE - 1;
    for (size_t i = 0; i < piece.len;) {
        if (piece.len - i >= k && memcmp(piece.ptr + i, SPACE, k) == 0) {
            if (!(first && i == 0)) {
                buf_char(out, ' ');
            }
            i += k;
        } else {
            buf_char(out, piece.ptr[i++]);
        }
    }
}

void tokenizer_piece(const struct tokenizer *t, uint32_t id, bool first, unsigned flags,
                     struct buf *out)
{
    char byte;
    if (id >= t->n) {
        return;
    }
    struct str piece = t->pieces[id];
    bool written = t->types[id] == TOKEN_USER;
    if (t->types[id] == TOKEN_CONTROL || t->types[id] == TOKEN_UNKNOWN) {
        written = (flags & TOKENIZER_SPECIALS) != 0;
        if (!written) {
            return;
        }
    }
    if (written) {
        buf_str(out, piece);
    } else if (t->kind == TOKENIZER_BPE && t->byte_encoded) {
        bpe_piece_bytes(piece, out);
    } else if (byte_of(piece, &byte)) {
        buf_char(out, byte);
    } else {
        unescape(piece, first && (t->space_prefix || t->kind == TOKENIZER_WORDPIECE), out);
    }
}

void tokenizer_decode(const struct tokenizer *t, const uint32_t *ids, size_t n, unsigned flags,
                      struct buf *out)
{
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        bool silent = ids[i] < t->n && t->types[ids[i]] == TOKEN_CONTROL;
        tokenizer_piece(t, ids[i], first, flags, out);
        first = first && silent;
    }
}

size_t tokenizer_incomplete(struct str text)
{
    for (size_t n = 1; n <= 3 && n <= text.len; n++) {
        unsigned char c = (unsigned char)text.ptr[text.len - n];
        if (c >= 0xC0) {
            return char_bytes((char)c) > n ? n : 0;
        }
        if (c < 0x80) {
            return 0;
        }
    }
    return 0;
}
