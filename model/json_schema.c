#include "model/json_schema.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "model/json_schema_internal.h"

#define DEPTH_MAX 64U
#define RULES_MAX 20000U
#define PROPERTIES_MAX 1000U
#define NAME_MAX_BYTES 256U

static const char common[] =
    "ws ::= | \" \" | \"\\n\" [ \\t]{0,40}\n"
    "keychar ::= [^\"\\\\\\x00-\\x1F\\x7F]\n"
    "char ::= keychar | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4})\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "whole ::= \"-\"? (\"0\" | [1-9] [0-9]{0,14})\n"
    "number ::= whole (\".\" [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)* ws)? \"}\"\n"
    "array ::= \"[\" ws (value (\",\" ws value)* ws)? \"]\"\n";

struct schema {
    const json_t *root;
    struct buf *out;
    struct map known; /* address of a schema -> rule + 1 */
    json_t *merged;   /* what allOf made: kept, so that no address comes twice */
    unsigned rules, depth;
    struct buf place; /* JSON pointer of what is being read */
    struct error *err;
};

static enum status visit(struct schema *c, const json_t *s, unsigned *rule);

/* ---- places and errors ---- */

static enum status wrong(struct schema *c, enum status s, const char *what)
{
    struct str at = buf_view(&c->place);
    return error_set(c->err, s, "the schema at #%.*s: %s", STR_ARG(at), what);
}

static enum status wrong_key(struct schema *c, enum status s, const char *key, const char *what)
{
    struct str at = buf_view(&c->place);
    return error_set(c->err, s, "the schema at #%.*s: \"%s\" %s", STR_ARG(at), key, what);
}

static size_t enter(struct schema *c, const char *key, const char *name)
{
    size_t was = c->place.len;
    buf_printf(&c->place, "/%s", key);
    if (name != NULL) {
        buf_printf(&c->place, "/%.200s", name);
    }
    return was;
}

static void leave(struct schema *c, size_t was)
{
    if (buf_status(&c->place) == STATUS_OK) {
        c->place.len = was;
    } else {
        buf_reset(&c->place); /* the way is too long to be told */
    }
}

static enum status child(struct schema *c, const json_t *s, const char *key, const char *name,
                         unsigned *rule)
{
    size_t was = enter(c, key, name);
    enum status st = visit(c, s, rule);
    if (st == STATUS_OK) {
        leave(c, was);
    }
    return st;
}

static struct str text_of(const json_t *s)
{
    return (struct str){.ptr = json_string_value(s), .len = json_string_length(s)};
}

/* A count of items or characters. */
static enum status count_of(struct schema *c, const json_t *s, const char *key, unsigned fallback,
                            unsigned *out)
{
    const json_t *v = json_object_get(s, key);
    *out = fallback;
    if (v == NULL) {
        return STATUS_OK;
    }
    double d = json_is_number(v) ? json_number_value(v) : -1;
    if (!(d >= 0) || d > 1e15 || d != floor(d)) {
        return wrong_key(c, STATUS_INVALID, key, "is not a whole number from 0");
    }
    *out = d > GRAMMAR_REPEAT_MAX ? GRAMMAR_REPEAT_MAX + 1 : (unsigned)d;
    return STATUS_OK;
}

static enum status bounds(struct schema *c, const json_t *s, const char *low_key,
                          const char *high_key, unsigned *low, unsigned *high)
{
    enum status st = count_of(c, s, low_key, 0, low);
    if (st == STATUS_OK) {
        st = count_of(c, s, high_key, UINT32_MAX, high);
    }
    if (st == STATUS_OK && *low > GRAMMAR_REPEAT_MAX) {
        st = wrong_key(c, STATUS_TOO_LARGE, low_key, "is more than 4096");
    }
    if (st == STATUS_OK && *high < *low) {
        st = wrong_key(c, STATUS_INVALID, high_key, "is below its counterpart");
    }
    if (st == STATUS_OK && *high != UINT32_MAX && *high > GRAMMAR_REPEAT_MAX) {
        *high = GRAMMAR_REPEAT_MAX;
    }
    return st;
}

/* {low,high}, {low,} */
static void times(struct buf *b, unsigned low, unsigned high)
{
    if (high == UINT32_MAX) {
        buf_printf(b, "{%u,} ", low);
    } else {
        buf_printf(b, "{%u,%u} ", low, high);
    }
}

