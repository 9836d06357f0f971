/* The vector stores that file_search of a response names. One that has expired is refused; the
 * others are in use from now on, so that they do not expire while they answer. What the caller may
 * not see is left as it is: to him there is no such store, and he finds nothing in it. */
#ifndef CARREL_SERVE_FILE_SEARCH_H
#define CARREL_SERVE_FILE_SEARCH_H

#include "serve/files.h"
#include "serve/request.h"

#define FILE_SEARCH_STORES_MAX 32

struct file_search {
    const char *collections[FILE_SEARCH_STORES_MAX]; /* in the arena */
    size_t n;
    /* private */
    struct request *q;
    struct store_row rows[FILE_SEARCH_STORES_MAX]; /* of those that expire */
    bool seen[FILE_SEARCH_STORES_MAX];
    size_t n_rows;
    void *op;
    void (*then)(struct request *q, struct file_search *f);
};

/* The stores of all tools of the body; INVALID. */
enum status file_search_read(const struct json *body, struct arena *a, struct file_search *out,
                             struct error *err) MUST_CHECK;
/* f lies in the request's arena. Then `then`, with q->op as it was; or an error is answered. */
void file_search_use(struct request *q, struct file_search *f,
                     void (*then)(struct request *q, struct file_search *f));

#endif
