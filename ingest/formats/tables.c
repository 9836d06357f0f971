/* In order:
 *   pieces: words of a line up to a wide gap; paragraphs of prose are left out
 *   bands: pieces at one height, or interleaved as where a cell of two lines stands beside one of
 *     one; they are the rows as far as heights tell
 *   regions: from the band with most pieces up and down, as long as its blank strips stay blank
 *   a look at what stands in the columns: prose side by side and lists are no tables
 *   rows: bands that only carry on the cells above are put to them */
#include <stdlib.h>

#include "ingest/formats/tables_internal.h"

#define TABLES_MAX 40 /* tries on a page, each a look at all of its bands */
#define HOLD_MAX 2    /* rows of one piece across the columns, between others */

/* parts of a line's height */
#define BETWEEN_ROWS 2.6F
#define CONTINUES 0.75F

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
}

/* --- regions --- */

/* What is blank in both; *crossed counts the inner strips of `a` of which nothing is left. */
static void narrow(const struct strips *a, const struct band *b, struct strips *out,
                   size_t *crossed)
{
    float least = GAP_OF_COLUMNS * b->h;
    *crossed = 0;
    out->n = 0;
    for (size_t i = 0; i < a->n; i++) {
        float left = a->at[i].x0;
        size_t before = out->n;
        for (size_t k = 0; k < b->n && left < a->at[i].x1; k++) {
            const struct bbox *x = &b->pieces[k].box;
            if (x->x1 <= left || x->x0 >= a->at[i].x1) {
                continue;
            }
            if (x->x0 - left >= least && out->n < STRIPS_MAX) {
                out->at[out->n++] = (struct strip){left, x->x0};
            }
            left = x->x1 > left ? x->x1 : left;
        }
        if (a->at[i].x1 - left >= least && out->n < STRIPS_MAX) {
            out->at[out->n++] = (struct strip){left, a->at[i].x1};
        }
        *crossed += out->n == before && i > 0 && i + 1 < a->n;
    }
}

/* Whether the band keeps to the region's columns; if so, the strips become narrower. */
static bool fits(struct region *r, const struct band *b)
{
    struct strips rest;
    size_t crossed, inner = r->blank.n >= 2 ? r->blank.n - 2 : 0;
    narrow(&r->blank, b, &rest, &crossed);
    if (crossed == 0) {
        r->blank = rest;
        return rest.n >= 3;
    }
    if (b->apart >= 3 && inner >= 3 && crossed * 3 <= inner) {
        r->across++;
        return true;
    }
    return false;
}

static bool near(const struct band *a, const struct band *b)
{
    float h = a->h > b->h ? a->h : b->h;
    return b->y0 - a->y1 < BETWEEN_ROWS * h;
}

static bool similar(const struct band *a, const struct band *b)
{
    return a->h < 1.6F * b->h && b->h < 1.6F * a->h;
}

/* From the region's end on in one direction. */
static void grow(struct finder *f, struct region *r, bool down)
{
    size_t held = 0;
    for (size_t i = down ? r->last : r->first;;) {
        if (down ? i + 1 == f->n_bands : i == 0) {
            return;
        }
        const struct band *from = &f->bands[i];
        i = down ? i + 1 : i - 1;
        const struct band *b = &f->bands[i];
        if (b->used || !similar(from, b) || !(down ? near(from, b) : near(b, from))) {
            return;
        }
        struct region was = *r;
        bool ok = fits(r, b);
        if (ok && b->apart == 1 && !(down && b->y0 - from->y1 < CONTINUES * b->h && held == 0)) {
            ok = false; /* alone and set off: within the table only if that goes on behind it */
            *r = was;
        }
        if (!ok) {
            if (b->apart > 1 || ++held > HOLD_MAX) {
                return;
            }
            continue;
        }
        held = 0;
        if (down) {
            r->last = i;
        } else {
            r->first = i;
        }
    }
}

/* --- rows --- */

static int by_column(const void *a, const void *b)
{
    const struct table_piece *x = a, *y = b;
    if (x->column != y->column) {
        return x->column < y->column ? -1 : 1;
    }
    bool same = piece_middle(y) - piece_middle(x) < SAME_BAND * piece_height(x) &&
                piece_middle(x) - piece_middle(y) < SAME_BAND * piece_height(x);
    return same ? piece_by_left(a, b) : piece_by_height(a, b);
}

static uint64_t filled_columns(const struct band *b)
{
    uint64_t set = 0;
    for (size_t i = 0; i < b->n; i++) {
        set |= UINT64_C(1) << b->pieces[i].column;
    }
    return set;
}

/* Whether the band only carries on cells of the row that `start` begins: its first column is blank
 * and some of the others are, or it stands closer than rows do. Names of columns may take several
 * lines without the first column. */