static void json_literal(struct buf *b, const json_t *v)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    if (text == NULL) {
        b->failed = STATUS_NO_MEMORY;
        return;
    }
    gbnf_literal(b, str_from(text));
    buf_char(b, ' ');
    free(text);
}

/* ---- strings and numbers ---- */

static enum status string_of(struct schema *c, const json_t *s, struct buf *b)
{
    static const struct {
        const char *name, *gbnf;
    } formats[] = {
        {"date", "[0-9]{4} \"-\" (\"0\" [1-9] | \"1\" [0-2]) \"-\" (\"0\" [1-9] | \"1\" [0-9] | "
                 "\"2\" [0-8]) "},
        {"time", "([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9] \":\" [0-5] [0-9] (\".\" "
                 "[0-9]{1,6})? (\"Z\" | [-+] ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9]) "},
        {"uuid", "[0-9a-f]{8} \"-\" [0-9a-f]{4} \"-\" [0-9a-f]{4} \"-\" [0-9a-f]{4} \"-\" "
                 "[0-9a-f]{12} "},
    };
    const json_t *pattern = json_object_get(s, "pattern");
    const json_t *format = json_object_get(s, "format");
    const char *form = json_is_string(format) ? json_string_value(format) : "";
    unsigned low;
    unsigned high;
    enum status st = bounds(c, s, "minLength", "maxLength", &low, &high);
    if (st != STATUS_OK) {
        return st;
    }
    bool sized = low > 0 || high != UINT32_MAX;
    if (pattern != NULL) {
        if (!json_is_string(pattern)) {
            return wrong_key(c, STATUS_INVALID, "pattern", "is not a text");
        }
        if (sized) {
            return wrong_key(c, STATUS_UNSUPPORTED, "pattern",
                             "beside minLength or maxLength: say the length in the pattern");
        }
        buf_z(b, "\"\\\"\" (");
        struct error why;
        st = gbnf_pattern(b, text_of(pattern), &why);
        if (st != STATUS_OK) {
            return wrong(c, st, why.text);
        }
        buf_z(b, ") \"\\\"\" ");
        return STATUS_OK;
    }
    bool moment = strcmp(form, "date-time") == 0;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (strcmp(form, formats[i].name) == 0 && !sized) {
            buf_printf(b, "\"\\\"\" %s\"\\\"\" ", formats[i].gbnf);
            return STATUS_OK;
        }
    }
    if (moment && !sized) {
        buf_printf(b, "\"\\\"\" %s\"T\" %s\"\\\"\" ", formats[0].gbnf, formats[1].gbnf);
        return STATUS_OK;
    }
    if (!sized) {
        buf_z(b, "string ");
        return STATUS_OK;
    }
    buf_z(b, "\"\\\"\" char");
    times(b, low, high);
    buf_z(b, "\"\\\"\" ");
    return STATUS_OK;
}

struct interval {
    double low, high; /* whole numbers from low to high; between them fractions too */
    bool low_open, high_open;
};

static enum status one_bound(struct schema *c, const json_t *s, const char *key,
                             const char *exclusive, double *bound, bool *open)
{
    const json_t *v = json_object_get(s, key);
    const json_t *x = json_object_get(s, exclusive);
    if (v != NULL && !json_is_number(v)) {
        return wrong_key(c, STATUS_INVALID, key, "is not a number");
    }
    if (x != NULL && !json_is_number(x) && !json_is_boolean(x)) {
        return wrong_key(c, STATUS_INVALID, exclusive, "is not a number");
    }
    bool lower = key[2] == 'n'; /* minimum */
    if (v != NULL) {
        *bound = json_number_value(v);
        *open = json_is_true(x); /* draft 4 */
    }
    if (json_is_number(x)) {
        double d = json_number_value(x);
        if (v == NULL || (lower ? d >= *bound : d <= *bound)) {
            *bound = d;
            *open = true;
        }
    }
    return STATUS_OK;
}

/* Whole numbers of the interval, at most 15 digits. */
static void whole_of(const struct interval *i, int64_t *low, int64_t *high)
{
    double a = i->low_open ? floor(i->low) + 1 : ceil(i->low);
    double z = i->high_open ? ceil(i->high) - 1 : floor(i->high);
    double most = (double)SCHEMA_WHOLE_MAX;
    *low = (int64_t)(a < -most ? -most : a > most ? most + 1 : a);
    *high = (int64_t)(z > most ? most : z < -most ? -most - 1 : z);
}

