#include "ingest/meta.h"

#include <strings.h>

#define DAY_MS INT64_C(86400000)
#define FIRST_MS INT64_C(-2208988800000) /* 1900-01-01 */
#define HEADING_BLOCKS 200               /* a title stands among the first */
#define TITLE_BYTES 300U
#define AUTHOR_BYTES 1000U

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Whether the word, ASCII letters' case aside, is one of a list divided by "|". */
static bool among(struct str word, const char *list)
{
    for (const char *p = list; *p != '\0';) {
        size_t n = strcspn(p, "|");
        if (n == word.len && strncasecmp(p, word.ptr, n) == 0) {
            return true;
        }
        p += n + (p[n] == '|');
    }
    return false;
}

static bool begins(struct str s, const char *with)
{
    size_t n = strlen(with);
    return s.len >= n && strncasecmp(s.ptr, with, n) == 0;
}

/* "(anonymous)", "[untitled]", "<none>" */
static struct str bare(struct str s)
{
    while (s.len > 0 && strchr("[<(", s.ptr[0]) != NULL && s.ptr[0] != '\0') {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && strchr("]>)", s.ptr[s.len - 1]) != NULL && s.ptr[s.len - 1] != '\0') {
        s.len--;
    }
    return s;
}

/* ---- titles ---- */

/* "handbook.docx", "C:\tmp\handbook", "file:///x": what a program called it, not what it is called.
 */
static bool is_file_name(struct str s)
{
    static const char endings[] = "doc|docx|dot|dotx|rtf|odt|xls|xlsx|ppt|pptx|pdf|txt|tmp|html|"
                                  "htm|indd|qxd|qxp|pmd|dvi|ps|eps|tex|wpd|"
                                  "fm|p65|cdr|ai|psd|tif|tiff|jpg|png";
    size_t dot = s.len;
    while (dot > 0 && s.ptr[dot - 1] != '.') {
        dot--;
    }
    bool drive = s.len > 2 && s.ptr[1] == ':' && (s.ptr[2] == '\\' || s.ptr[2] == '/');
    return drive || begins(s, "file:") || (s.len > 0 && (s.ptr[0] == '/' || s.ptr[0] == '\\')) ||
           (dot > 1 && among((struct str){s.ptr + dot, s.len - dot}, endings));
}

bool meta_title_worthless(struct str title)
{
    static const char programs[] =
        "untitled|untitled document|unbenannt|ohne titel|unbenanntes dokument|sans titre|sin "
        "titulo|"
        "sin título|senza titolo|sem título|naamloos|document|dokument|documento|documents|word "
        "document|"
        "word-dokument|doc|presentation|präsentation|présentation|presentación|presentazione|"
        "powerpoint presentation|powerpoint-präsentation|présentation powerpoint|presentación de "
        "powerpoint|"
        "presentazione standard di "
        "powerpoint|powerpoint-presentatie|slide|folie|diapositive|mappe|book|"
        "classeur|libro|cartel|sheet|tabelle|feuil|workbook|new document|neues "
        "dokument|title|titel|titre|"
        "título|titolo|template|vorlage|modèle|plantilla|normal|normal.dot|scan|scanned document|"
        "scanned "
        "image|image|fax|none|null|undefined|default|index|home|page|blank|layout|letter|subject|"
        "no title|no subject|empty|test|anonymous|unspecified";
    struct str s = str_trim(title);
    size_t solid = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = lower(s.ptr[i]);
        solid += (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;
    }
    if (solid < 2 || begins(s, "microsoft word - ") || begins(s, "microsoft powerpoint - ") ||
        begins(s, "microsoft excel - ") || is_file_name(s)) {
        return true;
    }
    while (s.len > 0 && strchr("0123456789 -_()#.", s.ptr[s.len - 1]) != NULL) { /* "Document1" */
        s.len--;
    }
    return among(bare(s), programs);
}

/* One line of at most TITLE_BYTES, cut between characters; NULL: out of memory. */
static char *one_line(struct str s, struct arena *a)
{
    s = str_trim(s);
    if (s.len > TITLE_BYTES) {
        s.len = TITLE_BYTES;
        while (s.len > 0 && ((unsigned char)s.ptr[s.len] & 0xC0) == 0x80) {
            s.len--;
        }
    }
    char *out = arena_strndup(a, s.len == 0 ? "" : s.ptr, s.len);
    for (size_t i = 0; out != NULL && i < s.len; i++) {
        out[i] = out[i] == '\n' || out[i] == '\t' || out[i] == '\0' ? ' ' : out[i];
    }
    return out;
}

static struct str first_heading(Ex__Block *const *blocks, size_t n)
{
    for (size_t i = 0; i < n && i < HEADING_BLOCKS; i++) {
        struct str s = {(const char *)blocks[i]->text.data, blocks[i]->text.len};
        if (blocks[i]->kind == EX__BLOCK__KIND__HEADING && !meta_title_worthless(s)) {
            return s;
        }
    }
    return (struct str){"", 0};
}

/* ---- authors, languages, dates ---- */

