/* Driving the encoder of a tenant: the first fit, refits as the collection grows, vectors for
 * chunks that lack them, and publishing; candidates beside the published one. Everything can be
 * resumed from what vectorstore.Status says, so nothing of it is in the journal. One step at a
 * time, at background priority, slower while documents are being ingested. */
#ifndef CARREL_INGEST_MIGRATE_H
#define CARREL_INGEST_MIGRATE_H

#include "ingest/ingest.h"

struct migration *migration_new(struct tenant *t); /* NULL: out of memory */
void migration_close(struct migration *m);
bool migration_idle(const struct migration *m);
void migration_free(struct migration *m);
/* Fits anew from what the store holds now, whatever the growth says, and publishes. done runs once,
 * with the name of the fit: none of the older ones knows less. "": there is too little text left to
 * fit one. */
void migration_refit(struct migration *m, void (*done)(const char *name, void *data), void *data);
/* Passages are being read into a fit, which is not stored yet. */
bool migration_fitting(const struct migration *m);
/* The call ingest.BuildEncoder. */
void migration_build_encoder(struct rpc_call *call, const ProtobufCMessage *m);
/* Imported models, named "gguf-...", take up to seconds a text. */
bool encoder_is_slow(const char *encoder);
/* What it is doing, for people: "re-embedding 1200 of 4000 chunks"; "" when nothing. */
const char *migration_doing(const struct migration *m);

#endif
