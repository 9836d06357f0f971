#include "ingest/formats/layout.h"

#include <math.h>
#include <stdlib.h>

#include "ingest/formats/tables.h"
#include "ingest/utf8.h"

#define EDGES 3           /* blocks at either end of a page that may be furniture */
#define EDGE_TEXT_MAX 160 /* bytes; running heads are short */
#define NEAR_POINTS 14.0F
#define HEIGHTS_MAX 16
#define SAME_HEIGHT 2.0F
#define SIZES 200 /* histogram of line heights, in half points */

/* --- running heads and feet: the same words, numbers aside, at the same height of several pages
 * --- */

struct edge {
    struct bbox_block *block;
    uint32_t page;
    float y;
    char key[EDGE_TEXT_MAX + 1];
};

static bool edge_key(const struct bbox_block *b, char key[EDGE_TEXT_MAX + 1])
{
    size_t n = 0;
    for (const struct bbox_line *l = b->lines; l != NULL; l = l->next) {
        for (size_t i = 0; i < l->text.len; i++) {
            char c = l->text.ptr[i];
            bool digit = c >= '0' && c <= '9';
            if (digit && n > 0 && key[n - 1] == '#') {
                continue;
            }
            if (n == EDGE_TEXT_MAX) {
                return false;
            }
            key[n++] = digit ? '#' : c;
        }
    }
    key[n] = '\0';
    return n > 0;
}

static int by_key(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    int c = strcmp(x->key, y->key);
    return c != 0 ? c : (x->page > y->page) - (x->page < y->page);
}

/* The outermost blocks of a page, by height. */
static size_t page_edges(const struct bbox_page *page, uint32_t number, struct edge *out)
{
    struct bbox_block *top[EDGES] = {0}, *bottom[EDGES] = {0};
    for (struct bbox_block *b = page->blocks; b != NULL; b = b->next) {
        struct bbox_block *t = b, *u = b;
        for (size_t i = 0; i < EDGES; i++) {
            if (t != NULL && (top[i] == NULL || t->box.y0 < top[i]->box.y0)) {
                struct bbox_block *was = top[i];
                top[i] = t;
                t = was;
            }
            if (u != NULL && (bottom[i] == NULL || u->box.y1 > bottom[i]->box.y1)) {
                struct bbox_block *was = bottom[i];
                bottom[i] = u;
                u = was;
            }
        }
    }
    size_t n = 0;
    for (size_t i = 0; i < 2 * EDGES; i++) {
        struct bbox_block *b = i < EDGES ? top[i] : bottom[i - EDGES];
        bool at_edge = b != NULL && !b->hidden &&
                       (b->box.y0 > page->height * 0.8F || b->box.y1 < page->height * 0.2F);
        if (at_edge && edge_key(b, out[n].key)) {
            out[n].block = b;
            out[n].page = number;
            out[n].y = b->box.y0;
            n++;
        }
    }
    return n;
}

/* A page that would be left with nothing is a form or a slide that repeats, not furniture. */
static void spare_whole_pages(struct bbox_document *d)
{
    for (struct bbox_page *p = d->pages; p != NULL; p = p->next) {
        bool body = false;
        for (const struct bbox_block *b = p->blocks; b != NULL && !body; b = b->next) {
            body = !b->furniture;
        }
        for (struct bbox_block *b = p->blocks; b != NULL && !body; b = b->next) {
            b->furniture = b->hidden;
        }
    }
}

/* Where on their pages running heads and feet were found. */
struct heights {
    float y[HEIGHTS_MAX];
    size_t n;
};

static bool is_height(const struct heights *h, float y)
{
    bool found = false;
    for (size_t i = 0; i < h->n && !found; i++) {
        found = fabsf(h->y[i] - y) < SAME_HEIGHT;
    }
    return found;
}

static void add_height(struct heights *h, const struct edge *e)
{
    if (e->block->furniture && h->n < HEIGHTS_MAX && !is_height(h, e->y)) {
        h->y[h->n++] = e->y;
    }
}

/* The sorted edges that say the same at the same height of as many pages; only where heads or feet
 * are, if that is known: the heads of sections change every few pages. */
static void mark_repeated(struct edge *edges, size_t n, uint32_t need, const struct heights *where)
{
    for (size_t i = 0; i < n;) {
        size_t end = i;
        uint32_t pages = 0;
        for (; end < n && strcmp(edges[end].key, edges[i].key) == 0; end++) {
            bool same_height = fabsf(edges[end].y - edges[i].y) < NEAR_POINTS;
            bool new_page = end == i || edges[end].page != edges[end - 1].page;
            pages += same_height && new_page;
        }
        for (size_t k = i; k < end && pages >= need; k++) {
            bool here = where == NULL ? fabsf(edges[k].y - edges[i].y) < NEAR_POINTS
                                      : is_height(where, edges[k].y);
            edges[k].block->furniture = edges[k].block->furniture || here;
        }
        i = end;
    }
}

