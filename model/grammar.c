#include "model/grammar.h"

#include <stdlib.h>

#include "base/map.h"
#include "model/grammar_internal.h"

#define DEPTH_MAX 64U
#define ELEMENTS_MAX (1U << 20)
#define RULES_MAX (1U << 17)
#define CLASSES_MAX (1U << 16)
#define RANGES_MAX 512U
#define CODE_POINT_MAX 0x10FFFFU

struct range {
    uint32_t low, high;
};

struct parser {
    struct grammar *g;
    struct map names;     /* rule number + 1 */
    struct map classes;   /* class number + 1 */
    struct element *work; /* of the sequences being read, one above the other */
    uint32_t n_work, cap_work;
    const char *at, *end;
    uint32_t line, depth;
    struct error *err;
};

static enum status parse_alternates(struct parser *p, uint32_t rule);

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

static enum status push_work(struct parser *p, enum element_kind kind, uint32_t arg)
{
    struct element *w = grown(p->work, p->n_work, &p->cap_work, ELEMENTS_MAX, sizeof *w, p->err);
    if (w == NULL) {
        return p->err->code;
    }
    p->work = w;
    w[p->n_work++] = (struct element){.kind = kind, .arg = arg};
    return STATUS_OK;
}

static enum status new_rule(struct parser *p, const char *name, uint32_t *out)
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

/* The work above mark becomes an alternate of rule and leaves the work. */
static enum status close_alternate(struct parser *p, uint32_t rule, uint32_t mark)
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

static enum status push_class(struct parser *p, const struct byte_class *c)
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
    return push_work(p, ELEMENT_CLASS, (uint32_t)known - 1);
}

static enum status push_bytes(struct parser *p, unsigned low, unsigned high)
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

static enum status push_character(struct parser *p, uint32_t c)
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
static enum status add_utf8(struct parser *p, uint32_t rule, uint32_t low, uint32_t high)
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
    return s == STATUS_OK ? close_alternate(p, rule, mark) : s;
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
    if (from <= CODE_POINT_MAX) {
        out[m++] = (struct range){from, CODE_POINT_MAX};
    }
    return m;
}

static enum status push_ranges(struct parser *p, struct range *in, size_t n, bool negated)
{
    struct range out[RANGES_MAX + 1];
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
    enum status s = new_rule(p, "", &rule);
    if (s == STATUS_OK && any_ascii) {
        uint32_t mark = p->n_work;
        s = push_class(p, &ascii);
        if (s == STATUS_OK) {
            s = close_alternate(p, rule, mark);
        }
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        if (out[i].high >= 0x80) {
            s = add_utf8(p, rule, out[i].low < 0x80 ? 0x80 : out[i].low, out[i].high);
        }
    }
    return s == STATUS_OK ? push_work(p, ELEMENT_RULE, rule) : s;
}

/* ---- reading ---- */

static enum status mistake(struct parser *p, const char *what)
{
    return error_set(p->err, STATUS_INVALID, "line %u of the grammar: %s", p->line, what);
}

/* Spaces and comments; newlines too where a rule may go on. */
static void skip(struct parser *p, bool newlines)
{
    while (p->at < p->end) {
        if (*p->at == '#') {
            while (p->at < p->end && *p->at != '\n' && *p->at != '\r') {
                p->at++;
            }
        } else if (*p->at == ' ' || *p->at == '\t') {
            p->at++;
        } else if (newlines && (*p->at == '\n' || *p->at == '\r')) {
            p->line += *p->at == '\n' ? 1 : 0;
            p->at++;
        } else {
            return;
        }
    }
}

static bool name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static struct str read_name(struct parser *p)
{
    const char *from = p->at;
    while (p->at < p->end && name_byte(*p->at)) {
        p->at++;
    }
    return (struct str){.ptr = from, .len = (size_t)(p->at - from)};
}

