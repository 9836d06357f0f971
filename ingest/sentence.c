#include "ingest/sentence.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <strings.h>
#include <utf8proc.h>

#include "ingest/utf8.h"

#define LOOK_AHEAD 20000 /* bytes; a sentence longer than this is cut by words anyhow */
#define WORD_BYTES 24    /* no abbreviation is longer */

struct sentence_splitter {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
};

#define CLOSING "[\\p{Pe}\\p{Pf}\"']*+"
/* Thai, Lao, Burmese, Khmer */
#define PHRASED "[\\x{E00}-\\x{EFF}\\x{1000}-\\x{109F}\\x{1780}-\\x{17FF}]"

/* Closing marks may follow the stop. Stops that are nothing else need no space after them: Chinese
 * and Japanese, danda, Urdu, Burmese, Khmer, Armenian, Ethiopic. Thai and its neighbours write a
 * space between phrases and no stop: a long phrase ends at one, unless the mark that repeats the
 * word before it follows. */
static const char pattern[] =
    "[.!?\\x{2026}\\x{61F}]++" CLOSING "\\s++"
    "|[\\x{3002}\\x{FF01}\\x{FF1F}\\x{FF61}\\x{964}\\x{965}\\x{6D4}\\x{104B}\\x{17D4}\\x{17D5}"
    "\\x{589}\\x{1362}]++" CLOSING "\\s*+"
    "|(?<=" PHRASED ")[ \\x{A0}\\x{200B}]++(?=" PHRASED ")(?![\\x{E46}\\x{EC6}\\x{17D7}\\x{E2F}])"
    "|\\n\\s*+";

/* A full stop after one of these ends no sentence. ASCII letters in either case. */
static const char abbreviations[] =
    /* English */
    "|mr|mrs|ms|messrs|dr|prof|sr|jr|st|ft|vs|e.g|i.e|cf|viz|dept|gov|rep|sen|gen"
    "|col|capt|cmdr|lt|sgt|maj|adm|rev|hon|pres|supt|univ|assn|bros|approx|ave|blvd|rd"
    "|jan|feb|apr|aug|sept|oct|nov|u.s|u.k|u.n|a.k.a|ph.d|m.d|b.a|m.a|d.c|ext|incl|misc"
    "|resp|tel|ed|eds"
    /* German */
    "|z.b|z. b|d.h|d. h|u.a|u. a|u.\u00E4|o.\u00E4|o.g|i.d.r|i.d.f|i.a|i.v|i.e.s|s.o|s.u"
    "|v.a|z.t|z.hd|z.zt|m.e|m.w|u.u|bzw|ca|evtl|ggf|ggfs|inkl|exkl|einschl|zzgl|abzgl|str"
    "|vgl|hr|fr|frl|hrsg|bspw|beisp|sog|mio|mrd|tsd|geb|gest|verh|jh|jhd|m\u00E4rz|dez"
    "|dipl|ing|rer|nat|phil|med|jur|allg|bes|bez|entspr|ehem|gesch|ges|insb"
    "|kath|lfd|mind|monatl|j\u00E4hrl|n\u00F6rdl|s\u00FCdl|\u00F6stl|westl"
    "|stellv|stv|tgl|ugs|urspr|verf|versch|vorm|nachm|wg|zz|zit|a.a.o|a.d|a.m|p.m|co"
    /* French */
    "|m|mm|mme|mmes|mlle|mlles|mgr|p.ex|p. ex|c.-\u00E0-d|c.\u00E0.d|env|av|apr"
    "|apr\u00E8s|janv|f\u00E9vr|f\u00E9v|avr|juil|d\u00E9c|\u00E9d|\u00E9dit|t\u00E9l|bd"
    "|boul|ste|adr|cie|\u00E9ts|s.a|s.a.r.l|j.-c|r\u00E9f|sq|suiv|trad|obs"
    /* Spanish */
    "|sra|srta|srs|sres|dra|d\u00F1a|ud|uds|vd|vds|p.ej|p. ej|ej|ee.uu|dpto|depto|avda"
    "|avd|gral|lic|excmo|excma|ilmo|admo|izq|dcha|prov|s.l|s.r.l|c\u00EDa|cta|fdo|atte"
    "|pza"
    /* Italian */
    "|sig|sigg|sig.ra|sig.na|dott|dott.ssa|avv|geom|prof.ssa|egr|gent|gent.mo"
    "|spett|ecc.mo|ill.mo|s.p.a|s.n.c|s.a.s|p.es|p.za|v.le|c.so|genn|febb|ott|dic"
    "|gen.le|c.a"
    "|";

