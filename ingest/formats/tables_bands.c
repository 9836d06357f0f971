#include <stdlib.h>

#include "ingest/formats/tables_internal.h"

/* parts of a line's height */
#define GAP_IN_LINE 0.7F /* where pdftotext, too, begins another column */
#define EVEN 1.4F
#define GAP_OF_EVEN 1.6F
#define SAME_ROW 0.2F

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
}

/* --- pieces --- */

static float gap_before(const struct bbox_line *l, uint32_t word)
{
    return l->words[word].box.x0 - l->words[word - 1].box.x1;
}

/* What is no blank between words in this line. Justified lines have wide blanks, but even ones;
 * columns seldom stand so. */
static float wide(const struct finder *f, const struct bbox_line *l)
{
    float least = FAR, most = 0;
    for (uint32_t i = 1; i < l->n_words; i++) {
        float gap = gap_before(l, i);
        least = gap < least ? gap : least;
        most = gap > most ? gap : most;
    }
    bool even = least < l->size || most < EVEN * least;
    if (l->n_words >= 4 && least > 0.4F * l->size && even) {
        return GAP_OF_EVEN * least;
    }
    return f->gap * l->size;
}

#define GAPS 100 /* histogram of blanks, in fiftieths of a line's height */

/* The page's usual blank: letters of one width and typewriters' lines have wide ones. */
static float usual_blank(const struct bbox_page *page)
{
    size_t seen[GAPS] = {0}, n = 0, half = 0;
    for (const struct bbox_block *b = page->blocks; b != NULL; b = b->next) {
        for (const struct bbox_line *l = b->lines; l != NULL; l = l->next) {
            for (uint32_t i = 1; i < l->n_words && l->n_words > 3 && l->size > 0; i++) {
                float gap = gap_before(l, i) / l->size * 50;
                seen[gap <= 0 ? 0 : gap >= GAPS ? GAPS - 1 : (size_t)gap]++;
                n++;
            }
        }
    }
    size_t i = 0;
    for (; i < GAPS && 2 * (half + seen[i]) < n; i++) {
        half += seen[i];
    }
    return n < 20 ? 0 : ((float)i + 1) / 50;
}

size_t table_words(struct str s)
{
    size_t n = 0, unspaced = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        n += c != ' ' && (i == 0 || s.ptr[i - 1] == ' ');
        unspaced += c >= 0xE3 && c <= 0xE9; /* first bytes of kana and Han */
    }
    return n + unspaced / 2;
}

static bool starts_small(struct str s)
{
    return s.len > 0 && (unsigned char)s.ptr[0] >= 'a'; /* or no ASCII */
}

/* A paragraph: lines of many words that fill their width and go on from one to the next. */
static bool is_prose(const struct finder *f, const struct bbox_block *b)
{
    size_t lines = 0, words = 0, gaps = 0, goes_on = 0;
    float filled = 0, width = b->box.x1 - b->box.x0;
    for (const struct bbox_line *l = b->lines; l != NULL; l = l->next) {
        float gap = wide(f, l);
        goes_on += lines > 0 && starts_small(l->text);
        lines++;
        words += table_words(l->text);
        filled += l->next != NULL ? (l->box.x1 - l->box.x0) / (width > 1 ? width : 1) : 0;
        for (uint32_t i = 1; i < l->n_words; i++) {
            if (gap_before(l, i) > gap) {
                gaps++;
                break;
            }
        }
    }
    if (lines < 2 || 3 * gaps > lines) {
        return false;
    }
    float fill = filled / (float)(lines - 1);
    return (lines >= 4 && words >= 5 * lines && fill > 0.75F && 3 * goes_on >= lines) ||
           (words >= 8 * lines && fill > 0.85F);
}

static size_t count_lines(const struct bbox_block *b)
{
    size_t n = 0;
    for (const struct bbox_line *l = b->lines; l != NULL; l = l->next) {
        n++;
    }
    return n;
}

static void cut_line(struct finder *f, struct bbox_line *l)
{
    struct table_piece *p = NULL;
    float most = wide(f, l);
    for (uint32_t i = 0; i < l->n_words && f->n_pieces < PIECES_MAX; i++) {
        const struct bbox_word *w = &l->words[i];
        float gap = p == NULL ? 0 : w->box.x0 - p->box.x1;
        if (p == NULL || gap > most || gap < -l->size) {
            p = &f->pieces[f->n_pieces++];
            *p = (struct table_piece){
                .box = {w->box.x0, l->box.y0, w->box.x1, l->box.y1}, /* one band for all of it */
                .line = l,
                .start = w->start,
                .end = w->end,
            };
            continue;
        }
        p->box.x1 = w->box.x1 > p->box.x1 ? w->box.x1 : p->box.x1;
        p->end = w->end;
    }
}