static enum status rule_named(struct parser *p, struct str name, uint32_t *out)
{
    uintptr_t known = (uintptr_t)map_get(&p->names, name);
    if (known != 0) {
        *out = (uint32_t)known - 1;
        return STATUS_OK;
    }
    char *copy = arena_strndup(&p->g->arena, name.ptr, name.len);
    enum status s = copy == NULL ? error_set(p->err, STATUS_NO_MEMORY, "out of memory")
                                 : new_rule(p, copy, out);
    if (s == STATUS_OK &&
        map_put(&p->names, name, (void *)((uintptr_t)*out + 1), NULL) != STATUS_OK) {
        s = error_set(p->err, STATUS_NO_MEMORY, "out of memory");
    }
    return s;
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum status read_hex(struct parser *p, unsigned digits, uint32_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < digits; i++) {
        int v = p->at < p->end ? hex_of(*p->at) : -1;
        if (v < 0) {
            return mistake(p, "\\x wants two hexadecimal digits, \\u four, \\U eight");
        }
        *out = *out << 4 | (uint32_t)v;
        p->at++;
    }
    return *out > CODE_POINT_MAX ? mistake(p, "there is no such character") : STATUS_OK;
}

static enum status read_escape(struct parser *p, uint32_t *out)
{
    if (p->at >= p->end) {
        return mistake(p, "it ends within a character");
    }
    char c = *p->at++;
    switch (c) {
    case 'x':
        return read_hex(p, 2, out);
    case 'u':
        return read_hex(p, 4, out);
    case 'U':
        return read_hex(p, 8, out);
    case 'n':
        *out = '\n';
        return STATUS_OK;
    case 'r':
        *out = '\r';
        return STATUS_OK;
    case 't':
        *out = '\t';
        return STATUS_OK;
    case '"':
    case '\\':
    case '[':
    case ']':
    case '-':
    case '^':
    case '/':
        *out = (unsigned char)c;
        return STATUS_OK;
    default:
        return mistake(p, "an unknown escape; known are n r t x u U and \" \\ [ ] - ^ /");
    }
}

static enum status read_character(struct parser *p, uint32_t *out)
{
    unsigned char c = (unsigned char)*p->at++;
    if (c == '\\') {
        return read_escape(p, out);
    }
    if (c == '\n') {
        p->line++;
    }
    if (c < 0x80) {
        *out = c;
        return STATUS_OK;
    }
    unsigned more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
    if (c < 0xC2 || c > 0xF4 || (size_t)(p->end - p->at) < more) {
        return mistake(p, "not UTF-8");
    }
    *out = c & (0x3FU >> more);
    for (unsigned i = 0; i < more; i++) {
        unsigned char b = (unsigned char)*p->at++;
        if ((b & 0xC0) != 0x80) {
            return mistake(p, "not UTF-8");
        }
        *out = *out << 6 | (b & 0x3FU);
    }
    return *out > CODE_POINT_MAX ? mistake(p, "not UTF-8") : STATUS_OK;
}

static enum status parse_literal(struct parser *p)
{
    enum status s = STATUS_OK;
    while (s == STATUS_OK) {
        uint32_t c = 0;
        if (p->at >= p->end) {
            return mistake(p, "a text in quotation marks has no end");
        }
        if (*p->at == '"') {
            p->at++;
            return STATUS_OK;
        }
        s = read_character(p, &c);
        if (s == STATUS_OK) {
            s = push_character(p, c);
        }
    }
    return s;
}

static enum status parse_class(struct parser *p)
{
    struct range ranges[RANGES_MAX];
    size_t n = 0;
    bool negated = p->at < p->end && *p->at == '^';
    p->at += negated ? 1 : 0;
    while (p->at < p->end && *p->at != ']') {
        uint32_t low = 0;
        enum status s = read_character(p, &low);
        uint32_t high = low;
        if (s == STATUS_OK && p->end - p->at > 1 && *p->at == '-' && p->at[1] != ']') {
            p->at++;
            s = read_character(p, &high);
        }
        if (s != STATUS_OK) {
            return s;
        }
        if (high < low) {
            return mistake(p, "a range in a class goes backwards");
        }
        if (n == RANGES_MAX) {
            return mistake(p, "a class has more than 512 ranges");
        }
        ranges[n++] = (struct range){low, high};
    }
    if (p->at >= p->end) {
        return mistake(p, "a class has no ]");
    }
    p->at++;
    return push_ranges(p, ranges, n, negated);
}

static enum status parse_group(struct parser *p)
{
    uint32_t rule;
    if (++p->depth > DEPTH_MAX) {
        return mistake(p, "groups within groups, too deep");
    }
    enum status s = new_rule(p, "", &rule);
    if (s == STATUS_OK) {
        s = parse_alternates(p, rule);
    }
    if (s == STATUS_OK && (p->at >= p->end || *p->at != ')')) {
        s = mistake(p, "a group has no )");
    }
    if (s == STATUS_OK) {
        p->at++;
        p->depth--;
        s = push_work(p, ELEMENT_RULE, rule);
    }
    return s;
}

