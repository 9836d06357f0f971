/* The analyzer: finds the words and codes of a text. */
#include "base/text/internal.h"

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

/* ---- words ---- */

static void chain_word(struct scan *sc, struct str norm, size_t start, size_t end);
static void emit_whole(struct scan *sc, enum text_kind kind, struct str norm, struct str stemmed,
                       size_t start, size_t end);

static void emit_word(struct scan *sc, const char *raw, size_t len, bool ascii, size_t start,
                      size_t end)
{
    size_t language = ascii ? sc->ascii_language : sc->language;
    const struct text_word *w = text_word_of(sc->a, (struct str){raw, len}, ascii, language);
    if (w == NULL || w->norm_len == 0 || w->stem_len == 0) {
        return;
    }
    struct text_token t = {.kind = TEXT_WORD,
                           .norm = {w->raw + w->norm_at, w->norm_len},
                           .stem = {w->raw + w->stem_at, w->stem_len},
                           .id = w->hash,
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

/* ---- codes ---- */

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
                           .id = text_word_hash(norm.ptr, norm.len, sc->language),
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
        size_t n = text_stem(sc->a, sc->ascii_language, c->norm, c->len, stemmed);
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
                           .id = text_word_hash(norm.ptr, norm.len, 0),
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