static bool continues(const struct band *start, const struct band *b, float pitch, bool at_head)
{
    float gap = b->y0 - b[-1].y1;
    uint64_t row = filled_columns(start), set = filled_columns(b);
    if (gap > CONTINUES * b->h || (set == row && ((set & 1) != 0 || !at_head))) {
        return false;
    }
    if (is_list_mark(piece_text(&b->pieces[0]))) {
        return false;
    }
    return gap < 0.5F * pitch || ((set & 1) == 0 && (set & ~row) == 0);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The usual gap before a row whose first column is filled. */
static enum status usual_gap(struct finder *f, const struct region *r, float *out,
                             struct error *err)
{
    float *gaps = arena_array(f->arena, r->last - r->first + 1, sizeof *gaps);
    size_t n = 0;
    if (gaps == NULL) {
        return no_memory(err);
    }
    for (size_t i = r->first + 1; i <= r->last; i++) {
        const struct band *b = &f->bands[i];
        if (region_column(r, &b->pieces[0]) == 0 && b->apart > 1) {
            gaps[n++] = b->y0 - f->bands[i - 1].y1;
        }
    }
    qsort(gaps, n, sizeof *gaps, by_value);
    *out = n == 0 ? 0 : gaps[n / 2];
    return STATUS_OK;
}

/* A line of larger type between the rows, which is no row. */
static bool is_title(const struct finder *f, const struct region *r, size_t i)
{
    const struct band *b = &f->bands[i];
    return b->n == 1 && i > r->first && i < r->last && b->h > 1.12F * b[1].h;
}

static enum status make_rows(struct finder *f, const struct region *r, struct table *t,
                             struct error *err)
{
    float pitch = 0;
    const struct band *start = NULL;
    enum status s = usual_gap(f, r, &pitch, err);
    for (size_t i = r->first; i <= r->last && s == STATUS_OK; i++) {
        struct band *b = &f->bands[i];
        for (size_t k = 0; k < b->n; k++) {
            b->pieces[k].column = region_column(r, &b->pieces[k]);
            b->pieces[k].line->table = t;
        }
        if (start != NULL && continues(start, b, pitch, t->n_rows == 1 && i < r->first + 3)) {
            t->rows[t->n_rows - 1].n += (uint32_t)b->n; /* bands lie one behind the other */
        } else {
            t->rows[t->n_rows++] = (struct table_row){b->pieces, (uint32_t)b->n};
            start = b;
        }
    }
    for (size_t i = 0; t->n_rows < 2 && i < t->rows[0].n; i++) {
        t->rows[0].pieces[i].line->table = NULL; /* one row is a line */
    }
    for (uint32_t i = 0; i < t->n_rows; i++) {
        qsort(t->rows[i].pieces, t->rows[i].n, sizeof *t->rows[i].pieces, by_column);
    }
    return s;
}

/* One table, or several where titles stand between. */
static enum status make_tables(struct finder *f, const struct region *r, struct error *err)
{
    enum status s = STATUS_OK;
    struct region part = *r;
    for (size_t i = r->first; i <= r->last && s == STATUS_OK; i++) {
        f->bands[i].used = true;
        bool title = is_title(f, r, i);
        if (!title && i < r->last) {
            continue;
        }
        part.last = title ? i - 1 : i;
        while (title && part.last > part.first && f->bands[part.last].apart == 1 &&
               f->bands[part.last].y0 - f->bands[part.last - 1].y1 >
                   CONTINUES * f->bands[part.last].h) {
            part.last--; /* belongs to the title */
        }
        struct table *t = arena_alloc(f->arena, sizeof *t);
        if (part.first > part.last) {
            part.first = i + 1; /* two titles */
            continue;
        }
        if (t != NULL) {
            t->n_columns = (uint32_t)r->blank.n - 1;
            t->rows = arena_array(f->arena, part.last - part.first + 1, sizeof *t->rows);
        }
        s = t == NULL || t->rows == NULL ? no_memory(err) : make_rows(f, &part, t, err);
        part.first = i + 1;
    }
    return s;
}

enum status tables_find(struct bbox_page *page, struct arena *a, struct error *err)
{
    struct finder f = {.arena = a};
    enum status s = bands_find(&f, page, err);
    for (size_t tries = 0; tries < TABLES_MAX && s == STATUS_OK; tries++) {
        struct band *seed = NULL;
        for (size_t i = 0; i < f.n_bands; i++) {
            struct band *b = &f.bands[i];
            bool better = seed == NULL || b->apart > seed->apart;
            seed = !b->used && b->apart >= 2 && better ? b : seed;
        }
        if (seed == NULL) {
            break;
        }
        struct region r = {.first = (size_t)(seed - f.bands), .page_width = page->width};
        struct strips all = {.at = {{-FAR, FAR}}, .n = 1};
        size_t crossed;
        r.last = r.first;
        narrow(&all, seed, &r.blank, &crossed);
        grow(&f, &r, true);
        grow(&f, &r, false);
        seed->used = true;
        if (r.blank.n >= 3 && region_is_table(&f, &r)) {
            s = make_tables(&f, &r, err);
        }
    }
    return s;
}
