#include "base/model_line.h"

void model_line_add(struct model_line *l, const char *piece)
{
    size_t len = strlen(piece);
    if (len >= sizeof l->text - l->len) {
        l->len = sizeof l->text; /* none any more */
    } else {
        memcpy(l->text + l->len, piece, len);
        l->len += len;
    }
}

void model_line_end(struct model_line *l)
{
    size_t from = 0;
    size_t to = l->len < sizeof l->text ? l->len : 0;
    while (from < to && strchr(" \t\r\n\"", l->text[from]) != NULL) {
        from++;
    }
    for (size_t i = from; i < to; i++) {
        to = l->text[i] == '\n' || l->text[i] == '\r' ? i : to;
    }
    while (to > from && strchr(" \t\"", l->text[to - 1]) != NULL) {
        to--;
    }
    memmove(l->text, l->text + from, to - from);
    l->text[to - from] = '\0';
}
