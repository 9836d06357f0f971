#include "model/json_text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool json_text_too_deep(struct str json, unsigned most)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > most) {
                return true;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

json_t *json_text_parse(struct str text, const char *what, struct error *err)
{
    json_error_t why;
    if (json_text_too_deep(text, JSON_TEXT_DEPTH_MAX)) {
        (void)error_set(err, STATUS_TOO_LARGE, "%s: nested deeper than %u", what,
                        JSON_TEXT_DEPTH_MAX);
        return NULL;
    }
    json_t *v = json_loadb(text.ptr, text.len, JSON_DECODE_ANY, &why);
    if (v == NULL) {
        (void)error_set(err, STATUS_INVALID, "%s: no JSON (%.80s at byte %d)", what, why.text,
                        why.position);
    }
    return v;
}

static void write_string(struct str s, struct buf *out)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    buf_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        const char *at = c == '\0' ? NULL : strchr(plain, c);
        if (at != NULL) {
            buf_char(out, '\\');
            buf_char(out, letters[at - plain]);
        } else if ((unsigned char)c < 0x20) {
            buf_printf(out, "\\u%04x", (unsigned)(unsigned char)c);
        } else {
            buf_char(out, c);
        }
    }
    buf_char(out, '"');
}

/* The fewest digits that give the same number again. */
static void write_real(double d, struct buf *out)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d) {
            break;
        }
    }
    double size = fabs(d);
    if (strchr(text, 'e') != NULL && size >= 1e-4 && size < 1e16) {
        (void)snprintf(text, sizeof text, "%.0f", d); /* Python has powers of ten beyond these */
    }
    buf_z(out, text);
    if (strpbrk(text, ".e") == NULL) {
        buf_z(out, ".0");
    }
}

static void new_line(unsigned indent, unsigned depth, struct buf *out)
{
    if (indent > 0) {
        buf_printf(out, "\n%*s", (int)(indent * depth), "");
    }
}

static void write_value(const json_t *v, unsigned indent, unsigned depth, struct buf *out);

static void write_object(const json_t *v, unsigned indent, unsigned depth, struct buf *out)
{
    const char *between = "";
    json_t *o = (json_t *)(uintptr_t)v; /* jansson's iterators are not const */
    buf_char(out, '{');
    for (void *it = json_object_iter(o); it != NULL; it = json_object_iter_next(o, it)) {
        buf_z(out, between);
        new_line(indent, depth + 1, out);
        write_string(str_from(json_object_iter_key(it)), out);
        buf_z(out, ": ");
        write_value(json_object_iter_value(it), indent, depth + 1, out);
        between = indent > 0 ? "," : ", ";
    }
    if (json_object_size(v) > 0) {
        new_line(indent, depth, out);
    }
    buf_char(out, '}');
}

static void write_array(const json_t *v, unsigned indent, unsigned depth, struct buf *out)
{
    buf_char(out, '[');
    for (size_t i = 0; i < json_array_size(v); i++) {
        buf_z(out, i == 0 ? "" : indent > 0 ? "," : ", ");
        new_line(indent, depth + 1, out);
        write_value(json_array_get(v, i), indent, depth + 1, out);
    }
    if (json_array_size(v) > 0) {
        new_line(indent, depth, out);
    }
    buf_char(out, ']');
}

static void write_value(const json_t *v, unsigned indent, unsigned depth, struct buf *out)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        write_object(v, indent, depth, out);
        break;
    case JSON_ARRAY:
        write_array(v, indent, depth, out);
        break;
    case JSON_STRING:
        write_string((struct str){json_string_value(v), json_string_length(v)}, out);
        break;
    case JSON_INTEGER:
        buf_printf(out, "%lld", (long long)json_integer_value(v));
        break;
    case JSON_REAL:
        write_real(json_real_value(v), out);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        buf_z(out, json_is_true(v) ? "true" : "false");
        break;
    case JSON_NULL:
        buf_z(out, "null");
        break;
    }
}

void json_text_write(const json_t *v, unsigned indent, struct buf *out)
{
    write_value(v, indent, 0, out);
}
