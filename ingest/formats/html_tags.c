#include "ingest/formats/html_tags.h"

#include <stdbool.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* From behind '<' and a letter to behind the tag's '>', which counts only outside of values in
 * quotes; an apostrophe within a word begins none. */
static size_t shorten(char *p, size_t at, size_t len)
{
    char quote = '\0', before = 'a'; /* the last that is no blank */
    size_t n = 0;
    bool apart = false; /* a word begins */
    for (; at < len; at++) {
        char c = p[at];
        bool drop = n > HTML_ATTRIBUTES_MAX;
        if (quote != '\0') {
            apart = c == quote;
            quote = c == quote ? '\0' : quote;
        } else if (c == '>') {
            return at + 1;
        } else if ((c == '"' || c == '\'') && before == '=') {
            quote = c;
        } else if (is_blank(c) || c == '/') {
            apart = true;
            continue;
        } else if (apart) {
            n += before != '=';
            apart = false;
            drop = n > HTML_ATTRIBUTES_MAX;
        }
        before = c;
        p[at] = drop ? ' ' : c;
    }
    return at;
}

void html_shorten_tags(struct buf *page)
{
    for (size_t at = 0; at + 1 < page->len;) {
        const char *tag = memchr(page->ptr + at, '<', page->len - at - 1);
        if (tag == NULL) {
            return;
        }
        at = (size_t)(tag - page->ptr) + 1;
        if (is_letter(page->ptr[at])) {
            at = shorten(page->ptr, at, page->len);
        }
    }
}