/* Numbers with a fraction, by their whole part: one that lies at an open bound needs a digit that
 * is not 0. */
static void fractions_of(struct buf *b, const struct interval *i)
{
    static const char any[] = "\".\" [0-9]{1,15} ";
    static const char above[] = "\".\" [0-9]{0,7} [1-9] [0-9]{0,7} ";
    double most = (double)SCHEMA_WHOLE_MAX;
    double low = i->low < -most ? -most : ceil(i->low);
    double high = i->high > most ? most : floor(i->high);
    int64_t from = low < 0 ? 0 : (int64_t)low;
    if (high - 1 >= (double)from) {
        buf_z(b, "| ");
        gbnf_whole(b, from, (int64_t)high - 1);
        buf_z(b, i->low_open ? above : any);
    }
    from = high > 0 ? 0 : (int64_t)-high;
    if (-low - 1 >= (double)from) {
        buf_z(b, "| \"-\" ");
        gbnf_whole(b, from, (int64_t)-low - 1);
        buf_z(b, i->high_open ? above : any);
    }
}

static enum status number_of(struct schema *c, const json_t *s, bool whole, struct buf *b)
{
    struct interval i = {.low = -HUGE_VAL, .high = HUGE_VAL};
    int64_t low;
    int64_t high;
    enum status st = one_bound(c, s, "minimum", "exclusiveMinimum", &i.low, &i.low_open);
    if (st == STATUS_OK) {
        st = one_bound(c, s, "maximum", "exclusiveMaximum", &i.high, &i.high_open);
    }
    if (st != STATUS_OK) {
        return st;
    }
    if (isinf(i.low) && isinf(i.high)) {
        buf_z(b, whole ? "whole " : "number ");
        return STATUS_OK;
    }
    size_t was = b->len;
    whole_of(&i, &low, &high);
    buf_char(b, '(');
    if (low <= high) {
        gbnf_whole(b, low, high);
    }
    if (!whole) {
        size_t before = b->len;
        fractions_of(b, &i);
        if (low > high && b->len > before) { /* no | before the first */
            b->ptr[before] = ' ';
        }
    }
    if (b->len == was + 1) {
        return wrong(c, STATUS_UNSUPPORTED, "no number that can be decoded to lies in its bounds");
    }
    buf_z(b, ") ");
    return STATUS_OK;
}

/* ---- arrays ---- */

static enum status item_rule(struct schema *c, const json_t *s, const char *key, char name[32])
{
    unsigned rule;
    if (s == NULL || json_is_true(s)) {
        (void)snprintf(name, 32, "value");
        return STATUS_OK;
    }
    enum status st = child(c, s, key, NULL, &rule);
    if (st == STATUS_OK) {
        (void)snprintf(name, 32, "r%u", rule);
    }
    return st;
}

static enum status array_of(struct schema *c, const json_t *s, struct buf *b)
{
    const json_t *items = json_object_get(s, "items");
    const json_t *prefix = json_object_get(s, "prefixItems");
    if (json_is_array(items)) { /* draft 7 */
        prefix = items;
        items = json_object_get(s, "additionalItems");
    }
    unsigned low;
    unsigned high;
    enum status st = bounds(c, s, "minItems", "maxItems", &low, &high);
    size_t fixed = json_array_size(prefix);
    if (st == STATUS_OK && json_is_true(json_object_get(s, "uniqueItems"))) {
        st = wrong_key(c, STATUS_UNSUPPORTED, "uniqueItems", "cannot be decoded to");
    }
    if (st != STATUS_OK) {
        return st;
    }
    bool none = json_is_false(items);
    fixed = high < fixed ? high : fixed;
    low = low > fixed ? low - (unsigned)fixed : 0;
    high = high == UINT32_MAX ? high : high - (unsigned)fixed;
    if (none && low > 0) {
        return wrong_key(c, STATUS_INVALID, "minItems", "is more than there may be");
    }
    high = none ? 0 : high;
    buf_z(b, "\"[\" ws ");
    for (size_t i = 0; i < fixed && st == STATUS_OK; i++) {
        char name[32];
        st = item_rule(c, json_array_get(prefix, i), "prefixItems", name);
        if (st == STATUS_OK) {
            buf_printf(b, "%s%s ", i > 0 ? "\",\" ws " : "", name);
        }
    }
    char name[32] = "value";
    if (st == STATUS_OK && high > 0) {
        st = item_rule(c, items, "items", name);
    }
    if (st != STATUS_OK) {
        return st;
    }
    if (high > 0 && fixed > 0) {
        buf_printf(b, "(\",\" ws %s)", name);
        times(b, low, high);
    } else if (high > 0) {
        buf_printf(b, "(%s (\",\" ws %s)", name, name);
        times(b, low > 0 ? low - 1 : 0, high == UINT32_MAX ? high : high - 1);
        buf_z(b, low > 0 ? ") " : ")? ");
    }
    buf_z(b, "ws \"]\" ");
    return STATUS_OK;
}

