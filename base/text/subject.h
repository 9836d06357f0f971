/* Finding a data subject by exact identifiers, completely, without writing an identifier down.
 *
 * An identifier and a text are compared as runs of letters and digits, normalised as the tokenizer
 * does it (NFKC, lower case, no accents), one after the other without what separates them. So
 * "Müller, Änne" stands in "MULLER ÄNNE", in "Mül-\nler Änne" and in "müller/anne"; "DE89 3704" in
 * "DE893704". It must begin and end where a word does: "Ann" does not stand in "Anna". Characters
 * of scripts without spaces are words of their own.
 *
 * A mark is what is kept of an identifier: its length when normalised, a rolling hash (Karp and
 * Rabin 1987) under a secret base, and a keyed hash that confirms. Both mean nothing without the
 * key. */
#ifndef CARREL_BASE_TEXT_SUBJECT_H
#define CARREL_BASE_TEXT_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sign.h"
#include "base/status.h"
#include "base/str.h"

#define SUBJECTS_MAX 64U      /* identifiers in one go */
#define SUBJECT_TEXT_MAX 512U /* bytes of one, as given */
#define SUBJECT_LENGTH_MIN 3U /* bytes, normalised */
#define SUBJECT_LENGTH_MAX 384U
#define SUBJECT_GAP_MAX 64U /* bytes of separators inside what matches */
#define SUBJECT_MARK_BYTES (2 + 8 + KEYED_BYTES)

struct subject_mark {
    uint16_t length;
    uint64_t roll;
    uint8_t keyed[KEYED_BYTES];
};

/* INVALID, not repeating it, when the identifier is too short or too long to look for. */
enum status subject_mark_make(const uint8_t key[KEYED_KEY_BYTES], struct str identifier,
                              struct subject_mark *out, struct error *err) MUST_CHECK;
/* As bytes in a fixed order, and back; false: these are none. */
void subject_mark_pack(const struct subject_mark *m, uint8_t out[SUBJECT_MARK_BYTES]);
bool subject_mark_unpack(const uint8_t *p, size_t len, struct subject_mark *out);

/* What is looked for, ready for scanning; one thread at a time. */
struct subject_set;
/* n up to SUBJECTS_MAX; the marks are copied. Owned (subject_set_free); NULL: out of memory, or
 * more. */
struct subject_set *subject_set_new(const uint8_t key[KEYED_KEY_BYTES],
                                    const struct subject_mark *marks, size_t n);
/* The same of packed marks; INVALID when one is none. */
enum status subject_set_unpack(const uint8_t key[KEYED_KEY_BYTES], const struct str *packed,
                               size_t n, struct subject_set **out, struct error *err) MUST_CHECK;
void subject_set_free(struct subject_set *s); /* NULL is fine */

/* Mark number `mark` stands at bytes [start, end) of the text. false: that is enough. */
typedef bool (*subject_found_fn)(size_t mark, size_t start, size_t end, void *data);
/* Any bytes; what is no UTF-8 separates. Matches in order of their ends. */
void subject_scan(struct subject_set *s, struct str text, subject_found_fn fn, void *data);
/* Does any of them stand there? */
bool subject_in(struct subject_set *s, struct str text);
/* The text with each place that names the subject put as "[...]", cut at cap - 1; returns its
 * length. */
size_t subject_masked(struct subject_set *s, struct str text, char *out, size_t cap);

#endif