/* ---- repetition ---- */

/* What stands above mark becomes one element. */
static enum status wrap(struct parser *p, uint32_t mark, struct element *out)
{
    uint32_t rule;
    if (p->n_work == mark + 1) {
        *out = p->work[mark];
        p->n_work = mark;
        return STATUS_OK;
    }
    enum status s = new_rule(p, "", &rule);
    if (s == STATUS_OK) {
        s = close_alternate(p, rule, mark);
    }
    *out = (struct element){.kind = ELEMENT_RULE, .arg = rule};
    return s;
}

/* rule ::= e next | (nothing) */
static enum status optional_rule(struct parser *p, struct element e, uint32_t rule, uint32_t next)
{
    uint32_t mark = p->n_work;
    enum status s = push_work(p, e.kind, e.arg);
    if (s == STATUS_OK && next != GRAMMAR_NONE) {
        s = push_work(p, ELEMENT_RULE, next);
    }
    if (s == STATUS_OK) {
        s = close_alternate(p, rule, mark);
    }
    return s == STATUS_OK ? close_alternate(p, rule, mark) : s;
}

/* least copies, then as many as may be: a rule that goes on with itself, or a chain of rules. Each
 * ends with the call of the next, so a run's stack does not grow. most: GRAMMAR_NONE for no end. */
static enum status repeat(struct parser *p, uint32_t mark, uint32_t least, uint32_t most)
{
    struct element e;
    enum status s = wrap(p, mark, &e);
    for (uint32_t i = 0; i < least && s == STATUS_OK; i++) {
        s = push_work(p, e.kind, e.arg);
    }
    if (s != STATUS_OK || most == least) {
        return s;
    }
    uint32_t rule;
    s = new_rule(p, "", &rule);
    if (s == STATUS_OK) {
        s = push_work(p, ELEMENT_RULE, rule);
    }
    if (s == STATUS_OK && most == GRAMMAR_NONE) {
        return optional_rule(p, e, rule, rule);
    }
    for (uint32_t i = least; i < most && s == STATUS_OK; i++) {
        uint32_t next = GRAMMAR_NONE;
        if (i + 1 < most) {
            s = new_rule(p, "", &next);
        }
        if (s == STATUS_OK) {
            s = optional_rule(p, e, rule, next);
        }
        rule = next;
    }
    return s;
}

static enum status read_count(struct parser *p, uint32_t *out, bool *found)
{
    *out = 0;
    *found = false;
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9') {
        *out = *out * 10 + (uint32_t)(*p->at++ - '0');
        *found = true;
        if (*out > GRAMMAR_REPEAT_MAX) {
            return mistake(p, "a repetition of more than 4096");
        }
    }
    return STATUS_OK;
}

static enum status parse_braces(struct parser *p, uint32_t mark)
{
    uint32_t least = 0;
    uint32_t most = 0;
    bool has_least;
    bool has_most = true;
    skip(p, false);
    enum status s = read_count(p, &least, &has_least);
    most = least;
    skip(p, false);
    if (s == STATUS_OK && p->at < p->end && *p->at == ',') {
        p->at++;
        skip(p, false);
        s = read_count(p, &most, &has_most);
        has_least = has_least || has_most;
        skip(p, false);
    }
    if (s != STATUS_OK) {
        return s;
    }
    if (p->at >= p->end || *p->at != '}' || !has_least || (has_most && most < least)) {
        return mistake(p, "a repetition is written {n}, {n,} or {n,m} with m not below n");
    }
    p->at++;
    return repeat(p, mark, least, has_most ? most : GRAMMAR_NONE);
}

/* * + ? {} behind what stands above mark. */
static enum status parse_postfix(struct parser *p, uint32_t mark)
{
    enum status s = STATUS_OK;
    while (s == STATUS_OK && p->at < p->end) {
        char c = *p->at;
        if (c != '*' && c != '+' && c != '?' && c != '{') {
            break;
        }
        p->at++;
        if (c == '{') {
            s = parse_braces(p, mark);
        } else {
            s = repeat(p, mark, c == '+' ? 1 : 0, c == '?' ? 1 : GRAMMAR_NONE);
        }
    }
    return s;
}

/* ---- rules ---- */

static enum status parse_reference(struct parser *p)
{
    uint32_t rule;
    struct str name = read_name(p);
    enum status s = rule_named(p, name, &rule);
    return s == STATUS_OK ? push_work(p, ELEMENT_RULE, rule) : s;
}

