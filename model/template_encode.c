/* Pieces to token ids. Text between two special tokens is tokenized in one go, as the models were
 * trained: a template's "user\n" and the words after it are one stretch. */
#include <ctype.h>
#include <string.h>

#include "model/template.h"
#include "model/tokenizer_internal.h"

#define MARKS_MAX 16U /* no family has more */

struct encoding {
    const struct tokenizer *t;
    const struct template_pieces *p;
    struct buf run; /* plain text since the last special token */
    bool strip;     /* that token takes the white space after it along */
    struct str marks[MARKS_MAX];
    size_t n_marks;
    struct token_list *out;
    struct error *err;
    enum status s;
};

static void flush(struct encoding *e, bool strip_end)
{
    struct str text = buf_view(&e->run);
    while (e->strip && text.len > 0 && isspace((unsigned char)text.ptr[0])) {
        text = (struct str){text.ptr + 1, text.len - 1};
    }
    while (strip_end && text.len > 0 && isspace((unsigned char)text.ptr[text.len - 1])) {
        text.len--;
    }
    if (e->s == STATUS_OK) {
        e->s = buf_status(&e->run) == STATUS_OK
                   ? tokenizer_encode(e->t, text, 0, e->out, e->err)
                   : error_set(e->err, buf_status(&e->run), "the prompt: %s",
                               status_text(buf_status(&e->run)));
    }
    buf_reset(&e->run);
    e->strip = false;
}

static bool is_special(const struct tokenizer *t, uint32_t id)
{
    return id < t->n && (t->types[id] == TOKEN_CONTROL || t->types[id] == TOKEN_USER ||
                         t->types[id] == TOKEN_UNKNOWN);
}

static void push_special(struct encoding *e, uint32_t id)
{
    flush(e, e->t->strip_left[id]);
    if (e->s == STATUS_OK && !token_push(e->out, id)) {
        e->s = token_list_full(e->out, e->err);
    }
    e->strip = e->t->strip_right[id];
}

/* Could somebody's text write this mark? Not where it is a control token: those are never parsed in
 * it. */
static bool forgeable(const struct tokenizer *t, struct str mark)
{
    uint32_t id = tokenizer_find(t, mark);
    return id >= t->n || t->types[id] != TOKEN_CONTROL;
}

/* The marks of this rendering that somebody's text could write. */
static void gather_marks(struct encoding *e)
{
    for (size_t k = 0; k < e->p->n && e->n_marks < MARKS_MAX; k++) {
        const struct template_piece *m = &e->p->items[k];
        bool known = m->kind != PIECE_MARK || !forgeable(e->t, m->text);
        for (size_t i = 0; i < e->n_marks && !known; i++) {
            known = str_eq(e->marks[i], m->text);
        }
        if (!known) {
            e->marks[e->n_marks++] = m->text;
        }
    }
}

/* Marks of letters ("User: ") count where a line begins, the others everywhere. */
static bool mark_at(const struct encoding *e, struct str s, size_t i)
{
    struct str rest = {s.ptr + i, s.len - i};
    bool line = i == 0 || s.ptr[i - 1] == '\n';
    for (size_t k = 0; k < e->n_marks; k++) {
        if (str_starts(rest, e->marks[k]) && (line || !isalpha((unsigned char)rest.ptr[0]))) {
            return true;
        }
    }
    return false;
}

/* A space after the first byte breaks a mark up: "[ INST]". */
static void put_given(struct encoding *e, struct str s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.len && e->n_marks > 0; i++) {
        if (mark_at(e, s, i)) {
            buf_append(&e->run, s.ptr + from, i + 1 - from);
            buf_char(&e->run, ' ');
            from = i + 1;
        }
    }
    buf_append(&e->run, s.ptr + from, s.len - from);
}

static void put_piece(struct encoding *e, const struct template_piece *piece)
{
    uint32_t id = TOKEN_NONE;
    switch (piece->kind) {
    case PIECE_GIVEN:
        put_given(e, piece->text);
        return;
    case PIECE_WORDS:
        break;
    case PIECE_MARK:
        id = tokenizer_find(e->t, piece->text);
        break;
    case PIECE_END:
        id = e->t->eos;
        break;
    }
    if (is_special(e->t, id)) {
        push_special(e, id);
    } else if (piece->kind != PIECE_END) {
        buf_str(&e->run, piece->text);
    }
}

enum status template_encode(enum template_family f, const struct tokenizer *t,
                            const struct template_pieces *p, struct token_list *out,
                            struct error *err)
{
    struct encoding e = {.t = t, .p = p, .out = out, .err = err, .s = STATUS_OK};
    bool family_wants = f != TEMPLATE_CHATML && f != TEMPLATE_QWEN && f != TEMPLATE_QWEN_THINKING &&
                        f != TEMPLATE_PHI4 && f != TEMPLATE_ZEPHYR;
    buf_init(&e.run, TOKENIZER_TEXT_MAX);
    gather_marks(&e);
    if ((t->add_bos || family_wants) && is_special(t, t->bos) && !token_push(out, t->bos)) {
        e.s = token_list_full(out, err);
    }
    for (size_t i = 0; i < p->n && e.s == STATUS_OK; i++) {
        put_piece(&e, &p->items[i]);
    }
    flush(&e, false);
    buf_deinit(&e.run);
    return e.s;
}
