/* What a PDF has beside its text: the outline, links, form fields, comments and attached files. */
#ifndef CARREL_INGEST_FORMATS_PDF_EXTRAS_H
#define CARREL_INGEST_FORMATS_PDF_EXTRAS_H

#include "ingest/formats/bbox.h"
#include "ingest/formats/pdf_objects.h"

struct pdf_page {
    float x0, y0, x1, y1; /* MediaBox */
    unsigned turned;      /* quarters, clockwise */
    struct bbox crop;     /* the CropBox as drawn, where it is smaller; else empty */
    struct str dict, resources, annotations;
};

struct pdf_bookmark {
    struct pdf_bookmark *next;
    struct str title;
    uint32_t level; /* from 1 */
    uint32_t page;  /* from 1; 0: it leads nowhere */
    float y;        /* from the page's top, as drawn; below 0: not told */
    bool found;     /* for the layout's use */
};

enum pdf_extra_kind { PDF_LINK, PDF_FIELD, PDF_COMMENT };

struct pdf_extra {
    struct pdf_extra *next;
    enum pdf_extra_kind kind;
    uint32_t page;
    struct bbox box; /* as drawn */
    struct str name; /* of a field; of a comment its author */
    struct str text; /* a link's target, a field's value, a comment's words */
};

struct pdf_attachment {
    struct pdf_attachment *next;
    struct str name, description;
    struct str stream;
};

struct pdf_extras {
    struct pdf_page *pages;
    uint32_t n_pages;
    struct pdf_bookmark *bookmarks; /* in the outline's order */
    struct pdf_extra *extras;       /* by page */
    struct pdf_attachment *attachments;
    struct str title, author, keywords, subject, created, modified;
    bool encrypted; /* it was not looked at for that */
};

/* Where a point of the page's own space lies on the page as drawn, from its upper left corner. */
void pdf_drawn(const struct pdf_page *p, float x, float y, float *out_x, float *out_y);

/* Everything lives in f's arena. What cannot be read or is beyond the bounds is left out; false:
 * memory ran out. */
bool pdf_extras_read(struct pdf_objects *f, struct pdf_extras *out);

#endif
