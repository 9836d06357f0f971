#include "model/grammar_build.h"

#include <stdlib.h>

#define ELEMENTS_MAX (1U << 20)
#define RULES_MAX (1U << 17)
#define CLASSES_MAX (1U << 16)

/* ---- arrays with a ceiling ---- */

static void *grown(void *array, uint32_t n, uint32_t *cap, uint32_t max, size_t size,
                   struct error *err)
{
    if (n < *cap) {
        return array;
    }
    if (n >= max) {
        (void)error_set(err, STATUS_TOO_LARGE, "the grammar is too large");
        return NULL;
    }
    uint32_t want = *cap < 16 ? 16 : *cap * 2;
    want = want > max ? max : want;
    void *p = realloc(array, want * size);
    if (p == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "out of memory");
        return NULL;
    }
    *cap = want;
    return p;
}

enum status builder_push(struct builder *p, enum element_kind kind, uint32_t arg)
{
    struct element *w = grown(p->work, p->n_work, &p->cap_work, ELEMENTS_MAX, sizeof *w, p->err);
    if (w == NULL) {
        return p->err->code;
    }
    p->work = w;
    w[p->n_work++] = (struct element){.kind = kind, .arg = arg};
    return STATUS_OK;
}

enum status builder_rule(struct builder *p, const char *name, uint32_t *out)
{
    struct grammar *g = p->g;
    struct rule *r = grown(g->rules, g->n_rules, &g->cap_rules, RULES_MAX, sizeof *r, p->err);
    if (r == NULL) {
        return p->err->code;
    }
    g->rules = r;
    r[g->n_rules] =
        (struct rule){.name = name, .line = p->line, .first = GRAMMAR_NONE, .last = GRAMMAR_NONE};
    *out = g->n_rules++;
    return STATUS_OK;
}

enum status builder_close(struct builder *p, uint32_t rule, uint32_t mark)
{
    struct grammar *g = p->g;
    struct alternate *a =
        grown(g->alternates, g->n_alternates, &g->cap_alternates, ELEMENTS_MAX, sizeof *a, p->err);
    if (a == NULL) {
        return p->err->code;
    }
    g->alternates = a;
    a[g->n_alternates] = (struct alternate){.start = g->n_elements, .next = GRAMMAR_NONE};
    for (uint32_t i = mark; i <= p->n_work; i++) {
        struct element *e =
            grown(g->elements, g->n_elements, &g->cap_elements, ELEMENTS_MAX, sizeof *e, p->err);
        if (e == NULL) {
            return p->err->code;
        }
        g->elements = e;
        e[g->n_elements++] =
            i < p->n_work ? p->work[i] : (struct element){.kind = ELEMENT_END, .arg = 0};
    }
    p->n_work = mark;
    struct rule *r = &g->rules[rule];
    if (r->first == GRAMMAR_NONE) {
        r->first = g->n_alternates;
    } else {
        a[r->last].next = g->n_alternates;
    }
    r->last = g->n_alternates++;
    return STATUS_OK;
}

/* ---- characters to bytes ---- */

