/* What the readers of compound files share: each gets the opened file. */
#ifndef CARREL_INGEST_FORMATS_OLE_H
#define CARREL_INGEST_FORMATS_OLE_H

#include "ingest/formats/cfb.h"
#include "ingest/formats/format.h"
#include "ingest/formats/octets.h"

struct ole {
    const struct extract_input *in;
    struct emitter *e;
    struct cfb file;
    struct str title; /* UTF-8, by its summary information; may be empty */
    uint32_t pages;   /* likewise; 0: not said */
};

/* Word 6 to 2003 ([MS-DOC]). stream: "WordDocument". */
enum status doc_read(struct ole *o, uint32_t stream, struct error *err) MUST_CHECK;
/* Excel 5 to 2003 ([MS-XLS]). stream: "Workbook" or "Book". */
enum status xls_read(struct ole *o, uint32_t stream, struct error *err) MUST_CHECK;
/* PowerPoint 97 to 2003 ([MS-PPT]). stream: "PowerPoint Document". */
enum status ppt_read(struct ole *o, uint32_t stream, struct error *err) MUST_CHECK;
/* Outlook's messages ([MS-OXMSG]). stream: "__properties_version1.0". */
enum status msg_read(struct ole *o, uint32_t stream, struct error *err) MUST_CHECK;

/* The code page of a Windows language, as iconv names it; windows-1252 for those not known. */
const char *ole_charset_of_language(uint32_t lid);
/* ... and of a number: 1251, 932, 65001, 10000. */
const char *ole_charset(uint32_t codepage);

/* Windows' count of 100 ns since 1601, as milliseconds since 1970. */
int64_t ole_time_ms(uint64_t time);

#endif