/* ---- objects ---- */

static bool required(const json_t *s, const char *name)
{
    const json_t *list = json_object_get(s, "required");
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        if (json_is_string(v) && strcmp(json_string_value(v), name) == 0) {
            return true;
        }
    }
    return false;
}

struct members {
    struct str names[PROPERTIES_MAX];
    const json_t *schemas[PROPERTIES_MAX]; /* NULL: anything (required and not described) */
    bool needed[PROPERTIES_MAX];
    size_t n;
};

static enum status add_member(struct schema *c, struct members *m, const char *name,
                              const json_t *s, bool needed)
{
    if (m->n == PROPERTIES_MAX) {
        return wrong(c, STATUS_TOO_LARGE, "more than 1000 properties");
    }
    if (strlen(name) > NAME_MAX_BYTES) {
        return wrong(c, STATUS_TOO_LARGE, "a property's name of more than 256 bytes");
    }
    m->names[m->n] = str_from(name);
    m->schemas[m->n] = s;
    m->needed[m->n++] = needed;
    return STATUS_OK;
}

static enum status collect(struct schema *c, const json_t *s, struct members *m)
{
    const json_t *properties = json_object_get(s, "properties");
    const json_t *list = json_object_get(s, "required");
    const char *name;
    const json_t *v;
    size_t i;
    enum status st = STATUS_OK;
    if ((properties != NULL && !json_is_object(properties)) ||
        (list != NULL && !json_is_array(list))) {
        return wrong(c, STATUS_INVALID, "properties is an object and required a list");
    }
    void *it = json_object_iter((json_t *)(uintptr_t)properties);
    for (; it != NULL && st == STATUS_OK;
         it = json_object_iter_next((json_t *)(uintptr_t)properties, it)) {
        name = json_object_iter_key(it);
        v = json_object_iter_value(it);
        if (!json_is_false(v)) {
            st = add_member(c, m, name, json_is_true(v) ? NULL : v, required(s, name));
        } else if (required(s, name)) {
            st = wrong_key(c, STATUS_INVALID, name, "is required and may not be there");
        }
    }
    json_array_foreach(list, i, v)
    {
        if (st == STATUS_OK && !json_is_string(v)) {
            st = wrong_key(c, STATUS_INVALID, "required", "holds something that is no name");
        }
        if (st == STATUS_OK && json_object_get(properties, json_string_value(v)) == NULL) {
            st = add_member(c, m, json_string_value(v), NULL, true);
        }
    }
    return st;
}

/* Additional members: "" for none, or the rule of one ("x12"). Where nothing is said an object with
 * properties has no others, and one without may have any. */
static enum status additional(struct schema *c, const json_t *s, const struct members *m,
                              char name[32])
{
    const json_t *a = json_object_get(s, "additionalProperties");
    char value[32];
    name[0] = '\0';
    if (json_is_false(a) || (a == NULL && m->n > 0)) {
        return STATUS_OK;
    }
    enum status st = item_rule(c, a, "additionalProperties", value);
    if (st == STATUS_OK && ++c->rules > RULES_MAX) {
        st = wrong(c, STATUS_TOO_LARGE, "too many parts");
    }
    if (st == STATUS_OK) {
        (void)snprintf(name, 32, "x%u", c->rules);
        buf_printf(c->out, "%s ::= ", name);
        gbnf_other_key(c->out, m->names, m->n);
        buf_printf(c->out, "\":\" ws %s\n", value);
    }
    return st;
}

/* One rule a place among the members, so that the grammar grows with their number: fN is the rest
 * from member N on while none has been written, nN the same behind one. */
