/* Which language a text is in: the script where it decides, else whose function words are
 * commonest. */
#include <stdlib.h>

#include "base/text/internal.h"

#define SAMPLE_BYTES ((size_t)64 * 1024)

struct votes {
    struct text_analyzer *a;
    uint32_t words;
    uint32_t hits[TEXT_MAX_LANGUAGES];
    uint32_t han, kana, hangul, thai, arabic, devanagari, cyrillic, greek, hebrew, latin;
    uint32_t armenian, tamil;
};

/* Function word -> the languages that have it. */
static void make_sets(struct text_analyzer *a)
{
    a->languages_of_made = true;
    size_t total = 0;
    for (size_t l = 1; l < text_n_languages; l++) {
        (void)text_is_function_word(a, l, STR("-")); /* makes the list */
        total += a->function_words[l].len;
    }
    a->language_sets = calloc(total + 1, sizeof(*a->language_sets));
    if (a->language_sets == NULL) {
        return; /* nothing is detected */
    }
    size_t used = 0;
    for (size_t l = 1; l < text_n_languages; l++) {
        size_t pos = 0;
        struct str word;
        void *ignored;
        while (map_next(&a->function_words[l], &pos, &word, &ignored)) {
            uint64_t *set = map_get(&a->languages_of, word);
            if (set == NULL) {
                set = &a->language_sets[used];
                if (map_put(&a->languages_of, word, set, NULL) != STATUS_OK) {
                    return;
                }
                used++;
            }
            *set |= (uint64_t)1 << l;
        }
    }
}

static void count_script(struct votes *v, uint32_t c)
{
    if (c < 0x0250 || (c >= 0x1E00 && c <= 0x1EFF)) {
        v->latin++;
    } else if (c >= 0x0370 && c <= 0x03FF) {
        v->greek++;
    } else if (c >= 0x0400 && c <= 0x052F) {
        v->cyrillic++;
    } else if (c >= 0x0530 && c <= 0x058F) {
        v->armenian++;
    } else if (c >= 0x0590 && c <= 0x05FF) {
        v->hebrew++;
    } else if (c >= 0x0600 && c <= 0x077F) {
        v->arabic++;
    } else if (c >= 0x0900 && c <= 0x097F) {
        v->devanagari++;
    } else if (c >= 0x0B80 && c <= 0x0BFF) {
        v->tamil++;
    } else if (c >= 0x0E00 && c <= 0x0E7F) {
        v->thai++;
    } else if (c >= 0x3041 && c <= 0x30FF) {
        v->kana++;
    } else if (c >= 0xAC00 && c <= 0xD7A3) {
        v->hangul++;
    } else if ((c >= 0x3400 && c <= 0x9FFF) || (c >= 0x20000 && c <= 0x3FFFF)) {
        v->han++;
    }
}

static bool on_token(const struct text_token *t, void *data)
{
    struct votes *v = data;
    size_t used;
    if (t->kind == TEXT_CJK_BIGRAM || text_is_whole(t->kind)) {
        return true;
    }
    count_script(v, text_decode(t->norm.ptr, t->norm.len, &used));
    if (t->kind != TEXT_WORD) {
        return true;
    }
    v->words++;
    const uint64_t *set = map_get(&v->a->languages_of, t->norm);
    if (set != NULL) {
        for (uint64_t s = *set; s != 0; s &= s - 1) {
            v->hits[__builtin_ctzll(s)]++;
        }
    }
    return true;
}

/* The best of the languages by function words, among those of the script; "" when none stands out.
 */
static const char *by_words(const struct votes *v, bool latin, const char *otherwise)
{
    size_t best = 0;
    uint32_t first = 0, second = 0;
    for (size_t l = 1; l < text_n_languages; l++) {
        if (text_languages[l].latin != latin &&
            !(latin && strcmp(text_languages[l].code, "sr") == 0)) {
            continue;
        }
        if (v->hits[l] > first) {
            second = first;
            first = v->hits[l];
            best = l;
        } else if (v->hits[l] > second) {
            second = v->hits[l];
        }
    }
    /* lists of part numbers have a few words that look like somebody's articles */
    bool enough = v->words < 40 ? first >= 1 : first * 16 >= v->words;
    return enough && first > second ? text_languages[best].code : otherwise;
}

const char *text_detect_language(struct text_analyzer *a, struct str utf8)
{
    if (!a->languages_of_made) {
        make_sets(a);
    }
    struct votes v = {.a = a};
    if (utf8.len > SAMPLE_BYTES) {
        utf8.len = SAMPLE_BYTES;
    }
    text_analyze(a, utf8, "", on_token, &v);
    /* a CJK character is about half a word */
    uint32_t dense = v.han + v.kana + v.hangul;
    uint32_t rest =
        v.arabic + v.devanagari + v.cyrillic + v.greek + v.hebrew + v.latin + v.armenian + v.tamil;
    if (dense > rest * 2 || (dense > 0 && rest == 0)) {
        if (v.kana * 10 > dense) {
            return "ja";
        }
        return v.hangul * 2 > dense ? "ko" : "zh";
    }
    struct {
        uint32_t n;
        const char *language;
        bool words;
    } scripts[] = {
        {v.latin, "", true},        {v.cyrillic, "ru", true}, {v.arabic, "ar", true},
        {v.devanagari, "hi", true}, {v.greek, "el", false},   {v.hebrew, "he", false},
        {v.armenian, "hy", false},  {v.tamil, "ta", false},   {v.thai / 3, "th", false},
    };
    size_t best = 0;
    for (size_t i = 1; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        if (scripts[i].n > scripts[best].n) {
            best = i;
        }
    }
    if (scripts[best].n == 0) {
        return "";
    }
    return scripts[best].words ? by_words(&v, best == 0, scripts[best].language)
                               : scripts[best].language;
}
