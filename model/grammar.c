#include "model/grammar.h"

#include <stdlib.h>

#include "model/grammar_build.h"

#define DEPTH_MAX 64U

struct parser {
    struct builder b;
    struct map names; /* rule number + 1 */
    const char *at, *end;
    uint32_t depth;
};

static enum status parse_alternates(struct parser *p, uint32_t rule);

/* ---- reading ---- */

static enum status mistake(struct parser *p, const char *what)
{
    return error_set(p->b.err, STATUS_INVALID, "line %u of the grammar: %s", p->b.line, what);
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
            p->b.line += *p->at == '\n' ? 1 : 0;
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
    char *copy = arena_strndup(&p->b.g->arena, name.ptr, name.len);
    enum status s = copy == NULL ? error_set(p->b.err, STATUS_NO_MEMORY, "out of memory")
                                 : builder_rule(&p->b, copy, out);
    if (s == STATUS_OK &&
        map_put(&p->names, name, (void *)((uintptr_t)*out + 1), NULL) != STATUS_OK) {
        s = error_set(p->b.err, STATUS_NO_MEMORY, "out of memory");
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
    return *out > GRAMMAR_CODE_POINT_MAX ? mistake(p, "there is no such character") : STATUS_OK;
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
        p->b.line++;
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
    return *out > GRAMMAR_CODE_POINT_MAX ? mistake(p, "not UTF-8") : STATUS_OK;
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
            s = builder_character(&p->b, c);
        }
    }
    return s;
}

static enum status parse_class(struct parser *p)
{
    struct range ranges[GRAMMAR_RANGES_MAX];
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
        if (n == GRAMMAR_RANGES_MAX) {
            return mistake(p, "a class has more than 512 ranges");
        }
        ranges[n++] = (struct range){low, high};
    }
    if (p->at >= p->end) {
        return mistake(p, "a class has no ]");
    }
    p->at++;
    return builder_ranges(&p->b, ranges, n, negated);
}

static enum status parse_group(struct parser *p)
{
    uint32_t rule;
    if (++p->depth > DEPTH_MAX) {
        return mistake(p, "groups within groups, too deep");
    }
    enum status s = builder_rule(&p->b, "", &rule);
    if (s == STATUS_OK) {
        s = parse_alternates(p, rule);
    }
    if (s == STATUS_OK && (p->at >= p->end || *p->at != ')')) {
        s = mistake(p, "a group has no )");
    }
    if (s == STATUS_OK) {
        p->at++;
        p->depth--;
        s = builder_push(&p->b, ELEMENT_RULE, rule);
    }
    return s;
}

/* ---- repetition ---- */

/* What stands above mark becomes one element. */
static enum status wrap(struct parser *p, uint32_t mark, struct element *out)
{
    uint32_t rule;
    if (p->b.n_work == mark + 1) {
        *out = p->b.work[mark];
        p->b.n_work = mark;
        return STATUS_OK;
    }
    enum status s = builder_rule(&p->b, "", &rule);
    if (s == STATUS_OK) {
        s = builder_close(&p->b, rule, mark);
    }
    *out = (struct element){.kind = ELEMENT_RULE, .arg = rule};
    return s;
}

/* rule ::= e next | (nothing) */
static enum status optional_rule(struct parser *p, struct element e, uint32_t rule, uint32_t next)
{
    uint32_t mark = p->b.n_work;
    enum status s = builder_push(&p->b, e.kind, e.arg);
    if (s == STATUS_OK && next != GRAMMAR_NONE) {
        s = builder_push(&p->b, ELEMENT_RULE, next);
    }
    if (s == STATUS_OK) {
        s = builder_close(&p->b, rule, mark);
    }
    return s == STATUS_OK ? builder_close(&p->b, rule, mark) : s;
}

/* least copies, then as many as may be: a rule that goes on with itself, or a chain of rules. Each
 * ends with the call of the next, so a run's stack does not grow. most: GRAMMAR_NONE for no end. */
static enum status repeat(struct parser *p, uint32_t mark, uint32_t least, uint32_t most)
{
    struct element e;
    enum status s = wrap(p, mark, &e);
    for (uint32_t i = 0; i < least && s == STATUS_OK; i++) {
        s = builder_push(&p->b, e.kind, e.arg);
    }
    if (s != STATUS_OK || most == least) {
        return s;
    }
    uint32_t rule;
    s = builder_rule(&p->b, "", &rule);
    if (s == STATUS_OK) {
        s = builder_push(&p->b, ELEMENT_RULE, rule);
    }
    if (s == STATUS_OK && most == GRAMMAR_NONE) {
        return optional_rule(p, e, rule, rule);
    }
    for (uint32_t i = least; i < most && s == STATUS_OK; i++) {
        uint32_t next = GRAMMAR_NONE;
        if (i + 1 < most) {
            s = builder_rule(&p->b, "", &next);
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
    return s == STATUS_OK ? builder_push(&p->b, ELEMENT_RULE, rule) : s;
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
        uint32_t mark = p->b.n_work;
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
            s = builder_ranges(&p->b, &newline, 1, true);
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
        uint32_t mark = p->b.n_work;
        enum status s = parse_sequence(p);
        if (s == STATUS_OK) {
            s = builder_close(&p->b, rule, mark);
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
    if (s == STATUS_OK && p->b.g->rules[rule].first != GRAMMAR_NONE) {
        s = error_set(p->b.err, STATUS_INVALID, "line %u of the grammar: rule %.*s is there twice",
                      p->b.line, STR_ARG(name));
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
    struct grammar *g = p->b.g;
    uintptr_t root = (uintptr_t)map_get(&p->names, STR("root"));
    if (s == STATUS_OK && root == 0) {
        s = error_set(p->b.err, STATUS_INVALID, "the grammar has no rule named root to begin with");
    }
    for (uint32_t i = 0; i < g->n_rules && s == STATUS_OK; i++) {
        if (g->rules[i].first == GRAMMAR_NONE) {
            s = error_set(p->b.err, STATUS_INVALID,
                          "line %u of the grammar: rule %s is used and not defined",
                          g->rules[i].line, g->rules[i].name);
        }
    }
    g->root = s == STATUS_OK ? (uint32_t)root - 1 : 0;
    grammar_group_bytes(g);
    if (s == STATUS_OK) {
        s = grammar_check(g, p->b.err);
    }
    return s == STATUS_OK ? grammar_check_productive(g, p->b.err) : s;
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
    struct parser p = {
        .b = {.g = g, .line = 1, .err = err}, .at = text.ptr, .end = text.ptr + text.len};
    map_init(&p.names);
    map_init(&p.b.classes);
    enum status s = parse_all(&p);
    map_deinit(&p.names);
    map_deinit(&p.b.classes);
    free(p.b.work);
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
