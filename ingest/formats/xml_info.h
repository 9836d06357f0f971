/* What XML documents say of themselves: authors, dates, keywords and language in the heads that
 * common vocabularies have (JATS' article-meta, DocBook's info, TEI's fileDesc, DITA's prolog, an
 * Atom or RSS feed's own). Told of elements as they come; nothing is kept but one field's text. */
#ifndef CARREL_INGEST_FORMATS_XML_INFO_H
#define CARREL_INGEST_FORMATS_XML_INFO_H

#include "base/buf.h"
#include "ingest/formats/emit.h"

struct xml_info {
    size_t head;   /* depth of the head that is open; 0: none */
    size_t person; /* depth of the author that is open; 0: none */
    size_t other;  /* depth of one who is no author; 0: none */
    size_t field;  /* depth of the field whose text is being read; 0: none */
    size_t date;   /* depth of a date with parts; 0: none */
    int64_t part[3];
    struct buf text, given, surname, name;
};

void xml_info_init(struct xml_info *x);
void xml_info_deinit(struct xml_info *x);
/* attributes: n of five pointers each, as libxml2 gives them. depth: from 1. */
void xml_info_start(struct xml_info *x, size_t depth, const char *name, int n,
                    const unsigned char **attributes);
void xml_info_text(struct xml_info *x, struct str s);
void xml_info_end(struct xml_info *x, size_t depth, const char *name, struct emitter *e);

#endif
