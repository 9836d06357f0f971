/* What the handlers of files and vector stores share. */
#ifndef CARREL_SERVE_API_FILES_H
#define CARREL_SERVE_API_FILES_H

#include "serve/files.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"

#define PAGE_LIMIT_MAX 100

/* OpenAI's lists: ?limit=, order, after, before. */
struct page_query {
    size_t limit;
    bool ascending;
    const char *after, *before; /* ids, or NULL */
};
/* False: 400 was answered. */
bool page_query_read(struct request *q, uint64_t max, size_t fallback, struct page_query *out);
/* first_id, last_id and has_more, after the array "data". */
void page_end(struct jsonw *w, const char *first, const char *last, bool more);
/* "object":"list","data":[ */
void page_begin(struct jsonw *w);

/* Whose files the caller sees: NULL means everybody's. */
const char *files_owner(const struct request *q);
/* The last part of a path. */
struct str path_name(struct str path);
/* What a client calls a file, some with the whole path on their machine. False: missing, hidden,
 * not UTF-8, or longer than FILE_NAME_MAX. */
bool file_name_read(struct str given, struct str *name);
void staged_file_json(struct jsonw *w, const struct staged_file *f);

/* {"anchor": ..., "days" or "seconds": n}; *out 0: absent. */
enum status read_expiry(const struct json *body, const char *unit, int64_t min, int64_t max,
                        int64_t *out, struct error *err) MUST_CHECK;
/* At most 16 of them, keys up to 64 bytes, values strings up to 512 bytes, numbers and booleans;
 * *out is JSON in the arena, "{}" when there are none. plain: strings only ("metadata"). */
enum status read_attributes(struct request *q, const struct json *object, const char *param,
                            bool plain, const char **out, struct error *err) MUST_CHECK;

/* api_content.c */
void api_original_of(struct request *q, const char *document);

#endif
