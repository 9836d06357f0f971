/* PDF: pdftotext runs as a tool beside this process and its output is read as it comes; what it
 * does not tell is read from the file's own objects (docs/decisions/pdf.md). */
#include "ingest/formats/bbox.h"
#include "ingest/formats/format.h"
#include "ingest/formats/layout.h"
#include "ingest/formats/pdf_extras.h"
#include "ingest/formats/pdf_hidden.h"
#include "ingest/formats/unread.h"

static enum status on_data(void *data, struct str piece, struct error *err)
{
    return bbox_feed(data, piece, err);
}

/* What the file says of itself; what is damaged or too large says nothing. */
static void say(const struct pdf_extras *x, struct emitter *e)
{
    emit_author(e, x->author);
    emit_keywords(e, x->keywords);
    emit_keywords(e, x->subject);
    emit_date(e, EMIT_CREATED, x->created);
    emit_date(e, EMIT_MODIFIED, x->modified);
}

static void emit_attachments(struct pdf_objects *f, const struct pdf_extras *x, uint64_t max,
                             struct emitter *e)
{
    for (const struct pdf_attachment *a = x->attachments; a != NULL && !emit_failed(e);
         a = a->next) {
        struct buf bytes;
        buf_init(&bytes, (size_t)max);
        if (e->children.wanted && pdf_stream(f, a->stream, &bytes)) {
            (void)emit_child(e, a->name, buf_view(&bytes), 0);
        } else if (e->children.wanted) {
            emit_note(e, "the attached file \"%.*s\" could not be unpacked",
                      (int)(a->name.len < 80 ? a->name.len : 80), a->name.ptr);
        }
        buf_deinit(&bytes);
    }
}

static enum status lay_out(const struct extract_input *in, struct bbox_document *d,
                           struct emitter *e, struct error *err)
{
    struct arena arena; /* its own ceiling: the text needs nothing of it */
    struct pdf_objects objects;
    struct pdf_extras x;
    arena_init(&arena, (size_t)in->max_bytes / 2 + 1);
    bool known = in->data.len > 0 && pdf_objects_open(&objects, in->data, &arena) &&
                 pdf_extras_read(&objects, &x);
    size_t hidden = 0;
    if (known && !pdf_hide(&objects, &x, d, in->arena, &hidden)) {
        hidden = 0;
    }
    enum status s = layout_emit(d, known ? &x : NULL, in->arena, e, err);
    if (s == STATUS_OK && hidden > 0) {
        emit_note(e, "%zu words that nobody sees on its pages are kept out of answers", hidden);
    }
    if (s == STATUS_OK && known) {
        say(&x, e);
        emit_attachments(&objects, &x, in->max_bytes, e);
    }
    arena_reset(&arena);
    return s;
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
        s = lay_out(in, &d, e, err);
    }
    if (s == STATUS_OK) {
        s = unread_emit(&d, in->arena, e, err);
    }
    return s;
}
