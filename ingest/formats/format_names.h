/* What is known of formats by their names alone, outside the sandbox. */
#ifndef CARREL_INGEST_FORMATS_FORMAT_NAMES_H
#define CARREL_INGEST_FORMATS_FORMAT_NAMES_H

#include <stdbool.h>

/* The same name, static; NULL: there is no such format. */
const char *format_name(const char *name);
/* Whether other documents may lie in one: files in archives, what is attached to mails. */
bool format_has_members(const char *name);

#endif
