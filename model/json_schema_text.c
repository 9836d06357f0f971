/* Strings, numbers and patterns of JSON as GBNF. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/json_schema_internal.h"

#define PATTERN_DEPTH 32U
#define DIGITS 20

/* ---- literals ---- */

/* One byte of a text, as it stands within quotation marks or a class. */
static void escaped(struct buf *out, unsigned char c, bool in_class)
{
    if (c == '"' || c == '\\' || (in_class && (c == '[' || c == ']' || c == '-' || c == '^'))) {
        buf_char(out, '\\');
        buf_char(out, (char)c);
    } else if (c < 0x20 || c == 0x7F) {
        buf_printf(out, "\\x%02X", c);
    } else {
        buf_char(out, (char)c);
    }
}

void gbnf_literal(struct buf *out, struct str text)
{
    buf_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        escaped(out, (unsigned char)text.ptr[i], false);
    }
    buf_char(out, '"');
}

/* ---- numbers ---- */

static bool all(const char *digits, size_t n, char c)
{
    for (size_t i = 0; i < n; i++) {
        if (digits[i] != c) {
            return false;
        }
    }
    return true;
}

/* Numbers of n digits from low to high, both of n digits. Recursion: one digit less a call. */
static void same_length(struct buf *out, const char *low, const char *high, size_t n)
{
    static const char nines[] = "99999999999999999999";
    static const char zeros[] = "00000000000000000000";
    if (n == 0) {
        return;
    }
    if (all(low, n, '0') && all(high, n, '9')) {
        buf_printf(out, "[0-9]{%zu} ", n);
        return;
    }
    if (low[0] == high[0]) {
        buf_printf(out, "\"%c\" ", low[0]);
        same_length(out, low + 1, high + 1, n - 1);
        return;
    }
    char from = low[0];
    char to = high[0];
    bool first = true;
    buf_char(out, '(');
    if (!all(low + 1, n - 1, '0')) {
        buf_printf(out, "\"%c\" ", from++);
        same_length(out, low + 1, nines, n - 1);
        first = false;
    }
    bool tail = !all(high + 1, n - 1, '9');
    to = (char)(tail ? to - 1 : to);
    if (from <= to) {
        buf_printf(out, "%s[%c-%c] ", first ? "" : "| ", from, to);
        if (n > 1) {
            buf_printf(out, "[0-9]{%zu} ", n - 1);
        }
        first = false;
    }
    if (tail) {
        buf_printf(out, "%s\"%c\" ", first ? "" : "| ", high[0]);
        same_length(out, zeros, high + 1, n - 1);
    }
    buf_z(out, ") ");
}

static void positive(struct buf *out, int64_t low, int64_t high)
{
    char a[DIGITS + 1];
    char b[DIGITS + 1];
    bool first = true;
    buf_char(out, '(');
    while (low <= high) {
        int n = snprintf(a, sizeof a, "%" PRId64, low);
        int64_t end = 9;
        for (int i = 1; i < n; i++) {
            end = end * 10 + 9;
        }
        end = end < high ? end : high;
        (void)snprintf(b, sizeof b, "%" PRId64, end);
        buf_z(out, first ? "" : "| ");
        same_length(out, a, b, (size_t)n);
        first = false;
        low = end + 1;
    }
    buf_z(out, ") ");
}

void gbnf_whole(struct buf *out, int64_t low, int64_t high)
{
    buf_char(out, '(');
    if (low < 0) {
        buf_z(out, "\"-\" ");
        positive(out, high < 0 ? -high : 1, -low);
    }
    if (high >= 0) {
        buf_z(out, low < 0 ? "| " : "");
        positive(out, low < 0 ? 0 : low, high);
    }
    buf_z(out, ") ");
}

/* ---- keys ---- */

static size_t character_len(struct str s, size_t at)
{
    unsigned char c = (unsigned char)s.ptr[at];
    size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    return at + n > s.len ? s.len - at : n;
}

