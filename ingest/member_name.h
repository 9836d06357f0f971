/* Names of members of archives and of attachments: any bytes that a stranger chose, made into a
 * path below the container's own. Pure. */
#ifndef CARREL_INGEST_MEMBER_NAME_H
#define CARREL_INGEST_MEMBER_NAME_H

#include <stdbool.h>

#include "base/str.h"

#define MEMBER_NAME_CAP 1024
#define MEMBER_PART_MAX 200 /* bytes of one part: ids and numbers still fit behind it */
#define MEMBER_PARTS_MAX 24

/* Relative, without empty parts, "." and "..", without drive letters, control characters and NUL;
 * backslashes of Windows become slashes. Parts that are too long are cut before their ending; of
 * too many the last ones stay. Other bytes, also such that are no UTF-8, stay as they are. Never
 * empty: what has no name is called `otherwise` (itself clean). Returns its length. */
size_t member_name_clean(struct str raw, const char *otherwise, char out[MEMBER_NAME_CAP]);
/* "a/b.pdf" and 2 make "a/b (2).pdf": for the second of that name. */
size_t member_name_number(struct str name, unsigned number, char out[MEMBER_NAME_CAP]);
/* What "notes.txt.gz" holds: "notes.txt"; of "x.tgz": "x.tar"; without an ending to take off, "x"
 * is "x.out". */
size_t member_name_inner(struct str container, char out[MEMBER_NAME_CAP]);

#endif