static bool is_person(struct str name)
{
    static const char programs[] =
        "user|users|admin|administrator|root|unknown|unbekannt|author|autor|auteur|owner|default|"
        "none|null|"
        "anonymous|anonym|guest|gast|windows user|windows-benutzer|utilisateur windows|usuario de "
        "windows|"
        "microsoft office user|microsoft office-anwender|microsoft office-benutzer|microsoft "
        "corporation|"
        "microsoft|office|python-docx|openpyxl|apache poi|poi|libreoffice|openoffice.org|google "
        "docs|"
        "jasperreports|crystal "
        "reports|scanner|hp|dell|lenovo|acer|asus|pc|test|writer|word|excel|powerpoint";
    for (size_t i = 0; i < name.len; i++) {
        char c = lower(name.ptr[i]);
        if ((c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80) {
            return !among(bare(name), programs) && !begins(name, "array(0x") &&
                   !begins(name, "hash(0x");
        }
    }
    return false; /* a number, dashes */
}

/* So much of a text as is kept, cut between characters. */
static size_t kept_bytes(const char *said, size_t most)
{
    size_t n = strnlen(said, most);
    while (n > 0 && ((unsigned char)said[n] & 0xC0) == 0x80) {
        n--;
    }
    return n;
}

/* Those of "A; B" that are people. */
static char *people(const char *said, struct arena *a)
{
    struct str left = {said, kept_bytes(said, AUTHOR_BYTES)};
    char *out = arena_alloc(a, left.len + 1);
    size_t used = 0;
    while (out != NULL && left.len > 0) {
        const char *end = memchr(left.ptr, ';', left.len);
        size_t n = end == NULL ? left.len : (size_t)(end - left.ptr);
        struct str one = str_trim((struct str){left.ptr, n});
        if (is_person(one)) {
            if (used > 0) {
                memcpy(out + used, "; ", 2);
                used += 2;
            }
            memcpy(out + used, one.ptr, one.len);
            used += one.len;
        }
        n += n < left.len ? 1 : 0;
        left.ptr += n;
        left.len -= n;
    }
    if (out != NULL) {
        out[used] = '\0';
    }
    return out;
}

void meta_language(const char *said, char out[3])
{
    static const char three[] = "eng-en deu-de ger-de fra-fr fre-fr spa-es ita-it por-pt nld-nl "
                                "dut-nl swe-sv dan-da nor-no nob-no fin-fi "
                                "pol-pl ces-cs cze-cs hun-hu ron-ro rum-ro tur-tr rus-ru ukr-uk "
                                "ell-el gre-el zho-zh chi-zh jpn-ja kor-ko "
                                "ara-ar heb-he hin-hi cat-ca";
    size_t n = said == NULL ? 0 : strcspn(said, "-_. ;,");
    char code[4] = "";
    out[0] = '\0';
    for (size_t i = 0; i < n && i < 3; i++) {
        code[i] = lower(said[i]);
        if (code[i] < 'a' || code[i] > 'z') {
            return;
        }
    }
    if (n == 2) {
        memcpy(out, code, 3);
    }
    const char *at = n == 3 ? strstr(three, code) : NULL;
    if (at != NULL && at[3] == '-') {
        memcpy(out, at + 4, 2);
        out[2] = '\0';
    }
}

/* What templates and libraries write where nobody says anything. */
static bool is_templates(int64_t ms)
{
    static const int64_t known[] = {
        0,
        INT64_C(315532800000),  /* 1980-01-01: what zip cannot say less than */
        INT64_C(1158364800000), /* 2006-09-16: Excel's */
        INT64_C(1387840500000), /* 2013-12-23T23:15:00Z: python-docx's */
        INT64_C(1359278056000), /* 2013-01-27T09:14:16Z: python-pptx's */
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (ms == known[i]) {
            return true;
        }
    }
    return false;
}

/* The first moment of the year after next, within a day. */
static int64_t last_ms(int64_t now_ms)
{
    double years = (double)now_ms / (365.2425 * (double)DAY_MS);
    return (int64_t)(((double)(int64_t)years + 2.0) * 365.2425 * (double)DAY_MS) + DAY_MS;
}

static bool date_sane(int64_t ms, int64_t now_ms)
{
    return ms >= FIRST_MS && ms < last_ms(now_ms) && !is_templates(ms);
}

bool meta_own_date(bool has_modified, int64_t modified_ms, bool has_created, int64_t created_ms,
                   int64_t *out)
{
    *out = has_modified ? modified_ms : created_ms;
    return has_modified || has_created;
}

const Ex__Document *meta_settle(const Ex__Document *said, Ex__Block *const *blocks, size_t n_blocks,
                                int64_t now_ms, struct arena *a)
{
    Ex__Document *d = arena_alloc(a, sizeof *d);
    char *language = arena_alloc(a, 3);
    if (d == NULL || language == NULL) {
        return NULL;
    }
    *d = (Ex__Document)EX__DOCUMENT__INIT;
    if (said == NULL) {
        return d;
    }
    struct str title = str_from(said->title == NULL ? "" : said->title);
    *d = *said;
    d->title = one_line(meta_title_worthless(title) ? first_heading(blocks, n_blocks) : title, a);
    d->author = people(said->author == NULL ? "" : said->author, a);
    const char *keywords = said->keywords == NULL ? "" : said->keywords;
    d->keywords = arena_strndup(a, keywords, kept_bytes(keywords, AUTHOR_BYTES));
    meta_language(said->language, language);
    d->language = language;
    d->has_created_ms = said->has_created_ms && date_sane(said->created_ms, now_ms);
    d->has_modified_ms = said->has_modified_ms && date_sane(said->modified_ms, now_ms);
    return d->title == NULL || d->author == NULL || d->keywords == NULL ? NULL : d;
}