static int by_text(const void *a, const void *b)
{
    const struct str *x = a;
    const struct str *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = n == 0 ? 0 : memcmp(x->ptr, y->ptr, n);
    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

/* What may follow the `at` bytes that these sorted names have in common, so that the whole is none
 * of them. Recursion: one character of a name a call; names are at most 256 bytes. */
static void not_these(struct buf *out, const struct str *names, size_t n, size_t at)
{
    bool taken = n > 0 && names[0].len == at;
    size_t from = taken ? 1 : 0;
    buf_char(out, '(');
    if (!taken) {
        buf_z(out, "| ");
    }
    buf_z(out, "[^\"\\\\\\x00-\\x1F\\x7F");
    for (size_t i = from; i < n; i++) {
        size_t len = character_len(names[i], at);
        if (i > from && character_len(names[i - 1], at) == len &&
            memcmp(names[i].ptr + at, names[i - 1].ptr + at, len) == 0) {
            continue;
        }
        for (size_t k = 0; k < len; k++) {
            escaped(out, (unsigned char)names[i].ptr[at + k], true);
        }
    }
    buf_z(out, "] keychar* ");
    while (from < n) {
        size_t len = character_len(names[from], at);
        size_t to = from + 1;
        while (to < n && names[to].len >= at + len &&
               memcmp(names[to].ptr + at, names[from].ptr + at, len) == 0) {
            to++;
        }
        buf_z(out, "| ");
        gbnf_literal(out, (struct str){.ptr = names[from].ptr + at, .len = len});
        buf_char(out, ' ');
        not_these(out, names + from, to - from, at + len);
        from = to;
    }
    buf_z(out, ") ");
}

void gbnf_other_key(struct buf *out, const struct str *names, size_t n)
{
    struct str *sorted = calloc(n + 1, sizeof *sorted);
    if (sorted == NULL) {
        out->failed = STATUS_NO_MEMORY;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        sorted[i] = names[i];
    }
    qsort(sorted, n, sizeof *sorted, by_text);
    buf_z(out, "\"\\\"\" ");
    not_these(out, sorted, n, 0);
    buf_z(out, "\"\\\"\" ");
    free(sorted);
}

/* ---- patterns ---- */

struct pattern {
    struct str text;
    size_t at;
    unsigned depth;
    struct buf *out;
    struct error *err;
};

static enum status alternatives(struct pattern *p);

static enum status bad(struct pattern *p, enum status s, const char *what)
{
    return error_set(p->err, s, "the pattern at character %zu: %s", p->at + 1, what);
}

static bool more(const struct pattern *p)
{
    return p->at < p->text.len;
}

static char here(const struct pattern *p)
{
    return p->text.ptr[p->at];
}

/* A character of the value as JSON writes it. */
static void value_character(struct pattern *p, struct str c)
{
    if (c.len == 1 && (c.ptr[0] == '"' || c.ptr[0] == '\\')) {
        const char two[] = {'\\', c.ptr[0]};
        gbnf_literal(p->out, (struct str){.ptr = two, .len = 2});
    } else if (c.len == 1 && c.ptr[0] == '\n') {
        gbnf_literal(p->out, STR("\\n"));
    } else if (c.len == 1 && c.ptr[0] == '\t') {
        gbnf_literal(p->out, STR("\\t"));
    } else {
        gbnf_literal(p->out, c);
    }
    buf_char(p->out, ' ');
}

/* \d \w \s and their opposites as the inside of a class; NULL: not one of them. */
static const char *class_escape(char c, bool *negated)
{
    *negated = c == 'D' || c == 'W' || c == 'S';
    switch (c) {
    case 'd':
    case 'D':
        return "0-9";
    case 'w':
    case 'W':
        return "A-Za-z0-9_";
    case 's':
    case 'S':
        return " ";
    default:
        return NULL;
    }
}

/* Behind a backslash: the character meant, as UTF-8 in room. */
static enum status escape(struct pattern *p, char room[5], struct str *out)
{
    char c = here(p);
    size_t n = character_len(p->text, p->at);
    static const char controls[] = "n\nt\tr\rf\fv\v";
    *out = (struct str){.ptr = room, .len = 1};
    if (n > 1) {
        return bad(p, STATUS_INVALID, "an unknown escape");
    }
    p->at++;
    for (const char *k = controls; *k != '\0'; k += 2) {
        if (*k == c) {
            room[0] = k[1];
            return STATUS_OK;
        }
    }
    if (c == 'u' || c == 'x') {
        size_t digits = c == 'u' ? 4 : 2;
        unsigned v = 0;
        for (size_t i = 0; i < digits; i++) {
            char d = more(p) ? here(p) : '\0';
            int h = d >= '0' && d <= '9'   ? d - '0'
                    : d >= 'a' && d <= 'f' ? d - 'a' + 10
                    : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                           : -1;
            if (h < 0) {
                return bad(p, STATUS_INVALID, "\\u wants four hexadecimal digits, \\x two");
            }
            v = v << 4 | (unsigned)h;
            p->at++;
        }
        if (v >= 0xD800 && v <= 0xDFFF) {
            return bad(p, STATUS_UNSUPPORTED, "half of a surrogate pair");
        }
        if (v < 0x80) {
            room[0] = (char)v;
        } else if (v < 0x800) {
            room[0] = (char)(0xC0 | v >> 6);
            room[1] = (char)(0x80 | (v & 0x3F));
            out->len = 2;
        } else {
            room[0] = (char)(0xE0 | v >> 12);
            room[1] = (char)(0x80 | (v >> 6 & 0x3F));
            room[2] = (char)(0x80 | (v & 0x3F));
            out->len = 3;
        }
        return STATUS_OK;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
        p->at--;
        return bad(p, STATUS_UNSUPPORTED, "this escape cannot be decoded to (no \\b, \\p or \\1)");
    }
    room[0] = c;
    return STATUS_OK;
}

static void class_character(struct buf *out, struct str c)
{
    for (size_t i = 0; i < c.len; i++) {
        escaped(out, (unsigned char)c.ptr[i], true);
    }
}

/* Within [ ]: one character or \d and its kin (*set). */
static enum status class_item(struct pattern *p, char room[5], struct str *c, const char **set)
{
    *set = NULL;
    if (here(p) != '\\') {
        size_t n = character_len(p->text, p->at);
        *c = (struct str){.ptr = p->text.ptr + p->at, .len = n};
        p->at += n;
        return STATUS_OK;
    }
    bool negated;
    if (++p->at >= p->text.len) {
        return bad(p, STATUS_INVALID, "it ends with a backslash");
    }
    *set = class_escape(here(p), &negated);
    if (*set == NULL) {
        return escape(p, room, c);
    }
    if (negated) {
        return bad(p, STATUS_UNSUPPORTED, "\\D, \\W or \\S within a class");
    }
    p->at++;
    return STATUS_OK;
}

static bool plain(struct str c)
{
    return c.len > 1 || ((unsigned char)c.ptr[0] >= 0x20 && c.ptr[0] != '"' && c.ptr[0] != '\\' &&
                         c.ptr[0] != 0x7F);
}

/* low to high without what JSON escapes; those are added to *quote and *slash. */
static void class_range(struct buf *out, struct str low, struct str high, bool *quote, bool *slash)
{
    static const char forbidden[] = {'"', '\\'};
    unsigned char a = (unsigned char)low.ptr[0];
    unsigned char b = high.len > 1 ? 0x7E : (unsigned char)high.ptr[0];
    if (low.len > 1) {
        class_character(out, low);
        buf_char(out, '-');
        class_character(out, high);
        return;
    }
    a = a < 0x20 ? 0x20 : a;
    b = b == 0x7F ? 0x7E : b;
    *quote = *quote || (a <= '"' && '"' <= b);
    *slash = *slash || (a <= '\\' && '\\' <= b);
    for (size_t i = 0; i < sizeof forbidden; i++) {
        unsigned char f = (unsigned char)forbidden[i];
        if (a <= f && f <= b) {
            if (a < f) {
                escaped(out, a, true);
                buf_char(out, '-');
                escaped(out, (unsigned char)(f - 1), true);
            }
            a = (unsigned char)(f + 1);
        }
    }
    if (a <= b) {
        escaped(out, a, true);
        buf_char(out, '-');
        escaped(out, b, true);
    }
    if (high.len > 1) {
        buf_z(out, "\\u0080-");
        class_character(out, high);
    }
}

static enum status class_of(struct pattern *p)
{
    struct buf inside;
    bool quote = false;
    bool slash = false;
    enum status s = STATUS_OK;
    p->at++;
    bool negated = more(p) && here(p) == '^';
    p->at += negated ? 1 : 0;
    buf_init(&inside, 65536);
    while (s == STATUS_OK && more(p) && here(p) != ']') {
        char room[2][5];
        struct str low = {.ptr = "", .len = 0};
        struct str high;
        const char *set;
        s = class_item(p, room[0], &low, &set);
        if (s != STATUS_OK) {
            break;
        }
        if (set != NULL) {
            buf_z(&inside, set);
            continue;
        }
        high = low;
        if (p->at + 1 < p->text.len && here(p) == '-' && p->text.ptr[p->at + 1] != ']') {
            p->at++;
            s = class_item(p, room[1], &high, &set);
            if (s == STATUS_OK && (set != NULL || by_text(&high, &low) < 0)) {
                s = bad(p, STATUS_INVALID, "a range in a class goes backwards");
            }
            if (s == STATUS_OK) {
                class_range(&inside, low, high, &quote, &slash);
            }
        } else if (plain(low)) {
            class_character(&inside, low);
        } else {
            quote = quote || low.ptr[0] == '"';
            slash = slash || low.ptr[0] == '\\';
        }
    }
    if (s == STATUS_OK && !more(p)) {
        s = bad(p, STATUS_INVALID, "a class has no ]");
    }
    if (s == STATUS_OK) {
        p->at++;
        struct str in = buf_view(&inside);
        if (negated) {
            buf_printf(p->out, "[^\"\\\\\\x00-\\x1F\\x7F%.*s] ", STR_ARG(in));
        } else if (in.len == 0 && !quote && !slash) {
            s = bad(p, STATUS_UNSUPPORTED, "a class of control characters only");
        } else {
            const char *between = "";
            buf_char(p->out, '(');
            if (in.len > 0) {
                buf_printf(p->out, "[%.*s] ", STR_ARG(in));
                between = "| ";
            }
            if (quote) {
                buf_printf(p->out, "%s\"\\\\\\\"\" ", between);
                between = "| ";
            }
            if (slash) {
                buf_printf(p->out, "%s\"\\\\\\\\\" ", between);
            }
            buf_z(p->out, ") ");
        }
    }
    if (s == STATUS_OK && buf_status(&inside) != STATUS_OK) {
        s = bad(p, STATUS_TOO_LARGE, "a class is too long");
    }
    buf_deinit(&inside);
    return s;
}

static enum status group(struct pattern *p)
{
    p->at++;
    if (more(p) && here(p) == '?') {
        if (p->at + 1 >= p->text.len || p->text.ptr[p->at + 1] != ':') {
            return bad(p, STATUS_UNSUPPORTED, "only plain groups and (?: can be decoded to");
        }
        p->at += 2;
    }
    if (++p->depth > PATTERN_DEPTH) {
        return bad(p, STATUS_TOO_LARGE, "groups within groups, too deep");
    }
    buf_char(p->out, '(');
    enum status s = alternatives(p);
    if (s == STATUS_OK && (!more(p) || here(p) != ')')) {
        s = bad(p, STATUS_INVALID, "a group has no )");
    }
    if (s == STATUS_OK) {
        buf_z(p->out, ") ");
        p->at++;
        p->depth--;
    }
    return s;
}

static enum status escaped_atom(struct pattern *p)
{
    char room[5];
    struct str c;
    bool negated;
    if (++p->at >= p->text.len) {
        return bad(p, STATUS_INVALID, "it ends with a backslash");
    }
    const char *set = class_escape(here(p), &negated);
    if (set != NULL) {
        p->at++;
        buf_printf(p->out, negated ? "[^\"\\\\\\x00-\\x1F\\x7F%s] " : "[%s] ", set);
        return STATUS_OK;
    }
    enum status s = escape(p, room, &c);
    if (s == STATUS_OK) {
        value_character(p, c);
    }
    return s;
}

static enum status quantifier(struct pattern *p)
{
    if (!more(p) || here(p) == '\0' || strchr("*+?{", here(p)) == NULL) {
        return STATUS_OK;
    }
    while (p->out->len > 0 && p->out->ptr[p->out->len - 1] == ' ') {
        p->out->len--; /* it belongs to what stands before */
    }
    if (here(p) == '{') {
        const char *close = memchr(p->text.ptr + p->at, '}', p->text.len - p->at);
        size_t n = close == NULL ? 0 : (size_t)(close - p->text.ptr) - p->at + 1;
        for (size_t i = 1; i + 1 < n; i++) {
            char c = p->text.ptr[p->at + i];
            n = (c >= '0' && c <= '9') || c == ',' ? n : 0;
        }
        if (n < 3) {
            return bad(p, STATUS_INVALID, "a repetition is written {n}, {n,} or {n,m}");
        }
        buf_append(p->out, p->text.ptr + p->at, n);
        p->at += n;
    } else {
        buf_char(p->out, here(p));
        p->at++;
    }
    buf_char(p->out, ' ');
    if (more(p) && here(p) == '?') {
        p->at++; /* fewest first: the same texts */
    }
    return STATUS_OK;
}

static enum status sequence(struct pattern *p)
{
    enum status s = STATUS_OK;
    while (s == STATUS_OK && more(p) && here(p) != '|' && here(p) != ')') {
        char c = here(p);
        size_t n = character_len(p->text, p->at);
        if (c == '(') {
            s = group(p);
        } else if (c == '[') {
            s = class_of(p);
        } else if (c == '\\') {
            s = escaped_atom(p);
        } else if (c == '.') {
            buf_z(p->out, "keychar ");
            p->at++;
        } else if (c == '$' && p->depth == 0 &&
                   (p->at + 1 == p->text.len || p->text.ptr[p->at + 1] == '|')) {
            break;
        } else if (strchr("^$*+?{}]", c) != NULL && c != '\0') {
            s = bad(p, STATUS_UNSUPPORTED,
                    "^ only at the beginning and $ only at the end; * + ? { behind something");
        } else {
            value_character(p, (struct str){.ptr = p->text.ptr + p->at, .len = n});
            p->at += n;
        }
        if (s == STATUS_OK) {
            s = quantifier(p);
        }
    }
    return s;
}

static enum status alternatives(struct pattern *p)
{
    for (;;) {
        bool whole = p->depth > 0;
        if (!whole && more(p) && here(p) == '^') {
            p->at++;
        } else if (!whole) {
            buf_z(p->out, "char* ");
        }
        enum status s = sequence(p);
        if (s == STATUS_OK && !whole) {
            bool anchored = more(p) && here(p) == '$';
            p->at += anchored ? 1 : 0;
            buf_z(p->out, anchored ? "" : "char* ");
        }
        if (s != STATUS_OK || !more(p) || here(p) != '|') {
            return s;
        }
        p->at++;
        buf_z(p->out, "| ");
    }
}

enum status gbnf_pattern(struct buf *out, struct str pattern, struct error *err)
{
    struct pattern p = {.text = pattern, .out = out, .err = err};
    enum status s = alternatives(&p);
    if (s == STATUS_OK && more(&p)) {
        s = bad(&p, STATUS_INVALID, "a ) without its (");
    }
    return s;
}
