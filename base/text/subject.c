#include "base/text/subject.h"

#include <stdlib.h>
#include <string.h>

#include "base/text/internal.h"

/* Places of the normalised stream are kept for so long: more than SUBJECT_LENGTH_MAX and a word. */
#define RING 1024U

struct start {     /* a word begins */
    uint64_t at;   /* place in the normalised stream, counted from 1; 0: none */
    uint64_t roll; /* of everything before it */
    size_t source; /* byte of the text */
};

struct subject_set {
    uint8_t key[KEYED_KEY_BYTES];
    uint64_t base;
    struct subject_mark marks[SUBJECTS_MAX];
    uint64_t power[SUBJECTS_MAX]; /* base to the length of the mark */
    size_t n;
    struct start starts[RING];
    char bytes[RING];
};

/* ---- words ---- */

struct word {
    size_t start, end; /* bytes of the text */
    char norm[TEXT_WORD_MAX_BYTES];
    size_t len;
};

static bool plain(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Most words are ASCII; the general way gives the same. */
static bool plain_word(struct str text, size_t at, struct word *out)
{
    size_t end = at;
    size_t n = 0;
    while (end < text.len && plain((unsigned char)text.ptr[end])) {
        char c = text.ptr[end++];
        if (n < TEXT_WORD_MAX_POINTS) {
            out->norm[n++] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        } else {
            return false;
        }
    }
    if (n == 0 || (end < text.len && (unsigned char)text.ptr[end] >= 0x80)) {
        return false;
    }
    out->start = at;
    out->end = end;
    out->len = n;
    return true;
}

/* The next word at or after *at; longer ones in pieces of TEXT_WORD_MAX_POINTS. */
static bool next_word(struct str text, size_t *at, struct word *out)
{
    size_t i = *at;
    size_t points = 0;
    bool one = false; /* a character that is a word of its own, with its marks */
    while (i < text.len) {
        size_t used = 1;
        if (points == 0 && plain_word(text, i, out)) {
            *at = out->end;
            return true;
        }
        uint32_t cp = text_decode(text.ptr + i, text.len - i, &used);
        enum text_class class = cp == TEXT_INVALID ? TEXT_CLASS_SEPARATOR : text_class_of(cp);
        bool begins = class == TEXT_CLASS_WORD || class == TEXT_CLASS_DENSE;
        if (points == 0 && !begins) {
            i += used;
            continue;
        }
        bool goes_on = points == 0 || class == TEXT_CLASS_MARK || class == TEXT_CLASS_IGNORE ||
                       (class == TEXT_CLASS_WORD && !one);
        if (!goes_on || points == TEXT_WORD_MAX_POINTS) {
            break;
        }
        if (points++ == 0) {
            out->start = i;
            one = class == TEXT_CLASS_DENSE;
        }
        i += used;
    }
    *at = i;
    if (points == 0) {
        return false;
    }
    out->end = i;
    out->len = text_normalise(text.ptr + out->start, i - out->start, false, out->norm);
    out->len = text_strip_accents(out->norm, out->len, sizeof out->norm);
    return true;
}

/* ---- marks ---- */

static uint64_t base_of(const uint8_t key[KEYED_KEY_BYTES])
{
    static const char what[] = "subjects: base of the rolling hash";
    uint8_t h[KEYED_BYTES];
    uint64_t base;
    keyed_hash(key, what, sizeof what, h);
    memcpy(&base, h, sizeof base);
    return base | 1;
}

enum status subject_mark_make(const uint8_t key[KEYED_KEY_BYTES], struct str identifier,
                              struct subject_mark *out, struct error *err)
{
    char norm[SUBJECT_LENGTH_MAX];
    size_t n = 0;
    size_t at = 0;
    struct word w;
    uint64_t base = base_of(key);
    bool fits = identifier.len <= SUBJECT_TEXT_MAX;
    while (fits && next_word(identifier, &at, &w)) {
        fits = n + w.len <= sizeof norm;
        if (fits) {
            memcpy(norm + n, w.norm, w.len);
            n += w.len;
        }
    }
    if (!fits || n < SUBJECT_LENGTH_MIN) {
        return error_set(err, STATUS_INVALID,
                         fits ? "an identifier of a data subject must have at least %u letters or "
                                "digits: a shorter one stands in too much that is not meant"
                              : "an identifier of a data subject is at most %u bytes long",
                         fits ? SUBJECT_LENGTH_MIN : SUBJECT_LENGTH_MAX);
    }
    *out = (struct subject_mark){.length = (uint16_t)n};
    for (size_t i = 0; i < n; i++) {
        out->roll = out->roll * base + (unsigned char)norm[i] + 1;
    }
    keyed_hash(key, norm, n, out->keyed);
    explicit_bzero(norm, sizeof norm);
    return STATUS_OK;
}

void subject_mark_pack(const struct subject_mark *m, uint8_t out[SUBJECT_MARK_BYTES])
{
    out[0] = (uint8_t)(m->length & 0xFF);
    out[1] = (uint8_t)(m->length >> 8);
    for (int i = 0; i < 8; i++) {
        out[2 + i] = (uint8_t)(m->roll >> (8 * i));
    }
    memcpy(out + 10, m->keyed, KEYED_BYTES);
}

bool subject_mark_unpack(const uint8_t *p, size_t len, struct subject_mark *out)
{
    if (len != SUBJECT_MARK_BYTES) {
        return false;
    }
    out->length = (uint16_t)(p[0] | p[1] << 8);
    out->roll = 0;
    for (int i = 7; i >= 0; i--) {
        out->roll = out->roll << 8 | p[2 + i];
    }
    memcpy(out->keyed, p + 10, KEYED_BYTES);
    return out->length >= SUBJECT_LENGTH_MIN && out->length <= SUBJECT_LENGTH_MAX;
}

/* ---- looking ---- */

struct subject_set *subject_set_new(const uint8_t key[KEYED_KEY_BYTES],
                                    const struct subject_mark *marks, size_t n)
{
    struct subject_set *s = n > SUBJECTS_MAX ? NULL : calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    memcpy(s->key, key, sizeof s->key);
    s->base = base_of(key);
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        s->marks[i] = marks[i];
        s->power[i] = 1;
        for (size_t k = 0; k < marks[i].length; k++) {
            s->power[i] *= s->base;
        }
    }
    return s;
}

