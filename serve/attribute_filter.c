#include "serve/attribute_filter.h"

#include <string.h>

enum operation {
    OP_EQ,
    OP_NE,
    OP_GT,
    OP_GTE,
    OP_LT,
    OP_LTE,
    OP_IN,
    OP_NIN,
    OP_AND,
    OP_OR,
    OP_COUNT
};

static enum operation operation_of(const struct json *filter)
{
    static const char *const names[] = {"eq",  "ne", "gt",  "gte", "lt",
                                        "lte", "in", "nin", "and", "or"};
    struct str type = jsonr_str(jsonr_get(filter, "type"));
    unsigned i = 0;
    while (i < OP_COUNT && (type.ptr == NULL || !str_eq(type, str_from(names[i])))) {
        i++;
    }
    return (enum operation)i;
}

static bool is_scalar(const struct json *v)
{
    enum json_kind k = jsonr_kind(v);
    return k == JSON_KIND_STRING || k == JSON_KIND_INT || k == JSON_KIND_REAL ||
           k == JSON_KIND_BOOL;
}

static enum status check(const struct json *f, unsigned depth, unsigned *nodes, struct error *err)
{
    enum operation op = operation_of(f);
    if (++*nodes > FILTER_NODES_MAX || depth > FILTER_DEPTH_MAX) {
        return error_set(err, STATUS_INVALID, "filters: at most %d of them, %d deep",
                         FILTER_NODES_MAX, FILTER_DEPTH_MAX);
    }
    if (jsonr_kind(f) != JSON_KIND_OBJECT || op == OP_COUNT) {
        return error_set(err, STATUS_INVALID,
                         "filters: type must be eq, ne, gt, gte, lt, lte, in, nin, and or or");
    }
    if (op == OP_AND || op == OP_OR) {
        const struct json *list = jsonr_get(f, "filters");
        enum status s = jsonr_kind(list) == JSON_KIND_ARRAY && jsonr_len(list) > 0
                            ? STATUS_OK
                            : error_set(err, STATUS_INVALID,
                                        "filters: \"and\" and \"or\" need an array \"filters\"");
        for (size_t i = 0; i < jsonr_len(list) && s == STATUS_OK; i++) {
            s = check(jsonr_at(list, i), depth + 1, nodes, err);
        }
        return s;
    }
    const struct json *value = jsonr_get(f, "value");
    if (jsonr_str(jsonr_get(f, "key")).len == 0) {
        return error_set(err, STATUS_INVALID, "filters: key is missing");
    }
    if (op == OP_IN || op == OP_NIN) {
        size_t n = jsonr_kind(value) == JSON_KIND_ARRAY ? jsonr_len(value) : 0;
        bool good = n > 0 && n <= FILTER_NODES_MAX;
        for (size_t i = 0; i < n && good; i++) {
            good = is_scalar(jsonr_at(value, i));
        }
        return good ? STATUS_OK
                    : error_set(err, STATUS_INVALID,
                                "filters: the value of in and nin is an array of values");
    }
    return is_scalar(value) ? STATUS_OK
                            : error_set(err, STATUS_INVALID,
                                        "filters: value must be a string, number or boolean");
}

enum status attribute_filter_check(const struct json *filter, struct error *err)
{
    unsigned nodes = 0;
    return check(filter, 1, &nodes, err);
}

/* -1, 0, 1; 2: not comparable. */
static int compare(const struct json *a, const struct json *b)
{
    double x = 0, y = 0;
    if (jsonr_as_number(a, &x) && jsonr_as_number(b, &y)) {
        return x < y ? -1 : x > y ? 1 : 0;
    }
    struct str s = jsonr_str(a), t = jsonr_str(b);
    if (s.ptr != NULL && t.ptr != NULL) {
        int c = memcmp(s.ptr, t.ptr, s.len < t.len ? s.len : t.len);
        return c != 0 ? (c < 0 ? -1 : 1) : s.len == t.len ? 0 : s.len < t.len ? -1 : 1;
    }
    if (jsonr_kind(a) == JSON_KIND_BOOL && jsonr_kind(b) == JSON_KIND_BOOL) {
        return jsonr_true(a) == jsonr_true(b) ? 0 : 2;
    }
    return 2;
}

static bool among(const struct json *v, const struct json *list)
{
    for (size_t i = 0; i < jsonr_len(list); i++) {
        if (compare(v, jsonr_at(list, i)) == 0) {
            return true;
        }
    }
    return false;
}

bool attribute_filter_holds(const struct json *filter, const struct json *own,
                            const struct json *more)
{
    enum operation op = operation_of(filter);
    if (op == OP_AND || op == OP_OR) { /* checked: its depth is bounded */
        const struct json *list = jsonr_get(filter, "filters");
        for (size_t i = 0; i < jsonr_len(list); i++) {
            if (attribute_filter_holds(jsonr_at(list, i), own, more) != (op == OP_AND)) {
                return op == OP_OR;
            }
        }
        return op == OP_AND;
    }
    const char *key = jsonr_str(jsonr_get(filter, "key")).ptr;
    const struct json *value = jsonr_get(filter, "value");
    const struct json *v = jsonr_get(own, key);
    v = v == NULL ? jsonr_get(more, key) : v;
    if (v == NULL) {
        return op == OP_NE || op == OP_NIN;
    }
    if (op == OP_IN || op == OP_NIN) {
        return among(v, value) == (op == OP_IN);
    }
    int c = compare(v, value);
    switch (op) {
    case OP_EQ:
        return c == 0;
    case OP_NE:
        return c != 0;
    case OP_GT:
        return c == 1;
    case OP_GTE:
        return c == 1 || c == 0;
    case OP_LT:
        return c == -1;
    case OP_LTE:
        return c == -1 || c == 0;
    case OP_IN:
    case OP_NIN:
    case OP_AND:
    case OP_OR:
    case OP_COUNT:
        break;
    }
    return false;
}
