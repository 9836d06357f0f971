/* Texts as the tokens that encoders and rerankers read. */
#include "model/model.h"
#include "model/tokenizer_internal.h"

/* Appends the tokens of t, without ends, and cuts what is over `max` tokens in all. */
static enum status append(const struct model *m, struct str t, size_t max, struct token_list *out,
                          bool *cut, struct error *err)
{
    enum status s = tokenizer_encode(model_tokenizer(m), t, 0, out, err);
    if (s == STATUS_OK && out->n > max) {
        out->n = max;
        *cut = true;
    }
    return s;
}

static enum status push(struct token_list *out, uint32_t id, struct error *err)
{
    return id == TOKEN_NONE || token_push(out, id)
               ? STATUS_OK
               : error_set(err, STATUS_NO_MEMORY, "out of memory for the text's tokens");
}

/* The three as one string: a tokenizer may join across their borders. */
static enum status join(const struct model_text *t, struct buf *out, struct error *err)
{
    buf_str(out, t->prefix);
    buf_str(out, t->title);
    if (t->title.len > 0) {
        buf_char(out, '\n');
    }
    buf_str(out, t->text);
    return buf_status(out) == STATUS_OK
               ? STATUS_OK
               : error_set(err, buf_status(out), "the text is too long to be embedded");
}

enum status model_text_tokens(const struct model *m, const struct model_text *t, uint32_t max,
                              struct token_list *out, bool *cut, struct error *err)
{
    struct buf text;
    buf_init(&text, TOKENIZER_TEXT_MAX);
    out->n = 0;
    *cut = false;
    enum status s = join(t, &text, err);
    if (s == STATUS_OK) {
        s = tokenizer_encode(model_tokenizer(m), buf_view(&text), TOKENIZER_AFFIX, out, err);
    }
    buf_deinit(&text);
    if (s == STATUS_OK && out->n > max && max > 0) {
        uint32_t last = out->ids[out->n - 1];
        const struct tokenizer *k = model_tokenizer(m);
        *cut = true;
        out->n = max;
        if (last == tokenizer_separator(k) || last == tokenizer_eos(k)) {
            out->ids[max - 1] = last;
        }
    }
    return s;
}

enum status model_pair_tokens(const struct model *m, struct str query, struct str passage,
                              uint32_t max, struct token_list *out, uint32_t *second, bool *cut,
                              struct error *err)
{
    const struct tokenizer *t = model_tokenizer(m);
    uint32_t between = tokenizer_separator(t);
    bool doubled = tokenizer_kind(t) != TOKENIZER_WORDPIECE;
    out->n = 0;
    *cut = false;
    if (max < 16) {
        return error_set(err, STATUS_INVALID, "a pair needs room for 16 tokens");
    }
    enum status s = push(out, tokenizer_bos(t), err);
    s = s == STATUS_OK ? append(m, query, max / 2, out, cut, err) : s;
    s = s == STATUS_OK ? push(out, between, err) : s;
    s = s == STATUS_OK && doubled ? push(out, between, err) : s;
    *second = (uint32_t)out->n;
    s = s == STATUS_OK ? append(m, passage, max - 1, out, cut, err) : s;
    return s == STATUS_OK ? push(out, between, err) : s;
}
