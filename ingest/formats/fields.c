#include "ingest/formats/fields.h"

#include <strings.h>

enum field { NOTHING, AUTHOR, CREATED, MODIFIED, KEYWORDS, LANGUAGE };

static enum field field_of(struct str name)
{
    static const struct {
        const char *names;
        enum field field;
    } known[] = {
        {" author authors creator by dc.creator dcterms.creator article:author citation_author "
         "parsely-author ",
         AUTHOR},
        {" date created published pubdate revdate dc.date dcterms.date dcterms.created "
         "dc.date.issued "
         "dcterms.issued dc.date.created article:published_time datepublished "
         "citation_publication_date citation_date creation_date ",
         CREATED},
        {" modified updated lastmod last-modified last_modified dcterms.modified dc.date.modified "
         "article:modified_time og:updated_time datemodified revised ",
         MODIFIED},
        {" keywords keyword tags subject categories dc.subject dcterms.subject article:tag "
         "news_keywords ",
         KEYWORDS},
        {" lang language dc.language dcterms.language content-language ", LANGUAGE},
    };
    char padded[40];
    if (name.len == 0 || name.len > sizeof padded - 3) {
        return NOTHING;
    }
    padded[0] = ' ';
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == ' ' || c == '\0') {
            return NOTHING;
        }
        padded[i + 1] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    padded[name.len + 1] = ' ';
    padded[name.len + 2] = '\0';
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strstr(known[i].names, padded) != NULL) {
            return known[i].field;
        }
    }
    return NOTHING;
}

static struct str unquote(struct str s)
{
    s = str_trim(s);
    while (s.len > 1 && (s.ptr[0] == '"' || s.ptr[0] == '\'') && s.ptr[s.len - 1] == s.ptr[0]) {
        s = str_trim((struct str){s.ptr + 1, s.len - 2});
    }
    return s;
}

struct str field_person(struct str s)
{
    s = str_trim(s);
    const char *open = s.len == 0 ? NULL : memchr(s.ptr, '<', s.len);
    if (open != NULL) {
        struct str name = unquote((struct str){s.ptr, (size_t)(open - s.ptr)});
        if (name.len > 0) {
            return name;
        }
        const char *close = memchr(open, '>', (size_t)(s.ptr + s.len - open));
        return close == NULL ? (struct str){"", 0}
                             : str_trim((struct str){open + 1, (size_t)(close - open - 1)});
    }
    const char *note = s.len == 0 ? NULL : memchr(s.ptr, '(', s.len);
    if (note != NULL && memchr(s.ptr, '@', (size_t)(note - s.ptr)) != NULL &&
        s.ptr[s.len - 1] == ')') {
        return str_trim((struct str){note + 1, (size_t)(s.ptr + s.len - note - 2)});
    }
    return unquote(s);
}

/* "[a, b]" as YAML writes lists; else the one value. */
static void each(struct emitter *e, enum field field, struct str value)
{
    bool list = value.len > 1 && value.ptr[0] == '[' && value.ptr[value.len - 1] == ']';
    if (list) {
        value = (struct str){value.ptr + 1, value.len - 2};
    }
    while (value.len > 0) {
        const char *end = memchr(value.ptr, list || field == KEYWORDS ? ',' : ';', value.len);
        size_t n = end == NULL ? value.len : (size_t)(end - value.ptr);
        struct str one = unquote((struct str){value.ptr, n});
        if (field == AUTHOR) {
            one = field_person(one);
        }
        /* a page's "author" is at times its address on a social network */
        bool address = str_starts(one, STR("http:")) || str_starts(one, STR("https:"));
        if (field == AUTHOR && !address) {
            emit_author(e, one);
        } else if (field == KEYWORDS) {
            emit_keywords(e, one);
        }
        n += n < value.len ? 1 : 0;
        value.ptr += n;
        value.len -= n;
    }
}

void emit_field(struct emitter *e, struct str name, struct str value)
{
    enum field field = field_of(str_trim(name));
    value = unquote(value);
    value.len = value.len > 4000 ? 4000 : value.len;
    switch (field) {
    case AUTHOR:
    case KEYWORDS:
        each(e, field, value);
        break;
    case CREATED:
        emit_date(e, EMIT_CREATED, value);
        break;
    case MODIFIED:
        emit_date(e, EMIT_MODIFIED, value);
        break;
    case LANGUAGE:
        emit_language(e, value);
        break;
    case NOTHING:
        break;
    }
}

void emit_field_line(struct emitter *e, struct str line)
{
    if (line.len > 2 && line.ptr[0] == ':') {
        const char *end = memchr(line.ptr + 1, ':', line.len - 1);
        if (end != NULL) {
            emit_field(e, (struct str){line.ptr + 1, (size_t)(end - line.ptr) - 1},
                       (struct str){end + 1, (size_t)(line.ptr + line.len - end) - 1});
        }
    }
}
