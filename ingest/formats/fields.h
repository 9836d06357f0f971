/* Fields of a document's head, by the names that formats and people give them: "Author: Anna Berg",
 * <meta name="dc.creator">, "lastmod: 2024-05-31". Names without regard to letters' case; what is
 * known goes to the emitter, the rest nowhere. */
#ifndef CARREL_INGEST_FORMATS_FIELDS_H
#define CARREL_INGEST_FORMATS_FIELDS_H

#include "ingest/formats/emit.h"

#define FIELD_BLOCKS 4 /* fields in a text's lines are its head's: before so many blocks are out   \
                        */

void emit_field(struct emitter *e, struct str name, struct str value);
/* A line ":Name: value", as AsciiDoc and reStructuredText have them. */
void emit_field_line(struct emitter *e, struct str line);
/* The name in "Anna Berg <anna@example.org>" or "anna@example.org (Anna Berg)"; the address where
 * there is none. */
struct str field_person(struct str s);

#endif