static enum status mark_furniture(struct bbox_document *d, struct arena *a, struct error *err)
{
    if (d->n_pages < 3) {
        return STATUS_OK;
    }
    struct edge *edges = arena_array(a, (size_t)d->n_pages * 2 * EDGES, sizeof *edges);
    if (edges == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    size_t n = 0;
    uint32_t number = 0;
    for (const struct bbox_page *p = d->pages; p != NULL; p = p->next) {
        n += page_edges(p, ++number, edges + n);
    }
    qsort(edges, n, sizeof *edges, by_key);
    mark_repeated(edges, n, d->n_pages / 12 > 3 ? d->n_pages / 12 : 3, NULL);
    struct heights found = {.n = 0};
    for (size_t i = 0; i < n; i++) {
        add_height(&found, &edges[i]);
    }
    mark_repeated(edges, n, 2, &found);
    spare_whole_pages(d);
    return STATUS_OK;
}

/* --- paragraphs --- */

struct sizes {
    uint64_t letters[SIZES];
    float body; /* the commonest height of a line, by letters */
    bool bold;  /* some is, and most is not */
};

static void measure(const struct bbox_document *d, struct sizes *s)
{
    uint64_t bold = 0, all = 0;
    memset(s, 0, sizeof *s);
    for (const struct bbox_page *p = d->pages; p != NULL; p = p->next) {
        for (const struct bbox_block *b = p->blocks; b != NULL; b = b->next) {
            for (const struct bbox_line *l = b->lines; l != NULL; l = l->next) {
                int i = (int)(l->size * 2);
                bold += l->bold ? l->letters : 0;
                all += l->letters;
                s->letters[i < 0 ? 0 : i >= SIZES ? SIZES - 1 : i] += l->letters;
            }
        }
    }
    size_t best = 0;
    for (size_t i = 0; i < SIZES; i++) {
        best = s->letters[i] > s->letters[best] ? i : best;
    }
    s->body = (float)best / 2 + 0.25F;
    s->bold = bold > 0 && 2 * bold < all;
}

/* Length of the bullet at the start of a line, white space included; 0: none. */
static size_t bullet(struct str s)
{
    static const char *const marks[] = {"\u2022", "\u25E6", "\u25AA", "\u25CF", "\u2023",
                                        "\u25A0", "\u27A2", "\uF0B7", "\u2013", "-"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        struct str m = str_from(marks[i]);
        if (str_starts(s, m) && s.len > m.len + 1 && s.ptr[m.len] == ' ') {
            return m.len + 1;
        }
    }
    return 0;
}

static bool is_bullet_alone(struct str s)
{
    char with_text[8];
    if (s.len > 4) {
        return false;
    }
    memcpy(with_text, s.ptr, s.len);
    memcpy(with_text + s.len, " x", 2);
    return bullet((struct str){with_text, s.len + 2}) > 0;
}

static bool is_letter(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= 0xC0 && c < 0x2000 && c != 0xD7);
}

static bool is_lower(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 0xDF && c <= 0xFF && c != 0xF7);
}

/* Bytes of the hyphen that only the line's end put there, when the next line goes on with a small
 * letter. */
static size_t line_end_hyphen(struct str s, struct str next)
{
    size_t n = 0, unused;
    if (str_ends(s, STR("-"))) {
        n = 1;
    } else if (str_ends(s, STR("\u00AD"))) {
        n = 2;
    } else if (str_ends(s, STR("\u2010"))) {
        n = 3;
    }
    if (n == 0 || s.len == n || next.len == 0) {
        return 0;
    }
    const char *end = s.ptr + s.len - n, *p = end - 1;
    while (p > s.ptr && ((unsigned char)*p & 0xC0) == 0x80) {
        p--;
    }
    bool letter = is_letter(utf8_next(p, end, &unused));
    return letter && is_lower(utf8_next(next.ptr, next.ptr + next.len, &unused)) ? n : 0;
}

