#include "base/glob.h"

#include <stdint.h>
#include <string.h>

enum token_kind { TOKEN_BYTE, TOKEN_ANY, TOKEN_SET, TOKEN_STAR, TOKEN_DEEP, TOKEN_FOLDERS };

struct token {
    enum token_kind kind;
    unsigned char byte;
    const char *set, *set_end; /* between the brackets */
};

/* The end of a set that begins behind `[`; NULL: it has none, the bracket is an ordinary byte. */
static const char *end_of_set(const char *p, const char *end)
{
    const char *start = p;
    start += start < end && (*start == '!' || *start == '^');
    for (const char *q = start; q < end && *q != '/'; q++) {
        if (*q == ']' && q > start) {
            return q;
        }
    }
    return NULL;
}

static bool in_set(const struct token *t, unsigned char c)
{
    const char *p = t->set;
    bool not = *p == '!' || *p == '^';
    bool in = false;
    p += not ;
    while (p < t->set_end) {
        unsigned char low = (unsigned char)*p;
        bool range = p + 2 < t->set_end && p[1] == '-';
        unsigned char high = range ? (unsigned char)p[2] : low;
        in = in || (low <= c && c <= high);
        p += range ? 3 : 1;
    }
    return c != '/' && in != not ;
}

/* One token at p; how many bytes it takes. */
static size_t token_at(const char *pattern, const char *p, const char *end, unsigned flags,
                       struct token *out)
{
    bool sets = (flags & GLOB_SETS) != 0;
    const char *set_end = sets && *p == '[' ? end_of_set(p + 1, end) : NULL;
    *out = (struct token){.kind = TOKEN_BYTE, .byte = (unsigned char)*p};
    if (*p == '*' && p + 1 < end && p[1] == '*') {
        const char *q = p;
        while (q < end && *q == '*') {
            q++;
        }
        bool folders = (p == pattern || p[-1] == '/') && q < end && *q == '/';
        out->kind = folders ? TOKEN_FOLDERS : TOKEN_DEEP;
        return (size_t)(q - p) + folders;
    }
    if (*p == '*' || *p == '?') {
        out->kind = *p == '*' ? TOKEN_STAR : TOKEN_ANY;
    } else if (set_end != NULL) {
        *out = (struct token){.kind = TOKEN_SET, .set = p + 1, .set_end = set_end};
        return (size_t)(set_end + 1 - p);
    } else if (sets && *p == '\\' && p + 1 < end) {
        out->byte = (unsigned char)p[1];
        return 2;
    }
    return 1;
}

static size_t tokenize(const char *pattern, unsigned flags, struct token *out)
{
    size_t len = strnlen(pattern, GLOB_MAX);
    const char *end = pattern + len;
    size_t n = 0;
    for (const char *p = pattern; p < end;) {
        p += token_at(pattern, p, end, flags, &out[n++]);
    }
    if (len > 0 && end[-1] == '/') {
        out[n++] = (struct token){.kind = TOKEN_DEEP};
    }
    return n;
}

/* Every place of the pattern that the path read so far may stand at. Tokens that match nothing are
 * stepped over at once. */
static void step_over(const struct token *t, size_t n, bool *at, bool after_slash)
{
    for (size_t i = 0; i < n; i++) {
        bool empty = t[i].kind == TOKEN_STAR || t[i].kind == TOKEN_DEEP ||
                     (t[i].kind == TOKEN_FOLDERS && after_slash);
        if (at[i] && empty) {
            at[i + 1] = true;
        }
    }
}

static void step(const struct token *t, size_t i, unsigned char c, bool *next)
{
    switch (t->kind) {
    case TOKEN_BYTE:
        next[i + 1] = next[i + 1] || c == t->byte;
        break;
    case TOKEN_ANY:
        next[i + 1] = next[i + 1] || c != '/';
        break;
    case TOKEN_SET:
        next[i + 1] = next[i + 1] || in_set(t, c);
        break;
    case TOKEN_STAR:
        next[i] = next[i] || c != '/';
        break;
    case TOKEN_DEEP:
    case TOKEN_FOLDERS:
        next[i] = true;
        break;
    }
}

bool glob_match(const char *pattern, struct str path, unsigned flags)
{
    struct token t[GLOB_MAX + 2];
    bool now[GLOB_MAX + 3] = {true};
    size_t n = tokenize(pattern, flags, t);
    step_over(t, n, now, true);
    for (size_t k = 0; k < path.len; k++) {
        bool next[GLOB_MAX + 3] = {false};
        for (size_t i = 0; i < n; i++) {
            if (now[i]) {
                step(&t[i], i, (unsigned char)path.ptr[k], next);
            }
        }
        step_over(t, n, next, path.ptr[k] == '/');
        memcpy(now, next, sizeof now);
    }
    return now[n];
}
