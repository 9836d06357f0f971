/* The character 4-grams of a word. */
#include "base/text/internal.h"

static uint64_t gram_hash(const char *p, size_t len)
{
    uint64_t h = 0x243F6A8885A308D3U ^ len, w;
    for (; len > 8; p += 8, len -= 8) {
        memcpy(&w, p, 8);
        h = (h ^ w) * 0x9E3779B97F4A7C15U;
        h ^= h >> 29;
    }
    w = 0;
    for (size_t i = 0; i < len; i++) { /* the same on every machine */
        w |= (uint64_t)(unsigned char)p[i] << (8 * i);
    }
    h = (h ^ w) * 0x9E3779B97F4A7C15U;
    h ^= h >> 29;
    h *= 0xff51afd7ed558ccdU;
    return h ^ h >> 32;
}

void text_grams(const struct text_token *t, text_gram_fn fn, void *data)
{
    if (t->kind == TEXT_JOINED) {
        return;
    }
    if (t->kind != TEXT_WORD) {
        fn(gram_hash(t->norm.ptr, t->norm.len), data);
        return;
    }
    char word[TEXT_WORD_MAX_BYTES * 2 + 2];
    size_t len = 0;
    word[len++] = '_';
    memcpy(word + len, t->norm.ptr, t->norm.len);
    len += t->norm.len;
    word[len++] = '_';
    size_t starts[4], n = 0; /* where the last four characters begin */
    for (size_t i = 0; i < len; i++) {
        if (((unsigned char)word[i] & 0xC0) == 0x80) {
            continue;
        }
        if (n >= 4) {
            fn(gram_hash(word + starts[n % 4], i - starts[n % 4]), data);
        }
        starts[n % 4] = i;
        n++;
    }
    size_t first = n >= 4 ? starts[n % 4] : 0;
    fn(gram_hash(word + first, len - first), data);
}
