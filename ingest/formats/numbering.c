#include "ingest/formats/numbering.h"

#include <string.h>

#include "base/map.h"

#define ENTRIES_MAX 16384U
#define LETTERS_MAX 26U * 16U

struct numbering_scheme {
    struct numbering_scheme *next;
    uint32_t id;
    struct numbering_level levels[NUMBERING_LEVELS];
    uint32_t counts[NUMBERING_LEVELS]; /* 0: not begun */
};

struct numbering_list {
    struct numbering_list *next;
    uint32_t id;
    struct numbering_scheme *scheme;
    uint32_t restart[NUMBERING_LEVELS]; /* 1 more than the number; 0: none, or done */
};

enum numbering_format numbering_format_of(struct str name)
{
    static const struct {
        const char *name;
        enum numbering_format format;
    } formats[] = {
        {"decimalZero", NUMBERING_ZERO},
        {"lowerLetter", NUMBERING_LOWER_LETTER},
        {"upperLetter", NUMBERING_UPPER_LETTER},
        {"lowerRoman", NUMBERING_LOWER_ROMAN},
        {"upperRoman", NUMBERING_UPPER_ROMAN},
        {"bullet", NUMBERING_BULLET},
        {"none", NUMBERING_NONE},
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (str_eq(name, str_from(formats[i].name))) {
            return formats[i].format;
        }
    }
    return NUMBERING_DECIMAL;
}

static size_t slot_of(uint32_t id)
{
    return hash64(&id, sizeof id) % NUMBERING_SLOTS;
}

static struct numbering_scheme *scheme_of(struct numbering *n, uint32_t id)
{
    struct numbering_scheme **slot = &n->schemes[slot_of(id)];
    struct numbering_scheme *s = *slot;
    while (s != NULL && s->id != id) {
        s = s->next;
    }
    if (s == NULL && n->n < ENTRIES_MAX) {
        s = arena_alloc(n->arena, sizeof *s);
        if (s != NULL) {
            *s = (struct numbering_scheme){.next = *slot, .id = id};
            for (size_t i = 0; i < NUMBERING_LEVELS; i++) {
                s->levels[i] = (struct numbering_level){.format = NUMBERING_NONE, .start = 1};
            }
            *slot = s;
            n->n++;
        }
    }
    return s;
}

struct numbering_level *numbering_level(struct numbering *n, uint32_t scheme, uint32_t level)
{
    struct numbering_scheme *s = level < NUMBERING_LEVELS ? scheme_of(n, scheme) : NULL;
    return s == NULL ? NULL : &s->levels[level];
}

static struct numbering_list *find_list(const struct numbering *n, uint32_t id)
{
    struct numbering_list *l = n->lists[slot_of(id)];
    while (l != NULL && l->id != id) {
        l = l->next;
    }
    return l;
}

void numbering_list(struct numbering *n, uint32_t list, uint32_t scheme)
{
    struct numbering_scheme *s = scheme_of(n, scheme);
    struct numbering_list *l =
        s == NULL || n->n >= ENTRIES_MAX ? NULL : arena_alloc(n->arena, sizeof *l);
    if (l != NULL) {
        struct numbering_list **slot = &n->lists[slot_of(list)];
        *l = (struct numbering_list){.next = *slot, .id = list, .scheme = s};
        *slot = l;
        n->n++;
    }
}

void numbering_restart(struct numbering *n, uint32_t list, uint32_t level, uint32_t start)
{
    struct numbering_list *l = find_list(n, list);
    if (l != NULL && level < NUMBERING_LEVELS) {
        l->restart[level] = start + 1;
    }
}

/* ---- numbers ---- */

static void write_roman(struct buf *out, uint32_t v, bool upper)
{
    static const struct {
        uint32_t v;
        const char *lower, *upper;
    } parts[] = {{1000, "m", "M"}, {900, "cm", "CM"}, {500, "d", "D"}, {400, "cd", "CD"},
                 {100, "c", "C"},  {90, "xc", "XC"},  {50, "l", "L"},  {40, "xl", "XL"},
                 {10, "x", "X"},   {9, "ix", "IX"},   {5, "v", "V"},   {4, "iv", "IV"},
                 {1, "i", "I"}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        for (; v >= parts[i].v; v -= parts[i].v) {
            buf_z(out, upper ? parts[i].upper : parts[i].lower);
        }
    }
}

void numbering_write(struct buf *out, uint32_t v, enum numbering_format format)
{
    bool letters = format == NUMBERING_LOWER_LETTER || format == NUMBERING_UPPER_LETTER;
    bool roman = format == NUMBERING_LOWER_ROMAN || format == NUMBERING_UPPER_ROMAN;
    if (letters && v > 0 && v <= LETTERS_MAX) { /* after z comes aa, after zz aaa */
        char first = format == NUMBERING_LOWER_LETTER ? 'a' : 'A';
        for (uint32_t i = 0; i <= (v - 1) / 26; i++) {
            buf_char(out, (char)(first + (char)((v - 1) % 26)));
        }
    } else if (roman && v > 0 && v < 4000) {
        write_roman(out, v, format == NUMBERING_UPPER_ROMAN);
    } else if (format == NUMBERING_ZERO) {
        buf_printf(out, "%02u", (unsigned)v);
    } else if (format != NUMBERING_NONE && format != NUMBERING_BULLET) {
        buf_printf(out, "%u", (unsigned)v);
    }
}

void numbering_next(struct numbering *n, uint32_t list, uint32_t level, struct buf *out)
{
    struct numbering_list *l = find_list(n, list);
    if (l == NULL || level >= NUMBERING_LEVELS) {
        return;
    }
    struct numbering_scheme *s = l->scheme;
    const struct numbering_level *at = &s->levels[level];
    if (l->restart[level] > 0) {
        s->counts[level] = l->restart[level];
        l->restart[level] = 0;
    } else {
        s->counts[level] = s->counts[level] == 0 ? at->start + 1 : s->counts[level] + 1;
    }
    for (uint32_t i = 0; i < NUMBERING_LEVELS; i++) {
        if (i > level) {
            s->counts[i] = 0;
        } else if (s->counts[i] == 0) { /* a level that was left out */
            s->counts[i] = s->levels[i].start + 1;
        }
    }
    if (at->format == NUMBERING_BULLET) {
        return;
    }
    for (size_t i = 0; i < at->text.len; i++) {
        char c = at->text.ptr[i];
        char digit = i + 1 < at->text.len ? at->text.ptr[i + 1] : '\0';
        if (c == '%' && digit >= '1' && digit <= '9') {
            uint32_t k = (uint32_t)(digit - '1');
            numbering_write(out, s->counts[k] == 0 ? 0 : s->counts[k] - 1,
                            at->legal ? NUMBERING_DECIMAL : s->levels[k].format);
            i++;
        } else {
            buf_char(out, c);
        }
    }
}
