/* TLS under a connection: base/tls turns bytes of the wire into plain ones and back. */
#include <stdlib.h>

#include "base/log.h"
#include "base/tls/tls.h"
#include "serve/http/conn.h"

#define RECORDS_MAX (HTTP_QUEUE_MAX + HTTP_ARENA_MAX)

enum status conn_tls_new(struct http_conn *c)
{
    return c->server->tls == NULL ? STATUS_OK
                                  : tls_engine_new(c->server->tls, TLS_SERVER, &c->tls, NULL);
}

void conn_tls_free(struct http_conn *c)
{
    tls_engine_free(c->tls);
    c->tls = NULL;
}

/* Records of the engine to the wire. */
static void flush(struct http_conn *c)
{
    if (!tls_engine_has_output(c->tls)) {
        return;
    }
    struct buf out;
    buf_init(&out, RECORDS_MAX);
    tls_engine_output(c->tls, &out);
    size_t len = out.len;
    char *bytes = buf_take(&out);
    if (bytes == NULL) {
        conn_close(c);
    } else {
        conn_write_raw(c, bytes, len);
    }
}

enum status conn_tls_feed(struct http_conn *c, const char *p, size_t len)
{
    if (c->tls == NULL) {
        buf_append(&c->in, p, len);
        return buf_status(&c->in);
    }
    struct error err = {0};
    enum status s = tls_engine_feed(c->tls, p, len, &err);
    size_t n = 1;
    while (s == STATUS_OK && n > 0) {
        char plain[16384];
        s = tls_engine_read(c->tls, plain, sizeof plain, &n, &err);
        if (s == STATUS_OK) {
            buf_append(&c->in, plain, n);
            s = buf_status(&c->in);
        }
    }
    flush(c); /* also the alert after a failure */
    if (s == STATUS_OK && tls_engine_ended(c->tls) && c->in.len == 0) {
        s = STATUS_CANCELLED;
    }
    if (s != STATUS_OK && err.text[0] != '\0') {
        LOG_DEBUG("a TLS connection was refused", LOG_STR("err", err.text), LOG_END);
    }
    return s;
}

void conn_tls_write(struct http_conn *c, struct str first, struct str second)
{
    if (!tls_engine_established(c->tls) ||
        tls_engine_write(c->tls, first.ptr, first.len, NULL) != STATUS_OK ||
        tls_engine_write(c->tls, second.ptr, second.len, NULL) != STATUS_OK) {
        conn_close(c);
        return;
    }
    flush(c);
}

void conn_tls_end(struct http_conn *c)
{
    if (c->tls != NULL && tls_engine_established(c->tls)) {
        tls_engine_goodbye(c->tls);
        flush(c);
    }
}
