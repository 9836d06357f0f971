#include "vectorstore/lexical_edits.h"

#include <stddef.h>

void lexical_spell(struct str word, struct lexical_spelling *out)
{
    uint32_t n = 0;
    out->letters = 0;
    for (size_t i = 0; i < word.len && n < LEXICAL_SPELL_POINTS; n++) {
        uint32_t cp = (unsigned char)word.ptr[i++];
        while (i < word.len && ((unsigned char)word.ptr[i] & 0xC0U) == 0x80U) {
            cp = cp << 6 ^ ((unsigned char)word.ptr[i++] & 0x3FU); /* only compared for equality */
        }
        out->points[n] = cp;
        out->letters |= (uint64_t)1 << (cp % 64);
    }
    out->n = n;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t lexical_apart(const struct lexical_spelling *a, const struct lexical_spelling *b,
                       uint32_t most)
{
    uint32_t rows[3][LEXICAL_SPELL_POINTS + 1];
    const uint32_t *x = a->points;
    const uint32_t *y = b->points;
    uint32_t n = a->n;
    uint32_t m = b->n;
    if ((n > m ? n - m : m - n) > most ||
        (uint32_t)__builtin_popcountll(a->letters ^ b->letters) > 2 * most) {
        return most + 1;
    }
    for (uint32_t j = 0; j <= m; j++) {
        rows[0][j] = j;
    }
    for (uint32_t i = 1; i <= n; i++) {
        uint32_t *row = rows[i % 3];
        const uint32_t *above = rows[(i - 1) % 3];
        const uint32_t *before = rows[(i + 1) % 3];
        uint32_t best = row[0] = i;
        for (uint32_t j = 1; j <= m; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (x[i - 1] != y[j - 1]));
            if (i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1]) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
            best = least(best, row[j]);
        }
        if (best > most) {
            return most + 1;
        }
    }
    return least(rows[n % 3][m], most + 1);
}

uint32_t lexical_form_apart(const struct lexical_spelling *word, struct str form, struct str stem,
                            uint32_t most)
{
    struct lexical_spelling have;
    lexical_spell(form, &have);
    uint32_t edits = lexical_apart(word, &have, most);
    if (edits > 1 && !str_eq(form, stem)) {
        lexical_spell(stem, &have);
        uint32_t other = lexical_apart(word, &have, most);
        edits =
            other > 0 ? least(edits, other) : edits; /* 0: another language's stem is this word */
    }
    return edits;
}

uint32_t lexical_trigrams(const struct lexical_spelling *s, uint32_t out[LEXICAL_SPELL_POINTS])
{
    for (uint32_t i = 0; i < s->n; i++) {
        uint64_t h = i == 0 ? 1 : s->points[i - 1];
        h = h * 0x9E3779B97F4A7C15U + s->points[i];
        h = h * 0x9E3779B97F4A7C15U + (i + 1 == s->n ? 1 : s->points[i + 1]);
        h = (h ^ h >> 32) * 0xD6E8FEB86659FD93U;
        out[i] = (uint32_t)(h >> 32);
    }
    return s->n;
}
