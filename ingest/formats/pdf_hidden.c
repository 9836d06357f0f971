/* A page's content is read for where text begins and in which state (ISO 32000-1, 8 and 9), without
 * fonts: how far it runs is told by pdftotext's words. Painted areas before it, other than white
 * ones, make white text seen; forms are taken as painted all over, what is in them as seen. What is
 * not understood counts as seen. */
#include "ingest/formats/pdf_hidden.h"

#include <math.h>
#include <string.h>

#include "ingest/utf8.h"

#define CONTENT_MAX (32U << 20) /* of a page */
#define SHOWN_MAX 20000
#define AREAS_MAX 256
#define STATES_MAX 64
#define OPERANDS_MAX 8
#define LOOKS_MAX 20000000
#define TINY_POINTS 1.2F
#define WHITE 0.97F

struct matrix {
    float a, b, c, d, e, f;
};

struct state {
    struct matrix ctm;
    float size, leading;
    int mode;
    bool white, clear; /* the fill's colour and opacity */
    bool known;        /* the colour space of sc and scn */
    bool bold;
};

struct shown {
    float x, y; /* on the page as drawn */
    bool hidden, bold;
};

struct page_reader {
    struct pdf_objects *f;
    const struct pdf_page *page;
    struct str resources;
    struct state states[STATES_MAX], now;
    size_t n_states;
    struct matrix text, line;
    bool placed; /* nothing was shown since the text was moved */
    struct bbox path, areas[AREAS_MAX];
    size_t n_areas;
    bool any_path, all_painted, has_picture;
    struct str operands[OPERANDS_MAX];
    size_t n_operands;
    struct str font; /* the name that was looked up last */
    bool font_bold;
    struct shown *shown;
    size_t n_shown, n_hidden, n_bold;
};

static struct matrix times(struct matrix m, struct matrix n)
{
    return (struct matrix){m.a * n.a + m.b * n.c,       m.a * n.b + m.b * n.d,
                           m.c * n.a + m.d * n.c,       m.c * n.b + m.d * n.d,
                           m.e * n.a + m.f * n.c + n.e, m.e * n.b + m.f * n.d + n.f};
}

static float operand(const struct page_reader *r, size_t from_end)
{
    float v = 0;
    if (from_end < r->n_operands) {
        (void)pdf_number(r->operands[r->n_operands - 1 - from_end], &v);
    }
    return v;
}

static struct matrix operand_matrix(const struct page_reader *r)
{
    return (struct matrix){operand(r, 5), operand(r, 4), operand(r, 3),
                           operand(r, 2), operand(r, 1), operand(r, 0)};
}

/* --- what is painted --- */

static void add_point(struct page_reader *r, float x, float y)
{
    const struct matrix *m = &r->now.ctm;
    float px = x * m->a + y * m->c + m->e, py = x * m->b + y * m->d + m->f;
    struct bbox *p = &r->path;
    if (!r->any_path) {
        *p = (struct bbox){px, py, px, py};
        r->any_path = true;
        return;
    }
    p->x0 = fminf(p->x0, px);
    p->y0 = fminf(p->y0, py);
    p->x1 = fmaxf(p->x1, px);
    p->y1 = fmaxf(p->y1, py);
}

static void add_rectangle(struct page_reader *r, const float box[4])
{
    add_point(r, box[0], box[1]);
    add_point(r, box[0], box[3]);
    add_point(r, box[2], box[1]);
    add_point(r, box[2], box[3]);
}

static void paint(struct page_reader *r)
{
    if (r->any_path && r->n_areas < AREAS_MAX) {
        r->areas[r->n_areas++] = r->path;
    } else if (r->any_path) {
        r->all_painted = true;
    }
    r->any_path = false;
}

static bool resource(struct page_reader *r, const char *kind, struct str name, struct str *out)
{
    struct str v, bare;
    char key[128];
    if (!pdf_name(name, &bare) || bare.len >= sizeof key) {
        return false;
    }
    memcpy(key, bare.ptr, bare.len);
    key[bare.len] = '\0';
    return pdf_get(r->f, r->resources, kind, &v) && pdf_get(r->f, v, key, out);
}

