/* Cutting anew: a migration of its own. When the chunker's version or a collection's settings change, or a document moves into
 * a collection with others, its chunks are made again from the text and the table of blocks that the store keeps;
 * the file is not read. One document at a time, and only while nothing else is to be done; the old chunks are searched
 * until the new ones take their place. What is to be done is in the journal (files.cut), so it goes on over restarts. */
#ifndef CARREL_INGEST_RECUT_H
#define CARREL_INGEST_RECUT_H

#include "ingest/chunk.h"
#include "ingest/ingest.h"

struct job;
struct recut;

/* How a collection's documents are cut. */
void recut_options(const struct settings *s, const char *collection, struct chunk_options *out);
/* What names it in the store: extractor, chunker and its settings. */
void recut_pipeline(const struct settings *s, const char *collection, char out[INGEST_PIPELINE_CAP]);
/* The extractor alone: another one reads all files again. */
void recut_extraction(char out[INGEST_PIPELINE_CAP]);

/* Before the journal's lane runs: tells it how collections are cut. NULL: out of memory. */
enum status recut_prepare(const struct settings *s, struct journal *j, struct error *err) MUST_CHECK;
struct recut *recut_new(struct tenant *t);
void recut_free(struct recut *r);
/* Every half second, and when a job has ended. */
void recut_go(struct recut *r);
/* Documents may have come that are cut otherwise: looks again. */
void recut_look(struct recut *r);
/* Whether the journal is being asked. */
bool recut_busy(const struct recut *r);
/* How many documents are still to be cut anew. */
uint32_t recut_left(const struct recut *r);
/* "cutting documents anew: 12 of 300"; "": nothing */
const char *recut_doing(struct recut *r);
/* A job ended that had begun here. */
void recut_ended(struct recut *r, const struct job *j);

#endif