/* A name at the beginning of a line with ::= behind it is the next rule's. */
static bool at_definition(const struct parser *p)
{
    const char *q = p->at;
    while (q < p->end && name_byte(*q)) {
        q++;
    }
    while (q < p->end && (*q == ' ' || *q == '\t')) {
        q++;
    }
    return p->end - q >= 3 && memcmp(q, "::=", 3) == 0;
}

static enum status parse_sequence(struct parser *p)
{
    enum status s = STATUS_OK;
    while (s == STATUS_OK) {
        skip(p, true);
        if (p->at >= p->end || *p->at == '|' || *p->at == ')') {
            break;
        }
        uint32_t mark = p->n_work;
        char c = *p->at;
        if (c == '"') {
            p->at++;
            s = parse_literal(p);
        } else if (c == '[') {
            p->at++;
            s = parse_class(p);
        } else if (c == '(') {
            p->at++;
            s = parse_group(p);
        } else if (c == '.') {
            struct range newline = {'\n', '\n'};
            p->at++;
            s = push_ranges(p, &newline, 1, true);
        } else if (name_byte(c) && at_definition(p)) {
            break;
        } else if (name_byte(c)) {
            s = parse_reference(p);
        } else {
            s = mistake(p, "expected a rule's name, a \"text\", a [class] or a (group)");
        }
        if (s == STATUS_OK) {
            s = parse_postfix(p, mark);
        }
    }
    return s;
}

static enum status parse_alternates(struct parser *p, uint32_t rule)
{
    for (;;) {
        uint32_t mark = p->n_work;
        enum status s = parse_sequence(p);
        if (s == STATUS_OK) {
            s = close_alternate(p, rule, mark);
        }
        if (s != STATUS_OK || p->at >= p->end || *p->at != '|') {
            return s;
        }
        p->at++;
    }
}

static enum status parse_rule(struct parser *p)
{
    uint32_t rule;
    struct str name = read_name(p);
    if (name.len == 0 || name.len > 200) {
        return mistake(p, "expected a rule: name ::= ...");
    }
    enum status s = rule_named(p, name, &rule);
    skip(p, false);
    if (s == STATUS_OK && (p->end - p->at < 3 || memcmp(p->at, "::=", 3) != 0)) {
        s = mistake(p, "expected ::= behind the rule's name");
    }
    if (s == STATUS_OK && p->g->rules[rule].first != GRAMMAR_NONE) {
        s = error_set(p->err, STATUS_INVALID, "line %u of the grammar: rule %.*s is there twice",
                      p->line, STR_ARG(name));
    }
    if (s != STATUS_OK) {
        return s;
    }
    p->at += 3;
    s = parse_alternates(p, rule);
    if (s == STATUS_OK && p->at < p->end && *p->at == ')') {
        s = mistake(p, "a ) without its (");
    }
    return s;
}

/* Splits the groups by each class in turn. */
static void group_bytes(struct grammar *g)
{
    g->n_groups = 1;
    for (uint32_t c = 0; c < g->n_classes && g->n_groups < 256; c++) {
        uint16_t split[2][256]; /* group and membership -> new group + 1 */
        uint32_t n = 0;
        memset(split, 0, sizeof split);
        for (unsigned b = 0; b < 256; b++) {
            uint16_t *to = &split[byte_class_has(&g->classes[c], b) ? 1 : 0][g->group[b]];
            *to = *to == 0 ? (uint16_t)++n : *to;
            g->group[b] = (uint8_t)(*to - 1);
        }
        g->n_groups = n;
    }
    for (unsigned b = 256; b-- > 0;) {
        g->sample[g->group[b]] = (uint8_t)b;
    }
}

/* A rule that can only go on for ever has no text, and an answer that enters it would never end.
 * Counts, for each alternate, the rules it still waits for; a rule with a text releases those that
 * name it. */