static enum status collect(struct finder *f, struct bbox_page *page, struct error *err)
{
    size_t words = 0;
    for (const struct bbox_block *b = page->blocks; b != NULL; b = b->next) {
        for (const struct bbox_line *l = b->lines; l != NULL; l = l->next) {
            words += l->n_words;
        }
    }
    words = words < PIECES_MAX ? words : PIECES_MAX;
    f->pieces = arena_array(f->arena, words + 1, sizeof *f->pieces);
    f->bands = arena_array(f->arena, words + 1, sizeof *f->bands);
    if (f->pieces == NULL || f->bands == NULL) {
        return no_memory(err);
    }
    for (struct bbox_block *b = page->blocks; b != NULL; b = b->next) {
        if (b->furniture) {
            continue;
        }
        if (is_prose(f, b)) {
            if (f->n_prose < sizeof f->prose / sizeof f->prose[0]) {
                f->prose_lines[f->n_prose] = count_lines(b);
                f->prose[f->n_prose++] = (struct strip){b->box.x0, b->box.x1};
            }
            continue;
        }
        for (struct bbox_line *l = b->lines; l != NULL; l = l->next) {
            if (l->heading == 0) {
                cut_line(f, l);
            }
        }
    }
    return STATUS_OK;
}

/* --- bands --- */

static int sign(float a, float b)
{
    return (a > b) - (a < b);
}

int piece_by_height(const void *a, const void *b)
{
    const struct table_piece *x = a, *y = b;
    int c = sign(piece_middle(x), piece_middle(y));
    c = c != 0 ? c : sign(x->box.x0, y->box.x0);
    return c != 0 ? c : (x->start > y->start) - (x->start < y->start);
}

int piece_by_left(const void *a, const void *b)
{
    const struct table_piece *x = a, *y = b;
    int c = sign(x->box.x0, y->box.x0);
    return c != 0 ? c : piece_by_height(a, b);
}

static void close_band(struct band *b)
{
    qsort(b->pieces, b->n, sizeof *b->pieces, piece_by_left);
    float right = -FAR;
    b->y0 = FAR;
    b->y1 = -FAR;
    for (size_t i = 0; i < b->n; i++) {
        const struct bbox *x = &b->pieces[i].box;
        float h = piece_height(&b->pieces[i]);
        b->apart += x->x0 - right > GAP_OF_COLUMNS * h;
        right = x->x1 > right ? x->x1 : right;
        b->y0 = x->y0 < b->y0 ? x->y0 : b->y0;
        b->y1 = x->y1 > b->y1 ? x->y1 : b->y1;
        b->h = i == 0 || h < b->h ? h : b->h;
    }
}

/* Pieces [from, to) by height: whether rows of their own lie in it, which only stand at other
 * heights than their neighbours: two heights at which several pieces stand. */
static bool has_rows(const struct table_piece *p, size_t n)
{
    size_t rows = 0, here = 1;
    for (size_t i = 1; i <= n; i++) {
        if (i < n &&
            piece_middle(&p[i]) - piece_middle(&p[i - 1]) < SAME_ROW * piece_height(&p[i])) {
            here++;
            continue;
        }
        rows += here > 1;
        here = 1;
    }
    return rows > 1;
}

static void add_band(struct finder *f, struct table_piece *p, size_t n)
{
    struct band *b = &f->bands[f->n_bands++];
    *b = (struct band){.pieces = p, .n = n};
    close_band(b);
}

static void cut_band(struct finder *f, struct table_piece *p, size_t n)
{
    size_t from = 0;
    bool rows = has_rows(p, n);
    for (size_t i = 1; i <= n; i++) {
        bool apart = i == n || piece_middle(&p[i]) - piece_middle(&p[i - 1]) >=
                                   SAME_ROW * piece_height(&p[i]);
        if (i == n || (rows && apart)) {
            add_band(f, p + from, i - from);
            from = i;
        }
    }
}

static void make_bands(struct finder *f)
{
    qsort(f->pieces, f->n_pieces, sizeof *f->pieces, piece_by_height);
    size_t from = 0;
    for (size_t i = 1; i <= f->n_pieces; i++) {
        struct table_piece *p = &f->pieces[i], *q = p - 1;
        bool same = i < f->n_pieces;
        if (same) {
            float h = piece_height(p) < piece_height(q) ? piece_height(p) : piece_height(q);
            same = piece_middle(p) - piece_middle(q) <= SAME_BAND * h;
        }
        if (!same) {
            cut_band(f, f->pieces + from, i - from);
            from = i;
        }
    }
}

enum status bands_find(struct finder *f, struct bbox_page *page, struct error *err)
{
    f->gap = GAP_OF_EVEN * usual_blank(page);
    f->gap = f->gap > GAP_IN_LINE ? f->gap : GAP_IN_LINE;
    enum status s = collect(f, page, err);
    if (s == STATUS_OK && f->n_pieces < PIECES_MAX) {
        make_bands(f);
    }
    return s;
}
