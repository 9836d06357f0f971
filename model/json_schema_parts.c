/* Schemas of one type: strings, numbers, arrays, objects. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/json_schema_internal.h"

#define PROPERTIES_MAX 1000U
#define REQUIRED_MAX (4U * PROPERTIES_MAX) /* parts of allOf may name one again */

/* ---- counts ---- */

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
        return schema_wrong_key(c, STATUS_INVALID, key, "is not a whole number from 0");
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
        st = schema_wrong_key(c, STATUS_TOO_LARGE, low_key, "is more than 4096");
    }
    if (st == STATUS_OK && *high < *low) {
        st = schema_wrong_key(c, STATUS_INVALID, high_key, "is below its counterpart");
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

/* ---- strings and numbers ---- */

enum status schema_string(struct schema *c, const json_t *s, struct buf *b)
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
            return schema_wrong_key(c, STATUS_INVALID, "pattern", "is not a text");
        }
        if (sized) {
            return schema_wrong_key(c, STATUS_UNSUPPORTED, "pattern",
                                    "beside minLength or maxLength: say the length in the pattern");
        }
        buf_z(b, "\"\\\"\" (");
        struct error why;
        st = gbnf_pattern(
            b, (struct str){.ptr = json_string_value(pattern), .len = json_string_length(pattern)},
            &why);
        if (st != STATUS_OK) {
            return schema_wrong(c, st, why.text);
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
        return schema_wrong_key(c, STATUS_INVALID, key, "is not a number");
    }
    if (x != NULL && !json_is_number(x) && !json_is_boolean(x)) {
        return schema_wrong_key(c, STATUS_INVALID, exclusive, "is not a number");
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
    double low = i->low < -most ? -most : i->low > most ? most + 1 : ceil(i->low);
    double high = i->high > most ? most : i->high < -most ? -most - 1 : floor(i->high);
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

enum status schema_number(struct schema *c, const json_t *s, bool whole, struct buf *b)
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
        return schema_wrong(c, STATUS_UNSUPPORTED,
                            "no number that can be decoded to lies in its bounds");
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
    enum status st = schema_child(c, s, key, NULL, &rule);
    if (st == STATUS_OK) {
        (void)snprintf(name, 32, "r%u", rule);
    }
    return st;
}

enum status schema_array(struct schema *c, const json_t *s, struct buf *b)
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
        st = schema_wrong_key(c, STATUS_UNSUPPORTED, "uniqueItems", "cannot be decoded to");
    }
    if (st != STATUS_OK) {
        return st;
    }
    bool none = json_is_false(items);
    fixed = high < fixed ? high : fixed;
    low = low > fixed ? low - (unsigned)fixed : 0;
    high = high == UINT32_MAX ? high : high - (unsigned)fixed;
    if (none && low > 0) {
        return schema_wrong_key(c, STATUS_INVALID, "minItems", "is more than there may be");
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
        return schema_wrong(c, STATUS_TOO_LARGE, "more than 1000 properties");
    }
    if (strlen(name) > SCHEMA_NAME_MAX) {
        return schema_wrong(c, STATUS_TOO_LARGE, "a property's name of more than 256 bytes");
    }
    m->names[m->n] = str_from(name);
    m->schemas[m->n] = s;
    m->needed[m->n++] = needed;
    return STATUS_OK;
}

/* A name may be required twice, say by two parts of allOf. */
static bool is_member(const struct members *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++) {
        if (str_eq(m->names[i], str_from(name))) {
            return true;
        }
    }
    return false;
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
        return schema_wrong(c, STATUS_INVALID, "properties is an object and required a list");
    }
    if (json_array_size(list) > REQUIRED_MAX) { /* each is looked for among all */
        return schema_wrong_key(c, STATUS_TOO_LARGE, "required", "has more than 4000 names");
    }
    void *it = json_object_iter((json_t *)(uintptr_t)properties);
    for (; it != NULL && st == STATUS_OK;
         it = json_object_iter_next((json_t *)(uintptr_t)properties, it)) {
        name = json_object_iter_key(it);
        v = json_object_iter_value(it);
        if (!json_is_false(v)) {
            st = add_member(c, m, name, json_is_true(v) ? NULL : v, required(s, name));
        } else if (required(s, name)) {
            st = schema_wrong_key(c, STATUS_INVALID, name, "is required and may not be there");
        }
    }
    json_array_foreach(list, i, v)
    {
        if (st == STATUS_OK && !json_is_string(v)) {
            st = schema_wrong_key(c, STATUS_INVALID, "required", "holds something that is no name");
        }
        if (st == STATUS_OK && !is_member(m, json_string_value(v))) {
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
    if (st == STATUS_OK && ++c->rules > SCHEMA_RULES_MAX) {
        st = schema_wrong(c, STATUS_TOO_LARGE, "too many parts");
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

enum status schema_object(struct schema *c, const json_t *s, struct buf *b)
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
            st = schema_child(c, m->schemas[i], "properties", m->names[i].ptr, &rules[i]);
        }
    }
    if (st == STATUS_OK) {
        st = additional(c, s, m, more);
    }
    if (st == STATUS_OK && (low > needed || high < (more[0] != '\0' ? UINT32_MAX : m->n))) {
        st = schema_wrong(
            c, STATUS_UNSUPPORTED,
            "minProperties and maxProperties cannot be decoded to; name them in required");
    }
    if (st == STATUS_OK && ++c->rules > SCHEMA_RULES_MAX) {
        st = schema_wrong(c, STATUS_TOO_LARGE, "too many parts");
    }
    if (st == STATUS_OK) {
        write_members(c, m, rules, more, c->rules);
        buf_printf(b, "\"{\" ws f%u-0 ws \"}\" ", c->rules);
    }
    free(m);
    free(rules);
    return st;
}
