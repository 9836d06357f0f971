/* The appliance's own HTTP API from the command line, with the administrator's key. */
#ifndef CARREL_CLI_HTTP_H
#define CARREL_CLI_HTTP_H

#include <jansson.h>

#include "base/buf.h"
#include "base/str.h"
#include "cli/command.h"

struct http {
    char url[256];
    char key[256];
    char certificate[4096]; /* of our own server, "" without TLS */
};

/* Finds address (run/ready.json) and key (--key-file, $CARREL_KEY, admin.key). */
enum status http_open(const struct options *o, struct http *out, struct error *err) MUST_CHECK;

/* GET when body is NULL, otherwise POST of body as JSON. *out is the caller's (json_decref). The
 * server's own sentence becomes the error. */
enum status http_json(const struct http *h, const char *path, const json_t *body, json_t **out,
                      struct error *err) MUST_CHECK;
/* DELETE; as http_json. */
enum status http_delete(const struct http *h, const char *path, json_t **out,
                        struct error *err) MUST_CHECK;
/* One call and no more: finds address and key, asks, and forgets the key. As http_json,
 * http_delete. */
enum status http_ask(const struct options *o, const char *path, const json_t *body, json_t **out,
                     struct error *err) MUST_CHECK;
enum status http_ask_delete(const struct options *o, const char *path, json_t **out,
                            struct error *err) MUST_CHECK;
/* POST of what fd holds, read to its end, as application/octet-stream; *out as http_json's. bytes:
 * its size, -1 where it is not known. */
enum status http_upload(const struct http *h, const char *path, int fd, int64_t bytes, json_t **out,
                        struct error *err) MUST_CHECK;
/* Any method, with no key as nobody; the answer as it is, whatever its status (*code). body may be
 * NULL; out is appended to. */
enum status http_raw(const struct http *h, const char *method, const char *path,
                     const struct str *body, const char *type, long *code, struct buf *out,
                     struct error *err) MUST_CHECK;
/* POST whose answer comes piece by piece; on_data returns false to end it early. */
enum status http_stream(const struct http *h, const char *path, const json_t *body,
                        bool (*on_data)(void *data, const char *p, size_t n), void *data,
                        struct error *err) MUST_CHECK;

#endif
