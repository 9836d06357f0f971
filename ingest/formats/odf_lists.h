/* Numbers of lists and headings in OpenDocument files (ODF 1.2 part 1, 5.3, 16.30): styles say how
 * each level is written, elements which list and level a paragraph is of. */
#ifndef CARREL_INGEST_FORMATS_ODF_LISTS_H
#define CARREL_INGEST_FORMATS_ODF_LISTS_H

#include "ingest/formats/numbering.h"
#include "ingest/formats/sax.h"

#define ODF_LISTS_DEEP 10U

#define ODF_LISTS_SLOTS 256U

struct odf_list_style;

struct odf_lists {
    struct numbering numbering;
    struct odf_list_style *styles[ODF_LISTS_SLOTS]; /* by their names, the last made first */
    uint32_t n_styles;
    uint32_t style;                /* being read, 0: none */
    uint32_t open[ODF_LISTS_DEEP]; /* the style of each list around the place at hand */
    unsigned depth;
    bool due; /* the next paragraph is the first of its item */
};

/* An element of the text vocabulary that may be of a style. */
void odf_lists_style(struct odf_lists *l, const char *name, const struct sax_attributes *a);
void odf_lists_begin(struct odf_lists *l, const struct sax_attributes *a);
void odf_lists_end(struct odf_lists *l);
void odf_lists_item(struct odf_lists *l, const struct sax_attributes *a);
/* Appends the number of the paragraph that begins now, and a space; nothing where it has none. */
void odf_lists_label(struct odf_lists *l, struct buf *out);
void odf_lists_heading(struct odf_lists *l, uint32_t level, struct buf *out); /* level from 1 */

#endif
