/* The pages that were read from their pictures, put among the others. Pure. */
#ifndef CARREL_INGEST_OCR_MERGE_H
#define CARREL_INGEST_OCR_MERGE_H

#include "base/arena.h"
#include "base/status.h"
#include "extract.pb-c.h"

struct ocr_page_blocks {
    uint32_t page;
    Ex__Block **blocks;
    size_t n;
};

/* blocks: what the first reading gave, in order of pages, what repeats on every page (FURNITURE)
 * last. pages: in order. Of a page that both readings gave the one that says more stays. What comes
 * again at the top or the foot of several read pages becomes FURNITURE, at the end. out lives in a
 * and borrows the blocks. */
enum status ocr_merge(Ex__Block *const *blocks, size_t n, const struct ocr_page_blocks *pages,
                      size_t n_pages, struct arena *a, Ex__Block ***out, size_t *n_out,
                      struct error *err) MUST_CHECK;

#endif
