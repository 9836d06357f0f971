#include "ingest/formats/mail_text.h"

#include "ingest/formats/source.h"

struct body {
    struct emitter *e;
    struct buf block;
    bool quote;
};

static void finish_block(struct body *b)
{
    struct str s = text_trim(buf_view(&b->block));
    emit_text(b->e, b->quote ? EX__BLOCK__KIND__QUOTE : EX__BLOCK__KIND__PARAGRAPH, 0, s);
    buf_reset(&b->block);
}

/* ">> text": without its marks; false: it quotes nothing. */
static bool unquote(struct str *line)
{
    size_t i = 0;
    bool any = false;
    while (i < line->len && (line->ptr[i] == '>' || (any && line->ptr[i] == ' '))) {
        any = any || line->ptr[i] == '>';
        i++;
    }
    if (any) {
        *line = (struct str){line->ptr + i, line->len - i};
    }
    return any;
}

void mail_emit_plain(struct emitter *e, struct str text, bool flowed, uint64_t max_bytes)
{
    struct body b = {.e = e};
    struct str line;
    bool joined = false;
    buf_init(&b.block, max_bytes);
    for (size_t at = 0; !emit_failed(e) && source_line(text, &at, &line);) {
        bool quote = unquote(&line);
        if (flowed && !quote && line.len > 0 && line.ptr[0] == ' ') { /* stuffed */
            line = (struct str){line.ptr + 1, line.len - 1};
        }
        if (text_trim(line).len == 0 || (b.block.len > 0 && quote != b.quote)) {
            finish_block(&b);
            joined = false;
        }
        b.quote = quote;
        if (text_trim(line).len > 0) {
            if (b.block.len > 0 && !joined) {
                buf_char(&b.block, '\n');
            }
            buf_str(&b.block, line);
            joined = flowed && line.ptr[line.len - 1] == ' ' && !str_eq(line, STR("-- "));
        }
    }
    finish_block(&b);
    buf_deinit(&b.block);
}
