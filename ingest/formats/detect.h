/* Which format a file is, by its name and its first bytes. */
#ifndef CARREL_INGEST_FORMATS_DETECT_H
#define CARREL_INGEST_FORMATS_DETECT_H

#include <stddef.h>

#define FORMAT_HEAD 16384 /* first bytes that are looked at */

/* A name that format_find knows; NULL: none of what is read. The name decides, unless the bytes are
 * plainly of another kind (a PDF called .docx, a table in HTML called .xls, a mail in a maildir whose
 * host's name ends in .pl); where the name says nothing, the bytes decide, and what is plausible text
 * is text. Pure; linear in head_len. */
const char *format_detect(const char *file_name, const void *head, size_t head_len);

#endif
