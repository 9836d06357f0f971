#include "ingest/formats/xml_info.h"

#include <strings.h>

#include "ingest/formats/dates.h"
#include "ingest/formats/fields.h"

#define FIELD_BYTES 1000U

/* name among the words of a list that begins and ends with a space; letters' case aside. */
static bool one_of(const char *name, const char *list)
{
    size_t n = strlen(name);
    for (const char *p = list; *p != '\0';) {
        p += *p == ' ';
        size_t len = strcspn(p, " ");
        if (len == n && n > 0 && strncasecmp(p, name, n) == 0) {
            return true;
        }
        p += len;
    }
    return false;
}

static struct str attribute(int n, const unsigned char **a, const char *name)
{
    for (int i = 0; i < n; i++) {
        const unsigned char **one = a + 5 * (size_t)i;
        if (strcmp((const char *)one[0], name) == 0) {
            return (struct str){(const char *)one[3], (size_t)(one[4] - one[3])};
        }
    }
    return (struct str){NULL, 0};
}

void xml_info_init(struct xml_info *x)
{
    *x = (struct xml_info){.head = 0};
    buf_init(&x->text, FIELD_BYTES + 1);
    buf_init(&x->given, FIELD_BYTES + 1);
    buf_init(&x->surname, FIELD_BYTES + 1);
    buf_init(&x->name, 4 * FIELD_BYTES);
}

void xml_info_deinit(struct xml_info *x)
{
    buf_deinit(&x->text);
    buf_deinit(&x->given);
    buf_deinit(&x->surname);
    buf_deinit(&x->name);
}

static void begin_person(struct xml_info *x, size_t depth)
{
    x->person = depth;
    buf_reset(&x->given);
    buf_reset(&x->surname);
    buf_reset(&x->name);
}

void xml_info_start(struct xml_info *x, size_t depth, const char *name, int n,
                    const unsigned char **attributes)
{
    static const char heads[] =
        " article-meta info articleinfo bookinfo filedesc prolog front-matter feed channel ";
    if (x->head == 0) {
        x->head = one_of(name, heads) ? depth : 0;
        return;
    }
    /* entries of a feed are documents of their own */
    if (x->other == 0 && one_of(name, " entry item editor editors related-article publisher ")) {
        x->other = depth;
    }
    if (x->other != 0) {
        return;
    }
    if (x->person == 0 && one_of(name, " contrib author ")) {
        struct str type = attribute(n, attributes, "contrib-type");
        if (type.len == 0 || str_eq(type, STR("author"))) {
            begin_person(x, depth);
        } else {
            x->other = depth;
        }
    } else if (x->date == 0 && one_of(name, " pub-date ")) {
        x->date = depth;
        memset(x->part, 0, sizeof x->part);
    }
    if (one_of(name,
               " surname given-names firstname given name string-name persname forename collab "
               "author creator year month day date pubdate published updated lastbuilddate "
               "kwd keyword revised created ")) {
        x->field = depth;
        buf_reset(&x->text);
    }
    if (one_of(name, " created revised ")) { /* DITA: as an attribute */
        struct str value = attribute(n, attributes, "date");
        buf_append(&x->text, value.ptr, value.len < FIELD_BYTES ? value.len : 0);
        value = attribute(n, attributes, "modified");
        buf_append(&x->text, value.ptr,
                   x->text.len == 0 && value.len < FIELD_BYTES ? value.len : 0);
    }
}

void xml_info_text(struct xml_info *x, struct str s)
{
    if (x->field != 0 && x->other == 0) {
        size_t room = FIELD_BYTES - x->text.len;
        buf_append(&x->text, s.ptr, s.len < room ? s.len : room);
    }
}

static void end_person(struct xml_info *x, struct emitter *e)
{
    struct buf whole;
    buf_init(&whole, 4 * FIELD_BYTES);
    if (x->surname.len > 0) {
        buf_str(&whole, buf_view(&x->given));
        buf_z(&whole, " ");
        buf_str(&whole, buf_view(&x->surname));
    } else {
        buf_str(&whole, buf_view(&x->name));
    }
    emit_author(e, field_person(buf_view(&whole)));
    buf_deinit(&whole);
    x->person = 0;
}

static int64_t small_number(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.len && i < 4 && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++) {
        n = n * 10 + (s.ptr[i] - '0');
    }
    return n;
}

static void end_field(struct xml_info *x, const char *name, struct emitter *e)
{
    struct str s = str_trim(buf_view(&x->text));
    if (x->date != 0) {
        static const char *const parts[] = {"year", "month", "day"};
        for (size_t i = 0; i < 3; i++) {
            if (strcasecmp(name, parts[i]) == 0) {
                x->part[i] = small_number(s);
            }
        }
    } else if (x->person != 0) {
        struct buf *into = one_of(name, " surname ")                                ? &x->surname
                           : one_of(name, " given-names firstname given forename ") ? &x->given
                                                                                    : &x->name;
        if (into->len == 0) {
            buf_str(into, s);
        }
    } else if (one_of(name, " creator ")) {
        emit_author(e, field_person(s));
    } else if (one_of(name, " kwd keyword ")) {
        emit_keywords(e, s);
    } else if (one_of(name, " updated lastbuilddate revised ")) {
        emit_date(e, EMIT_MODIFIED, s);
    } else if (one_of(name, " date pubdate published created ")) {
        emit_date(e, EMIT_CREATED, s);
    }
}

void xml_info_end(struct xml_info *x, size_t depth, const char *name, struct emitter *e)
{
    if (x->field == depth && x->other == 0) {
        end_field(x, name, e);
    }
    x->field = x->field >= depth ? 0 : x->field;
    if (x->person != 0 && x->person == depth) {
        end_person(x, e);
    }
    if (x->date != 0 && x->date == depth) {
        int64_t ms;
        if (date_make(x->part[0], x->part[1] == 0 ? 1 : x->part[1],
                      x->part[2] == 0 ? 1 : x->part[2], 0, 0, 0, &ms)) {
            emit_date_ms(e, EMIT_CREATED, ms);
        }
        x->date = 0;
    }
    x->other = x->other == depth ? 0 : x->other;
    x->head = x->head == depth ? 0 : x->head;
}
