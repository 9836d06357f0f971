/* What the handlers of vector stores share: a store is a collection, a file of it is a document.
 * One struct stores a request, in its arena: q->op. docs/decisions/openai.md says what is what. */
#ifndef CARREL_SERVE_API_VECTOR_STORES_H
#define CARREL_SERVE_API_VECTOR_STORES_H

#include "ingest/ingest_rpc.h"
#include "serve/api_files.h"
#include "serve/vector_store_id.h"
#include "vectorstore/vectorstore_rpc.h"

#define ATTACH_MAX 500 /* files in one go, as OpenAI has it */

/* A collection as the caller sees it. */
struct store_entry {
    struct store_row row; /* collection is set always */
    bool has_row;
    uint32_t completed, in_progress, failed;
    int64_t bytes; /* of what is ready; 0 where it was not counted */
};

/* A file of a store, to be told. Strings are borrowed. */
struct store_file {
    const char *id, *document, *collection;
    struct str path; /* "" where it has none */
    int64_t created_wall_ms, bytes;
    const char *status, *error_code, *error; /* the latter two NULL: none */
    const char *attributes;                  /* JSON object, or "" */
};

struct attach_item {
    const char *file;
    const char *attributes; /* JSON object; NULL: not given */
    struct staged_file staged;
    struct attached_file row;
    bool found; /* the row was there, with a document */
    struct error err;
};

/* Files becoming documents of a collection, one after the other. */
struct attach {
    const char *collection, *batch; /* batch "": none */
    struct attach_item *items;
    size_t n, at;
    void (*then)(struct request *q); /* every item is documented or has its err */
    /* the one under way */
    unsigned tries;
    char path[1024]; /* in the watched folder */
    char disk[PATH_MAX];
    int fd;
    char *piece;
    size_t piece_len;
    bool busy, ending, at_end, gone;
    struct rpc_request *rpc;
    struct error err;  /* the lane's */
    struct error said; /* ingest's, while the lane reads */
};

struct removal;

struct stores {
    struct request *q;
    const char *collection; /* of the path */
    struct page_query page;
    void (*then)(struct request *q);
    /* the survey */
    struct store_row *rows;
    size_t n_rows;
    struct store_entry *entries;
    size_t n, cap;
    unsigned step;
    bool failed; /* no room for an entry */
    /* creation, change */
    struct store_row row;
    bool row_found;
    bool sooner;      /* a change lets it expire, or earlier */
    const char *name; /* asked for */
    unsigned tries;
    bool taken;
    struct attach attach;
    void (*attached)(struct request *q);
    struct removal *removal; /* api_vector_stores.c */
};

/* NULL: an error was answered. with_id: of the path's first parameter. */
/* The collection of the address; NULL: there is none of that id for this caller. */
const char *stores_collection(struct request *q);
struct stores *stores_new(struct request *q, bool with_id);

/* vector_store_survey.c: fills entries with every store that the caller may see (or the one of
 * s->collection), then calls `then`; or answers an error. */
void stores_survey(struct request *q, void (*then)(struct request *q));
bool store_expired(const struct store_row *r, int64_t now_ms);
void store_json(struct jsonw *w, const struct store_entry *e);

/* vector_store_attach.c: items and collection are set. */
void attach_run(struct request *q, void (*then)(struct request *q));
/* {"file_ids": [...]} and {"files": [{"file_id", "attributes"}]} into s->attach; INVALID. */
enum status attach_read(struct request *q, const struct json *body, struct error *err) MUST_CHECK;
/* A row whose file is no document, to be told. */
void store_file_of_row(const struct attached_file *r, struct store_file *out);
void store_file_of_state(const Ig__DocumentState *d, struct store_file *out);
void store_file_of_document(const Vs__DocumentInfo *d, struct store_file *out);
/* Id and attributes of what became this document. */
void store_file_row(const struct attached_file *r, struct store_file *out);
void store_file_json(struct jsonw *w, const struct store_file *f);

#endif
