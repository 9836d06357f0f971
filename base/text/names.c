/* Names of people, looked for by their words: letters' case, accents and what stands between the
 * words aside. */
#include "base/text/internal.h"

/* The next word, normalised; 0: there is none left. */
static size_t next_word(struct str *left, char out[TEXT_WORD_MAX_BYTES])
{
    while (left->len > 0) {
        size_t used = 0;
        size_t points = 0;
        size_t n = 0;
        while (left->len > n && points < TEXT_WORD_MAX_POINTS) {
            uint32_t c = text_decode(left->ptr + n, left->len - n, &used);
            enum text_class class = c == TEXT_INVALID ? TEXT_CLASS_SEPARATOR : text_class_of(c);
            if (class == TEXT_CLASS_SEPARATOR) {
                break;
            }
            n += used;
            points++;
        }
        size_t len = n == 0 ? 0 : text_normalise(left->ptr, n, false, out);
        len = len == 0 ? 0 : text_strip_accents(out, len, TEXT_WORD_MAX_BYTES);
        n += n == 0 ? used : 0;
        left->ptr += n;
        left->len -= n;
        if (len > 0) {
            return len;
        }
    }
    return 0;
}

static bool has_word(struct str name, const char *word, size_t len)
{
    char other[TEXT_WORD_MAX_BYTES];
    for (size_t n = next_word(&name, other); n > 0; n = next_word(&name, other)) {
        if (n == len && memcmp(other, word, n) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_all(struct str name, struct str words)
{
    char word[TEXT_WORD_MAX_BYTES];
    size_t found = 0;
    for (size_t n = next_word(&words, word); n > 0; n = next_word(&words, word)) {
        if (!has_word(name, word, n)) {
            return false;
        }
        found++;
    }
    return found > 0;
}

bool text_names(struct str names, struct str words)
{
    while (names.len > 0) {
        const char *end = memchr(names.ptr, ';', names.len);
        size_t n = end == NULL ? names.len : (size_t)(end - names.ptr);
        if (has_all((struct str){names.ptr, n}, words)) {
            return true;
        }
        n += n < names.len ? 1 : 0;
        names.ptr += n;
        names.len -= n;
    }
    return false;
}