/* A picture fills the unit square, a form its box. */
static void paint_object(struct page_reader *r)
{
    static const float unit[4] = {0, 0, 1, 1};
    struct str object, v;
    if (r->n_operands == 0 || !resource(r, "XObject", r->operands[r->n_operands - 1], &object) ||
        !pdf_get(r->f, object, "Subtype", &v)) {
        return;
    }
    r->any_path = false;
    if (pdf_is_name(v, "Image")) {
        r->has_picture = true;
        add_rectangle(r, unit);
        paint(r);
    } else {
        float box[4] = {0};
        struct str rest, one, matrix;
        bool ok = pdf_get(r->f, object, "BBox", &v) && pdf_array(v, &rest);
        for (size_t i = 0; i < 4 && ok; i++) {
            ok = pdf_next(r->f, &rest, &one) && pdf_number(one, &box[i]);
        }
        if (!ok || pdf_get(r->f, object, "Matrix", &matrix)) {
            r->all_painted = true; /* somewhere */
        } else {
            add_rectangle(r, box);
            paint(r);
        }
    }
}

/* --- state --- */

static void set_colour(struct page_reader *r, size_t n)
{
    bool white = n == 1 || n == 3 || n == 4;
    for (size_t i = 0; i < n && i < OPERANDS_MAX; i++) {
        float v = operand(r, i);
        white = white && (n == 4 ? v < 1 - WHITE : v > WHITE);
    }
    r->now.white = white;
}

/* Colour spaces in which as much as there is of each is white. */
static void set_space(struct page_reader *r)
{
    struct str v, rest, name = r->n_operands > 0 ? r->operands[r->n_operands - 1] : STR("");
    r->now.known = pdf_is_name(name, "DeviceGray") || pdf_is_name(name, "DeviceRGB") ||
                   pdf_is_name(name, "DeviceCMYK");
    r->now.white = false; /* each space begins black */
    if (!r->now.known && resource(r, "ColorSpace", name, &v) && pdf_array(v, &rest) &&
        pdf_next(r->f, &rest, &v)) {
        r->now.known =
            pdf_is_name(v, "ICCBased") || pdf_is_name(v, "CalRGB") || pdf_is_name(v, "CalGray");
    }
}

static void set_opacity(struct page_reader *r)
{
    struct str v, name = r->n_operands > 0 ? r->operands[r->n_operands - 1] : STR("");
    float alpha;
    if (resource(r, "ExtGState", name, &v) && pdf_get(r->f, v, "ca", &v) && pdf_number(v, &alpha)) {
        r->now.clear = alpha < 1 - WHITE;
    }
}

/* Fonts tell their weight by their name alone. */
static bool names_bold(struct str name)
{
    static const char *const words[] = {"Bold", "bold", "BOLD", "Black", "Heavy", "Demi", "CMBX"};
    bool found = false;
    for (size_t i = 0; i < sizeof words / sizeof words[0] && !found; i++) {
        found = memmem(name.ptr, name.len, words[i], strlen(words[i])) != NULL;
    }
    return found;
}

static void set_font(struct page_reader *r)
{
    struct str name, font, v;
    r->now.size = operand(r, 0);
    if (r->n_operands < 2 || !pdf_name(r->operands[r->n_operands - 2], &name)) {
        return;
    }
    if (!str_eq(name, r->font)) {
        r->font = name;
        r->font_bold = resource(r, "Font", r->operands[r->n_operands - 2], &font) &&
                       pdf_get(r->f, font, "BaseFont", &v) && pdf_name(v, &v) && names_bold(v);
    }
    r->now.bold = r->font_bold;
}

/* --- text --- */

static void move_line(struct page_reader *r, float x, float y)
{
    r->line = times((struct matrix){1, 0, 0, 1, x, y}, r->line);
    r->text = r->line;
    r->placed = true;
}

static bool is_painted(const struct page_reader *r, float x, float y)
{
    bool seen = r->all_painted;
    for (size_t i = 0; i < r->n_areas && !seen; i++) {
        const struct bbox *b = &r->areas[i];
        seen = x >= b->x0 - 1 && x <= b->x1 + 1 && y >= b->y0 - 1 && y <= b->y1 + 1;
    }
    return seen;
}

static void show(struct page_reader *r)
{
    if (!r->placed || r->n_shown == SHOWN_MAX) {
        return; /* goes on where the one before ended, in the same state but for few */
    }
    struct matrix m = times(r->text, r->now.ctm);
    float scale = sqrtf(fabsf(m.a * m.d - m.b * m.c));
    bool tiny = r->now.size > 0 && scale * r->now.size < TINY_POINTS;
    bool fills = r->now.mode == 0 || r->now.mode == 4;
    bool unseen = fills && (r->now.clear || (r->now.white && !is_painted(r, m.e, m.f)));
    struct shown *s = &r->shown[r->n_shown++];
    s->hidden = unseen || (tiny && r->now.mode != 3);
    pdf_drawn(r->page, m.e, m.f, &s->x, &s->y);
    s->bold = r->now.bold;
    r->n_bold += s->bold;
    r->n_hidden += s->hidden;
    r->placed = false;
}

