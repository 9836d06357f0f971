#include <string.h>

#include "ingest/formats/layout.h"
#include "ingest/utf8.h"

#define LOOKS_MAX 4000000 /* lines compared, of the whole document */
#define ANCHOR_MAX 400

/* The words that stand in the box, in the order of the text. */
static void words_in(const struct bbox_page *page, const struct bbox *box, struct buf *out,
                     size_t *looks)
{
    for (const struct bbox_block *b = page->blocks; b != NULL; b = b->next) {
        for (const struct bbox_line *l = b->lines; l != NULL && *looks < LOOKS_MAX; l = l->next) {
            float middle = (l->box.y0 + l->box.y1) / 2;
            ++*looks;
            if (middle < box->y0 || middle > box->y1) {
                continue;
            }
            *looks += l->n_words;
            for (uint32_t i = 0; i < l->n_words && out->len < ANCHOR_MAX; i++) {
                const struct bbox_word *w = &l->words[i];
                float across = (w->box.x0 + w->box.x1) / 2;
                if (across >= box->x0 && across <= box->x1) {
                    buf_z(out, out->len > 0 && out->ptr[out->len - 1] != ' ' ? " " : "");
                    buf_append(out, l->text.ptr + w->start, w->end - w->start);
                }
            }
        }
    }
}

static void put(const struct pdf_extra *x, Ex__Block__Kind kind, struct str text, struct emitter *e)
{
    Ex__Line line = EX__LINE__INIT;
    line.page = x->page;
    line.x0 = x->box.x0;
    line.y0 = x->box.y0;
    line.x1 = x->box.x1;
    line.y1 = x->box.y1;
    line.end = (uint32_t)utf8_count(text);
    struct emit_block b = {
        .kind = kind, .text = text, .page = x->page, .lines = &line, .n_lines = 1};
    emit(e, &b);
}

/* "words <target>"; nothing where the words are the target. True: a link of several lines, which
 * has a box for each, goes on with the next. */
static bool put_link(const struct bbox_page *page, const struct pdf_extra *x, struct buf *text,
                     size_t *looks, struct emitter *e)
{
    if (text->len > 0) {
        buf_char(text, ' ');
    }
    words_in(page, &x->box, text, looks);
    struct str words = buf_view(text), target = x->text;
    bool says_it = words.len > 3 && memmem(target.ptr, target.len, words.ptr, words.len) != NULL;
    if (x->next != NULL && x->next->kind == PDF_LINK && str_eq(x->next->text, target)) {
        return true;
    }
    if (says_it || target.len == 0 || memchr(target.ptr, '>', target.len) != NULL) {
        return false;
    }
    buf_z(text, words.len > 0 ? " <" : "<");
    buf_str(text, target);
    buf_char(text, '>');
    put(x, EX__BLOCK__KIND__NOTE, buf_view(text), e);
    return false;
}

/* True: text is kept for the next. */
static bool put_extra(const struct bbox_page *page, const struct pdf_extra *x, struct buf *text,
                      size_t *looks, struct emitter *e)
{
    if (x->kind == PDF_LINK) {
        return put_link(page, x, text, looks, e);
    }
    buf_str(text, x->name);
    buf_z(text, x->name.len > 0 ? ": " : "");
    buf_str(text, x->text);
    put(x, x->kind == PDF_FIELD ? EX__BLOCK__KIND__TABLE_ROW : EX__BLOCK__KIND__NOTE,
        buf_view(text), e);
    return false;
}

bool extras_emit(const struct bbox_document *d, const struct pdf_extras *x, struct emitter *e)
{
    static const enum pdf_extra_kind order[] = {PDF_FIELD, PDF_COMMENT, PDF_LINK};
    struct buf text;
    size_t looks = 0;
    bool ok = true;
    buf_init(&text, 1U << 20);
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        const struct bbox_page *page = d->pages;
        uint32_t number = 1;
        for (const struct pdf_extra *one = x->extras; one != NULL; one = one->next) {
            for (; page != NULL && number < one->page; number++) {
                page = page->next;
            }
            if (page != NULL && one->kind == order[i] && !emit_failed(e)) {
                bool keep = put_extra(page, one, &text, &looks, e);
                ok = ok && buf_status(&text) == STATUS_OK;
                if (!keep) {
                    buf_reset(&text);
                }
            }
        }
    }
    for (const struct pdf_attachment *a = x->attachments; a != NULL; a = a->next) {
        buf_reset(&text);
        buf_z(&text, "attached: ");
        buf_str(&text, a->name);
        buf_z(&text, a->description.len > 0 ? ": " : "");
        buf_str(&text, a->description);
        emit_text(e, EX__BLOCK__KIND__NOTE, 0, buf_view(&text));
    }
    buf_deinit(&text);
    return ok;
}