enum status subject_set_unpack(const uint8_t key[KEYED_KEY_BYTES], const struct str *packed,
                               size_t n, struct subject_set **out, struct error *err)
{
    struct subject_mark marks[SUBJECTS_MAX];
    bool good = n <= SUBJECTS_MAX;
    for (size_t i = 0; good && i < n; i++) {
        good = subject_mark_unpack((const uint8_t *)packed[i].ptr, packed[i].len, &marks[i]);
    }
    if (!good) {
        return error_set(err, STATUS_INVALID, "these are no marks of data subjects");
    }
    *out = subject_set_new(key, marks, n);
    return *out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

void subject_set_free(struct subject_set *s)
{
    if (s != NULL) {
        explicit_bzero(s, sizeof *s);
        free(s);
    }
}

static bool confirmed(const struct subject_set *s, const struct subject_mark *m, uint64_t from)
{
    uint8_t keyed[KEYED_BYTES];
    char norm[SUBJECT_LENGTH_MAX];
    for (size_t i = 0; i < m->length; i++) {
        norm[i] = s->bytes[(from + i) % RING];
    }
    keyed_hash(s->key, norm, m->length, keyed);
    return memcmp(keyed, m->keyed, sizeof keyed) == 0;
}

/* What ends at place `at` of the stream with the rolling hash `roll` of everything up to there. */
static bool ended(struct subject_set *s, uint64_t at, uint64_t roll, size_t end,
                  subject_found_fn fn, void *data)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct subject_mark *m = &s->marks[i];
        if (at < m->length + 1U) {
            continue;
        }
        uint64_t from = at - m->length;
        const struct start *w = &s->starts[from % RING];
        if (w->at == from && roll - w->roll * s->power[i] == m->roll && confirmed(s, m, from) &&
            !fn(i, w->source, end, data)) {
            return false;
        }
    }
    return true;
}

void subject_scan(struct subject_set *s, struct str text, subject_found_fn fn, void *data)
{
    struct word w;
    size_t at = 0;
    size_t last = 0;
    uint64_t place = 1;
    uint64_t roll = 0;
    memset(s->starts, 0, sizeof s->starts);
    while (next_word(text, &at, &w)) {
        if (w.len == 0) {
            continue;
        }
        if (w.start - last > SUBJECT_GAP_MAX) {
            place += RING; /* nothing reaches across */
        }
        last = w.end;
        s->starts[place % RING] = (struct start){.at = place, .roll = roll, .source = w.start};
        for (size_t i = 0; i < w.len; i++) {
            s->bytes[place++ % RING] = w.norm[i];
            roll = roll * s->base + (unsigned char)w.norm[i] + 1;
        }
        if (!ended(s, place, roll, w.end, fn, data)) {
            return;
        }
    }
}

static bool note(size_t mark, size_t start, size_t end, void *data)
{
    (void)mark;
    (void)start;
    (void)end;
    *(bool *)data = true;
    return false;
}

bool subject_in(struct subject_set *s, struct str text)
{
    bool found = false;
    subject_scan(s, text, note, &found);
    return found;
}

/* ---- masking ---- */

struct masking {
    char *covered; /* one a byte of the text */
};

static bool cover(size_t mark, size_t start, size_t end, void *data)
{
    (void)mark;
    struct masking *m = data;
    memset(m->covered + start, 1, end - start);
    return true;
}

size_t subject_masked(struct subject_set *s, struct str text, char *out, size_t cap)
{
    static const char mask[] = "[...]";
    struct masking m = {.covered = calloc(text.len + 1, 1)};
    size_t n = 0;
    if (cap == 0) {
        free(m.covered);
        return 0;
    }
    if (m.covered != NULL) {
        subject_scan(s, text, cover, &m);
    }
    for (size_t i = 0; i < text.len && n + sizeof mask < cap; i++) {
        if (m.covered == NULL || !m.covered[i]) { /* without memory nothing is shown */
            out[n] = m.covered == NULL ? '?' : text.ptr[i];
            n++;
        } else if (i == 0 || !m.covered[i - 1]) {
            memcpy(out + n, mask, sizeof mask - 1);
            n += sizeof mask - 1;
        }
    }
    out[n] = '\0';
    free(m.covered);
    return n;
}
