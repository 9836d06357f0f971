#include "ingest/formats/tables_internal.h"
#include "ingest/utf8.h"

uint32_t region_column(const struct region *r, const struct table_piece *p)
{
    uint32_t c = 0;
    float x = p->box.x0 + 0.5F;
    for (size_t i = 1; i + 1 < r->blank.n && r->blank.at[i].x0 <= x; i++) {
        c++;
    }
    return c;
}

bool is_list_mark(struct str s)
{
    if (utf8_count(s) == 1) {
        unsigned char c = (unsigned char)s.ptr[0];
        return !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z');
    }
    char last = s.ptr[s.len - 1];
    if (s.ptr[1] == '*') {
        return false;
    }
    return s.len <= 7 && (last == '.' || last == ')' || last == ']') &&
           (s.ptr[0] == '(' || s.ptr[0] == '[' || last != ']');
}

static bool is_number(struct str s)
{
    size_t digits = 0, letters = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        digits += c >= '0' && c <= '9';
        letters += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }
    return digits > letters;
}

/* Paragraphs stand on both sides of one of its strips: it is the page that has columns. */
static bool splits_page(const struct finder *f, const struct region *r)
{
    for (size_t i = 1; i + 1 < r->blank.n; i++) {
        float x = (r->blank.at[i].x0 + r->blank.at[i].x1) / 2;
        size_t left = 0, right = 0, across = 0;
        for (size_t k = 0; k < f->n_prose; k++) {
            size_t *side = f->prose[k].x1 <= x ? &left : f->prose[k].x0 >= x ? &right : &across;
            *side += f->prose_lines[k];
        }
        if (left > across && right > across) {
            return true;
        }
    }
    return false;
}

struct column {
    size_t cells, words, marks, numbers, chars, colons, small;
};

static void look_at(struct column *c, const struct table_piece *p)
{
    struct str s = piece_text(p);
    size_t words = table_words(s);
    c->words += words;
    c->marks += is_list_mark(s);
    c->numbers += is_number(s);
    c->chars += utf8_count(s);
    c->colons += str_ends(s, STR(":"));
    c->small += words > 2 && s.ptr[0] >= 'a' && s.ptr[0] <= 'z';
}

/* Two columns are a table where one holds short values, or names and values; the halves of a page
 * are none, nor is a list with its marks. */
static bool is_pair(const struct region *r, const struct column *a, const struct column *b)
{
    bool numbered = 10 * a->numbers > 9 * a->cells && b->words > 4 * b->cells;
    float gutter = (r->blank.at[1].x0 + r->blank.at[1].x1) / 2 / r->page_width;
    bool halves = gutter > 0.44F && gutter < 0.56F && 2 * b->numbers < b->cells &&
                  !(2 * a->colons > a->cells && 3 * b->colons < b->cells);
    bool short_one = 2 * a->words <= 7 * a->cells || 2 * b->words <= 7 * b->cells;
    return short_one && !numbered && !halves;
}

bool region_is_table(const struct finder *f, const struct region *r)
{
    struct column columns[STRIPS_MAX] = {{0}}, sum = {0};
    size_t n = r->blank.n - 1, rows = 0, marked = 0;
    for (size_t i = r->first; i <= r->last; i++) {
        const struct band *b = &f->bands[i];
        uint32_t seen = UINT32_MAX;
        rows += b->apart > 1;
        for (size_t k = 0; k < b->n && b->apart > 1; k++) {
            uint32_t c = region_column(r, &b->pieces[k]);
            columns[c].cells += c != seen;
            seen = c;
            look_at(&columns[c], &b->pieces[k]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        sum.cells += columns[i].cells;
        sum.words += columns[i].words;
        sum.chars += columns[i].chars;
        sum.numbers += columns[i].numbers;
        sum.small += columns[i].small;
        marked += 10 * columns[i].marks > 7 * columns[i].cells;
    }
    if (rows < (n == 2 ? 3 : 2) || (rows == 2 && n < 5 && 4 * sum.numbers < sum.cells)) {
        return false; /* too little to tell */
    }
    if (2 * rows < r->last - r->first + 1 || 3 * r->across > rows || 2 * marked >= n) {
        return false;
    }
    if (sum.words > (marked > 0 || splits_page(f, r) ? 3 : 6) * sum.cells ||
        4 * sum.small > sum.cells) {
        return false; /* prose */
    }
    if (sum.chars < 3 * sum.cells || 10 * sum.cells < 4 * n * rows) {
        return false; /* formulas, figures */
    }
    return n > 2 || is_pair(r, &columns[0], &columns[1]);
}
