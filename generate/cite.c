/* held is empty, " ", or an optional space and an unfinished mark: "[", digits, commas, semicolons, spaces. */
#include "generate/cite.h"

#include <string.h>

#define NUMBERS_MAX 12

void cite_init(struct cite *c, uint32_t n_passages)
{
    *c = (struct cite){.n_passages = n_passages};
}

static void put(struct cite *c, const char *p, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len; i++) {
        c->position += ((unsigned char)p[i] & 0xc0) != 0x80;
    }
    buf_append(out, p, len);
}

static void release(struct cite *c, struct buf *out)
{
    put(c, c->held, c->held_len, out);
    c->held_len = 0;
}

/* The numbers in a complete "[...]"; 0 when it is no mark. A number too long to be one counts as 0. */
static size_t read_numbers(const char *p, size_t len, uint32_t numbers[NUMBERS_MAX])
{
    size_t n = 0;
    bool in_number = false;
    for (size_t i = 0; i < len; i++) {
        if (p[i] >= '0' && p[i] <= '9') {
            if (!in_number && n == NUMBERS_MAX) {
                return 0;
            }
            if (!in_number) {
                numbers[n++] = 0;
            }
            uint32_t v = numbers[n - 1] * 10 + (uint32_t)(p[i] - '0');
            numbers[n - 1] = v > 99999 ? 99999 : v;
            in_number = true;
        } else {
            in_number = false;
        }
    }
    return n;
}

static void put_mark(struct cite *c, uint32_t number, struct buf *out)
{
    char mark[8]; /* "[99999]" */
    size_t at = sizeof mark;
    mark[--at] = ']';
    for (uint32_t v = number; v > 0; v /= 10) {
        mark[--at] = (char)('0' + v % 10);
    }
    mark[--at] = '[';
    uint32_t start = c->position;
    put(c, mark + at, sizeof mark - at, out);
    if (c->n_citations < CITE_CITATIONS_MAX) {
        c->citations[c->n_citations++] =
            (struct citation){.number = number, .start = start, .end = c->position};
    }
}

/* held is complete but for the closing bracket, which is `]`. */
static void finish_mark(struct cite *c, struct buf *out)
{
    bool space = c->held[0] == ' ';
    uint32_t numbers[NUMBERS_MAX];
    size_t n = read_numbers(c->held + space, c->held_len - space, numbers);
    if (n == 0) {
        release(c, out);
        put(c, "]", 1, out);
        return;
    }
    c->held_len = 0;
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (numbers[i] == 0 || numbers[i] > c->n_passages) {
            c->removed++;
            continue;
        }
        if (space && !any) {
            put(c, " ", 1, out);
        }
        any = true;
        put_mark(c, numbers[i], out);
    }
}

static void add_byte(struct cite *c, char b, struct buf *out)
{
    bool in_mark = c->held_len > 1 || (c->held_len == 1 && c->held[0] == '[');
    if (in_mark && b == ']') {
        finish_mark(c, out);
        return;
    }
    bool fits = (b >= '0' && b <= '9') || b == ',' || b == ';' || b == ' ';
    if (in_mark && fits && c->held_len < CITE_HELD_MAX) {
        c->held[c->held_len++] = b;
        return;
    }
    if (b == '[' && !in_mark) {
        c->held[c->held_len++] = b; /* after the space that may be held */
        return;
    }
    release(c, out);
    if (b == '[' || b == ' ') {
        c->held[c->held_len++] = b;
    } else {
        put(c, &b, 1, out);
    }
}

void cite_add(struct cite *c, const char *p, size_t len, struct buf *out)
{
    if (c->n_passages == 0) {
        put(c, p, len, out);
        return;
    }
    for (size_t i = 0; i < len;) {
        if (c->held_len == 0) { /* plain text goes through in one piece */
            size_t run = 0;
            while (i + run < len && p[i + run] != '[' && p[i + run] != ' ') {
                run++;
            }
            if (run > 0) {
                put(c, p + i, run, out);
                i += run;
                continue;
            }
        }
        add_byte(c, p[i++], out);
    }
}

void cite_end(struct cite *c, struct buf *out)
{
    release(c, out);
}