/* --- operators --- */

static bool is(struct str s, const char *z)
{
    return str_eq(s, str_from(z));
}

static void on_path(struct page_reader *r, struct str op)
{
    if (is(op, "re")) {
        float x = operand(r, 3), y = operand(r, 2);
        const float box[4] = {x, y, x + operand(r, 1), y + operand(r, 0)};
        add_rectangle(r, box);
    } else if (is(op, "m") || is(op, "l") || is(op, "c") || is(op, "v") || is(op, "y")) {
        add_point(r, operand(r, 1), operand(r, 0));
    } else if (is(op, "f") || is(op, "F") || is(op, "f*") || is(op, "B") || is(op, "B*") ||
               is(op, "b") || is(op, "b*")) {
        if (!r->now.white && !r->now.clear) {
            paint(r);
        }
        r->any_path = false;
    } else if (is(op, "n") || is(op, "S") || is(op, "s")) {
        r->any_path = false;
    } else if (is(op, "sh")) {
        r->all_painted = true;
    } else if (is(op, "Do")) {
        paint_object(r);
    }
}

static void on_text(struct page_reader *r, struct str op)
{
    static const struct matrix one = {1, 0, 0, 1, 0, 0};
    if (is(op, "BT")) {
        r->text = r->line = one;
        r->placed = true;
    } else if (is(op, "Tf")) {
        set_font(r);
    } else if (is(op, "Td") || is(op, "TD")) {
        r->now.leading = op.ptr[1] == 'D' ? -operand(r, 0) : r->now.leading;
        move_line(r, operand(r, 1), operand(r, 0));
    } else if (is(op, "Tm")) {
        r->text = r->line = operand_matrix(r);
        r->placed = true;
    } else if (is(op, "TL")) {
        r->now.leading = operand(r, 0);
    } else if (is(op, "Tr")) {
        r->now.mode = (int)operand(r, 0);
    } else if (is(op, "T*")) {
        move_line(r, 0, -r->now.leading);
    } else if (is(op, "'") || is(op, "\"")) {
        move_line(r, 0, -r->now.leading);
        show(r);
    } else if (is(op, "Tj") || is(op, "TJ")) {
        show(r);
    }
}

static void on_operator(struct page_reader *r, struct str op)
{
    if (is(op, "q")) {
        if (r->n_states < STATES_MAX) {
            r->states[r->n_states] = r->now;
        }
        r->n_states++;
    } else if (is(op, "Q") && r->n_states > 0) {
        r->n_states--;
        r->now = r->n_states < STATES_MAX ? r->states[r->n_states] : r->now;
    } else if (is(op, "cm")) {
        r->now.ctm = times(operand_matrix(r), r->now.ctm);
    } else if (is(op, "g") || is(op, "rg") || is(op, "k")) {
        set_colour(r, op.len == 2 ? 3 : op.ptr[0] == 'k' ? 4 : 1);
        r->now.known = true;
    } else if (is(op, "cs")) {
        set_space(r);
    } else if (is(op, "sc") || is(op, "scn")) {
        set_colour(r, r->n_operands);
        r->now.white = r->now.white && r->now.known;
    } else if (is(op, "gs")) {
        set_opacity(r);
    } else if (op.ptr[0] == 'T' || op.ptr[0] == '\'' || op.ptr[0] == '"' || is(op, "BT")) {
        on_text(r, op);
    } else {
        on_path(r, op);
    }
}

/* Past the bytes of a picture within the content. */
static void skip_picture(struct str *s)
{
    const char *p = memmem(s->ptr, s->len, "EI", 2);
    while (p != NULL) {
        size_t at = (size_t)(p - s->ptr) + 2;
        bool ends = at == s->len || s->ptr[at] == ' ' || s->ptr[at] == '\n' || s->ptr[at] == '\r';
        bool begins = at > 2 && (p[-1] == ' ' || p[-1] == '\n' || p[-1] == '\r');
        if (ends && begins) {
            *s = (struct str){s->ptr + at, s->len - at};
            return;
        }
        p = memmem(s->ptr + at, s->len - at, "EI", 2);
    }
    s->len = 0;
}

