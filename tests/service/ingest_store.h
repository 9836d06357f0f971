/* What carrel-ingest needs around it, played by a test: a store that keeps what it is given by the
 * rules of vectorstore.proto and can be told to be full or absent, an embed and a retrieve that
 * answer what the test wants. */
#ifndef CARREL_TESTS_SERVICE_INGEST_STORE_H
#define CARREL_TESTS_SERVICE_INGEST_STORE_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/map.h"
#include "tests/service/one_service.h"

#define DIMENSIONS 4

struct kept { /* a document */
    char id[ID_CAP];
    char path[512];
    char collection[128];
    char hash[SHA256_HEX_CAP];
    uint64_t sequence;
    uint32_t for_all; /* puts and moves by which everybody may read it */
    bool there;
    uint32_t puts;
};

struct content {
    struct buf original, text;
    uint32_t chunks, vectors;
    char encoder[64];
};

struct store {
    struct kept docs[1024];
    size_t n;
    struct map contents; /* hash in hex -> struct content */
    enum status refuse;  /* what every put gets; OK: taken */
    uint32_t applied, known, originals;
    /* the encoder */
    char encoder[64], building[64];
    uint32_t fitted_on, fits, encoded;
    bool arriving;     /* documents are: */
    uint32_t told;     /* the chunks it tells of meanwhile */
    char closing[192]; /* a folder's settings that are written at the next lookup */
    char held[64], verdict[16];
    /* evaluations */
    uint32_t evaluations, questions;
    double difference;
    char against[64], of[64];
};

/* A content of the store's map. */
void content_free(struct content *c);
/* Chunks in all, or those without vectors of that encoder. */
uint32_t count_chunks(struct store *s, const char *lacking);

#define STORE_HANDLERS 14
#define EMBED_HANDLERS 2
#define RETRIEVE_HANDLERS 1
extern const struct rpc_handler store_handlers[STORE_HANDLERS];
extern const struct rpc_handler embed_handlers[EMBED_HANDLERS];
extern const struct rpc_handler retrieve_handlers[RETRIEVE_HANDLERS];

#endif