static enum status check_productive(const struct grammar *g, struct error *err)
{
    uint32_t *waits = calloc((size_t)g->n_alternates + 1, sizeof *waits);
    uint32_t *of_rule = calloc((size_t)g->n_alternates + 1, sizeof *of_rule);
    uint32_t *first = calloc((size_t)g->n_rules + 2, sizeof *first); /* places where it is named */
    uint32_t *named = calloc((size_t)g->n_elements + 1, sizeof *named);
    uint32_t *todo = calloc((size_t)g->n_rules + 1, sizeof *todo);
    bool *good = calloc((size_t)g->n_rules + 1, sizeof *good);
    uint32_t n_todo = 0;
    enum status s = STATUS_OK;
    if (waits == NULL || of_rule == NULL || first == NULL || named == NULL || todo == NULL ||
        good == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
        goto out;
    }
    /* first[r + 1] begins as where r's places start and ends as where they end */
    for (uint32_t e = 0; e < g->n_elements; e++) {
        if (g->elements[e].kind == ELEMENT_RULE) {
            first[g->elements[e].arg + 2]++;
        }
    }
    for (uint32_t r = 1; r < g->n_rules + 2; r++) {
        first[r] += first[r - 1];
    }
    for (uint32_t r = 0; r < g->n_rules; r++) {
        for (uint32_t i = g->rules[r].first; i != GRAMMAR_NONE; i = g->alternates[i].next) {
            of_rule[i] = r;
            for (uint32_t e = g->alternates[i].start; g->elements[e].kind != ELEMENT_END; e++) {
                if (g->elements[e].kind == ELEMENT_RULE) {
                    named[first[g->elements[e].arg + 1]++] = i;
                    waits[i]++;
                }
            }
            if (waits[i] == 0 && !good[r]) {
                good[r] = true;
                todo[n_todo++] = r;
            }
        }
    }
    while (n_todo > 0) {
        uint32_t r = todo[--n_todo];
        for (uint32_t k = first[r]; k < first[r + 1]; k++) {
            uint32_t i = named[k];
            if (--waits[i] == 0 && !good[of_rule[i]]) {
                good[of_rule[i]] = true;
                todo[n_todo++] = of_rule[i];
            }
        }
    }
    for (uint32_t r = 0; r < g->n_rules && s == STATUS_OK; r++) {
        if (!good[r]) {
            s = error_set(err, STATUS_INVALID,
                          "line %u of the grammar: %s%s has no text that ends: every way through "
                          "it comes back to it",
                          g->rules[r].line, g->rules[r].name[0] == '\0' ? "a group" : "rule ",
                          g->rules[r].name);
        }
    }
out:
    free(waits);
    free(of_rule);
    free(first);
    free(named);
    free(todo);
    free(good);
    return s;
}

static enum status parse_all(struct parser *p)
{
    enum status s = STATUS_OK;
    for (;;) {
        skip(p, true);
        if (s != STATUS_OK || p->at >= p->end) {
            break;
        }
        s = parse_rule(p);
    }
    struct grammar *g = p->g;
    uintptr_t root = (uintptr_t)map_get(&p->names, STR("root"));
    if (s == STATUS_OK && root == 0) {
        s = error_set(p->err, STATUS_INVALID, "the grammar has no rule named root to begin with");
    }
    for (uint32_t i = 0; i < g->n_rules && s == STATUS_OK; i++) {
        if (g->rules[i].first == GRAMMAR_NONE) {
            s = error_set(p->err, STATUS_INVALID,
                          "line %u of the grammar: rule %s is used and not defined",
                          g->rules[i].line, g->rules[i].name);
        }
    }
    g->root = s == STATUS_OK ? (uint32_t)root - 1 : 0;
    group_bytes(g);
    if (s == STATUS_OK) {
        s = grammar_check(g, p->err);
    }
    return s == STATUS_OK ? check_productive(g, p->err) : s;
}

enum status grammar_parse(struct str text, struct grammar **out, struct error *err)
{
    *out = NULL;
    if (text.len > GRAMMAR_TEXT_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "the grammar has more than %zu bytes",
                         GRAMMAR_TEXT_MAX);
    }
    struct grammar *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    arena_init(&g->arena, (size_t)8 << 20);
    struct parser p = {.g = g, .at = text.ptr, .end = text.ptr + text.len, .line = 1, .err = err};
    map_init(&p.names);
    map_init(&p.classes);
    enum status s = parse_all(&p);
    map_deinit(&p.names);
    map_deinit(&p.classes);
    free(p.work);
    if (s != STATUS_OK) {
        grammar_free(g);
        return s;
    }
    *out = g;
    return STATUS_OK;
}

void grammar_free(struct grammar *g)
{
    if (g != NULL) {
        arena_reset(&g->arena);
        free(g->elements);
        free(g->classes);
        free(g->alternates);
        free(g->rules);
        free(g);
    }
}
