/* Compounds. German, Dutch and the Scandinavian languages write in one word what a text may say in
 * two ("Sauerstoffkonzentration", "Konzentration von Sauerstoff"). A long word of the question is
 * cut in two where both parts, the first perhaps without a linking element, are words that the
 * asker can read somewhere; of several cuts the one whose parts are the more frequent and the more
 * even wins (after Koehn and Knight, Empirical Methods for Compound Splitting, 2003). The parts are
 * looked for beside the whole. */
#include <string.h>

#include "vectorstore/lexical_internal.h"

#define PART_POINTS 4U /* letters of a part, at least */
#define WORDS_MAX 6U   /* of a question that are cut */

static const char *const languages[] = {"de", "nl", "sv", "da", "no"};
static const char *const links[] = {"", "s", "es", "n", "en", "er"};

struct splitting {
    struct text_analyzer *t;
    const struct lexical_source *source;
    const char *language;
    struct arena *a;
};

struct stem {
    struct arena *a;
    struct str stem;
    bool function_word;
};

static bool on_token(const struct text_token *t, void *data)
{
    struct stem *s = data;
    if (t->kind == TEXT_WORD) {
        const char *copy = arena_strndup(s->a, t->stem.ptr, t->stem.len);
        s->stem = (struct str){copy, copy == NULL ? 0 : t->stem.len};
        s->function_word = t->function_word;
    }
    return false;
}

/* *df 0: not a word here. */
static enum status look_up(const struct splitting *c, struct str part, struct str *stem,
                           uint64_t *df, struct error *err)
{
    struct stem s = {.a = c->a};
    *df = 0;
    text_analyze(c->t, part, c->language, on_token, &s);
    *stem = s.stem;
    return s.stem.len == 0 || s.function_word ? STATUS_OK : lexical_df(c->source, s.stem, df, err);
}

static bool begins(struct str word, size_t at)
{
    return ((unsigned char)word.ptr[at] & 0xC0U) != 0x80U;
}

/* Cuts before byte `at`, whose right part is the word `right`; takes it where it is better. */
static enum status cut(const struct splitting *c, struct str word, size_t at, struct str right,
                       uint64_t right_df, double *best, struct str out[2], struct error *err)
{
    enum status s = STATUS_OK;
    size_t even = at < word.len - at ? at : word.len - at;
    for (size_t i = 0; i < sizeof links / sizeof links[0] && s == STATUS_OK; i++) {
        size_t len = strlen(links[i]);
        struct str stem;
        uint64_t df;
        if (at < len + PART_POINTS || memcmp(word.ptr + at - len, links[i], len) != 0) {
            continue;
        }
        s = look_up(c, (struct str){word.ptr, at - len}, &stem, &df, err);
        double score = (double)df * (double)right_df * (double)even;
        if (s == STATUS_OK && score > *best) {
            *best = score;
            out[0] = stem;
            out[1] = right;
        }
    }
    return s;
}

static enum status split(const struct splitting *c, struct str word, struct str out[2], bool *found,
                         struct error *err)
{
    double best = 0;
    enum status s = STATUS_OK;
    for (size_t at = PART_POINTS; at + PART_POINTS <= word.len && s == STATUS_OK; at++) {
        struct str right;
        uint64_t df = 0;
        if (begins(word, at)) {
            s = look_up(c, (struct str){word.ptr + at, word.len - at}, &right, &df, err);
        }
        if (s == STATUS_OK && df > 0) {
            s = cut(c, word, at, right, df, &best, out, err);
        }
    }
    *found = best > 0;
    return s;
}

static bool has_compounds(const char *language)
{
    for (size_t i = 0; i < sizeof languages / sizeof languages[0]; i++) {
        if (strcmp(languages[i], language) == 0) {
            return true;
        }
    }
    return false;
}

static enum status known(const struct splitting *c, const struct lexical_word *w, bool *is,
                         struct error *err)
{
    enum status s = STATUS_OK;
    *is = false;
    for (uint32_t v = 0; v < w->n_variants && !*is && s == STATUS_OK; v++) {
        uint64_t df = 0;
        s = lexical_df(c->source, w->variants[v], &df, err);
        *is = df > 0;
    }
    return s;
}

enum status lexical_split_compounds(struct text_analyzer *t, const struct lexical_source *source,
                                    const char *language, const struct lexical_word *words,
                                    size_t n, struct arena *a, lexical_part_fn part, void *data,
                                    struct error *err)
{
    const struct splitting c = {.t = t, .source = source, .language = language, .a = a};
    enum status s = STATUS_OK;
    uint32_t left = WORDS_MAX;
    for (size_t i = 0; i < n && left > 0 && s == STATUS_OK && has_compounds(language); i++) {
        const struct lexical_word *w = &words[i];
        struct str parts[2];
        bool there = false;
        bool found = false;
        if (w->kind != TEXT_WORD || w->function_word || w->norm.len < 2 * (size_t)PART_POINTS ||
            !lexical_in_letters(w->norm)) {
            continue;
        }
        left--;
        s = known(&c, w, &there, err);
        if (s == STATUS_OK) {
            s = split(&c, w->norm, parts, &found, err);
        }
        for (size_t k = 0; k < 2 && s == STATUS_OK && found; k++) {
            part(parts[k], there ? LEXICAL_PART_WEIGHT : LEXICAL_PART_ALONE_WEIGHT, data);
        }
    }
    return s;
}
