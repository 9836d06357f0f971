/* What a cell of a workbook shows for its number: of number formats (ECMA-376 part 1, 18.8.30) only
 * whether they are dates, times or percents matters for finding; places and colours do not. Pure.
 */
#ifndef CARREL_INGEST_FORMATS_XLSX_FORMAT_H
#define CARREL_INGEST_FORMATS_XLSX_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum xlsx_format {
    XLSX_NUMBER,
    XLSX_PERCENT,
    XLSX_DATE,
    XLSX_TIME,
    XLSX_DATE_TIME,
    XLSX_ELAPSED, /* [h]:mm */
};

/* Of the formats every workbook has by number; custom ones have 164 and above. */
enum xlsx_format xlsx_builtin_format(uint32_t id);
enum xlsx_format xlsx_custom_format(struct str code);
/* value as the cell has it; what is no number is written as it stands. Dates as 2024-02-29, with
 * 13:45 or 13:45:10. */
void xlsx_show(struct buf *out, struct str value, enum xlsx_format format, bool since_1904);

#endif