static void write_members(struct schema *c, const struct members *m, const unsigned *rules,
                          const char *more, unsigned id)
{
    for (size_t i = 0; i <= m->n; i++) {
        for (int written = 0; written < 2; written++) {
            buf_printf(c->out, "%c%u-%zu ::= ", written ? 'n' : 'f', id, i);
            if (i == m->n) {
                if (more[0] != '\0' && written) {
                    buf_printf(c->out, "(\",\" ws %s)*\n", more);
                } else if (more[0] != '\0') {
                    buf_printf(c->out, "(%s (\",\" ws %s)*)?\n", more, more);
                } else {
                    buf_z(c->out, "\"\"\n");
                }
                continue;
            }
            char *key = NULL;
            json_t *name = json_stringn(m->names[i].ptr, m->names[i].len);
            key = name == NULL ? NULL : json_dumps(name, JSON_ENCODE_ANY);
            json_decref(name);
            if (key == NULL) {
                c->out->failed = STATUS_NO_MEMORY;
                return;
            }
            buf_z(c->out, written ? "\",\" ws " : "");
            gbnf_literal(c->out, str_from(key));
            free(key);
            if (m->schemas[i] == NULL) {
                buf_z(c->out, " \":\" ws value ");
            } else {
                buf_printf(c->out, " \":\" ws r%u ", rules[i]);
            }
            buf_printf(c->out, "n%u-%zu", id, i + 1);
            if (!m->needed[i]) {
                buf_printf(c->out, " | %c%u-%zu", written ? 'n' : 'f', id, i + 1);
            }
            buf_char(c->out, '\n');
        }
    }
}

static enum status object_of(struct schema *c, const json_t *s, struct buf *b)
{
    struct members *m = calloc(1, sizeof *m);
    unsigned *rules = calloc(PROPERTIES_MAX, sizeof *rules);
    char more[32];
    unsigned low;
    unsigned high;
    size_t needed = 0;
    enum status st = m == NULL || rules == NULL
                         ? error_set(c->err, STATUS_NO_MEMORY, "out of memory")
                         : collect(c, s, m);
    if (st == STATUS_OK) {
        st = bounds(c, s, "minProperties", "maxProperties", &low, &high);
    }
    for (size_t i = 0; st == STATUS_OK && i < m->n; i++) {
        needed += m->needed[i] ? 1 : 0;
        if (m->schemas[i] != NULL) {
            st = child(c, m->schemas[i], "properties", m->names[i].ptr, &rules[i]);
        }
    }
    if (st == STATUS_OK) {
        st = additional(c, s, m, more);
    }
    if (st == STATUS_OK && (low > needed || high < (more[0] != '\0' ? UINT32_MAX : m->n))) {
        st = wrong(c, STATUS_UNSUPPORTED,
                   "minProperties and maxProperties cannot be decoded to; name them in required");
    }
    if (st == STATUS_OK && ++c->rules > RULES_MAX) {
        st = wrong(c, STATUS_TOO_LARGE, "too many parts");
    }
    if (st == STATUS_OK) {
        write_members(c, m, rules, more, c->rules);
        buf_printf(b, "\"{\" ws f%u-0 ws \"}\" ", c->rules);
    }
    free(m);
    free(rules);
    return st;
}

/* ---- choices ---- */

static enum status any_of(struct schema *c, const json_t *list, const char *key, struct buf *b)
{
    size_t i;
    const json_t *v;
    enum status st = STATUS_OK;
    if (!json_is_array(list) || json_array_size(list) == 0) {
        return wrong_key(c, STATUS_INVALID, key, "is not a list of schemas");
    }
    json_array_foreach(list, i, v)
    {
        unsigned rule;
        char number[24];
        (void)snprintf(number, sizeof number, "%zu", i);
        st = child(c, v, key, number, &rule);
        if (st != STATUS_OK) {
            break;
        }
        buf_printf(b, "%sr%u ", i > 0 ? "| " : "", rule);
    }
    return st;
}

