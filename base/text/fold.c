/* A text as people compare one who look for letters in it. */
#include "base/buf.h"
#include "base/text/internal.h"

void text_fold(struct str s, struct buf *out)
{
    size_t at = 0;
    while (at < s.len) {
        char word[TEXT_WORD_MAX_BYTES];
        size_t from = at;
        size_t used = 0;
        enum text_class class = TEXT_CLASS_SEPARATOR;
        for (size_t points = 0; at < s.len && points < TEXT_WORD_MAX_POINTS; points++) {
            uint32_t c = text_decode(s.ptr + at, s.len - at, &used);
            class = c == TEXT_INVALID ? TEXT_CLASS_SEPARATOR : text_class_of(c);
            if (class == TEXT_CLASS_SEPARATOR) {
                break;
            }
            at += used;
        }
        if (at > from) {
            size_t n = text_normalise(s.ptr + from, at - from, false, word);
            buf_append(out, word, text_strip_accents(word, n, sizeof word));
        }
        if (class == TEXT_CLASS_SEPARATOR && at < s.len) {
            uint32_t c = text_decode(s.ptr + at, s.len - at, &used);
            if (c != TEXT_INVALID) {
                buf_append(out, s.ptr + at, used);
            }
            at += used;
        }
    }
}
