/* Text analysis: the same at index and at query time. A text is cut into words (runs of letters,
 * digits and combining marks; NFKC, lower case), each normalised and stemmed (Snowball) by
 * language; CJK runs give bigrams and single characters. docs/decisions/text-analysis.md tells the
 * rules and what they were measured to be worth. An analyzer holds stemmers and scratch: one a
 * thread. */
#ifndef CARREL_BASE_TEXT_H
#define CARREL_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

/* Stored with every index; a change means re-indexing. */
#define TEXT_ANALYZER_VERSION 3
/* Of words and characters alone, without codes and joined words: what encoders are fitted on. */
#define TEXT_WORDS_VERSION 1

struct text_analyzer;

enum text_kind {
    TEXT_WORD,       /* a word: norm and stem */
    TEXT_CJK_SINGLE, /* one CJK character */
    TEXT_CJK_BIGRAM, /* two adjacent CJK characters; same position as its first character */
    /* A code, number or address written with separators inside, after its parts and at the last
     * one's position: "AB-1234/7", "9001:2015", "12(3)", "v2.1.0", "1,234.50", "ann@example.com",
     * an IBAN in groups. Norm and stem keep no separator, but "-" between digits (ab1234-7):
     * AB-1234 and AB1234 are one. start and end span all of it. */
    TEXT_CODE,
    /* A word in two or three parts, as one: co-operation gives cooperation and its stem. Placed as
     * a code is. */
    TEXT_JOINED,
};

/* Repeats what the words before it said. */
static inline bool text_is_whole(enum text_kind k)
{
    return k == TEXT_CODE || k == TEXT_JOINED;
}

struct text_token {
    enum text_kind kind;
    struct str
        norm; /* normalised, unstemmed, Latin accents removed; valid until the callback returns */
    struct str stem;   /* what the index holds */
    uint32_t position; /* counts words and CJK characters from 0 */
    uint32_t start;    /* bytes of the input it came from: [start, end) */
    uint32_t end;
    bool function_word; /* an article, pronoun, question word ... of the language */
    uint64_t id;        /* of spelling and language: equal ids mean equal norm and stem */
    bool alone;         /* TEXT_CJK_SINGLE: no neighbour in its run, so no bigram holds it */
};

/* Return false to stop early. */
typedef bool (*text_token_fn)(const struct text_token *t, void *data);

enum status text_analyzer_new(struct text_analyzer **out, struct error *err) MUST_CHECK;
void text_analyzer_free(struct text_analyzer *a);

/* Languages by ISO 639-1 code ("en", "de", ...); "" means unknown: words are normalised and not
 * stemmed. Invalid UTF-8 bytes separate words and are otherwise skipped. */
void text_analyze(struct text_analyzer *a, struct str utf8, const char *language, text_token_fn fn,
                  void *data);
/* The language whose function words are commonest in the first 64 KiB, or whose script decides; ""
 * when nothing does. Static string. */
const char *text_detect_language(struct text_analyzer *a, struct str utf8);
/* Has function words or a stemmer here; a region ("pt-BR") does not matter. */
bool text_language_known(const char *language);
/* Character 4-grams of a normalised word, written _word_ (a shorter one whole), as 64-bit hashes;
 * CJK tokens and codes give themselves, joined words nothing. */
typedef void (*text_gram_fn)(uint64_t gram, void *data);
void text_grams(const struct text_token *t, text_gram_fn fn, void *data);

/* Does one of the names, divided by ";", have every word of `words`? "berg, anna" is in "Änne Berg; Anna Maria
 * Berg". At most 64 characters of a word count. */
bool text_names(struct str names, struct str words);

struct buf;
/* For looking for letters in short texts: words normalised and without Latin accents, what stands
 * between them as it is, bytes that are no UTF-8 left out. "Grüße, ÉTÉ" gives "grusse, ete". Of a
 * text and of its beginning the beginnings are the same, but for a combining mark cut off. */
void text_fold(struct str s, struct buf *out);

/* Checks and measures. */
bool text_utf8_valid(struct str s);    /* no NUL, no surrogate, nothing over-long */
size_t text_code_points(struct str s); /* of valid UTF-8 */
size_t text_byte_offset(struct str s, size_t code_points); /* clamps to s.len */

#endif
