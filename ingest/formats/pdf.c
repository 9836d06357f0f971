/* PDF: pdftotext runs as a tool beside this process and its output is read as it comes. */
#include "ingest/formats/bbox.h"
#include "ingest/formats/format.h"
#include "ingest/formats/layout.h"
#include "ingest/formats/unread.h"

static enum status on_data(void *data, struct str piece, struct error *err)
{
    return bbox_feed(data, piece, err);
}

enum status pdf_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct bbox_document d;
    if (in->tools == NULL) {
        return error_set(err, STATUS_UNAVAILABLE, "the PDF tools could not be started");
    }
    struct bbox_parser *p = bbox_parser_new(in->arena, &d);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = in->tools->run(in->tools, on_data, p, err);
    if (s == STATUS_OK) {
        s = bbox_end(p, err);
    }
    bbox_parser_free(p);
    if (s == STATUS_OK && d.n_pages == 0) {
        s = error_set(err, STATUS_INVALID, "the PDF is damaged: it has no pages");
    }
    if (s == STATUS_OK) {
        s = layout_emit(&d, in->arena, e, err);
    }
    if (s == STATUS_OK) {
        s = unread_emit(&d, in->arena, e, err);
    }
    return s;
}
