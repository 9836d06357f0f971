/* What an analyzer knows of words: the norm and stem of each, and whether it is a function word.
 *
 * Words of one language repeat: a cache keyed by the spelling (ASCII letters lowered) holds these,
 * so that utf8proc and the stemmers see each spelling once. The cache is bounded and simply emptied
 * when full. */
#include <stdlib.h>

#include "base/text/internal.h"

#define CACHE_WORDS 49152
#define CACHE_BYTES ((size_t)3 * 1024 * 1024)

enum status text_analyzer_new(struct text_analyzer **out, struct error *err)
{
    struct text_analyzer *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "text analyzer: out of memory");
    }
    map_init(&a->languages_of);
    for (size_t i = 0; i < TEXT_MAX_LANGUAGES; i++) {
        map_init(&a->function_words[i]);
    }
    *out = a;
    return STATUS_OK;
}

void text_analyzer_free(struct text_analyzer *a)
{
    if (a == NULL) {
        return;
    }
    for (size_t i = 0; i < TEXT_MAX_LANGUAGES; i++) {
        if (a->stemmers[i] != NULL) {
            sb_stemmer_delete(a->stemmers[i]);
        }
        map_deinit(&a->function_words[i]);
    }
    map_deinit(&a->languages_of);
    free(a->language_sets);
    free(a->words);
    free(a->slots);
    free(a);
}

static bool is_turkish(size_t language)
{
    return strcmp(text_languages[language].code, "tr") == 0;
}

bool text_is_function_word(struct text_analyzer *a, size_t language, struct str norm)
{
    struct map *m = &a->function_words[language];
    if (!a->function_words_made[language]) {
        a->function_words_made[language] = true;
        const char *p = text_languages[language].function_words;
        bool turkish = is_turkish(language);
        while (*p != '\0') {
            size_t len = strcspn(p, " ");
            char word[TEXT_WORD_MAX_BYTES * 2];
            size_t n = len > TEXT_WORD_MAX_POINTS ? 0 : text_normalise(p, len, turkish, word);
            n = text_strip_accents(word, n, sizeof(word));
            /* a word that does not fit into memory is only not recognised */
            if (n > 0 && map_put(m, (struct str){word, n}, a, NULL) != STATUS_OK) {
                break;
            }
            p += len + (p[len] == ' ');
        }
    }
    return map_get(m, norm) != NULL;
}

static struct sb_stemmer *stemmer_of(struct text_analyzer *a, size_t language)
{
    if (!a->stemmer_tried[language]) {
        a->stemmer_tried[language] = true;
        if (text_languages[language].stemmer != NULL) {
            a->stemmers[language] = sb_stemmer_new(text_languages[language].stemmer, NULL);
        }
    }
    return a->stemmers[language];
}

size_t text_stem(struct text_analyzer *a, size_t language, const char *norm, size_t len,
                 char out[TEXT_WORD_MAX_BYTES * 2])
{
    struct sb_stemmer *s = stemmer_of(a, language);
    size_t n = len;
    const char *from = norm;
    if (s != NULL) {
        const sb_symbol *r = sb_stemmer_stem(s, (const sb_symbol *)norm, (int)len);
        int got = r == NULL ? 0 : sb_stemmer_length(s);
        if (got > 0 && (size_t)got <= TEXT_WORD_MAX_BYTES) {
            from = (const char *)r;
            n = (size_t)got;
        }
    }
    memcpy(out, from, n);
    return text_strip_accents(out, n, (size_t)TEXT_WORD_MAX_BYTES * 2);
}

/* ---- the cache ---- */

uint64_t text_word_hash(const char *p, size_t len, size_t language)
{
    uint64_t h = (len << 8 | language) * 0x9E3779B97F4A7C15U, w;
    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdU;
        h ^= h >> 32;
    }
    w = 0;
    memcpy(&w, p, len);
    h = (h ^ w) * 0xff51afd7ed558ccdU;
    return h ^ h >> 32;
}

static struct text_word *word_at(const struct text_analyzer *a, uint32_t place)
{
    return (struct text_word *)(void *)(a->words + (size_t)(place - 1) * 8);
}

static void cache_empty(struct text_analyzer *a)
{
    a->n_words = 0;
    a->words_len = 0;
    if (a->slots != NULL) {
        memset(a->slots, 0, a->n_slots * sizeof(*a->slots));
    }
}

static void place_slot(struct text_analyzer *a, struct text_slot slot, uint64_t hash)
{
    size_t s = (size_t)hash & (a->n_slots - 1);
    while (a->slots[s].word != 0) {
        s = (s + 1) & (a->n_slots - 1);
    }
    a->slots[s] = slot;
}

