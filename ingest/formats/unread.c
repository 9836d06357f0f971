#include "ingest/formats/unread.h"

#include "ingest/legible.h"

#define LETTERS_MIN 24 /* fewer are a page's number and a stamp */
#define EDGE_LETTERS 300
#define EDGE 0.1F /* of the page's height, above and below */

bool page_is_unread(const struct bbox_page *p)
{
    struct legible all = {0};
    bool body = false;
    for (const struct bbox_block *b = p->blocks; b != NULL; b = b->next) {
        bool at_edge = b->box.y1 < p->height * EDGE || b->box.y0 > p->height * (1 - EDGE);
        body = body || (!at_edge && b->lines != NULL);
        for (const struct bbox_line *l = b->lines; l != NULL; l = l->next) {
            legible_count(&all, l->text);
        }
    }
    return all.letters < LETTERS_MIN || legible_garbled(&all) ||
           (!body && all.letters < EDGE_LETTERS);
}

enum status unread_emit(const struct bbox_document *d, struct arena *a, struct emitter *e,
                        struct error *err)
{
    Ex__UnreadPage *pages = arena_array(a, (size_t)d->n_pages + 1, sizeof *pages);
    if (pages == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    size_t n = 0;
    uint32_t number = 0;
    for (const struct bbox_page *p = d->pages; p != NULL; p = p->next) {
        number++;
        if (p->width >= 1 && p->height >= 1 && page_is_unread(p)) {
            ex__unread_page__init(&pages[n]);
            pages[n].page = number;
            pages[n].width = p->width;
            pages[n].height = p->height;
            n++;
        }
    }
    emit_unread(e, pages, n);
    return STATUS_OK;
}
