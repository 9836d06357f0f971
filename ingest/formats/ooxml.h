/* What the Office Open XML formats share (ECMA-376 part 2): relationships between parts, core
 * properties. */
#ifndef CARREL_INGEST_FORMATS_OOXML_H
#define CARREL_INGEST_FORMATS_OOXML_H

#include "ingest/formats/sax.h"

#define OOXML_RELATIONS_MAX 16384U

struct ooxml_relation {
    struct ooxml_relation *next;
    const char *id, *type; /* type: what stands behind the last slash, "slide" */
    const char *target;    /* a member's name */
};

/* Those of a part, in order; "": of the package itself. None is no error. In the arena. */
enum status ooxml_relations(struct package *p, struct arena *a, const char *part,
                            struct ooxml_relation **out, struct error *err) MUST_CHECK;
/* NULL: there is none. */
const char *ooxml_by_id(const struct ooxml_relation *list, struct str id);
/* The first of that type; `otherwise` where there is none. */
const char *ooxml_by_type(const struct ooxml_relation *list, const char *type,
                          const char *otherwise);

struct ooxml_core {
    struct buf title, language;
    struct buf author, keywords, created, modified;
    struct buf pages; /* as the program that saved it counted them */
};

/* Initialises *out, which is the caller's to ooxml_core_deinit however it went. */
enum status ooxml_core_read(struct package *p, const struct ooxml_relation *list,
                            struct ooxml_core *out, struct error *err) MUST_CHECK;
/* Authors, dates, keywords and pages to the emitter: before emit_document. */
void ooxml_core_emit(const struct ooxml_core *c, struct emitter *e);
void ooxml_core_deinit(struct ooxml_core *c);

#endif
