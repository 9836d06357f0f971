/* Presentations (ECMA-376 part 1, PresentationML): slide by slide in their order, the title first,
 * then shapes, tables and diagrams as they stand in the file, the speaker's notes, comments. The
 * page is the slide. */
#include <string.h>

#include "ingest/formats/chart.h"
#include "ingest/formats/ooxml.h"

#define SLIDES_MAX 10000U

struct slide {
    struct slide *next;
    const char *part;
};

struct show {
    struct arena *arena;
    struct emitter *e;
    struct package *p;
    struct ooxml_relation *relations;
    struct slide *slides, **last;
    const struct drawing_block *shapes; /* of the slide */
    uint32_t n, page;
};

static void on_slide(struct sax *x, const char *name, const char *uri,
                     const struct sax_attributes *a)
{
    struct show *w = x->data;
    (void)uri;
    if (strcmp(name, "sldId") != 0 || w->n == SLIDES_MAX) {
        return;
    }
    const char *part = ooxml_by_id(w->relations, sax_attribute_ns(a, "id", "/relationships"));
    struct slide *s = arena_alloc(w->arena, sizeof *s);
    if (s == NULL) {
        sax_fail(x, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    *s = (struct slide){.part = part};
    *w->last = s;
    w->last = &s->next;
    w->n++;
}

static void put(struct show *w, const struct drawing_block *b)
{
    bool title = b->place == DRAWING_TITLE;
    struct emit_block block = {.kind = title ? EX__BLOCK__KIND__HEADING : b->kind,
                               .level = title ? 1 : 0,
                               .page = w->page,
                               .text = b->text};
    if (b->place == DRAWING_FURNITURE) {
        block.kind = EX__BLOCK__KIND__FURNITURE;
    }
    emit(w->e, &block);
}

enum part { SLIDE, DIAGRAM, CHART, NOTES, COMMENTS };

/* Of a page of notes only what was written: the slide's picture and number are on it too. */
static enum status put_part(struct show *w, const char *name, enum part part, struct error *err)
{
    struct drawing_text text;
    enum status s = part == CHART ? chart_read(w->p, name, w->arena, &text, err)
                                  : drawing_read(w->p, name, w->arena, &text, err);
    for (const struct drawing_block *b = text.first; b != NULL && part == SLIDE; b = b->next) {
        if (b->place == DRAWING_TITLE) {
            put(w, b);
        }
    }
    if (part == SLIDE) {
        w->shapes = text.first;
    }
    for (struct drawing_block *b = text.first; b != NULL; b = b->next) {
        bool said = part == NOTES ? b->place == DRAWING_BODY
                                  : b->place != DRAWING_TITLE && b->place != DRAWING_FURNITURE;
        if (part == NOTES || part == COMMENTS) {
            b->kind = EX__BLOCK__KIND__NOTE;
        }
        if (said) {
            put(w, b);
        }
    }
    return s;
}

static enum status put_slide(struct show *w, const char *part, struct error *err)
{
    struct ooxml_relation *list = NULL;
    w->shapes = NULL;
    enum status s = put_part(w, part, SLIDE, err);
    if (s == STATUS_OK) {
        s = ooxml_relations(w->p, w->arena, part, &list, err);
    }
    static const struct {
        const char *name;
        enum part part;
    } types[] = {
        {"diagramData", DIAGRAM}, {"chart", CHART}, {"notesSlide", NOTES}, {"comments", COMMENTS}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        for (const struct ooxml_relation *r = list; r != NULL && s == STATUS_OK; r = r->next) {
            if (strcmp(r->type, types[i].name) == 0) {
                s = put_part(w, r->target, types[i].part, err);
            }
        }
    }
    for (const struct drawing_block *b = w->shapes; b != NULL && s == STATUS_OK; b = b->next) {
        if (b->place == DRAWING_FURNITURE) { /* last, so that the slide is one piece */
            put(w, b);
        }
    }
    return s;
}

static enum status read_show(struct show *w, struct error *err)
{
    static const struct sax_handler handler = {.start = on_slide};
    struct sax x = {.handler = &handler, .data = w};
    struct ooxml_relation *top = NULL;
    struct ooxml_core core = {0};
    bool found = false;
    enum status s = ooxml_relations(w->p, w->arena, "", &top, err);
    if (s == STATUS_OK) {
        s = ooxml_core_read(w->p, top, &core, err);
    }
    const char *part = ooxml_by_type(top, "officeDocument", "ppt/presentation.xml");
    if (s == STATUS_OK) {
        s = ooxml_relations(w->p, w->arena, part, &w->relations, err);
    }
    if (s == STATUS_OK) {
        s = sax_read(&x, w->p, part, &found, err);
    }
    if (s == STATUS_OK && !found) {
        s = error_set(err, STATUS_INVALID, "it is no presentation: %s is missing", part);
    }
    if (s == STATUS_OK) {
        ooxml_core_emit(&core, w->e);
        emit_document(w->e, "pptx", buf_view(&core.title), buf_view(&core.language), w->n);
    }
    for (const struct slide *k = w->slides; k != NULL && s == STATUS_OK && !emit_failed(w->e);
         k = k->next) {
        w->page++;
        emit_unit(w->e, EX__BLOCK__UNIT__SLIDE, STR(""));
        s = k->part == NULL ? STATUS_OK : put_slide(w, k->part, err);
    }
    ooxml_core_deinit(&core);
    return s;
}

enum status pptx_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct show w = {.arena = in->arena, .e = e};
    w.last = &w.slides;
    enum status s = package_open(in, "presentation", &w.p, err);
    if (s == STATUS_OK) {
        s = read_show(&w, err);
    }
    package_close(w.p);
    return s;
}
