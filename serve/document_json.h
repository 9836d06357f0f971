/* A document's state as JSON, from ingest's journal or, when ingest is down, from the store. */
#ifndef CARREL_SERVE_DOCUMENT_JSON_H
#define CARREL_SERVE_DOCUMENT_JSON_H

#include "ingest.pb-c.h"
#include "serve/http/jsonw.h"
#include "vectorstore.pb-c.h"

void document_json(struct jsonw *w, const Ig__DocumentState *d);
void stored_document_json(struct jsonw *w, const Vs__DocumentInfo *d);

#endif
