/* One file of a vector store, found for a request. */
#ifndef CARREL_SERVE_API_VECTOR_STORE_FILES_H
#define CARREL_SERVE_API_VECTOR_STORE_FILES_H

#include "serve/api_vector_stores.h"

struct one_file {
    struct stores stores; /* first: vector_store_*.c take q->op for it */
    const char *id;       /* a file's or a document's */
    const char *document;
    struct attached_file row;
    bool found; /* the row */
    struct store_file told;
    void (*then)(struct request *q);
    const char *attributes; /* new ones */
    struct buf text;
};

/* param: of the path that names the file; 0: none. NULL: an error was answered. */
struct one_file *one_file_new(struct request *q, size_t param);
/* Fills `told`, then calls `then`; or answers an error. */
void one_file_find(struct request *q, void (*then)(struct request *q));
/* Attaches what s->attach says, to a store that is there. */
void stores_known(struct request *q, void (*then)(struct request *q));

#endif
