/* What was erased from a tenant, so that nothing brings it back: home/system/erasures/<tenant>, one
 * line a document, only ever appended to. It holds no text, no path and no plain hash. Ingest
 * writes it before it erases; the owners of data read it when they open, so that a backup from
 * before is put right before anything is served from it. Restoring must keep the lines that are
 * there: the file lies outside tenants/<id>.
 *
 * A line: erasure id, document id, keyed BLAKE2b of the content's SHA-256 in hexadecimal ("-": the
 * content stays, under another path), sequence number, wall time in ms. All calls block. */
#ifndef CARREL_BASE_ERASED_H
#define CARREL_BASE_ERASED_H

#include "base/hash.h"
#include "base/sign.h"

#define ERASED_MARK_BYTES 42 /* SUBJECT_MARK_BYTES */

/* Or, of an erasure that was asked for by a data subject's identifiers: erasure id, "subject", the
 * mark (base/text/subject.h) in hexadecimal, 0, wall time. */
struct erased {
    bool subject; /* mark is set, and nothing of a document */
    uint8_t mark[ERASED_MARK_BYTES];
    char erasure[ID_CAP], document[ID_CAP];
    bool content; /* keyed is set */
    uint8_t keyed[KEYED_BYTES];
    uint64_t sequence; /* the document's, above everything put before */
    int64_t wall_ms;
};

typedef enum status (*erased_visit)(const struct erased *e, void *data, struct error *err);

/* Every line in order; a file that is missing has none, a line cut off by a crash is passed over.
 */
enum status erased_read(const char *home, const char *tenant, erased_visit visit, void *data,
                        struct error *err) MUST_CHECK;
/* Durable when it returns. */
enum status erased_append(const char *home, const char *tenant, const struct erased *list, size_t n,
                          struct error *err) MUST_CHECK;
/* The tenant's key of keyed hashes, beside its list; made when missing. */
enum status erased_key(const char *home, const char *tenant, uint8_t out[KEYED_KEY_BYTES],
                       struct error *err) MUST_CHECK;

#endif