static void read_content(struct page_reader *r, struct str content)
{
    struct str rest = content, v;
    while (pdf_next(r->f, &rest, &v)) {
        char c = v.ptr[0];
        struct str token = {v.ptr, v.len - rest.len};
        bool is_operator =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '\'' || c == '"';
        if (!is_operator) {
            if (r->n_operands == OPERANDS_MAX) {
                memmove(r->operands, r->operands + 1, sizeof r->operands - sizeof r->operands[0]);
                r->n_operands--;
            }
            r->operands[r->n_operands++] = v;
            continue;
        }
        on_operator(r, token);
        r->n_operands = 0;
        if (is(token, "ID")) {
            skip_picture(&rest);
        }
    }
}

/* The page's content, one stream or several, into out. */
static bool content_of(struct pdf_objects *f, struct str page, struct buf *out)
{
    struct str v, rest, one;
    if (!pdf_get(f, page, "Contents", &v)) {
        return false;
    }
    if (!pdf_array(v, &rest)) {
        return pdf_stream(f, v, out);
    }
    while (pdf_next(f, &rest, &one)) {
        if (!pdf_resolve(f, one, &one) || !pdf_stream(f, one, out)) {
            return false;
        }
        buf_char(out, '\n');
    }
    return buf_status(out) == STATUS_OK;
}

/* --- words --- */

/* Outside of what a reader shows. */
static bool is_cut_off(const struct pdf_page *p, const struct bbox *b)
{
    const struct bbox *c = &p->crop;
    return c->x1 > c->x0 && (b->x1 <= c->x0 || b->x0 >= c->x1 || b->y1 <= c->y0 || b->y0 >= c->y1);
}

/* Whether the text that begins last at or before x, in this line, is hidden. */
static bool hidden_at(const struct shown *s, size_t n, const struct bbox_line *l, float x)
{
    const struct shown *best = NULL;
    for (size_t i = 0; i < n; i++) {
        bool in_line = s[i].y >= l->box.y0 - 1 && s[i].y <= l->box.y1 + 1;
        if (in_line && s[i].x <= x + 1 && (best == NULL || s[i].x >= best->x)) {
            best = &s[i];
        }
    }
    return best != NULL && best->hidden;
}

struct mover {
    struct arena *a;
    const struct pdf_page *page;
    const struct shown *shown;
    size_t n_shown, looks;
    struct bbox_line **next; /* of the hidden ones */
    size_t n_words;
};

static bool is_hidden(struct mover *m, const struct bbox_line *l, const struct bbox *b)
{
    m->looks += m->n_shown;
    return is_cut_off(m->page, b) ||
           (m->looks < LOOKS_MAX && !l->turned && hidden_at(m->shown, m->n_shown, l, b->x0));
}

/* The line's words of one sort as a line of their own; NULL: no memory. */
static struct bbox_line *part_of(struct mover *m, const struct bbox_line *l, const bool *hidden,
                                 bool which)
{
    struct bbox_line *out = arena_alloc(m->a, sizeof *out);
    char *text = arena_alloc(m->a, l->text.len + l->n_words + 1);
    struct bbox_word *words = arena_array(m->a, l->n_words + 1, sizeof *words);
    if (out == NULL || text == NULL || words == NULL) {
        return NULL;
    }
    *out = *l;
    out->text = (struct str){text, 0};
    out->words = words;
    out->n_words = 0;
    for (uint32_t i = 0; i < l->n_words; i++) {
        const struct bbox_word *w = &l->words[i];
        if (hidden[i] != which) {
            continue;
        }
        text[out->text.len] = ' ';
        out->text.len += out->n_words > 0;
        struct bbox_word *to = &words[out->n_words++];
        *to = *w;
        to->start = (uint32_t)out->text.len;
        memcpy(text + out->text.len, l->text.ptr + w->start, w->end - w->start);
        out->text.len += w->end - w->start;
        to->end = (uint32_t)out->text.len;
        out->box.x0 = out->n_words == 1 ? w->box.x0 : fminf(out->box.x0, w->box.x0);
        out->box.x1 = out->n_words == 1 ? w->box.x1 : fmaxf(out->box.x1, w->box.x1);
    }
    out->letters = (uint32_t)utf8_count(out->text);
    return out;
}

static void move_line_out(struct mover *m, struct bbox_line *l)
{
    *m->next = l;
    m->next = &l->next;
    l->next = NULL;
}

