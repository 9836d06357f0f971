#include "cli/lines.h"

#include <string.h>

void lines_init(struct lines *l)
{
    l->len = 0;
    l->inside = false;
}

static void give(struct lines *l, bool more, lines_emit *emit, void *data)
{
    emit(data, (struct str){.ptr = l->pending, .len = l->len}, l->inside, more);
    l->len = 0;
    l->inside = more;
}

void lines_feed(struct lines *l, const char *p, size_t n, lines_emit *emit, void *data)
{
    while (n > 0) {
        const char *end = memchr(p, '\n', n);
        size_t take = end == NULL ? n : (size_t)(end - p);
        size_t room = LINES_MAX - l->len;
        if (take > room) {
            memcpy(l->pending + l->len, p, room);
            l->len += room;
            p += room;
            n -= room;
            give(l, true, emit, data);
            continue;
        }
        memcpy(l->pending + l->len, p, take);
        l->len += take;
        p += take;
        n -= take;
        if (end != NULL) {
            give(l, false, emit, data);
            p++;
            n--;
        }
    }
}

void lines_end(struct lines *l, lines_emit *emit, void *data)
{
    if (l->len > 0 || l->inside) {
        give(l, false, emit, data);
    }
}