/* Only before a number, a numeral or a single letter: "art. 5", "Fig. B". */
static const char before_number[] =
    "|no|nos|nr|n|n\u00B0|num|n\u00FAm|n\u00FAms|art|arts|artt|p|pp|pag|p\u00E1g"
    "|p\u00E1gs|pagg|fig|figs|abb|tab|vol|vols|bd|chap|ch|cap|kap|sec|sect|abs|abschn|anm"
    "|anl|ziff|lit|rn|rdnr|rz|eq|eqs|app|ref|refs|para|paras|par|al|al\u00EDn|lett|comma"
    "|co|s|ss|f|ff|t|th|v|ver|mar|jun|jul|sep|dec|mag|giu|lug|set|max|min|mind|est"
    "|";

/* They often end one: where a capital follows, they do. */
static const char enders[] = "|etc|usw|ecc|et al|inc|ltd|corp|llc|plc|gmbh|u.s.w|u.s.f|usf"
                             "|";

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

/* The word that ends at byte `at`, back to white space, an opening mark or a hyphen's far side;
 * with `words` 2 the word before it too ("et al", "z. B"). */
static struct str word_before(struct str text, size_t from, size_t at, int words)
{
    size_t start = at;
    while (start > from && at - start < WORD_BYTES) {
        char c = text.ptr[start - 1];
        if (start - from >= 3 && (memcmp(text.ptr + start - 3, "\u2019", 3) == 0 ||
                                  memcmp(text.ptr + start - 3, "\u201C", 3) == 0 ||
                                  memcmp(text.ptr + start - 3, "\u201E", 3) == 0)) {
            break;
        }
        if (strchr("\t\n([{\"'", c) != NULL || (c == ' ' && --words == 0)) {
            break;
        }
        start--;
    }
    return (struct str){text.ptr + start, at - start};
}

/* list: "|one|two|". */
static bool in_list(const char *list, struct str w)
{
    while (w.len > 0 && *list == '|' && list[1] != '\0') {
        const char *end = strchr(list + 1, '|');
        size_t len = end == NULL ? 0 : (size_t)(end - list) - 1;
        if (len == w.len && strncasecmp(list + 1, w.ptr, len) == 0) {
            return true;
        }
        list += len + 1;
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

static utf8proc_category_t category(uint32_t c)
{
    return c == UTF8_BAD ? UTF8PROC_CATEGORY_CN : utf8proc_category((utf8proc_int32_t)c);
}

/* One capital or small letter, whatever the alphabet. */
static bool is_initial(struct str w)
{
    size_t n = 0;
    uint32_t c = w.len == 0 ? UTF8_BAD : utf8_next(w.ptr, w.ptr + w.len, &n);
    utf8proc_category_t k = category(c);
    return n == w.len && w.len > 0 && (k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL);
}

/* A number, a numeral ("IV") or a single letter stands at p. */
static bool number_follows(const char *p, const char *end)
{
    size_t n = 0;
    bool numeral = false;
    if (p < end && *p >= '0' && *p <= '9') {
        return true;
    }
    while (p + n < end && n < 6 && strchr("IVXLCDM", p[n]) != NULL && p[n] != '\0') {
        n++;
        numeral = true;
    }
    if (!numeral && p < end && ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z'))) {
        n = 1;
    }
    return n > 0 && (p + n == end || strchr(" \n\t.,;:)]", p[n]) != NULL);
}

/* The stop at [at, end) with its space ends no sentence. */
static bool is_false_stop(struct str text, size_t from, size_t at, size_t end)
{
    if (memchr(text.ptr + at, '\n', end - at) != NULL || end >= text.len) {
        return false;
    }
    size_t n;
    const char *stop = text.ptr + text.len;
    uint32_t first = utf8_next(text.ptr + at, stop, &n);
    if (first != '.' && first != '!' && first != '?' && first != 0x2026 && first != 0x61F) {
        return false;
    }
    bool small = category(utf8_next(text.ptr + end, stop, &n)) == UTF8PROC_CATEGORY_LL;
    if (small || first != '.') {
        return small;
    }
    struct str w = word_before(text, from, at, 1);
    struct str two = word_before(text, from, at, 2);
    bool counted = memchr(two.ptr, '.', two.len) != NULL; /* "art. 3" */
    bool ordinal = all_digits(w) && w.len <= 2 && !counted;
    bool numbered = in_list(before_number, w) && number_follows(text.ptr + end, stop);
    bool capital = category(utf8_next(text.ptr + end, stop, &n)) == UTF8PROC_CATEGORY_LU;
    bool ender = !capital && (in_list(enders, w) || in_list(enders, two));
    return is_initial(w) || ordinal || numbered || ender || in_list(abbreviations, w) ||
           in_list(abbreviations, two);
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
