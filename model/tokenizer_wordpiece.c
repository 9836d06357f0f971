/* WordPiece as BERT uses it: words between white space and punctuation, lower-cased and without
 * accents where the vocabulary is so, each cut greedily into the longest tokens; a word that does
 * not come out even is unknown. GGUF writes the beginning of a word as U+2581 where BERT's files
 * write "##" for the inside. */
#include <utf8proc.h>

#include "model/tokenizer_internal.h"

#define SPACE "\xE2\x96\x81"

static bool is_cjk(utf8proc_int32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool is_space(utf8proc_int32_t c, utf8proc_category_t k)
{
    return c == '\t' || c == '\n' || c == '\r' || c == 0x0B || c == 0x0C || c == 0x85 ||
           k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP;
}

static bool is_control(utf8proc_category_t k)
{
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CN ||
           k == UTF8PROC_CATEGORY_CO || k == UTF8PROC_CATEGORY_CS;
}

static bool stands_alone(utf8proc_int32_t c, utf8proc_category_t k)
{
    bool punctuation = k == UTF8PROC_CATEGORY_PC || k == UTF8PROC_CATEGORY_PD ||
                       k == UTF8PROC_CATEGORY_PS || k == UTF8PROC_CATEGORY_PE ||
                       k == UTF8PROC_CATEGORY_PI || k == UTF8PROC_CATEGORY_PF ||
                       k == UTF8PROC_CATEGORY_PO;
    bool symbol = k == UTF8PROC_CATEGORY_SM || k == UTF8PROC_CATEGORY_SC ||
                  k == UTF8PROC_CATEGORY_SK || k == UTF8PROC_CATEGORY_SO;
    return punctuation || (c < 0x7F && symbol) || is_cjk(c);
}

struct cutting {
    const struct tokenizer *t;
    struct token_list *out;
    struct buf word; /* U+2581 and what came so far */
    struct error *err;
    enum status s;
};

static void end_word(struct cutting *c)
{
    struct str w = buf_view(&c->word);
    size_t before = c->out->n;
    bool even = true;
    if (w.len <= sizeof SPACE - 1 || c->s != STATUS_OK) {
        return;
    }
    for (size_t at = 0; at < w.len && even && c->s == STATUS_OK;) {
        size_t n = w.len - at < c->t->longest ? w.len - at : c->t->longest;
        uint32_t id = TOKEN_NONE;
        while (n > 0) {
            id = tokenizer_lookup(c->t, (struct str){w.ptr + at, n});
            if (id != TOKEN_NONE) {
                break;
            }
            n--;
        }
        even = id != TOKEN_NONE;
        if (even && !token_push(c->out, id)) {
            c->s = token_list_full(c->out, c->err);
        }
        at += n;
    }
    if (!even) {
        c->out->n = before;
    }
    if (c->out->n == before && c->s == STATUS_OK && !token_push(c->out, c->t->unknown)) {
        c->s = token_list_full(c->out, c->err);
    }
}

static void start_word(struct cutting *c)
{
    buf_reset(&c->word);
    buf_z(&c->word, SPACE);
}

static void add_point(struct cutting *c, utf8proc_int32_t point)
{
    utf8proc_category_t k = utf8proc_category(point);
    if (is_space(point, k)) {
        end_word(c);
        start_word(c);
        return;
    }
    if (point == 0 || point == 0xFFFD || is_control(k) ||
        (c->t->strip_accents && (k == UTF8PROC_CATEGORY_MN))) {
        return;
    }
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n =
        utf8proc_encode_char(c->t->lowercase ? utf8proc_tolower(point) : point, bytes);
    bool alone = stands_alone(point, k);
    if (alone) {
        end_word(c);
        start_word(c);
    }
    buf_append(&c->word, bytes, (size_t)n);
    if (alone) {
        end_word(c);
        start_word(c);
    }
}

enum status wordpiece_encode(const struct tokenizer *t, struct str text, struct token_list *out,
                             struct error *err)
{
    struct cutting c = {.t = t, .out = out, .err = err};
    buf_init(&c.word, text.len * 4 + 64);
    start_word(&c);
    for (size_t i = 0; i < text.len && c.s == STATUS_OK;) {
        utf8proc_int32_t point = 0;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text.ptr + i,
                                              (utf8proc_ssize_t)(text.len - i), &point);
        if (n <= 0) { /* no UTF-8: as U+FFFD, which is left out */
            i++;
            continue;
        }
        i += (size_t)n;
        utf8proc_int32_t parts[32];
        utf8proc_ssize_t k = 1;
        parts[0] = point;
        if (t->strip_accents) {
            int last = 0;
            k = utf8proc_decompose_char(point, parts, 32, UTF8PROC_DECOMPOSE, &last);
            if (k <= 0 || k > 32) {
                parts[0] = point;
                k = 1;
            }
        }
        for (utf8proc_ssize_t j = 0; j < k && c.s == STATUS_OK; j++) {
            add_point(&c, parts[j]);
        }
    }
    end_word(&c);
    if (c.s == STATUS_OK && buf_status(&c.word) != STATUS_OK) {
        c.s = error_set(err, STATUS_NO_MEMORY, "tokenizing: out of memory");
    }
    buf_deinit(&c.word);
    return c.s;
}