/* Every word that stands unbroken somewhere, to tell "well-\nknown" from "informa-\ntion". */
static bool word_char(char c)
{
    return ((unsigned char)c & 0x80) != 0 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

struct words {
    uint64_t *slots; /* hashes; a false yes keeps a hyphen that could go, no more */
    size_t mask;
};

static uint64_t hash_part(uint64_t h, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        h = (h ^ (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c)) * UINT64_C(0x100000001B3);
    }
    return h;
}

#define HASH_SEED UINT64_C(0xCBF29CE484222325)

static bool words_has(const struct words *w, uint64_t h)
{
    for (size_t i = h & w->mask; w->slots[i] != 0; i = (i + 1) & w->mask) {
        if (w->slots[i] == h) {
            return true;
        }
    }
    return false;
}

/* Hyphenated words within lines: "well-known". Bounded: what does not fit is treated as not seen.
 */
static enum status find_hyphenated(const struct bbox_document *d, struct arena *a, struct words *w,
                                   struct error *err)
{
    const size_t slots = 16384;
    size_t used = 0;
    w->mask = slots - 1;
    w->slots = arena_array(a, slots, sizeof *w->slots);
    if (w->slots == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    for (const struct bbox_page *p = d->pages; p != NULL; p = p->next) {
        for (const struct bbox_block *b = p->blocks; b != NULL; b = b->next) {
            for (const struct bbox_line *l = b->lines; l != NULL; l = l->next) {
                struct str s = l->text;
                for (size_t i = 1; i + 1 < s.len && used < slots / 2; i++) {
                    if (s.ptr[i] != '-' || !word_char(s.ptr[i - 1]) || !word_char(s.ptr[i + 1])) {
                        continue;
                    }
                    size_t from = i, to = i + 1;
                    while (from > 0 && word_char(s.ptr[from - 1])) {
                        from--;
                    }
                    while (to < s.len && word_char(s.ptr[to])) {
                        to++;
                    }
                    uint64_t h = hash_part(HASH_SEED, (struct str){s.ptr + from, to - from});
                    if (!words_has(w, h)) {
                        size_t k = h & w->mask;
                        while (w->slots[k] != 0) {
                            k = (k + 1) & w->mask;
                        }
                        w->slots[k] = h == 0 ? 1 : h;
                        used++;
                    }
                }
            }
        }
    }
    return STATUS_OK;
}

static bool is_compound(const struct words *w, struct str before, struct str after)
{
    size_t from = before.len - 1, to = 0;
    while (from > 0 && word_char(before.ptr[from - 1])) {
        from--;
    }
    while (to < after.len && word_char(after.ptr[to])) {
        to++;
    }
    uint64_t h = hash_part(HASH_SEED, (struct str){before.ptr + from, before.len - from});
    return words_has(w, hash_part(h, (struct str){after.ptr, to}));
}

struct writer {
    struct emitter *e;
    const struct sizes *sizes;
    const struct words *compounds;
    struct buf text;
    Ex__Line *lines;
    size_t n_lines, cap_lines;
    uint32_t points; /* code points in text */
    uint32_t page;
    uint32_t section; /* level of the last heading to which a bookmark led */
};

static bool add_line(struct writer *w, const struct bbox *box, struct str text)
{
    if (w->n_lines == w->cap_lines) {
        size_t cap = w->cap_lines == 0 ? 64 : w->cap_lines * 2;
        Ex__Line *grown = realloc(w->lines, cap * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        w->lines = grown;
        w->cap_lines = cap;
    }
    Ex__Line *out = &w->lines[w->n_lines++];
    ex__line__init(out);
    out->page = w->page;
    out->x0 = box->x0;
    out->y0 = box->y0;
    out->x1 = box->x1;
    out->y1 = box->y1;
    out->start = w->points;
    w->points += (uint32_t)utf8_count(text);
    out->end = w->points;
    buf_str(&w->text, text);
    return true;
}

static uint32_t heading_level(const struct writer *w, float size, size_t n_lines, size_t bytes)
{
    float ratio = size / w->sizes->body;
    if (n_lines > 3 || bytes > 240 || ratio < 1.12F) {
        return 0;
    }
    return ratio >= 1.7F ? 1 : ratio >= 1.3F ? 2 : 3;
}

/* A short line in bold type that is no sentence and names no value. */
static bool is_bold_heading(const struct writer *w, const struct bbox_line *l)
{
    static const char ends[] = ".:;,";
    struct str s = l->text;
    return w->sizes->bold && l->bold && w->n_lines <= 2 && w->text.len > 0 && w->text.len <= 120 &&
           l->letters > 3 && strchr(ends, w->text.ptr[w->text.len - 1]) == NULL &&
           !(s.ptr[0] >= 'a' && s.ptr[0] <= 'z');
}

/* Where there is an outline, larger type that it does not name lies within its sections. */
static uint32_t level_of(struct writer *w, const struct bbox_line *first)
{
    if (first->heading > 0) {
        w->section = first->heading < 6 ? first->heading : 6;
        return w->section;
    }
    uint32_t level = first->turned ? 0 : heading_level(w, first->size, w->n_lines, w->text.len);
    level = level == 0 && !first->turned && is_bold_heading(w, first) ? 4 : level;
    return level == 0 || level > w->section ? level : w->section < 6 ? w->section + 1 : 6;
}

/* "Title . . . . 12", as in a table of contents. */
static bool leader(struct str s, struct str *title, struct str *page)
{
    size_t to = s.len, dots = 0;
    while (to > 0 && s.len - to < 7 && s.ptr[to - 1] != ' ' && s.ptr[to - 1] != '.') {
        to--;
    }
    size_t at = to;
    while (at > 0 && (s.ptr[at - 1] == ' ' || s.ptr[at - 1] == '.')) {
        dots += s.ptr[--at] == '.';
    }
    *title = (struct str){s.ptr, at};
    *page = (struct str){s.ptr + to, s.len - to};
    return dots >= 4 && at > 0 && page->len > 0;
}

static bool is_leader(const struct bbox_line *l)
{
    struct str title, page;
    return leader(l->text, &title, &page);
}

static void put(struct writer *w, const char *text)
{
    buf_z(&w->text, text);
    w->points += (uint32_t)strlen(text);
}

static bool emit_as_row(struct writer *w)
{
    struct emit_block b = {
        .kind = EX__BLOCK__KIND__TABLE_ROW,
        .text = buf_view(&w->text),
        .page = w->page,
        .lines = w->lines,
        .n_lines = w->n_lines,
    };
    emit(w->e, &b);
    return buf_status(&w->text) == STATUS_OK;
}

static bool emit_leader(struct writer *w, const struct bbox_line *l)
{
    struct str title, page;
    (void)leader(l->text, &title, &page);
    buf_reset(&w->text);
    w->n_lines = 0;
    w->points = 0;
    if (!add_line(w, &l->box, title)) {
        return false;
    }
    put(w, " | ");
    return add_line(w, &l->box, page) && emit_as_row(w);
}

/* The lines from `first` up to, not including, `end` as one block. */
static bool emit_lines(struct writer *w, const struct bbox_line *first, const struct bbox_line *end,
                       bool furniture)
{
    if (first->next == end && !furniture && is_leader(first)) {
        return emit_leader(w, first);
    }
    buf_reset(&w->text);
    w->n_lines = 0;
    w->points = 0;
    bool item = bullet(first->text) > 0 && !furniture && first->heading == 0;
    for (const struct bbox_line *l = first; l != end; l = l->next) {
        struct str text = l->text;
        if (l == first && item) {
            text.ptr += bullet(l->text);
            text.len -= bullet(l->text);
        }
        bool more = l->next != end;
        size_t hyphen = more ? line_end_hyphen(text, l->next->text) : 0;
        if (hyphen == 1 && is_compound(w->compounds, text, l->next->text)) {
            more = false; /* no space: the hyphen is the word's own */
            hyphen = 0;
        }
        text.len -= hyphen;
        if (!add_line(w, &l->box, text)) {
            return false;
        }
        if (more && hyphen == 0) {
            buf_char(&w->text, ' ');
            w->points++;
        }
    }
    if (!furniture && !item && w->points == 1 && is_bullet_alone(buf_view(&w->text))) {
        return true; /* its item stands in another block */
    }
    uint32_t level = furniture || item ? 0 : level_of(w, first);
    struct emit_block b = {
        .kind = furniture   ? EX__BLOCK__KIND__FURNITURE
                : item      ? EX__BLOCK__KIND__LIST_ITEM
                : level > 0 ? EX__BLOCK__KIND__HEADING
                            : EX__BLOCK__KIND__PARAGRAPH,
        .text = buf_view(&w->text),
        .level = level,
        .page = w->page,
        .lines = w->lines,
        .n_lines = w->n_lines,
    };
    emit(w->e, &b);
    return buf_status(&w->text) == STATUS_OK;
}

/* Bold lines stand for themselves between sentences, not within one. */
static bool changes_weight(const struct bbox_line *prev, const struct bbox_line *l)
{
    char before = prev->text.ptr[prev->text.len - 1], first = l->text.ptr[0];
    bool small = first >= 'a' && first <= 'z';
    if (l->bold && !prev->bold) {
        return before == '.' || before == ':' || before == '?' || before == '!';
    }
    return prev->bold && !l->bold && !small && before != ',' && before != '-';
}

/* Another paragraph starts where the type changes size or weight, a bullet stands, an entry of a
 * table of contents ends, or a heading begins or ends. */
static bool starts_block(const struct bbox_line *prev, const struct bbox_line *l)
{
    float a = prev->size, b = l->size;
    if (prev->heading > 0 || l->heading > 0) {
        return !prev->heading_on;
    }
    return changes_weight(prev, l) || bullet(l->text) > 0 || a > b * 1.15F || b > a * 1.15F ||
           is_leader(prev) || is_leader(l);
}

/* "cell | cell", with a box for each stretch of a cell. */
static bool emit_row(struct writer *w, const struct table_row *row)
{
    buf_reset(&w->text);
    w->n_lines = 0;
    w->points = 0;
    uint32_t column = 0;
    for (uint32_t i = 0; i < row->n; i++) {
        const struct table_piece *p = &row->pieces[i];
        const struct table_piece *next = i + 1 < row->n ? p + 1 : NULL;
        struct str text = {p->line->text.ptr + p->start, p->end - p->start};
        for (; column < p->column; column++) {
            put(w, w->points == 0 ? "| " : " | ");
        }
        if (next != NULL && next->column == column && next->line != p->line) {
            struct str after = {next->line->text.ptr + next->start, next->end - next->start};
            text.len -= line_end_hyphen(text, after);
        }
        if (!add_line(w, &p->box, text)) {
            return false;
        }
        if (next != NULL && next->column == column && text.len == p->end - p->start) {
            put(w, " ");
        }
    }
    return emit_as_row(w);
}

static bool emit_table(struct writer *w, struct table *t)
{
    bool ok = true;
    for (uint32_t i = 0; i < t->n_rows && ok && !t->emitted; i++) {
        ok = emit_row(w, &t->rows[i]);
    }
    t->emitted = true;
    return ok;
}

static bool emit_blocks(struct writer *w, const struct bbox_document *d, bool furniture)
{
    w->page = 0;
    for (const struct bbox_page *p = d->pages; p != NULL; p = p->next) {
        w->page++;
        for (const struct bbox_block *b = p->blocks; b != NULL; b = b->next) {
            if (b->furniture != furniture) {
                continue;
            }
            const struct bbox_line *first = b->lines;
            for (const struct bbox_line *l = first; l != NULL; l = l->next) {
                bool ends = l->next == NULL || l->next->table != NULL || l->table != NULL;
                if (!ends && (furniture || !starts_block(l, l->next))) {
                    continue;
                }
                bool ok = !emit_failed(w->e) &&
                          (l->table != NULL ? emit_table(w, l->table)
                                            : emit_lines(w, first, l->next, furniture));
                if (!ok) {
                    return emit_failed(w->e);
                }
                first = l->next;
            }
        }
    }
    return true;
}

/* pdftotext tells the size of a turned page as it was before. */
static void turn_pages(struct bbox_document *d, const struct pdf_extras *x)
{
    uint32_t i = 0;
    for (struct bbox_page *p = d->pages; p != NULL && i < x->n_pages; p = p->next) {
        if (x->pages[i++].turned % 2 == 1) {
            float width = p->width;
            p->width = p->height;
            p->height = width;
        }
    }
}

enum status layout_emit(struct bbox_document *d, const struct pdf_extras *x, struct arena *a,
                        struct emitter *e, struct error *err)
{
    struct sizes sizes;
    struct words compounds;
    struct writer w = {.e = e, .sizes = &sizes, .compounds = &compounds};
    if (x != NULL) {
        turn_pages(d, x);
    }
    enum status s = mark_furniture(d, a, err);
    measure(d, &sizes);
    if (x != NULL) {
        headings_find(d, x, sizes.body);
    }
    if (s == STATUS_OK) {
        s = find_hyphenated(d, a, &compounds, err);
    }
    for (struct bbox_page *p = d->pages; p != NULL && s == STATUS_OK; p = p->next) {
        s = tables_find(p, a, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    buf_init(&w.text, 16 * 1024 * 1024);
    emit_document(e, "pdf", x != NULL && x->title.len > 0 ? x->title : d->title, STR(""),
                  d->n_pages);
    if (!emit_blocks(&w, d, false) || (x != NULL && !extras_emit(d, x, e)) ||
        !emit_blocks(&w, d, true)) {
        s = error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    buf_deinit(&w.text);
    free(w.lines);
    return s;
}