/* Takes what is hidden of **at away; *at is then where the next line hangs. False: no memory. */
static bool split_line(struct mover *m, struct bbox_line ***at)
{
    struct bbox_line *l = **at, *next = l->next;
    bool *hidden = arena_array(m->a, l->n_words + 1, sizeof *hidden);
    size_t n = 0;
    if (hidden == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < l->n_words; i++) {
        hidden[i] = is_hidden(m, l, &l->words[i].box);
        n += hidden[i];
    }
    if (l->n_words == 0 ? is_hidden(m, l, &l->box) : n == l->n_words) {
        m->n_words += l->n_words > 0 ? l->n_words : 1;
        **at = next;
        move_line_out(m, l);
        return true;
    }
    if (n > 0) {
        struct bbox_line *away = part_of(m, l, hidden, true), *stays = part_of(m, l, hidden, false);
        if (away == NULL || stays == NULL) {
            return false;
        }
        m->n_words += n;
        move_line_out(m, away);
        stays->next = next;
        **at = stays;
    }
    *at = &(**at)->next;
    return true;
}

static bool move_hidden(struct mover *m, struct bbox_page *page)
{
    struct bbox_block *hidden = arena_alloc(m->a, sizeof *hidden), **next = &page->blocks;
    if (hidden == NULL) {
        return false;
    }
    m->next = &hidden->lines;
    for (struct bbox_block *b = page->blocks; b != NULL; b = *next) {
        for (struct bbox_line **at = &b->lines; *at != NULL;) {
            if (!split_line(m, &at)) {
                return false;
            }
        }
        if (b->lines == NULL) {
            *next = b->next; /* nothing is left of it */
        } else {
            next = &b->next;
        }
    }
    if (hidden->lines != NULL) {
        hidden->furniture = hidden->hidden = true;
        hidden->box = hidden->lines->box;
        *next = hidden;
    }
    return true;
}

/* Lines in which all that begins is bold. */
static void mark_bold(struct mover *m, struct bbox_page *page)
{
    for (struct bbox_block *b = page->blocks; b != NULL; b = b->next) {
        for (struct bbox_line *l = b->lines; l != NULL && m->looks < LOOKS_MAX; l = l->next) {
            size_t bold = 0, all = 0;
            m->looks += m->n_shown;
            for (size_t i = 0; i < m->n_shown; i++) {
                const struct shown *s = &m->shown[i];
                bool inside = s->y >= l->box.y0 - 1 && s->y <= l->box.y1 + 1 &&
                              s->x >= l->box.x0 - 1 && s->x <= l->box.x1;
                bold += inside && s->bold;
                all += inside;
            }
            l->bold = all > 0 && bold == all;
        }
    }
}

/* What of the page's text is painted unseen, into r->shown. */
static void read_page(struct page_reader *r)
{
    struct buf content;
    buf_init(&content, CONTENT_MAX);
    r->now = (struct state){.ctm = {1, 0, 0, 1, 0, 0}, .size = 1, .known = true};
    r->font = STR("");
    r->resources = r->page->resources;
    if (content_of(r->f, r->page->dict, &content)) {
        read_content(r, buf_view(&content));
    }
    if (r->n_hidden == r->n_shown && r->has_picture) {
        r->n_hidden = 0; /* the text of a scanned page */
    }
    buf_deinit(&content);
}

bool pdf_hide(struct pdf_objects *f, const struct pdf_extras *x, struct bbox_document *d,
              struct arena *a, size_t *n_words)
{
    struct shown *shown = arena_array(f->arena, SHOWN_MAX, sizeof *shown);
    struct mover m = {.a = a, .shown = shown};
    uint32_t i = 0;
    bool ok = shown != NULL;
    for (struct bbox_page *p = d->pages; p != NULL && i < x->n_pages && ok; p = p->next, i++) {
        struct page_reader r = {.f = f, .page = &x->pages[i], .shown = shown};
        const struct bbox *crop = &x->pages[i].crop;
        if (!x->encrypted) {
            read_page(&r);
        }
        if (r.n_bold > 0) {
            m.n_shown = r.n_shown;
            mark_bold(&m, p);
        }
        if (r.n_hidden > 0 || crop->x1 > crop->x0) {
            m.page = &x->pages[i];
            m.n_shown = r.n_hidden > 0 ? r.n_shown : 0;
            ok = move_hidden(&m, p);
        }
    }
    *n_words = m.n_words;
    return ok;
}
