/* Where the files of a source lie in the watched folder: keys are any bytes, paths of documents are
 * not. Pure; any thread. */
#ifndef CARREL_INGEST_SOURCES_NAMES_H
#define CARREL_INGEST_SOURCES_NAMES_H

#include "base/buf.h"
#include "base/hash.h"

#define PLACE_MAX 1024
#define SOURCE_MARKER ".carrel-source" /* in the folder of a source, with its name */

/* What a key is remembered by. */
void source_id(const char *source, struct str key, uint8_t out[SHA256_BYTES]);
/* The path below the source's folder: components of at most 200 bytes, no "." or "..", UTF-8, what
 * cannot stand in a name as %XX; deep and long ones under a name of their hash. unlike: another
 * such path, for when that one is taken. false: hidden and temporary names are not taken as
 * documents. */
bool source_place(struct str key, const uint8_t id[SHA256_BYTES], bool unlike, char out[PLACE_MAX]);
/* By which places are told apart, also where a file system does not tell A from a. */
void source_fold(const char *place, char out[PLACE_MAX]);

#endif
