/* The page's files, read into memory at start: a built Vite folder is small. Names with a hash in
 * them (assets/) never change and are cached for ever; the rest is asked for again with its ETag.
 * Texts are kept compressed too, each way with a tag of its own. */
#ifndef CARREL_SERVE_HTTP_STATIC_H
#define CARREL_SERVE_HTTP_STATIC_H

#include "serve/http/http.h"

struct static_files;

/* Blocks: at start. Hidden names and symbolic links are left out. NOT_FOUND when there is no
 * index.html. */
enum status static_load(const char *dir, struct static_files **out, struct error *err) MUST_CHECK;
void static_free(struct static_files *f); /* NULL is fine */
/* Answers when there is such a file ("/" is index.html); otherwise does nothing and returns false.
 */
bool static_serve(const struct static_files *f, struct http_request *r);

#endif
