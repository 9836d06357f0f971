/* Text that the file has and nobody sees on the page: white on nothing, without opacity, smaller
 * than any eye reads, or outside the CropBox. It is a way to tell an assistant what its reader
 * shall not know. Rendering mode 3 is not among it: so layers of recognised text are written. */
#ifndef CARREL_INGEST_FORMATS_PDF_HIDDEN_H
#define CARREL_INGEST_FORMATS_PDF_HIDDEN_H

#include "ingest/formats/pdf_extras.h"

/* Moves such words to a block of furniture at the end of their page and counts them in *n_words.
 * Lines that are all bold are marked, as far as the names of fonts tell.
 * False: memory ran out. Lines and texts are made in a. */
bool pdf_hide(struct pdf_objects *f, const struct pdf_extras *x, struct bbox_document *d,
              struct arena *a, size_t *n_words);

#endif
