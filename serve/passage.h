/* Passages as JSON, the same in search results and citations. */
#ifndef CARREL_SERVE_PASSAGE_H
#define CARREL_SERVE_PASSAGE_H

#include "serve/http/jsonw.h"
#include "vectorstore.pb-c.h"

static inline struct str str_of_bytes(ProtobufCBinaryData b)
{
    return (struct str){b.data == NULL ? "" : (const char *)b.data, b.len};
}

/* The fields document .. boxes, inside an open object. page 0: the passage's first. */
void passage_fields(struct jsonw *w, const Vs__Passage *p, uint32_t page);
/* Which passage it was, without its text, as an object: what the records of an answer keep. */
void passage_named(struct jsonw *w, int64_t number, const Vs__Passage *p);
/* The title, or the file's name where it has none. */
void title_field(struct jsonw *w, const char *title, struct str path);
/* A day, as filters take it: "2024-05-31"; nothing for what is no time. */
void day_field(struct jsonw *w, const char *key, int64_t ms);
void hex_field(struct jsonw *w, const char *key, ProtobufCBinaryData bytes);

#endif
