#include "serve/http/jsonw.h"

#include <inttypes.h>
#include <math.h>

void jsonw_init(struct jsonw *w, struct buf *out)
{
    *w = (struct jsonw){.out = out};
}

static void value(struct jsonw *w)
{
    if (w->comma) {
        buf_char(w->out, ',');
    }
    w->comma = true;
}

void jsonw_open(struct jsonw *w, char bracket)
{
    value(w);
    buf_char(w->out, bracket);
    w->comma = false;
}

void jsonw_close(struct jsonw *w, char bracket)
{
    buf_char(w->out, bracket);
    w->comma = true;
}

void jsonw_key(struct jsonw *w, const char *key)
{
    jsonw_str(w, str_from(key));
    buf_char(w->out, ':');
    w->comma = false;
}

/* Length of the UTF-8 sequence at p; 0: not one; n + 1 or more: cut at the end. */
static size_t sequence(const unsigned char *p, size_t n)
{
    unsigned char c = p[0];
    size_t need = c < 0x80                ? 1
                  : c >= 0xc2 && c < 0xe0 ? 2
                  : c >= 0xe0 && c < 0xf0 ? 3
                  : c >= 0xf0 && c < 0xf5 ? 4
                                          : 0;
    for (size_t i = 1; i < need && i < n; i++) {
        unsigned char low = 0x80;
        unsigned char high = 0xbf;
        if (i == 1) { /* no overlong forms, no surrogates, nothing above U+10FFFF */
            low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
            high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        }
        if (p[i] < low || p[i] > high) {
            return 0;
        }
    }
    return need;
}

static void escape_ascii(struct buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        buf_z(out, "\\\"");
        break;
    case '\\':
        buf_z(out, "\\\\");
        break;
    case '\n':
        buf_z(out, "\\n");
        break;
    case '\r':
        buf_z(out, "\\r");
        break;
    case '\t':
        buf_z(out, "\\t");
        break;
    default:
        buf_printf(out, "\\u%04x", c);
        break;
    }
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

size_t jsonw_escape(struct buf *out, struct str s, bool last)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = 0;
    while (i < s.len) {
        size_t run = i;
        while (run < s.len && plain(p[run])) {
            run++;
        }
        buf_append(out, p + i, run - i);
        i = run;
        if (i == s.len) {
            break;
        }
        size_t n = sequence(p + i, s.len - i);
        if (n > s.len - i && !last) {
            break;
        }
        if (n == 0 || n > s.len - i) {
            buf_z(out, "\xef\xbf\xbd");
            i++;
        } else if (n == 1) {
            escape_ascii(out, p[i++]);
        } else {
            buf_append(out, p + i, n);
            i += n;
        }
    }
    return i;
}

void jsonw_str(struct jsonw *w, struct str s)
{
    value(w);
    buf_char(w->out, '"');
    (void)jsonw_escape(w->out, s, true);
    buf_char(w->out, '"');
}

void jsonw_path(struct jsonw *w, struct str path)
{
    const unsigned char *p = (const unsigned char *)path.ptr;
    value(w);
    buf_char(w->out, '"');
    for (size_t i = 0; i < path.len;) {
        size_t n = sequence(p + i, path.len - i);
        if (n == 0 || n > path.len - i) {
            buf_printf(w->out, "\\\\x%02X", p[i++]);
        } else if (p[i] == '\\') {
            buf_z(w->out, "\\\\\\\\");
            i++;
        } else {
            (void)jsonw_escape(w->out, (struct str){path.ptr + i, n}, true);
            i += n;
        }
    }
    buf_char(w->out, '"');
}

void jsonw_int(struct jsonw *w, int64_t n)
{
    value(w);
    buf_printf(w->out, "%" PRId64, n);
}

void jsonw_double(struct jsonw *w, double d)
{
    value(w);
    if (isfinite(d)) {
        buf_printf(w->out, "%.9g", d);
    } else {
        buf_z(w->out, "null");
    }
}

void jsonw_bool(struct jsonw *w, bool b)
{
    value(w);
    buf_z(w->out, b ? "true" : "false");
}

void jsonw_null(struct jsonw *w)
{
    value(w);
    buf_z(w->out, "null");
}

void jsonw_raw(struct jsonw *w, struct str json)
{
    value(w);
    buf_str(w->out, json);
}

void jsonw_field_z(struct jsonw *w, const char *key, const char *z)
{
    jsonw_key(w, key);
    if (z == NULL) {
        jsonw_null(w);
    } else {
        jsonw_str(w, str_from(z));
    }
}

void jsonw_field_str(struct jsonw *w, const char *key, struct str s)
{
    jsonw_key(w, key);
    jsonw_str(w, s);
}

void jsonw_field_int(struct jsonw *w, const char *key, int64_t n)
{
    jsonw_key(w, key);
    jsonw_int(w, n);
}

void jsonw_field_double(struct jsonw *w, const char *key, double d)
{
    jsonw_key(w, key);
    jsonw_double(w, d);
}

void jsonw_field_bool(struct jsonw *w, const char *key, bool b)
{
    jsonw_key(w, key);
    jsonw_bool(w, b);
}