static enum status push_class(struct builder *p, const struct byte_class *c)
{
    struct grammar *g = p->g;
    struct str key = {.ptr = (const char *)c->bits, .len = sizeof c->bits};
    uintptr_t known = (uintptr_t)map_get(&p->classes, key);
    if (known == 0) {
        struct byte_class *k =
            grown(g->classes, g->n_classes, &g->cap_classes, CLASSES_MAX, sizeof *k, p->err);
        if (k == NULL) {
            return p->err->code;
        }
        g->classes = k;
        k[g->n_classes++] = *c;
        known = g->n_classes;
        if (map_put(&p->classes, key, (void *)known, NULL) != STATUS_OK) {
            return error_set(p->err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    return builder_push(p, ELEMENT_CLASS, (uint32_t)known - 1);
}

static enum status push_bytes(struct builder *p, unsigned low, unsigned high)
{
    struct byte_class c = {0};
    for (unsigned b = low; b <= high; b++) {
        c.bits[b >> 6] |= (uint64_t)1 << (b & 63);
    }
    return push_class(p, &c);
}

static unsigned utf8_of(uint32_t c, unsigned char out[4])
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    unsigned n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (unsigned i = n - 1; i > 0; i--) {
        out[i] = (unsigned char)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (unsigned char)(lead[n] | c);
    return n;
}

enum status builder_character(struct builder *p, uint32_t c)
{
    unsigned char bytes[4];
    unsigned n = utf8_of(c, bytes);
    enum status s = STATUS_OK;
    for (unsigned i = 0; i < n && s == STATUS_OK; i++) {
        s = push_bytes(p, bytes[i], bytes[i]);
    }
    return s;
}

/* Alternates of rule, each a product of byte ranges (as in Go's regexp/syntax and RE2). Recursion:
 * each call halves what differs, at most seven deep. */
static enum status add_utf8(struct builder *p, uint32_t rule, uint32_t low, uint32_t high)
{
    static const uint32_t borders[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF};
    for (size_t i = 0; i < sizeof borders / sizeof *borders; i++) {
        if (low <= borders[i] && borders[i] < high) {
            enum status s = add_utf8(p, rule, low, borders[i]);
            return s == STATUS_OK ? add_utf8(p, rule, borders[i] + 1, high) : s;
        }
    }
    if (low >= 0xD800 && high <= 0xDFFF) {
        return STATUS_OK; /* surrogates are no characters */
    }
    for (unsigned i = 1; low > 0x7F && i < 4; i++) {
        uint32_t m = (1U << (6 * i)) - 1;
        if ((low & ~m) == (high & ~m)) {
            continue;
        }
        if ((low & m) != 0) {
            enum status s = add_utf8(p, rule, low, low | m);
            return s == STATUS_OK ? add_utf8(p, rule, (low | m) + 1, high) : s;
        }
        if ((high & m) != m) {
            enum status s = add_utf8(p, rule, low, (high & ~m) - 1);
            return s == STATUS_OK ? add_utf8(p, rule, high & ~m, high) : s;
        }
    }
    unsigned char a[4];
    unsigned char b[4];
    unsigned n = utf8_of(low, a);
    (void)utf8_of(high, b);
    uint32_t mark = p->n_work;
    enum status s = STATUS_OK;
    for (unsigned i = 0; i < n && s == STATUS_OK; i++) {
        s = push_bytes(p, a[i], b[i]);
    }
    return s == STATUS_OK ? builder_close(p, rule, mark) : s;
}

static int by_low(const void *a, const void *b)
{
    const struct range *x = a;
    const struct range *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

/* Sorted, without overlaps, turned round if asked; out has room for n + 1. */
static size_t settle_ranges(struct range *in, size_t n, bool negated, struct range *out)
{
    size_t k = 0;
    qsort(in, n, sizeof *in, by_low);
    for (size_t i = 0; i < n; i++) {
        if (k > 0 && in[i].low <= out[k - 1].high + 1) {
            out[k - 1].high = in[i].high > out[k - 1].high ? in[i].high : out[k - 1].high;
        } else {
            out[k++] = in[i];
        }
    }
    if (!negated) {
        return k;
    }
    uint32_t from = 0;
    size_t m = 0;
    for (size_t i = 0; i < k; i++) {
        struct range r = out[i];
        if (r.low > from) {
            out[m++] = (struct range){from, r.low - 1};
        }
        from = r.high + 1;
    }
    if (from <= GRAMMAR_CODE_POINT_MAX) {
        out[m++] = (struct range){from, GRAMMAR_CODE_POINT_MAX};
    }
    return m;
}

enum status builder_ranges(struct builder *p, struct range *in, size_t n, bool negated)
{
    struct range out[GRAMMAR_RANGES_MAX + 1];
    struct byte_class ascii = {0};
    bool any_ascii = false;
    uint32_t rule;
    n = settle_ranges(in, n, negated, out);
    if (n == 0) {
        return error_set(p->err, STATUS_INVALID, "line %u: a class that no character is in",
                         p->line);
    }
    for (size_t i = 0; i < n; i++) {
        for (uint32_t c = out[i].low; c <= out[i].high && c < 0x80; c++) {
            ascii.bits[c >> 6] |= (uint64_t)1 << (c & 63);
            any_ascii = true;
        }
    }
    if (out[n - 1].high < 0x80) {
        return push_class(p, &ascii);
    }
    enum status s = builder_rule(p, "", &rule);
    if (s == STATUS_OK && any_ascii) {
        uint32_t mark = p->n_work;
        s = push_class(p, &ascii);
        if (s == STATUS_OK) {
            s = builder_close(p, rule, mark);
        }
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        if (out[i].high >= 0x80) {
            s = add_utf8(p, rule, out[i].low < 0x80 ? 0x80 : out[i].low, out[i].high);
        }
    }
    return s == STATUS_OK ? builder_push(p, ELEMENT_RULE, rule) : s;
}
