#include "serve/rewritten.h"

void rewritten_add(struct rewritten *r, const char *piece)
{
    size_t len = strlen(piece);
    if (len >= sizeof r->text - r->len) {
        r->len = sizeof r->text; /* no question any more */
    } else {
        memcpy(r->text + r->len, piece, len);
        r->len += len;
    }
}

void rewritten_end(struct rewritten *r, struct str asked)
{
    size_t from = 0;
    size_t to = r->len < sizeof r->text ? r->len : 0;
    while (from < to && strchr(" \t\r\n\"", r->text[from]) != NULL) {
        from++;
    }
    for (size_t i = from; i < to; i++) {
        if (r->text[i] == '\n' || r->text[i] == '\r') {
            to = i;
        }
    }
    while (to > from && strchr(" \t\"", r->text[to - 1]) != NULL) {
        to--;
    }
    memmove(r->text, r->text + from, to - from);
    r->text[to - from] = '\0';
    if (str_eq(str_from(r->text), asked)) {
        r->text[0] = '\0';
    }
}
