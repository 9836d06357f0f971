#include <math.h>
#include <string.h>

#include "ingest/formats/layout.h"

#define LOOKS_MAX 4000000 /* lines compared, of the whole document */
#define NUMBERING_MAX 14  /* letters and digits before a title: "Chapter 12" */
#define LINES_MAX 4       /* of one heading */
#define NEAR_POINTS 40.0F

static bool counts(char c)
{
    return ((unsigned char)c & 0x80) != 0 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Letters and digits one by one from the end; false at the beginning. *gap: signs stood between. */
static bool back(struct str *s, char *out, bool *gap)
{
    *gap = false;
    while (s->len > 0 && !counts(s->ptr[s->len - 1])) {
        s->len--;
        *gap = true;
    }
    if (s->len == 0) {
        return false;
    }
    *out = small(s->ptr[--s->len]);
    return true;
}

static size_t left(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n += counts(s.ptr[i]);
    }
    return n;
}

/* Whether one ends as the other reads, and what is before is as short as a number: 0 for the same,
 * 1 for that, -1 for neither. */
static int same_end(struct str a, struct str b)
{
    for (;;) {
        char x, y;
        bool gap_a, gap_b;
        bool more_a = back(&a, &x, &gap_a), more_b = back(&b, &y, &gap_b);
        if (!more_a && !more_b) {
            return 0;
        }
        if (!more_a || !more_b) {
            size_t rest = 1 + left(more_a ? a : b);
            return rest <= NUMBERING_MAX && (more_a ? gap_a : gap_b) ? 1 : -1;
        }
        if (x != y) {
            return -1;
        }
    }
}

/* Lines, from l on, that make up the title; 0: they do not. A hyphen at an end counts as nothing.
 */
static size_t lines_of(const struct bbox_line *l, struct str title, float *away)
{
    char joined[512];
    size_t len = 0;
    for (size_t n = 1; l != NULL && n <= LINES_MAX; n++, l = l->next) {
        if (l->heading > 0 || len + l->text.len > sizeof joined) {
            return 0;
        }
        memcpy(joined + len, l->text.ptr, l->text.len);
        len += l->text.len;
        struct str all = {joined, len};
        int same = left(all) * 2 >= left(title) ? same_end(all, title) : -1;
        if (same >= 0) {
            *away += same == 0 ? 0 : NEAR_POINTS / 2;
            return n;
        }
        if (left(all) > left(title) + NUMBERING_MAX) {
            return 0;
        }
    }
    return 0;
}

struct candidate {
    struct bbox_line *line;
    size_t lines;
    float away;
};

static void look(struct candidate *best, struct bbox_line *l, size_t lines, float away)
{
    if (lines > 0 && (best->line == NULL || away < best->away)) {
        *best = (struct candidate){l, lines, away};
    }
}

static void mark(const struct bbox_page *page, const struct pdf_bookmark *b, float body,
                 size_t *looks)
{
    struct candidate same = {NULL, 0, 0}, large = {NULL, 0, 0};
    for (struct bbox_block *k = page->blocks; k != NULL; k = k->next) {
        for (struct bbox_line *l = k->lines; l != NULL && !k->furniture; l = l->next) {
            if (++*looks > LOOKS_MAX) {
                return;
            }
            float away = b->y >= 0 ? fabsf(l->box.y0 - b->y) : 0;
            float further = away;
            size_t lines = lines_of(l, b->title, &further);
            look(&same, l, lines, further);
            if (b->y >= 0 && away < NEAR_POINTS && l->size > 1.12F * body && l->heading == 0) {
                look(&large, l, 1, away);
            }
        }
    }
    const struct candidate *c = same.line != NULL ? &same : &large;
    struct bbox_line *l = c->line;
    for (size_t i = 0; i < c->lines; i++, l = l->next) {
        l->heading = b->level;
        l->heading_on = i + 1 < c->lines;
    }
}

void headings_find(struct bbox_document *d, const struct pdf_extras *x, float body)
{
    const struct bbox_page *page = d->pages;
    uint32_t number = 1;
    size_t looks = 0;
    for (const struct pdf_bookmark *b = x->bookmarks; b != NULL; b = b->next) {
        if (b->page == 0 || b->page > d->n_pages) {
            continue;
        }
        if (b->page < number) { /* outlines go forward, but for few */
            page = d->pages;
            number = 1;
        }
        for (; number < b->page && page != NULL; number++) {
            page = page->next;
            looks++;
        }
        if (page != NULL && looks < LOOKS_MAX) {
            mark(page, b, body, &looks);
        }
    }
}