/* Room for one more word of `len` bytes in all. */
static bool cache_reserve(struct text_analyzer *a, size_t len)
{
    if (a->n_words == CACHE_WORDS || a->words_len + len > CACHE_BYTES) {
        cache_empty(a);
    }
    if (a->words_len + len > a->words_cap) {
        size_t cap = a->words_cap == 0 ? (size_t)64 * 1024 : a->words_cap * 2;
        char *words = realloc(a->words, cap);
        if (words == NULL) {
            return false;
        }
        a->words = words;
        a->words_cap = cap;
    }
    if (a->n_words * 4 >= a->n_slots * 3) {
        struct text_slot *old = a->slots;
        size_t n = a->n_slots;
        struct text_slot *slots = calloc(n == 0 ? 2048 : n * 2, sizeof(*slots));
        if (slots == NULL) {
            return false;
        }
        a->slots = slots;
        a->n_slots = n == 0 ? 2048 : n * 2;
        for (size_t i = 0; i < n; i++) {
            if (old[i].word != 0) {
                place_slot(a, old[i], word_at(a, old[i].word)->hash);
            }
        }
        free(old);
    }
    return true;
}

static const struct text_word *cache_find(const struct text_analyzer *a, struct str raw,
                                          size_t language, uint64_t hash)
{
    if (a->n_slots == 0) {
        return NULL;
    }
    for (size_t s = (size_t)hash & (a->n_slots - 1); a->slots[s].word != 0;
         s = (s + 1) & (a->n_slots - 1)) {
        if (a->slots[s].tag != (uint32_t)(hash >> 32)) {
            continue;
        }
        const struct text_word *w = word_at(a, a->slots[s].word);
        if (w->hash == hash && w->raw_len == raw.len && w->language == language &&
            memcmp(w->raw, raw.ptr, raw.len) == 0) {
            return w;
        }
    }
    return NULL;
}

/* Puts `part` behind the word's bytes, unless they begin with it at `at`. */
static uint16_t append_part(struct text_word *w, size_t *len, uint16_t at, const char *part,
                            size_t n)
{
    if (n <= *len - at && memcmp(w->raw + at, part, n) == 0) {
        return at;
    }
    memcpy(w->raw + *len, part, n);
    *len += n;
    return (uint16_t)(*len - n);
}

/* A new spelling; NULL only when out of memory. */

static const struct text_word *cache_add(struct text_analyzer *a, struct str raw, bool ascii,
                                         size_t language, uint64_t hash)
{
    char norm[TEXT_WORD_MAX_BYTES * 2], stemmed[TEXT_WORD_MAX_BYTES * 2];
    bool turkish = is_turkish(language);
    size_t n = raw.len;
    if (ascii && !turkish) {
        memcpy(norm, raw.ptr, n);
    } else {
        n = text_normalise(raw.ptr, n, turkish, norm);
    }
    size_t stem_len = n == 0 ? 0 : text_stem(a, language, norm, n, stemmed);
    n = text_strip_accents(norm, n, sizeof(norm));
    if (!cache_reserve(a, sizeof(struct text_word) + raw.len + n + stem_len + 8)) {
        return NULL;
    }
    uint32_t place = (uint32_t)(a->words_len / 8 + 1);
    struct text_word *w = word_at(a, place);
    *w = (struct text_word){.hash = hash,
                            .raw_len = (uint16_t)raw.len,
                            .norm_len = (uint16_t)n,
                            .stem_len = (uint16_t)stem_len,
                            .language = (uint8_t)language,
                            .function_word =
                                text_is_function_word(a, language, (struct str){norm, n})};
    size_t used = raw.len;
    memcpy(w->raw, raw.ptr, raw.len);
    w->norm_at = append_part(w, &used, 0, norm, n);
    w->stem_at = append_part(w, &used, w->norm_at, stemmed, stem_len);
    a->words_len += (offsetof(struct text_word, raw) + used + 7) / 8 * 8;
    a->n_words++;
    place_slot(a, (struct text_slot){(uint32_t)(hash >> 32), place}, hash);
    return w;
}

const struct text_word *text_word_of(struct text_analyzer *a, struct str raw, bool ascii,
                                     size_t language)
{
    uint64_t hash = text_word_hash(raw.ptr, raw.len, language);
    const struct text_word *w = cache_find(a, raw, language, hash);
    return w == NULL ? cache_add(a, raw, ascii, language, hash) : w;
}
