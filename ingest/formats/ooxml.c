#include "ingest/formats/ooxml.h"

#include <stdio.h>
#include <string.h>

/* ---- relationships ---- */

struct relations {
    struct arena *arena;
    const char *part;
    struct ooxml_relation **last;
    size_t n;
};

static void on_relation(struct sax *x, const char *name, const char *uri,
                        const struct sax_attributes *a)
{
    struct relations *r = x->data;
    char target[PACKAGE_NAME_MAX];
    (void)uri;
    if (strcmp(name, "Relationship") != 0 || r->n == OOXML_RELATIONS_MAX) {
        return;
    }
    struct str mode = sax_attribute(a, "TargetMode");
    struct str id = sax_attribute(a, "Id");
    struct str type = sax_attribute(a, "Type");
    struct str to = sax_attribute(a, "Target");
    if (str_eq(mode, STR("External")) || id.len == 0 || to.len == 0 ||
        !package_resolve(r->part, to, target)) {
        return;
    }
    size_t at = type.len;
    while (at > 0 && type.ptr[at - 1] != '/') {
        at--;
    }
    struct ooxml_relation *made = arena_alloc(r->arena, sizeof *made);
    if (made == NULL) {
        sax_fail(x, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    *made = (struct ooxml_relation){
        .id = arena_strndup(r->arena, id.ptr, id.len),
        .type = arena_strndup(r->arena, type.len == 0 ? "" : type.ptr + at, type.len - at),
        .target = arena_strdup(r->arena, target)};
    if (made->id == NULL || made->type == NULL || made->target == NULL) {
        sax_fail(x, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    *r->last = made;
    r->last = &made->next;
    r->n++;
}

enum status ooxml_relations(struct package *p, struct arena *a, const char *part,
                            struct ooxml_relation **out, struct error *err)
{
    static const struct sax_handler handler = {.start = on_relation};
    struct relations r = {.arena = a, .part = part, .last = out};
    struct sax x = {.handler = &handler, .data = &r};
    char name[PACKAGE_NAME_MAX + 16];
    const char *slash = strrchr(part, '/');
    size_t folder = slash == NULL ? 0 : (size_t)(slash - part) + 1;
    *out = NULL;
    (void)snprintf(name, sizeof name, "%.*s_rels/%s.rels", (int)folder, part, part + folder);
    return sax_read_help(&x, p, name, err);
}

const char *ooxml_by_id(const struct ooxml_relation *list, struct str id)
{
    for (; list != NULL && id.ptr != NULL; list = list->next) {
        if (str_eq(str_from(list->id), id)) {
            return list->target;
        }
    }
    return NULL;
}

const char *ooxml_by_type(const struct ooxml_relation *list, const char *type,
                          const char *otherwise)
{
    for (; list != NULL; list = list->next) {
        if (strcmp(list->type, type) == 0) {
            return list->target;
        }
    }
    return otherwise;
}

/* ---- core properties ---- */

struct reading {
    struct ooxml_core *core;
    struct buf *into;
    bool application; /* docProps/app.xml is read */
};

static void core_start(struct sax *x, const char *name, const char *uri,
                       const struct sax_attributes *a)
{
    struct reading *r = x->data;
    (void)uri, (void)a;
    struct ooxml_core *c = r->core;
    const struct {
        const char *name;
        struct buf *into;
    } known[] = {{"title", &c->title},      {"language", &c->language}, {"creator", &c->author},
                 {"subject", &c->keywords}, {"keywords", &c->keywords}, {"created", &c->created},
                 {"modified", &c->modified}};
    r->into = r->application && strcmp(name, "Pages") == 0 ? &c->pages : NULL;
    for (size_t i = 0; i < sizeof known / sizeof known[0] && !r->application; i++) {
        r->into = strcmp(name, known[i].name) == 0 ? known[i].into : r->into;
    }
    if (r->into == &c->keywords && c->keywords.len > 0) {
        buf_z(&c->keywords, "; ");
    }
}

static void core_end(struct sax *x, const char *name, const char *uri)
{
    struct reading *r = x->data;
    (void)name, (void)uri;
    r->into = NULL;
}

static void core_text(struct sax *x, struct str text)
{
    struct reading *r = x->data;
    if (r->into != NULL) {
        buf_str(r->into, text);
    }
}

enum status ooxml_core_read(struct package *p, const struct ooxml_relation *list,
                            struct ooxml_core *out, struct error *err)
{
    static const struct sax_handler handler = {
        .start = core_start, .end = core_end, .text = core_text};
    struct reading r = {.core = out};
    struct sax x = {.handler = &handler, .data = &r};
    buf_init(&out->title, 4096);
    buf_init(&out->language, 64);
    buf_init(&out->author, 4096);
    buf_init(&out->keywords, 4096);
    buf_init(&out->created, 128);
    buf_init(&out->modified, 128);
    buf_init(&out->pages, 64);
    enum status s =
        sax_read_help(&x, p, ooxml_by_type(list, "core-properties", "docProps/core.xml"), err);
    if (s == STATUS_OK) {
        r = (struct reading){.core = out, .application = true};
        s = sax_read_help(&x, p, ooxml_by_type(list, "extended-properties", "docProps/app.xml"),
                          err);
    }
    return s;
}

void ooxml_core_emit(const struct ooxml_core *c, struct emitter *e)
{
    emit_author(e, buf_view(&c->author));
    emit_keywords(e, buf_view(&c->keywords));
    emit_date(e, EMIT_CREATED, buf_view(&c->created));
    emit_date(e, EMIT_MODIFIED, buf_view(&c->modified));
    emit_pages(e, (uint32_t)sax_number(buf_view(&c->pages), 1000000, 0));
}

void ooxml_core_deinit(struct ooxml_core *c)
{
    buf_deinit(&c->title);
    buf_deinit(&c->language);
    buf_deinit(&c->author);
    buf_deinit(&c->keywords);
    buf_deinit(&c->created);
    buf_deinit(&c->modified);
    buf_deinit(&c->pages);
}
