#include "serve/cited.h"

#define WORDS_MIN 8 /* bytes: fewer would be found anywhere */

static bool blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool starts_character(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

static struct str trim(struct str s)
{
    while (s.len > 0 && blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && blank(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

/* The words that a mark stands behind: back to the mark before, or the start of the line. */
static struct str words_before(struct str answer, uint32_t mark)
{
    size_t end = 0;
    for (uint32_t seen = 0; end < answer.len; end++) {
        if (starts_character(answer.ptr[end]) && seen++ == mark) {
            break;
        }
    }
    size_t from = end;
    while (from > 0 && blank(answer.ptr[from - 1])) {
        from--;
    }
    while (from > 0 &&
           answer.ptr[from - 1] == ']') { /* "[1][2]": both stand behind the same words */
        while (from > 0 && answer.ptr[--from] != '[') {
        }
        while (from > 0 && blank(answer.ptr[from - 1])) {
            from--;
        }
    }
    end = from;
    while (from > 0 && answer.ptr[from - 1] != '\n' && answer.ptr[from - 1] != ']') {
        from--;
    }
    return trim((struct str){answer.ptr + from, end - from});
}

static bool matches(struct str text, size_t at, struct str words)
{
    size_t i = 0;
    while (i < words.len) {
        if (blank(words.ptr[i])) {
            if (at == text.len || !blank(text.ptr[at])) {
                return false;
            }
            while (i < words.len && blank(words.ptr[i])) {
                i++;
            }
            while (at < text.len && blank(text.ptr[at])) {
                at++;
            }
        } else if (at == text.len || text.ptr[at++] != words.ptr[i++]) {
            return false;
        }
    }
    return true;
}

uint32_t cited_page(const Vs__Passage *p, struct str answer, uint32_t mark)
{
    struct str text = {(const char *)p->text.data, p->text.len};
    struct str words = words_before(answer, mark);
    if (!p->has_page || p->page == 0 || words.len < WORDS_MIN) {
        return 0;
    }
    uint32_t offset = 0; /* code points of the document's text */
    size_t at = 0;
    for (; at < text.len; at++) {
        if (text.ptr[at] == words.ptr[0] && matches(text, at, words)) {
            break;
        }
        offset += starts_character(text.ptr[at]);
    }
    if (at == text.len) {
        return 0;
    }
    offset += p->start;
    for (size_t i = 0; i < p->n_boxes; i++) {
        const Vs__Box *b = p->boxes[i];
        if (b->has_start && b->has_end && offset >= b->start && offset < b->end) {
            return b->page;
        }
    }
    return 0;
}