/* RFC 6901 within the document. */
static enum status resolve(struct schema *c, const json_t *s, const json_t **out)
{
    const json_t *ref = json_object_get(s, "$ref");
    const char *p = json_is_string(ref) ? json_string_value(ref) : "";
    const json_t *at = c->root;
    if (p[0] != '#' || (p[1] != '\0' && p[1] != '/')) {
        return wrong_key(c, STATUS_UNSUPPORTED, "$ref", "is not a place in this schema (#/...)");
    }
    for (p++; *p == '/' && at != NULL;) {
        char key[NAME_MAX_BYTES + 1];
        size_t n = 0;
        for (p++; *p != '\0' && *p != '/'; p++) {
            char ch = *p;
            if (ch == '~' && (p[1] == '0' || p[1] == '1')) {
                ch = *++p == '0' ? '~' : '/';
            }
            if (n == NAME_MAX_BYTES) {
                return wrong_key(c, STATUS_TOO_LARGE, "$ref", "is too long");
            }
            key[n++] = ch;
        }
        key[n] = '\0';
        at = json_is_array(at) ? json_array_get(at, (size_t)strtoul(key, NULL, 10))
                               : json_object_get(at, key);
    }
    *out = at;
    return at == NULL ? wrong_key(c, STATUS_INVALID, "$ref", "leads to nothing") : STATUS_OK;
}

