/* Binary workbooks (.xlsb, [MS-XLSB]): a package whose parts are records. */
#ifndef CARREL_INGEST_FORMATS_XLSB_H
#define CARREL_INGEST_FORMATS_XLSB_H

#include "ingest/formats/ooxml.h"

/* book: the workbook's part; relations: its own. After the package has been told from others. */
enum status xlsb_read(struct package *p, const struct extract_input *in, struct emitter *e,
                      const char *book, const struct ooxml_relation *relations,
                      const struct ooxml_core *core, struct error *err) MUST_CHECK;

#endif
