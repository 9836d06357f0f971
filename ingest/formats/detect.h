/* Which format a file is, by its name and its first bytes. */
#ifndef CARREL_INGEST_FORMATS_DETECT_H
#define CARREL_INGEST_FORMATS_DETECT_H

#include <stddef.h>

#define FORMAT_HEAD 4096 /* first bytes that are looked at */

/* A name that format_find knows; NULL: none of what is read. */
const char *format_detect(const char *file_name, const void *head, size_t head_len);

#endif
