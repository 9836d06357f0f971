/* One scalar of the file into its field. Numbers are decimal and nothing else: YAML 1.1's octal,
 * hex, sexagesimal and "yes" are refused rather than guessed. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/settings/schema.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit size_units[] = {
    {"", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}, {NULL, 0}};
static const struct unit time_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct unit plain_units[] = {{"", 1}, {NULL, 0}};

bool setting_is_choice(const char *choices, struct str item)
{
    const char *p = choices;

    while (*p != '\0') {
        size_t n = strcspn(p, "|");
        if (n == item.len && memcmp(p, item.ptr, n) == 0) {
            return true;
        }
        p += n + (p[n] == '|');
    }
    return false;
}

static const char *form(enum setting_type t)
{
    switch (t) {
    case SETTING_BOOL:
        return "write true or false";
    case SETTING_SIZE:
        return "write a whole number of bytes, or with KiB, MiB or GiB after it";
    case SETTING_DURATION:
        return "write a whole number with ms, s, m or h after it";
    case SETTING_DOUBLE:
        return "write a number such as 0.25";
    case SETTING_INT:
    case SETTING_STRING:
    case SETTING_PATH:
    case SETTING_ENUM:
    case SETTING_LIST:
        break;
    }
    return "write a whole number";
}

static bool parse_whole(struct str text, const struct unit *units, int64_t *out)
{
    size_t i = 0;
    bool negative = text.len > 0 && text.ptr[0] == '-';
    int64_t n = 0;

    i += negative;
    size_t first = i;
    for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
        if (__builtin_mul_overflow(n, (int64_t)10, &n) ||
            __builtin_add_overflow(n, (int64_t)(text.ptr[i] - '0'), &n)) {
            return false;
        }
    }
    if (i == first || (text.ptr[first] == '0' && i - first > 1)) {
        return false;
    }
    struct str unit = {.ptr = text.ptr + i, .len = text.len - i};
    for (; units->name != NULL; units++) {
        if (str_eq(unit, str_from(units->name))) {
            return !__builtin_mul_overflow(negative ? -n : n, units->factor, out);
        }
    }
    return false;
}

bool setting_size(struct str text, int64_t *out)
{
    return parse_whole(text, size_units, out);
}

static bool parse_double(struct str text, double *out)
{
    char z[40];

    if (text.len == 0 || text.len >= sizeof(z)) {
        return false;
    }
    memcpy(z, text.ptr, text.len);
    z[text.len] = '\0';
    if (strspn(z, "0123456789.-") < text.len) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    *out = strtod(z, &end);
    return errno == 0 && *end == '\0' && isfinite(*out);
}

static enum status wrong(const struct setting *row, struct str text, struct error *err)
{
    return error_set(err, STATUS_INVALID, "%s: \"%.*s\" is not a %s: %s", row->path,
                     text.len > 40 ? 40 : (int)text.len, text.ptr, setting_type_name(row->type),
                     form(row->type));
}

/* Numbers as they are stored; the range is said in the unit people write. */
static enum status check_range(const struct setting *row, double v, struct error *err)
{
    if (v >= row->min && v <= row->max) {
        return STATUS_OK;
    }
    const char *unit = row->type == SETTING_SIZE       ? " bytes"
                       : row->type == SETTING_DURATION ? " ms"
                                                       : "";
    return error_set(err, STATUS_INVALID, "%s: out of range: it must lie between %.15g and %.15g%s",
                     row->path, row->min, row->max, unit);
}

static enum status store_text(const struct setting *row, struct str text, const char *home,
                              struct arena *a, void *field, struct error *err)
{
    if (memchr(text.ptr, '\0', text.len) != NULL) {
        return error_set(err, STATUS_INVALID, "%s: holds a NUL character", row->path);
    }
    if (row->type == SETTING_ENUM && !setting_is_choice(row->choices, text)) {
        return error_set(err, STATUS_INVALID, "%s: \"%.*s\" is not one of %s", row->path,
                         text.len > 40 ? 40 : (int)text.len, text.ptr, row->choices);
    }
    const char *copy = row->type == SETTING_PATH && text.len > 0 && text.ptr[0] != '/'
                           ? arena_printf(a, "%s/%.*s", home, STR_ARG(text))
                           : arena_strndup(a, text.ptr, text.len);
    if (copy == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", row->path);
    }
    *(const char **)field = copy;
    return STATUS_OK;
}

enum status setting_store(const struct setting *row, struct str text, const char *home,
                          struct arena *a, void *out, struct error *err)
{
    void *field = (char *)out + row->offset;
    int64_t whole = 0;
    double real = 0;
    enum status s = STATUS_OK;

    switch (row->type) {
    case SETTING_BOOL:
        if (!str_eq(text, STR("true")) && !str_eq(text, STR("false"))) {
            return wrong(row, text, err);
        }
        *(bool *)field = text.len == 4;
        return STATUS_OK;
    case SETTING_INT:
    case SETTING_SIZE:
    case SETTING_DURATION:
        if (!parse_whole(text,
                         row->type == SETTING_INT    ? plain_units
                         : row->type == SETTING_SIZE ? size_units
                                                     : time_units,
                         &whole)) {
            return wrong(row, text, err);
        }
        s = check_range(row, (double)whole, err);
        if (s == STATUS_OK) {
            *(int64_t *)field = whole;
        }
        return s;
    case SETTING_DOUBLE:
        if (!parse_double(text, &real)) {
            return wrong(row, text, err);
        }
        s = check_range(row, real, err);
        if (s == STATUS_OK) {
            *(double *)field = real;
        }
        return s;
    case SETTING_STRING:
    case SETTING_PATH:
    case SETTING_ENUM:
        return store_text(row, text, home, a, field, err);
    case SETTING_LIST: /* the only fallback written as text is the empty list */
        *(struct string_list *)field = (struct string_list){0};
        return STATUS_OK;
    }
    return error_set(err, STATUS_INTERNAL, "%s: unknown type", row->path);
}
