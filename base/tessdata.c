#include "base/tessdata.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Debian 12's, its next, and where others have it */
static const char *const folders[] = {"/usr/share/tesseract-ocr/5/tessdata",
                                      "/usr/share/tesseract-ocr/4.00/tessdata",
                                      "/usr/share/tessdata", "/usr/share/tesseract/tessdata"};

static const struct {
    const char two[3];
    const char three[8];
} codes[] = {{"en", "eng"}, {"de", "deu"}, {"fr", "fra"}, {"es", "spa"},     {"it", "ita"},
             {"nl", "nld"}, {"pt", "por"}, {"pl", "pol"}, {"ru", "rus"},     {"uk", "ukr"},
             {"cs", "ces"}, {"da", "dan"}, {"sv", "swe"}, {"no", "nor"},     {"fi", "fin"},
             {"hu", "hun"}, {"ro", "ron"}, {"el", "ell"}, {"tr", "tur"},     {"ar", "ara"},
             {"he", "heb"}, {"ja", "jpn"}, {"ko", "kor"}, {"zh", "chi_sim"}, {"th", "tha"},
             {"vi", "vie"}, {"hi", "hin"}, {"bg", "bul"}, {"hr", "hrv"},     {"sk", "slk"},
             {"sl", "slv"}, {"et", "est"}, {"lv", "lav"}, {"lt", "lit"},     {"ca", "cat"}};

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static bool valid_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!name_char(s.ptr[i])) {
            return false;
        }
    }
    return s.len > 0 && s.len < 16;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

void tessdata_look(struct tessdata *out)
{
    memset(out, 0, sizeof *out);
    out->program = access(TESSERACT, X_OK) == 0;
    DIR *d = NULL;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && d == NULL; i++) {
        d = opendir(folders[i]);
        out->folder = d == NULL ? NULL : folders[i];
    }
    if (d == NULL) {
        return;
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        struct str name = str_from(e->d_name);
        const struct str ending = STR(".traineddata");
        if (!str_ends(name, ending)) {
            continue;
        }
        name.len -= ending.len;
        if (str_eq(name, STR("osd"))) {
            out->orientation = true;
        } else if (!str_eq(name, STR("equ")) && valid_name(name) && out->n < TESSDATA_NAMES) {
            memcpy(out->names[out->n++], name.ptr, name.len);
        }
    }
    (void)closedir(d);
    qsort(out->names, out->n, sizeof out->names[0], by_name);
}

bool tessdata_has(const struct tessdata *t, struct str name)
{
    for (size_t i = 0; i < t->n; i++) {
        if (str_eq(str_from(t->names[i]), name)) {
            return true;
        }
    }
    return false;
}

/* Once each; what does not fit is left out whole. */
static void add(char list[TESSDATA_LIST], struct str name)
{
    size_t len = strlen(list);
    for (const char *p = list; *p != '\0';) {
        size_t n = strcspn(p, "+");
        if (str_eq((struct str){p, n}, name)) {
            return;
        }
        p += n + (p[n] == '+');
    }
    if (len + name.len + 2 <= TESSDATA_LIST) {
        (void)snprintf(list + len, TESSDATA_LIST - len, "%s%.*s", len > 0 ? "+" : "",
                       STR_ARG(name));
    }
}

static struct str tesseract_name(const char *language)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        size_t n = strlen(codes[i].two);
        if (strncmp(language, codes[i].two, n) == 0 && !name_char(language[n])) {
            return str_from(codes[i].three);
        }
    }
    return str_from(language);
}

static bool next_name(const char **p, struct str *out)
{
    if (**p == '\0') {
        return false;
    }
    size_t n = strcspn(*p, "+");
    *out = (struct str){*p, n};
    *p += n + ((*p)[n] == '+');
    return true;
}

void tessdata_choose(const struct tessdata *t, const char *wanted, const char *first,
                     char out[TESSDATA_LIST], char missing[TESSDATA_LIST])
{
    struct str name;
    bool all = strcmp(wanted, "auto") == 0;
    out[0] = missing[0] = '\0';
    if (first != NULL && tessdata_has(t, tesseract_name(first))) {
        add(out, tesseract_name(first));
    }
    if (all) {
        if (tessdata_has(t, STR("eng"))) {
            add(out, STR("eng"));
        }
        for (size_t i = 0; i < t->n; i++) {
            add(out, str_from(t->names[i]));
        }
        return;
    }
    for (const char *p = wanted; next_name(&p, &name);) {
        add(tessdata_has(t, name) ? out : missing, name);
    }
}

void tessdata_packages(const char *languages, char *out, size_t cap)
{
    struct str name;
    size_t at = 0;
    out[0] = '\0';
    for (const char *p = languages; next_name(&p, &name);) {
        int n = snprintf(out + at, cap - at, " tesseract-ocr-%.*s", STR_ARG(name));
        if (n < 0 || (size_t)n >= cap - at) {
            out[at] = '\0';
            break;
        }
        for (size_t end = at + (size_t)n; at < end; at++) {
            out[at] = out[at] == '_' ? '-' : out[at];
        }
    }
}

bool tessdata_valid(const char *wanted)
{
    struct str name;
    size_t n = 0;
    for (const char *p = wanted; next_name(&p, &name); n++) {
        if (!valid_name(name)) {
            return false;
        }
    }
    return n > 0 && strlen(wanted) < TESSDATA_LIST && wanted[strlen(wanted) - 1] != '+';
}
