/* The table that rights.c keeps and rights_facets.c counts over. */
#ifndef CARREL_VECTORSTORE_RIGHTS_INTERNAL_H
#define CARREL_VECTORSTORE_RIGHTS_INTERNAL_H

#include <pthread.h>

#include "base/map.h"
#include "vectorstore/rights.h"

#define RIGHTS_NONE UINT32_MAX
#define RIGHTS_CHANGES 4096U

/* Words that many places share, each under a small number. */
struct words {
    struct map ids; /* value: number + 1 */
    struct str *list;
    uint32_t n, cap;
};

enum rights_kind { RK_READERS, RK_COLLECTION, RK_LABEL, RK_TAGS, RK_LANGUAGE, RK_FORMAT, RK_AUTHOR, RK_KINDS };

struct span {
    chunk_no first, last;
};

struct held { /* a content */
    int64_t pk;
    uint32_t places; /* its first row, or RIGHTS_NONE; where free, the next free one */
    uint32_t n_spans;
    struct span *spans;
};

struct row { /* a place */
    uint32_t content, next;
    uint32_t word[RK_KINDS];
    uint32_t pages;
    int64_t date_ms, from_ms, to_ms;
    uint64_t document_hash;
    uint64_t hash; /* of the file, its first eight bytes */
    char *names; /* document, then path */
    uint32_t document_len, path_len;
    bool used, current, excluded;
};

struct change { /* a run of chunks whose content has changed */
    int64_t seq, pk;
    struct span span;
};

struct rights {
    pthread_rwlock_t lock; /* of all below but the cache */
    bool loaded;
    int64_t seq; /* of the catalogue's log, taken in */
    uint64_t next_chunk;
    struct map by_pk; /* 8 bytes of pk; value: index in contents + 1 */
    struct held *contents;
    uint32_t n_contents, cap_contents, free_content;
    struct row *rows;
    uint32_t n_rows, cap_rows, free_row;
    struct words words[RK_KINDS];
    uint32_t words_loaded; /* how many there were after the last filling */
    struct change changes[RIGHTS_CHANGES];
    uint64_t n_changes;   /* ever; the last RIGHTS_CHANGES are there */
    int64_t changes_from; /* bitmaps that hold up to here or later can be brought forward */
    size_t bytes;
    pthread_mutex_t cache_lock;
    struct visible_cache cache;
};

/* A caller and a filter, made ready for many places. */
struct rules {
    const struct caller *caller;
    const Vs__Filter *filter;
    uint64_t *documents; /* hashes, ascending */
    size_t n_documents;
    ProtobufCBinaryData *under; /* ascending, none below another */
    size_t n_under;
    uint8_t *verdicts[RK_KINDS]; /* a byte a word, or NULL: words are looked at one by one */
};

enum status rules_make(const struct rights *r, const struct caller *caller,
                       const Vs__Filter *filter, bool verdicts, struct arena *a, struct rules *out,
                       struct error *err) MUST_CHECK;
bool rules_pass(const struct rights *r, const struct rules *rules, const struct row *row);
/* The table up to date for this snapshot, and locked for reading: unlock r->lock. */
enum status rights_lock(struct rights *r, struct catalogue *c, const struct catalogue_state *state,
                        struct error *err) MUST_CHECK;

#endif
