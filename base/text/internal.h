/* What the files of base/text share; nobody else includes it. */
#ifndef CARREL_BASE_TEXT_INTERNAL_H
#define CARREL_BASE_TEXT_INTERNAL_H

#include <libstemmer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/text/text.h"

/* Longer words (base64, DNA) count by their beginning. */
#define TEXT_WORD_MAX_POINTS 64
#define TEXT_WORD_MAX_BYTES (TEXT_WORD_MAX_POINTS * 4)
/* One compatibility character becomes at most 18 (U+FDFA). */
#define TEXT_WORD_MAX_DECOMPOSED (TEXT_WORD_MAX_POINTS * 18)

/* Longer codes are found by their parts. */
#define TEXT_CODE_MAX 128
#define TEXT_IBAN_MAX 34

#define TEXT_INVALID 0xFFFFFFFFU

/* The code point at p (len > 0) and its length in bytes; TEXT_INVALID and 1 for a bad byte. */
uint32_t text_decode(const char *p, size_t len, size_t *used);
/* Writes 1 to 4 bytes. */
size_t text_encode(uint32_t cp, char out[4]);

enum text_class {
    TEXT_CLASS_SEPARATOR,
    TEXT_CLASS_WORD,   /* letters and digits of scripts that separate words */
    TEXT_CLASS_MARK,   /* continues what it follows */
    TEXT_CLASS_DENSE,  /* scripts without spaces between words: CJK, Hangul, Thai, ... */
    TEXT_CLASS_IGNORE, /* soft hyphen and joiners: inside a word, not part of it */
};
enum text_class text_class_of(uint32_t cp);

/* NFKC, lower case, foldings by script, into out; returns the length in bytes, 0 when nothing is
 * left. raw holds at most TEXT_WORD_MAX_POINTS valid code points. `turkish`: I becomes dotless. */
size_t text_normalise(const char *raw, size_t len, bool turkish, char out[TEXT_WORD_MAX_BYTES]);
/* Latin letters without their accents, in place; returns the new length. cap is the room at s. */
size_t text_strip_accents(char *s, size_t len, size_t cap);

struct text_language {
    const char *code;           /* ISO 639-1 */
    const char *stemmer;        /* libstemmer's name, NULL: none */
    bool latin;                 /* written in Latin letters */
    const char *function_words; /* separated by spaces */
};
/* Entry 0 is the unknown language "". */
extern const struct text_language text_languages[];
extern const size_t text_n_languages;
#define TEXT_MAX_LANGUAGES 48
/* 0 when unknown. A region ("pt-BR") is ignored. */
size_t text_language_index(const char *code);

/* One distinct spelling in one language; its bytes follow it, norm and stem sharing them where they
 * can. Small and in order of first appearance, so that the common words of a text stay in the
 * processor's cache. */
struct text_word {
    uint64_t hash;
    uint16_t raw_len, norm_at, norm_len, stem_at, stem_len;
    uint8_t language;
    bool function_word;
    char raw[];
};

struct text_analyzer {
    struct sb_stemmer *stemmers[TEXT_MAX_LANGUAGES]; /* made at first use */
    bool stemmer_tried[TEXT_MAX_LANGUAGES];
    struct map function_words[TEXT_MAX_LANGUAGES];
    bool function_words_made[TEXT_MAX_LANGUAGES];
    struct map
        languages_of; /* function word -> bit set of languages, for detection; made at first use */
    uint64_t *language_sets;
    bool languages_of_made;
    /* The cache of words: emptied when full. */
    char *words; /* struct text_word one after the other, each at a multiple of 8 */
    size_t words_len, words_cap;
    struct text_slot {
        uint32_t tag;  /* upper half of the hash: most strangers are told without visiting them */
        uint32_t word; /* place in `words` / 8 + 1; 0: free */
    } * slots;
    size_t n_words, n_slots;
};

/* The stem of a normalised word, or itself; returns its length. */
size_t text_stem(struct text_analyzer *a, size_t language, const char *norm, size_t len,
                 char out[TEXT_WORD_MAX_BYTES * 2]);
/* Of a spelling in a language. */
uint64_t text_word_hash(const char *p, size_t len, size_t language);
/* The word of this spelling, whose ASCII letters are lower case (ascii: it has no others); new ones
 * are made. Valid until the next call; NULL only when out of memory. */
const struct text_word *text_word_of(struct text_analyzer *a, struct str raw, bool ascii,
                                     size_t language);
/* The words of a language's list, normalised as tokens are; false when out of memory. */
bool text_is_function_word(struct text_analyzer *a, size_t language, struct str norm);

#endif
