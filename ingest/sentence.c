#include "ingest/sentence.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <strings.h>

#include "ingest/utf8.h"

#define LOOK_AHEAD 20000 /* bytes; a sentence longer than this is cut by words anyhow */

struct sentence_splitter {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
};

/* Closing marks may follow the stop. Chinese and Japanese stops need no space after them. */
static const char pattern[] = "[.!?\\x{2026}\\x{61F}\\x{6D4}\\x{964}]+[\\p{Pe}\\p{Pf}\"']*+\\s++"
                              "|[\\x{3002}\\x{FF01}\\x{FF1F}\\x{FF61}]+[\\p{Pe}\\p{Pf}\"']*+\\s*+"
                              "|\\n\\s*+";

static const char *const abbreviations[] = {
    /* en */ "mr",  "mrs",       "ms",         "dr",        "prof",
    "sr",           "jr",        "st",         "vs",        "etc",
    "e.g",          "i.e",       "cf",         "inc",       "ltd",
    "co",           "corp",      "llc",        "no",        "nos",
    "vol",          "fig",       "figs",       "sec",       "ch",
    "pp",           "ed",        "eds",        "et al",     "al",
    "approx",       "dept",      "est",        "gov",       "rep",
    "sen",          "gen",       "col",        "capt",      "lt",
    "sgt",          "jan",       "feb",        "mar",       "apr",
    "jun",          "jul",       "aug",        "sep",       "sept",
    "oct",          "nov",       "dec",        "u.s",       "u.k",
    "a.m",          "p.m",       "ph.d",       "art",       "para",
    "ref",          "eq",        "app",
    /* de */ "z.b", "d.h",       "u.a",        "u.\u00E4",  "o.\u00E4",
    "bzw",          "ca",        "evtl",       "ggf",       "inkl",
    "exkl",         "nr",        "str",        "tel",       "usw",
    "vgl",          "abs",       "abb",        "bd",        "hr",
    "fr",           "hrsg",      "i.d.r",      "s.o",       "s.u",
    "z.t",          "bspw",      "sog",        "mio",       "mrd",
    "geb",          "gest",      "jh",         "m\u00E4rz", "okt",
    "dez",          "z",         "d",          "u",
    /* fr */ "m",   "mm",        "mme",        "mlle",      "p.ex",
    "env",          "av",        "apr\u00E8s", "chap",      "janv",
    "f\u00E9vr",    "avr",       "juil",       "d\u00E9c",  "n\u00B0",
    "c.-\u00E0-d",
    /* es */ "sra", "srta",      "d\u00F1a",   "ud",        "uds",
    "p\u00E1g",     "p\u00E1gs", "p.ej",       "ee.uu",     "n\u00FAm",
    "av",           "dpto",
    /* it */ "sig", "sigg",      "dott",       "ing",       "avv",
    "pag",          "es",        "ecc",        "gent",      "spett",
    "cap",          "s.p.a",
};

enum status sentence_splitter_new(struct sentence_splitter **out, struct error *err)
{
    struct sentence_splitter *s = calloc(1, sizeof *s);
    int code = 0;
    PCRE2_SIZE where = 0;
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "sentence splitter");
    }
    s->code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &where, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->match = s->code == NULL ? NULL : pcre2_match_data_create_from_pattern(s->code, NULL);
    if (s->match == NULL || s->context == NULL) {
        sentence_splitter_free(s);
        return error_set(err, STATUS_INTERNAL, "sentence pattern: error %d at %zu", code,
                         (size_t)where);
    }
    (void)pcre2_set_match_limit(s->context, 1000000);
    *out = s;
    return STATUS_OK;
}

void sentence_splitter_free(struct sentence_splitter *s)
{
    if (s != NULL) {
        pcre2_match_data_free(s->match);
        pcre2_match_context_free(s->context);
        pcre2_code_free(s->code);
        free(s);
    }
}

/* The word that ends at byte `at`, back to white space or an opening mark. */
static struct str word_before(struct str text, size_t from, size_t at)
{
    size_t start = at;
    while (start > from && at - start < 24 && strchr(" \t\n([{\"'", text.ptr[start - 1]) == NULL) {
        start--;
    }
    return (struct str){text.ptr + start, at - start};
}

static bool is_abbreviation(struct str w)
{
    for (size_t i = 0; i < sizeof abbreviations / sizeof abbreviations[0]; i++) {
        if (strlen(abbreviations[i]) == w.len && strncasecmp(abbreviations[i], w.ptr, w.len) == 0) {
            return true;
        }
    }
    return false;
}

static bool all_digits(struct str w)
{
    for (size_t i = 0; i < w.len; i++) {
        if (w.ptr[i] < '0' || w.ptr[i] > '9') {
            return false;
        }
    }
    return w.len > 0;
}

/* A full stop at [at, end) that ends no sentence. */
static bool is_false_stop(struct str text, size_t from, size_t at, size_t end)
{
    if (text.ptr[at] != '.' || memchr(text.ptr + at, '\n', end - at) != NULL || end >= text.len) {
        return false;
    }
    struct str w = word_before(text, from, at);
    size_t n;
    uint32_t next = utf8_next(text.ptr + end, text.ptr + text.len, &n);
    bool small = (next >= 'a' && next <= 'z') || (next >= 0xDF && next <= 0xFF);
    bool initial = w.len == 1 &&
                   ((w.ptr[0] >= 'A' && w.ptr[0] <= 'Z') || (w.ptr[0] >= 'a' && w.ptr[0] <= 'z'));
    bool ordinal = all_digits(w) && w.len <= 2;
    return small || initial || ordinal || is_abbreviation(w);
}

size_t sentence_end(struct sentence_splitter *s, struct str text, size_t from)
{
    struct str window = text;
    if (window.len - from > LOOK_AHEAD) { /* cut between characters */
        window.len = from + LOOK_AHEAD;
        while (((unsigned char)window.ptr[window.len] & 0xC0) == 0x80) {
            window.len--;
        }
    }
    for (size_t at = from; at < window.len;) {
        int rc = pcre2_match(s->code, (PCRE2_SPTR)window.ptr, window.len, at, PCRE2_NO_UTF_CHECK,
                             s->match, s->context);
        if (rc < 0) {
            break;
        }
        const PCRE2_SIZE *m = pcre2_get_ovector_pointer(s->match);
        if (m[1] > from && !is_false_stop(window, from, m[0], m[1])) {
            return m[1];
        }
        at = m[1] > at ? m[1] : at + 1;
    }
    return window.len;
}
