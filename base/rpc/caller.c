#include "base/rpc/caller.h"

#include <stdlib.h>
#include <string.h>

#include "base/rpc/message.h"
#include "frame.pb-c.h"

#define TOKEN_MAX_BYTES ((size_t)4096)
#define GROUPS_MAX ((size_t)64)
#define COLLECTIONS_MAX ((size_t)32)

static const char signed_prefix[] = "carrel caller";
#define PREFIX_BYTES (sizeof signed_prefix - 1)

/* protobuf-c wants char * where it only reads. */
static char *readonly(const char *z)
{
    char *p;
    memcpy(&p, &z, sizeof p);
    return p;
}

static enum status token_pack(const struct caller *c, struct arena *a, uint8_t **out,
                              size_t *out_len, struct error *err)
{
    char *groups[GROUPS_MAX];
    char *collections[COLLECTIONS_MAX];
    for (size_t i = 0; i < c->n_collections; i++) {
        collections[i] = readonly(c->collections[i]);
    }
    for (size_t i = 0; i < c->n_groups; i++) {
        groups[i] = readonly(c->groups[i]);
    }
    Rpc__CallerToken t = RPC__CALLER_TOKEN__INIT;
    t.tenant = readonly(c->tenant);
    t.user = readonly(c->user);
    t.groups = groups;
    t.n_groups = c->n_groups;
    t.admin = c->admin;
    t.collections = collections;
    t.n_collections = c->n_collections;
    t.expires_wall_ms = c->expires_wall_ms;
    size_t len = rpc__caller_token__get_packed_size(&t);
    if (len > TOKEN_MAX_BYTES - 256) {
        return error_set(err, STATUS_TOO_LARGE,
                         "caller %s: %zu bytes of groups and names are too many", c->user, len);
    }
    uint8_t *p = arena_alloc(a, PREFIX_BYTES + len);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "caller %s: out of memory", c->user);
    }
    memcpy(p, signed_prefix, PREFIX_BYTES);
    rpc__caller_token__pack(&t, p + PREFIX_BYTES);
    *out = p;
    *out_len = PREFIX_BYTES + len;
    return STATUS_OK;
}

enum status caller_sign(const struct identity *serve, const struct caller *c, struct arena *a,
                        const uint8_t **token, size_t *token_len, struct error *err)
{
    uint8_t *signed_text = NULL;
    size_t signed_len = 0;
    if (c->n_groups > GROUPS_MAX || c->n_collections > COLLECTIONS_MAX) {
        return error_set(err, STATUS_TOO_LARGE,
                         "caller %s: more than %zu groups or %zu collections", c->user, GROUPS_MAX,
                         COLLECTIONS_MAX);
    }
    enum status s = token_pack(c, a, &signed_text, &signed_len, err);
    if (s != STATUS_OK) {
        return s;
    }
    uint8_t signature[PEER_SIGNATURE_BYTES];
    identity_sign(serve, signed_text, signed_len, signature);
    Rpc__SignedCaller out = RPC__SIGNED_CALLER__INIT;
    out.token.data = signed_text + PREFIX_BYTES;
    out.token.len = signed_len - PREFIX_BYTES;
    out.signature.data = signature;
    out.signature.len = sizeof signature;
    size_t len = rpc__signed_caller__get_packed_size(&out);
    uint8_t *p = arena_alloc(a, len);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "caller %s: out of memory", c->user);
    }
    rpc__signed_caller__pack(&out, p);
    *token = p;
    *token_len = len;
    return STATUS_OK;
}

static enum status refuse(struct error *err, const char *why)
{
    return error_set(err, STATUS_UNAUTHENTICATED, "caller: %s", why);
}

static enum status copy_out(const Rpc__CallerToken *t, struct arena *a, struct caller *out,
                            struct error *err)
{
    struct caller c = {.n_groups = t->n_groups,
                       .n_collections = t->n_collections,
                       .admin = t->admin,
                       .expires_wall_ms = t->expires_wall_ms};
    const char **groups = arena_array(a, t->n_groups + 1, sizeof *groups);
    const char **collections = arena_array(a, t->n_collections + 1, sizeof *collections);
    c.tenant = arena_strdup(a, t->tenant);
    c.user = arena_strdup(a, t->user);
    bool complete = groups != NULL && collections != NULL && c.tenant != NULL && c.user != NULL;
    for (size_t i = 0; complete && i < t->n_groups; i++) {
        groups[i] = arena_strdup(a, t->groups[i]);
        complete = groups[i] != NULL;
    }
    for (size_t i = 0; complete && i < t->n_collections; i++) {
        collections[i] = arena_strdup(a, t->collections[i]);
        complete = collections[i] != NULL;
    }
    if (!complete) {
        return error_set(err, STATUS_NO_MEMORY, "caller: out of memory");
    }
    c.groups = groups;
    c.collections = collections;
    *out = c;
    return STATUS_OK;
}

static enum status read_token(const struct identity *self, const uint8_t *token, size_t token_len,
                              int64_t now_wall_ms, struct arena *a, struct caller *out,
                              struct error *err)
{
    if (token_len == 0 || token_len > TOKEN_MAX_BYTES) {
        return refuse(err, "the token has an impossible length");
    }
    struct arena scratch;
    arena_init(&scratch, message_memory_max(token_len) * 2);
    ProtobufCMessage *m;
    enum status s = STATUS_OK;
    if (message_unpack(&rpc__signed_caller__descriptor, token, token_len, &scratch, &m, NULL) !=
        STATUS_OK) {
        s = refuse(err, "the token is malformed");
        goto out;
    }
    const Rpc__SignedCaller *sc = (const Rpc__SignedCaller *)(const void *)m;
    uint8_t text[PREFIX_BYTES + TOKEN_MAX_BYTES];
    if (sc->signature.len != PEER_SIGNATURE_BYTES || sc->token.len > TOKEN_MAX_BYTES) {
        s = refuse(err, "the token is malformed");
        goto out;
    }
    memcpy(text, signed_prefix, PREFIX_BYTES);
    if (sc->token.len > 0) {
        memcpy(text + PREFIX_BYTES, sc->token.data, sc->token.len);
    }
    if (self != NULL && !identity_verify(self, PEER_SERVE, text, PREFIX_BYTES + sc->token.len,
                                         sc->signature.data)) {
        s = refuse(err, "the signature is not serve's");
        goto out;
    }
    if (message_unpack(&rpc__caller_token__descriptor, sc->token.data, sc->token.len, &scratch, &m,
                       NULL) != STATUS_OK) {
        s = refuse(err, "the token is malformed");
        goto out;
    }
    const Rpc__CallerToken *t = (const Rpc__CallerToken *)(const void *)m;
    if (t->n_groups > GROUPS_MAX || t->n_collections > COLLECTIONS_MAX) {
        s = refuse(err, "the token names too many groups or collections");
    } else if (t->expires_wall_ms <= now_wall_ms) {
        s = refuse(err, "the token has expired");
    } else {
        s = copy_out(t, a, out, err);
    }
out:
    arena_reset(&scratch);
    return s;
}

enum status caller_verify(const struct identity *self, const uint8_t *token, size_t token_len,
                          int64_t now_wall_ms, struct arena *a, struct caller *out,
                          struct error *err)
{
    return read_token(self, token, token_len, now_wall_ms, a, out, err);
}

enum status caller_read_verified(const uint8_t *token, size_t token_len, int64_t now_wall_ms,
                                 struct arena *a, struct caller *out, struct error *err)
{
    return read_token(NULL, token, token_len, now_wall_ms, a, out, err);
}