/* Members of part into whole; a keyword that both have with different values does not fit. */
static enum status merge_part(struct schema *c, json_t *whole, const json_t *part)
{
    void *it = json_object_iter((json_t *)(uintptr_t)part);
    for (; it != NULL; it = json_object_iter_next((json_t *)(uintptr_t)part, it)) {
        const char *key = json_object_iter_key(it);
        json_t *v = json_object_iter_value(it);
        json_t *has = json_object_get(whole, key);
        int bad = 0;
        if (has == NULL) {
            bad = json_object_set_new(whole, key, json_deep_copy(v));
        } else if (strcmp(key, "required") == 0 && json_is_array(v)) {
            bad = json_array_extend(has, v);
        } else if (strcmp(key, "properties") == 0 && json_is_object(v)) {
            const char *name;
            const json_t *p;
            void *m = json_object_iter(v);
            for (; m != NULL && bad == 0; m = json_object_iter_next(v, m)) {
                name = json_object_iter_key(m);
                p = json_object_iter_value(m);
                if (json_object_get(has, name) != NULL &&
                    !json_equal(json_object_get(has, name), p)) {
                    return wrong_key(c, STATUS_UNSUPPORTED, name,
                                     "is described differently by parts of allOf");
                }
                bad = json_object_set_new(has, name, json_deep_copy(p));
            }
        } else if (!json_equal(has, v) && strcmp(key, "title") != 0 &&
                   strcmp(key, "description") != 0) {
            return wrong_key(c, STATUS_UNSUPPORTED, key, "differs between parts of allOf");
        }
        if (bad != 0) {
            return error_set(c->err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    return STATUS_OK;
}

static enum status all_of(struct schema *c, const json_t *s, struct buf *b)
{
    const json_t *list = json_object_get(s, "allOf");
    size_t i;
    const json_t *v;
    if (!json_is_array(list) || json_array_size(list) == 0) {
        return wrong_key(c, STATUS_INVALID, "allOf", "is not a list of schemas");
    }
    json_t *whole = json_deep_copy(s);
    enum status st = whole == NULL || json_object_del(whole, "allOf") != 0
                         ? error_set(c->err, STATUS_NO_MEMORY, "out of memory")
                         : STATUS_OK;
    json_array_foreach(list, i, v)
    {
        for (unsigned hops = 0; st == STATUS_OK && json_object_get(v, "$ref") != NULL; hops++) {
            st = hops == DEPTH_MAX ? wrong_key(c, STATUS_INVALID, "$ref", "goes in a circle")
                                   : resolve(c, v, &v);
        }
        if (st == STATUS_OK && !json_is_object(v)) {
            st = wrong_key(c, STATUS_INVALID, "allOf", "is not a list of schemas");
        }
        if (st == STATUS_OK && json_object_get(v, "allOf") != NULL) {
            st = wrong_key(c, STATUS_UNSUPPORTED, "allOf", "within allOf");
        }
        if (st == STATUS_OK) {
            st = merge_part(c, whole, v);
        }
    }
    unsigned rule;
    if (st == STATUS_OK && json_array_append(c->merged, whole) != 0) {
        st = error_set(c->err, STATUS_NO_MEMORY, "out of memory");
    }
    if (st == STATUS_OK) {
        st = visit(c, whole, &rule);
    }
    if (st == STATUS_OK) {
        buf_printf(b, "r%u ", rule);
    }
    json_decref(whole);
    return st;
}

/* ---- one schema ---- */

static enum status of_type(struct schema *c, const json_t *s, const char *type, struct buf *b)
{
    if (strcmp(type, "object") == 0) {
        return object_of(c, s, b);
    }
    if (strcmp(type, "array") == 0) {
        return array_of(c, s, b);
    }
    if (strcmp(type, "string") == 0) {
        return string_of(c, s, b);
    }
    if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0) {
        return number_of(c, s, type[0] == 'i', b);
    }
    if (strcmp(type, "boolean") == 0) {
        buf_z(b, "(\"true\" | \"false\") ");
        return STATUS_OK;
    }
    if (strcmp(type, "null") == 0) {
        buf_z(b, "\"null\" ");
        return STATUS_OK;
    }
    return wrong_key(c, STATUS_INVALID, type,
                     "is no type (object, array, string, number, integer, boolean, null)");
}

static enum status of_types(struct schema *c, const json_t *s, const json_t *types, struct buf *b)
{
    size_t i;
    const json_t *v;
    enum status st = STATUS_OK;
    if (json_is_string(types)) {
        return of_type(c, s, json_string_value(types), b);
    }
    if (!json_is_array(types) || json_array_size(types) == 0) {
        return wrong_key(c, STATUS_INVALID, "type", "is neither a name nor a list of names");
    }
    json_array_foreach(types, i, v)
    {
        buf_z(b, i > 0 ? "| " : "");
        st = json_is_string(v)
                 ? of_type(c, s, json_string_value(v), b)
                 : wrong_key(c, STATUS_INVALID, "type", "holds something else than names");
        if (st != STATUS_OK) {
            break;
        }
    }
    return st;
}

/* Without a type: the one that its keywords speak of. */
static const char *guess(const json_t *s)
{
    static const struct {
        const char *key, *type;
    } marks[] = {
        {"properties", "object"},
        {"required", "object"},
        {"additionalProperties", "object"},
        {"items", "array"},
        {"prefixItems", "array"},
        {"minItems", "array"},
        {"maxItems", "array"},
        {"pattern", "string"},
        {"minLength", "string"},
        {"maxLength", "string"},
        {"minimum", "number"},
        {"maximum", "number"},
        {"exclusiveMinimum", "number"},
        {"exclusiveMaximum", "number"},
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (json_object_get(s, marks[i].key) != NULL) {
            return marks[i].type;
        }
    }
    return NULL;
}

static enum status check_keywords(struct schema *c, const json_t *s)
{
    static const char *const narrowing[] = {
        "not",
        "if",
        "then",
        "else",
        "contains",
        "minContains",
        "maxContains",
        "patternProperties",
        "propertyNames",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "multipleOf",
        "unevaluatedItems",
        "unevaluatedProperties",
        "$dynamicRef",
        "$recursiveRef",
    };
    for (size_t i = 0; i < sizeof narrowing / sizeof *narrowing; i++) {
        if (json_object_get(s, narrowing[i]) != NULL) {
            return wrong_key(c, STATUS_UNSUPPORTED, narrowing[i],
                             "cannot be decoded to; leave it out and check the answer");
        }
    }
    return STATUS_OK;
}

static enum status body(struct schema *c, const json_t *s, struct buf *b)
{
    const json_t *v;
    size_t i;
    enum status st = check_keywords(c, s);
    if (st != STATUS_OK) {
        return st;
    }
    if (json_object_get(s, "$ref") != NULL) {
        const json_t *to;
        unsigned rule;
        st = resolve(c, s, &to);
        if (st == STATUS_OK) {
            st = visit(c, to, &rule);
        }
        if (st == STATUS_OK) {
            buf_printf(b, "r%u ", rule);
        }
        return st;
    }
    if ((v = json_object_get(s, "const")) != NULL) {
        json_literal(b, v);
        return STATUS_OK;
    }
    if ((v = json_object_get(s, "enum")) != NULL) {
        const json_t *e;
        if (!json_is_array(v) || json_array_size(v) == 0) {
            return wrong_key(c, STATUS_INVALID, "enum", "is not a list of values");
        }
        json_array_foreach(v, i, e)
        {
            buf_z(b, i > 0 ? "| " : "");
            json_literal(b, e);
        }
        return STATUS_OK;
    }
    static const char *const choices[] = {"anyOf", "oneOf"};
    for (i = 0; i < 2; i++) {
        if ((v = json_object_get(s, choices[i])) != NULL) {
            if (json_object_get(s, "properties") != NULL || json_object_get(s, "allOf") != NULL ||
                json_object_get(s, choices[1 - i]) != NULL) {
                return wrong_key(
                    c, STATUS_UNSUPPORTED, choices[i],
                    "beside properties, allOf or another choice: put all into its parts");
            }
            return any_of(c, v, choices[i], b);
        }
    }
    if (json_object_get(s, "allOf") != NULL) {
        return all_of(c, s, b);
    }
    if ((v = json_object_get(s, "type")) != NULL) {
        return of_types(c, s, v, b);
    }
    const char *type = guess(s);
    if (type != NULL) {
        return of_type(c, s, type, b);
    }
    buf_z(b, "value ");
    return STATUS_OK;
}

static enum status visit(struct schema *c, const json_t *s, unsigned *rule)
{
    struct str key = {.ptr = (const char *)&s, .len = sizeof s};
    uintptr_t known = (uintptr_t)map_get(&c->known, key);
    struct buf b;
    if (known != 0) {
        *rule = (unsigned)known - 1;
        return STATUS_OK;
    }
    if (json_is_false(s)) {
        return wrong(c, STATUS_INVALID, "nothing is allowed here");
    }
    if (!json_is_object(s) && !json_is_true(s)) {
        return wrong(c, STATUS_INVALID, "not a schema (an object, true or false)");
    }
    if (c->depth >= DEPTH_MAX) {
        return wrong(c, STATUS_TOO_LARGE, "schemas within schemas, more than 64 deep");
    }
    if (++c->rules > RULES_MAX) {
        return wrong(c, STATUS_TOO_LARGE, "too many parts");
    }
    *rule = c->rules;
    if (map_put(&c->known, key, (void *)((uintptr_t)*rule + 1), NULL) != STATUS_OK) {
        return error_set(c->err, STATUS_NO_MEMORY, "out of memory");
    }
    buf_init(&b, GRAMMAR_TEXT_MAX);
    c->depth++;
    enum status st = STATUS_OK;
    if (json_is_true(s)) {
        buf_z(&b, "value ");
    } else {
        st = body(c, s, &b);
    }
    c->depth--;
    if (st == STATUS_OK && buf_status(&b) != STATUS_OK) {
        st = wrong(c, buf_status(&b), "it makes too large a grammar");
    }
    if (st == STATUS_OK) {
        struct str text = buf_view(&b);
        buf_printf(c->out, "r%u ::= %.*s\n", *rule, STR_ARG(text));
    }
    buf_deinit(&b);
    return st;
}

enum status json_schema_gbnf(struct str text, struct buf *out, struct error *err)
{
    json_error_t je;
    unsigned rule = 0;
    if (text.len > GRAMMAR_TEXT_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "the schema has more than %zu bytes",
                         GRAMMAR_TEXT_MAX);
    }
    json_t *root = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
    if (root == NULL) {
        return error_set(err, STATUS_INVALID, "the schema is no JSON: line %d: %s", je.line,
                         je.text);
    }
    struct schema c = {.root = root, .out = out, .err = err, .merged = json_array()};
    map_init(&c.known);
    buf_init(&c.place, 2000);
    enum status s = c.merged == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                     : visit(&c, root, &rule);
    buf_printf(out, "root ::= r%u\n%s", rule, common);
    if (s == STATUS_OK && buf_status(out) != STATUS_OK) {
        s = error_set(err, buf_status(out), "the schema makes too large a grammar");
    }
    map_deinit(&c.known);
    buf_deinit(&c.place);
    json_decref(c.merged);
    json_decref(root);
    return s;
}

enum status json_schema_grammar(struct str schema, struct grammar **out, struct error *err)
{
    struct buf gbnf;
    *out = NULL;
    buf_init(&gbnf, GRAMMAR_TEXT_MAX);
    enum status s = json_schema_gbnf(schema, &gbnf, err);
    if (s == STATUS_OK) {
        s = grammar_parse(buf_view(&gbnf), out, err);
        if (s != STATUS_OK) { /* say, a part that always needs itself */
            s = error_prefix(err, "the schema cannot be decoded to");
        }
    }
    buf_deinit(&gbnf);
    return s;
}

enum status json_object_grammar(struct grammar **out, struct error *err)
{
    return json_schema_grammar(STR("{\"type\":\"object\"}"), out, err);
}
