/* Word files: the styles (which are headings, lists, code), how lists are numbered, the document,
 * its notes and comments, what stands on every page; each part where the relationships say. */
#include "ingest/formats/chart.h"
#include "ingest/formats/docx_xml.h"
#include "ingest/formats/ooxml.h"

static enum status read_beside(struct docx_reader *r, struct package *p,
                               const struct ooxml_relation *list, struct error *err)
{
    static const struct {
        const char *type, *usual; /* where programs put it that write no relationships */
        enum docx_part part;
    } parts[] = {{"footnotes", "word/footnotes.xml", DOCX_NOTES},
                 {"endnotes", "word/endnotes.xml", DOCX_NOTES},
                 {"comments", "word/comments.xml", DOCX_COMMENTS},
                 {"header", NULL, DOCX_FURNITURE},
                 {"footer", NULL, DOCX_FURNITURE}};
    enum status s = STATUS_OK;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        bool found;
        if (list == NULL && parts[i].usual != NULL && s == STATUS_OK) {
            s = docx_reader_read(r, parts[i].part, p, parts[i].usual, &found, err);
        }
        for (const struct ooxml_relation *k = list; k != NULL && s == STATUS_OK; k = k->next) {
            if (str_eq(str_from(k->type), str_from(parts[i].type))) {
                s = docx_reader_read(r, parts[i].part, p, k->target, &found, err);
            }
        }
    }
    return s;
}

static enum status read_charts(struct package *p, const struct ooxml_relation *list,
                               struct arena *a, struct emitter *e, struct error *err)
{
    enum status s = STATUS_OK;
    for (const struct ooxml_relation *k = list; k != NULL && s == STATUS_OK; k = k->next) {
        struct drawing_text text = {.first = NULL};
        if (str_eq(str_from(k->type), STR("chart"))) {
            s = chart_read(p, k->target, a, &text, err);
        }
        for (const struct drawing_block *b = text.first; b != NULL; b = b->next) {
            emit_text(e, b->kind, 0, b->text);
        }
    }
    return s;
}

static enum status read_document(struct docx_reader *r, struct package *p, const char *name,
                                 struct str title, struct arena *a, struct emitter *e,
                                 struct error *err)
{
    struct ooxml_relation *list = NULL;
    bool found = false;
    enum status s = ooxml_relations(p, a, name, &list, err);
    if (s == STATUS_OK) {
        s = docx_reader_read(r, DOCX_STYLES, p, ooxml_by_type(list, "styles", "word/styles.xml"),
                             &found, err);
    }
    if (s == STATUS_OK) {
        s = docx_reader_read(r, DOCX_NUMBERING, p,
                             ooxml_by_type(list, "numbering", "word/numbering.xml"), &found, err);
    }
    if (s == STATUS_OK) {
        s = docx_reader_read(r, DOCX_BODY, p, name, &found, err);
    }
    if (s == STATUS_OK && !found) {
        s = error_set(err, STATUS_INVALID, "it is no Word file: %s is missing", name);
    }
    if (s == STATUS_OK) {
        emit_document(e, "docx", title, STR(""), 0); /* where the text has not */
        s = read_charts(p, list, a, e, err);
    }
    return s == STATUS_OK && !emit_failed(e) ? read_beside(r, p, list, err) : s;
}

enum status docx_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct package *p = NULL;
    struct ooxml_relation *top = NULL;
    struct ooxml_core core = {0};
    enum status s = package_open(in, "Word file", &p, err);
    if (s == STATUS_OK) {
        s = ooxml_relations(p, in->arena, "", &top, err);
    }
    if (s == STATUS_OK) {
        s = ooxml_core_read(p, top, &core, err);
    }
    if (s == STATUS_OK) {
        ooxml_core_emit(&core, e);
        struct docx_reader *r =
            docx_reader_new(in->arena, e, buf_view(&core.title), buf_view(&core.language));
        s = r == NULL
                ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                : read_document(r, p, ooxml_by_type(top, "officeDocument", "word/document.xml"),
                                buf_view(&core.title), in->arena, e, err);
        docx_reader_free(r);
    }
    ooxml_core_deinit(&core);
    package_close(p);
    return s;
}
