/* Office files are zip archives of XML parts. Members are read as they unpack, never held whole
 * unless asked for, and counted against one budget as declared and as they really come: what a zip
 * says of itself may lie. Names are looked up as they stand; nothing is ever written anywhere. */
#ifndef CARREL_INGEST_FORMATS_PACKAGE_H
#define CARREL_INGEST_FORMATS_PACKAGE_H

#include <stdbool.h>

#include "ingest/formats/format.h"

#define PACKAGE_NAME_MAX 512U

struct package;

/* what: the kind as its owner calls it: "Word file"; it must outlive the
 * package. INVALID: no archive, or a damaged one; UNSUPPORTED: an encrypted one, or what was saved
 * by a program of before 2007. Owned (package_close); borrows the input. */
enum status package_open(const struct extract_input *in, const char *what, struct package **out,
                         struct error *err) MUST_CHECK;
void package_close(struct package *p); /* NULL is fine */
bool package_has(const struct package *p, const char *name);
const char *package_what(const struct package *p);

/* Pieces of a member in order; a failure ends the reading. */
typedef enum status (*package_sink)(void *data, struct str piece, struct error *err);
/* *found false: there is no such member, and nothing was handed on. TOO_LARGE: the budget. */
enum status package_read(struct package *p, const char *name, package_sink sink, void *data,
                         bool *found, struct error *err) MUST_CHECK;
/* A whole member; out is initialised, with a ceiling. */
enum status package_load(struct package *p, const char *name, struct buf *out, bool *found,
                         struct error *err) MUST_CHECK;

/* The target of a link within `base` (a member's name), which may be relative or begin with "/",
 * percent-encoded, with a fragment; out: a member's name. False: it leads out of the archive or is
 * too long. */
bool package_resolve(const char *base, struct str target, char out[PACKAGE_NAME_MAX]);

#endif
