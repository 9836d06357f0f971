/* The analyzer: finds the words of a text and gives each its normal form and stem.
 *
 * Words of one language repeat: a cache keyed by the spelling (ASCII letters lowered) holds norm,
 * stem and whether it is a function word, so that utf8proc and the stemmers see each spelling once.
 * The cache is bounded and simply emptied when full. */
#include <stdlib.h>

#include "base/text/internal.h"

#define CACHE_WORDS 49152
#define CACHE_BYTES ((size_t)3 * 1024 * 1024)

/* Lower case for ASCII letters and digits, 0 for separators, 0x80 for bytes of longer characters.
 */
static const unsigned char ascii_class[256] = {
    ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6',
    ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd',
    ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k',
    ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r',
    ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y',
    ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f',
    ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm',
    ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's', ['T'] = 't',
    ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

/* Parts of one code so far, joined. */
struct chain {
    char norm[TEXT_CODE_MAX];
    size_t len, parts;
    size_t start, next; /* where it began, where the next part begins */
    bool digit, at;     /* it has a digit, an at sign */
    bool hyphens;       /* only hyphens so far: a word in parts */
    bool open;          /* within parentheses */
    bool cut;           /* too long: parts only */
};

/* One pass over one text. */
struct scan {
    struct text_analyzer *a;
    struct str in;
    size_t language;       /* of the text */
    size_t ascii_language; /* of its plain ASCII words */
    bool turkish;
    text_token_fn fn;
    void *data;
    uint32_t position;
    size_t at;
    bool stopped;
    struct chain chain;
    size_t iban_start, iban_end;  /* of one in groups that is being read; end 0: none */
    char iban[TEXT_IBAN_MAX + 2]; /* nine groups */
    size_t iban_len;
};

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

bool text_is_function_word(struct text_analyzer *a, size_t language, struct str norm)
{
    struct map *m = &a->function_words[language];
    if (!a->function_words_made[language]) {
        a->function_words_made[language] = true;
        const char *p = text_languages[language].function_words;
        bool turkish = strcmp(text_languages[language].code, "tr") == 0;
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

static size_t stem(struct text_analyzer *a, size_t language, const char *norm, size_t len,
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

/* ---- the cache --------------------------------------------------------------------------------
 */

static uint64_t word_hash(const char *p, size_t len, size_t language)
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

static const struct text_word *cache_find(const struct text_analyzer *a, const char *raw,
                                          size_t len, size_t language, uint64_t hash)
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
        if (w->hash == hash && w->raw_len == len && w->language == language &&
            memcmp(w->raw, raw, len) == 0) {
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
static const struct text_word *cache_add(struct scan *sc, const char *raw, size_t len, bool ascii,
                                         size_t language, uint64_t hash)
{
    struct text_analyzer *a = sc->a;
    char norm[TEXT_WORD_MAX_BYTES * 2], stemmed[TEXT_WORD_MAX_BYTES * 2];
    size_t n = len;
    if (ascii && !sc->turkish) {
        memcpy(norm, raw, len);
    } else {
        n = text_normalise(raw, len, sc->turkish, norm);
    }
    size_t stem_len = n == 0 ? 0 : stem(a, language, norm, n, stemmed);
    n = text_strip_accents(norm, n, sizeof(norm));
    if (!cache_reserve(a, sizeof(struct text_word) + len + n + stem_len + 8)) {
        return NULL;
    }
    uint32_t place = (uint32_t)(a->words_len / 8 + 1);
    struct text_word *w = word_at(a, place);
    *w = (struct text_word){.hash = hash,
                            .raw_len = (uint16_t)len,
                            .norm_len = (uint16_t)n,
                            .stem_len = (uint16_t)stem_len,
                            .language = (uint8_t)language,
                            .function_word =
                                text_is_function_word(a, language, (struct str){norm, n})};
    size_t used = len;
    memcpy(w->raw, raw, len);
    w->norm_at = append_part(w, &used, 0, norm, n);
    w->stem_at = append_part(w, &used, w->norm_at, stemmed, stem_len);
    a->words_len += (offsetof(struct text_word, raw) + used + 7) / 8 * 8;
    a->n_words++;
    place_slot(a, (struct text_slot){(uint32_t)(hash >> 32), place}, hash);
    return w;
}

/* ---- words ------------------------------------------------------------------------------------
 */

static void chain_word(struct scan *sc, struct str norm, size_t start, size_t end);
static void emit_whole(struct scan *sc, enum text_kind kind, struct str norm, struct str stemmed,
                       size_t start, size_t end);

static void emit_word(struct scan *sc, const char *raw, size_t len, bool ascii, size_t start,
                      size_t end)
{
    size_t language = ascii ? sc->ascii_language : sc->language;
    uint64_t hash = word_hash(raw, len, language);
    const struct text_word *w = cache_find(sc->a, raw, len, language, hash);
    if (w == NULL) {
        w = cache_add(sc, raw, len, ascii, language, hash);
    }
    if (w == NULL || w->norm_len == 0 || w->stem_len == 0) {
        return;
    }
    struct text_token t = {.kind = TEXT_WORD,
                           .norm = {w->raw + w->norm_at, w->norm_len},
                           .stem = {w->raw + w->stem_at, w->stem_len},
                           .id = hash,
                           .position = sc->position++,
                           .start = (uint32_t)start,
                           .end = (uint32_t)end,
                           .function_word = w->function_word};
    sc->stopped = !sc->fn(&t, sc->data);
    if (!sc->stopped) {
        chain_word(sc, t.norm, start, end);
    }
    if (!sc->stopped && sc->iban_end > 0 && end >= sc->iban_end) {
        struct str iban = {sc->iban, sc->iban_len};
        emit_whole(sc, TEXT_CODE, iban, iban, sc->iban_start, sc->iban_end);
        sc->iban_end = 0;
    }
}

/* ---- codes ------------------------------------------------------------------------------------
 */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void emit_whole(struct scan *sc, enum text_kind kind, struct str norm, struct str stemmed,
                       size_t start, size_t end)
{
    struct text_token t = {.kind = kind,
                           .norm = norm,
                           .stem = stemmed,
                           .id = word_hash(norm.ptr, norm.len, sc->language),
                           .position = sc->position == 0 ? 0 : sc->position - 1,
                           .start = (uint32_t)start,
                           .end = (uint32_t)end};
    if (!sc->stopped) {
        sc->stopped = !sc->fn(&t, sc->data);
    }
}

/* How many bytes at `at` join two parts of a code; 0: the code ends. `before`: the byte before. */
static size_t joiner(struct scan *sc, size_t at)
{
    const char *p = sc->in.ptr;
    size_t len = sc->in.len;
    if (at + 1 >= len || at == 0) {
        return 0;
    }
    char before = p[at - 1];
    bool next = ascii_class[(unsigned char)p[at + 1]] != 0;
    switch (p[at]) {
    case '-':
    case '/':
    case '.':
    case '_':
    case ':':
    case '@':
    case '+':
        return next;
    case ',':
        return is_digit(before) && is_digit(p[at + 1]);
    case '(': /* 12(3) */
        for (size_t i = at + 2; next && is_digit(before) && i < len && i < at + 5; i++) {
            if (p[i] == ')') {
                sc->chain.open = true;
                return 1;
            }
        }
        return 0;
    case ')': /* 12(3)(b) */
        return sc->chain.open && p[at + 1] == '(' && at + 2 < len &&
                       ascii_class[(unsigned char)p[at + 2]] != 0
                   ? 2
                   : 0;
    case '\xE2': /* the hyphens proper */
        return at + 3 < len && p[at + 1] == '\x80' &&
                       (p[at + 2] == '\x90' || p[at + 2] == '\x91') &&
                       ascii_class[(unsigned char)p[at + 3]] != 0
                   ? 3
                   : 0;
    default:
        return 0;
    }
}

/* Codes as they are; words in parts (co-operation) by the stem they would have in one. */
static void emit_chain(struct scan *sc, size_t end)
{
    struct chain *c = &sc->chain;
    struct str norm = {c->norm, c->len};
    if (c->digit || c->at) {
        emit_whole(sc, TEXT_CODE, norm, norm, c->start, end);
    } else if (c->hyphens && c->parts <= 3) {
        char stemmed[TEXT_WORD_MAX_BYTES * 2];
        size_t n = stem(sc->a, sc->ascii_language, c->norm, c->len, stemmed);
        emit_whole(sc, TEXT_JOINED, norm, (struct str){stemmed, n}, c->start, end);
    }
}

/* A word has been read: it begins a code, goes on with one, or ends it. */
static void chain_word(struct scan *sc, struct str norm, size_t start, size_t end)
{
    struct chain *c = &sc->chain;
    if (c->parts == 0 || c->next != start) {
        c->len = c->parts = 0;
        c->digit = c->at = c->open = c->cut = false;
        c->hyphens = true;
        c->start = start;
    }
    size_t join = joiner(sc, end);
    if (join == 0 && c->parts == 0) {
        return;
    }
    bool separate = c->len > 0 && is_digit(c->norm[c->len - 1]) && is_digit(norm.ptr[0]);
    if (c->cut || c->len + separate + norm.len > sizeof c->norm) {
        c->cut = true;
    } else {
        if (separate) {
            c->norm[c->len++] = '-';
        }
        memcpy(c->norm + c->len, norm.ptr, norm.len);
        c->len += norm.len;
    }
    for (size_t i = 0; i < norm.len; i++) {
        c->digit = c->digit || is_digit(norm.ptr[i]);
    }
    if (join > 0) {
        c->at = c->at || sc->in.ptr[end] == '@';
        c->hyphens = c->hyphens && (sc->in.ptr[end] == '-' || join == 3);
    }
    c->parts++;
    c->next = end + join;
    if (join == 0) {
        if (c->parts > 1 && !c->cut) {
            emit_chain(sc, end);
        }
        c->parts = 0;
    }
}

/* ISO 13616: the first four characters last, letters as 10 to 35, the rest by 97 is 1. */
static bool iban_valid(const char *s, size_t n)
{
    unsigned rest = 0;
    for (size_t k = 0; k < n; k++) {
        char d = s[(k + 4) % n];
        rest = is_digit(d) ? (rest * 10 + (unsigned)(d - '0')) % 97
                           : (rest * 100 + (unsigned)(d - 'a') + 10) % 97;
    }
    return rest == 1;
}

/* An IBAN in groups of four that begins at sc->at: its check digits leave little doubt. */
static void find_iban(struct scan *sc)
{
    const char *p = sc->in.ptr + sc->at;
    size_t len = sc->in.len - sc->at, n = 0, i = 0, groups = 0;
    size_t ends[TEXT_IBAN_MAX / 4 + 1], lengths[TEXT_IBAN_MAX / 4 + 1];
    if (sc->iban_end > 0 || len < 18 || (sc->at > 0 && ascii_class[(unsigned char)p[-1]] != 0) ||
        is_digit(p[0]) || is_digit(p[1]) || !is_digit(p[2]) || !is_digit(p[3]) || p[4] != ' ') {
        return;
    }
    while (groups < sizeof(ends) / sizeof(ends[0]) && n + 4 <= sizeof sc->iban) {
        size_t run = 0;
        while (i + run < len && ascii_class[(unsigned char)p[i + run]] != 0 && run < 5) {
            run++;
        }
        if (run == 0 || run > 4) {
            break;
        }
        for (size_t k = 0; k < run; k++) {
            sc->iban[n++] = (char)ascii_class[(unsigned char)p[i + k]];
        }
        i += run;
        ends[groups] = i;
        lengths[groups++] = n;
        if (run < 4 || i + 1 >= len || p[i] != ' ') {
            break;
        }
        i++;
    }
    for (size_t g = groups; g > 3; g--) { /* short words may follow it */
        if (lengths[g - 1] >= 15 && iban_valid(sc->iban, lengths[g - 1])) {
            sc->iban_len = lengths[g - 1];
            sc->iban_start = sc->at;
            sc->iban_end = sc->at + ends[g - 1];
            return;
        }
    }
}

static bool indic(uint32_t cp)
{
    return cp >= 0x0900 && cp <= 0x0DFF;
}

/* A word that starts at sc->at. Ignorable characters inside are left out of the spelling; the
 * zero-width non-joiner separates except in Indic scripts, where it only tells how to draw. */
static void scan_word(struct scan *sc)
{
    char raw[TEXT_WORD_MAX_BYTES];
    size_t len = 0, points = 0, start = sc->at, i = sc->at, end = sc->at;
    const char *p = sc->in.ptr;
    bool ascii = true, lower = !sc->turkish;
    uint32_t last = 0;
    while (i < sc->in.len) {
        unsigned char b = (unsigned char)p[i];
        if (b < 0x80) {
            unsigned char c = ascii_class[b];
            if (c == 0) {
                break;
            }
            if (points < TEXT_WORD_MAX_POINTS) {
                raw[len++] = lower ? (char)c : (char)b;
                points++;
            }
            end = ++i;
            last = b;
            continue;
        }
        size_t used;
        uint32_t cp = text_decode(p + i, sc->in.len - i, &used);
        enum text_class class = cp == TEXT_INVALID ? TEXT_CLASS_SEPARATOR : text_class_of(cp);
        if (class == TEXT_CLASS_SEPARATOR || class == TEXT_CLASS_DENSE ||
            (cp == 0x200C && !indic(last))) {
            break;
        }
        i += used;
        if (class == TEXT_CLASS_IGNORE) {
            continue;
        }
        end = i;
        last = cp;
        ascii = false;
        if (points < TEXT_WORD_MAX_POINTS) {
            memcpy(raw + len, p + i - used, used);
            len += used;
            points++;
        }
    }
    sc->at = i == start ? start + 1 : i;
    if (len > 0) {
        emit_word(sc, raw, len, ascii, start, end);
    }
}

/* ---- scripts without spaces --------------------------------------------------------------------
 */

struct character {
    char bytes[TEXT_WORD_MAX_BYTES];
    size_t len;
    size_t start, end;
};

#define CHARACTER_MAX_POINTS 8 /* a base and its marks */

/* The character at *at with the marks that follow it; false when the run ends here. Both fast and
 * slow path give the normal form. */
static bool next_character(const struct scan *sc, size_t *at, struct character *out)
{
    const char *p = sc->in.ptr;
    size_t i = *at, used, points = 0, raw = 0;
    char spelled[CHARACTER_MAX_POINTS * 4];
    bool simple = false;
    uint32_t last = 0;
    out->start = i;
    while (i < sc->in.len) {
        if ((unsigned char)p[i] < 0x80) {
            break;
        }
        uint32_t cp = text_decode(p + i, sc->in.len - i, &used);
        enum text_class class = cp == TEXT_INVALID ? TEXT_CLASS_SEPARATOR : text_class_of(cp);
        if (class == TEXT_CLASS_IGNORE && points > 0) {
            i += used;
            continue;
        }
        /* a leading consonant may have further ones */
        bool joins = class == TEXT_CLASS_MARK || (class == TEXT_CLASS_DENSE && cp >= 0x1100 &&
                                                  cp < 0x1160 && last >= 0x1100 && last < 0x1160);
        if (points == 0 ? class != TEXT_CLASS_DENSE : !joins) {
            break;
        }
        simple = points == 0 && ((cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0x3041 && cp <= 0x3096) ||
                                 (cp >= 0x30A1 && cp <= 0x30FC) || (cp >= 0xAC00 && cp <= 0xD7A3));
        if (points < CHARACTER_MAX_POINTS) {
            memcpy(spelled + raw, p + i, used);
            raw += used;
            points++;
        }
        i += used;
        last = cp;
        out->end = i;
    }
    if (points == 0) {
        return false;
    }
    *at = i;
    if (simple) {
        memcpy(out->bytes, spelled, raw);
        out->len = raw;
    } else {
        out->len = text_normalise(spelled, raw, false, out->bytes);
    }
    return true;
}

static void emit_dense(struct scan *sc, enum text_kind kind, struct str norm, size_t start,
                       size_t end, bool alone)
{
    struct text_token t = {.kind = kind,
                           .norm = norm,
                           .stem = norm,
                           .id = word_hash(norm.ptr, norm.len, 0),
                           .position = sc->position,
                           .start = (uint32_t)start,
                           .end = (uint32_t)end,
                           .function_word = !text_languages[sc->language].latin &&
                                            text_is_function_word(sc->a, sc->language, norm),
                           .alone = alone};
    sc->stopped = !sc->fn(&t, sc->data);
}

static void scan_dense(struct scan *sc)
{
    struct character two[2];
    size_t n = 0, at = sc->at;
    struct character *have = &two[0], *next = &two[1];
    bool more = next_character(sc, &at, have);
    while (more && !sc->stopped) {
        more = next_character(sc, &at, next);
        if (have->len > 0) {
            emit_dense(sc, TEXT_CJK_SINGLE, (struct str){have->bytes, have->len}, have->start,
                       have->end, n == 0 && !more);
            if (more && next->len > 0 && !sc->stopped) {
                char pair[TEXT_WORD_MAX_BYTES * 2];
                memcpy(pair, have->bytes, have->len);
                memcpy(pair + have->len, next->bytes, next->len);
                emit_dense(sc, TEXT_CJK_BIGRAM, (struct str){pair, have->len + next->len},
                           have->start, next->end, false);
            }
            sc->position++;
            n++;
        }
        struct character *t = have;
        have = next;
        next = t;
    }
    sc->at = at == sc->at ? at + 1 : at;
}

void text_analyze(struct text_analyzer *a, struct str utf8, const char *language, text_token_fn fn,
                  void *data)
{
    size_t index = text_language_index(language);
    struct scan sc = {.a = a,
                      .in = utf8,
                      .language = index,
                      .ascii_language = index,
                      .turkish = strcmp(text_languages[index].code, "tr") == 0,
                      .fn = fn,
                      .data = data};
    if (utf8.len >
        UINT32_MAX) { /* offsets are 32 bits; no chunk and no extracted text is that long */
        sc.in.len = UINT32_MAX;
    }
    if (index != 0 && !text_languages[index].latin) {
        sc.ascii_language = text_language_index("en");
    }
    while (sc.at < sc.in.len && !sc.stopped) {
        unsigned char b = (unsigned char)sc.in.ptr[sc.at];
        if (b < 0x80) {
            if (ascii_class[b] != 0) {
                find_iban(&sc);
                scan_word(&sc);
            } else {
                sc.at++;
            }
            continue;
        }
        size_t used;
        uint32_t cp = text_decode(sc.in.ptr + sc.at, sc.in.len - sc.at, &used);
        switch (cp == TEXT_INVALID ? TEXT_CLASS_SEPARATOR : text_class_of(cp)) {
        case TEXT_CLASS_WORD:
        case TEXT_CLASS_MARK:
            scan_word(&sc);
            break;
        case TEXT_CLASS_DENSE:
            scan_dense(&sc);
            break;
        case TEXT_CLASS_SEPARATOR:
        case TEXT_CLASS_IGNORE:
            sc.at += used;
            break;
        }
    }
}

/* ---- character 4-grams -------------------------------------------------------------------------
 */

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
