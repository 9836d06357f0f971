#include "serve/oidc_reply.h"

#include <string.h>

#include "serve/auth.h"
#include "serve/jwt.h"

const struct json *oidc_claim(const struct json *claims, const char *path)
{
    const struct json *v = jsonr_get(claims, path);
    char name[128];
    while (v == NULL && claims != NULL) {
        size_t len = strcspn(path, ".");
        if (len == 0 || len >= sizeof name || path[len] == '\0') {
            return path[len] == '\0' && len > 0 ? jsonr_get(claims, path) : NULL;
        }
        memcpy(name, path, len);
        name[len] = '\0';
        claims = jsonr_get(claims, name);
        path += len + 1;
        v = jsonr_get(claims, path);
    }
    return v;
}

const char *oidc_shown_name(const char *name_claim, const struct json *claims,
                            const struct json *userinfo, struct arena *arena)
{
    const char *const names[] = {name_claim, "preferred_username", "email", "sub"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct str name = jsonr_str(oidc_claim(claims, names[i]));
        name = name.len > 0 ? name : jsonr_str(oidc_claim(userinfo, names[i]));
        if (name.len > 0) {
            return arena_strndup(arena, name.ptr, name.len);
        }
    }
    return NULL;
}

enum status oidc_read_userinfo(const struct outbound_reply *r, struct str sub, struct json **doc,
                               struct error *err)
{
    *doc = NULL;
    if (r->error.code != STATUS_OK) {
        return error_set(err, r->error.code, "%s", r->error.text);
    }
    if (r->status != 200 || r->cut || jsonr_read(r->body, doc, NULL) != STATUS_OK) {
        return error_set(err, STATUS_UNAVAILABLE,
                         "the provider's userinfo: it answered %ld, or no JSON", r->status);
    }
    /* section 5.3.2: what is said of another is not believed */
    struct str said = jsonr_str(jsonr_get(*doc, "sub"));
    if (said.ptr == NULL || !auth_equal(sub, said)) {
        return error_set(err, STATUS_FORBIDDEN,
                         "the provider's userinfo is another person's (sub)");
    }
    return STATUS_OK;
}

static bool keep_text(struct arena *arena, const struct json *doc, const char *name,
                      struct str *out)
{
    struct str text = jsonr_str(jsonr_get(doc, name));
    *out = (struct str){0};
    if (text.ptr == NULL || text.len == 0 || text.len > JWT_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) { /* it becomes part of a header */
        if (text.ptr[i] <= 0x20 || text.ptr[i] == 0x7f) {
            return false;
        }
    }
    out->ptr = arena_strndup(arena, text.ptr, text.len);
    out->len = out->ptr == NULL ? 0 : text.len;
    return out->ptr != NULL;
}

enum status oidc_read_tokens(const struct outbound_reply *r, struct arena *arena, struct str *id,
                             struct str *access, struct error *err)
{
    struct json *doc = NULL;
    enum status s = STATUS_OK;
    if (r->error.code != STATUS_OK) {
        return error_set(err, r->error.code, "%s", r->error.text);
    }
    if (r->status >= 500 || r->cut) {
        return error_set(err, STATUS_UNAVAILABLE, "the provider's token endpoint answered %ld",
                         r->status);
    }
    if (jsonr_read(r->body, &doc, NULL) != STATUS_OK) {
        return error_set(err, STATUS_INVALID, "the provider's token endpoint gave no JSON (%ld)",
                         r->status);
    }
    if (r->status != 200) { /* RFC 6749 section 5.2: a word such as invalid_grant */
        struct str word = jsonr_str(jsonr_get(doc, "error"));
        s = error_set(err, STATUS_INVALID, "the provider's token endpoint answered %ld: %.*s",
                      r->status, word.len > 40 ? 40 : (int)word.len, word.len > 0 ? word.ptr : "");
    } else if (!keep_text(arena, doc, "id_token", id)) {
        s = error_set(err, STATUS_INVALID, "the provider gave no ID token");
    } else {
        (void)keep_text(arena, doc, "access_token", access);
    }
    jsonr_free(doc);
    return s;
}
