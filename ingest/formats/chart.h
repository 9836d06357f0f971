/* What a chart shows (ECMA-376 part 1, 21.2): its title and, as a table, the values that the
 * document keeps of it: categories down, series across. */
#ifndef CARREL_INGEST_FORMATS_CHART_H
#define CARREL_INGEST_FORMATS_CHART_H

#include "ingest/formats/drawing.h"

/* Blocks in the arena; a chart that is not there or malformed has none. Of a large one the first
 * series and points are taken. */
enum status chart_read(struct package *p, const char *name, struct arena *a,
                       struct drawing_text *out, struct error *err) MUST_CHECK;

#endif
