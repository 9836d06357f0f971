/* What a sign-in provider answered, read: tokens (RFC 6749 section 5), userinfo (OpenID Connect
 * Core 5.3.2) and claims. No state, no request of its own. */
#ifndef CARREL_SERVE_OIDC_REPLY_H
#define CARREL_SERVE_OIDC_REPLY_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "serve/json.h"
#include "serve/outbound.h"

/* A claim by its name, or else by its way through objects: "realm_access.roles". Borrowed from
 * claims; NULL: there is none. */
const struct json *oidc_claim(const struct json *claims, const char *path);

/* What somebody is called here: the claim that settings name, or one that providers usually give,
 * from the ID token or else from userinfo (NULL: not asked for). In the arena; NULL: out of
 * memory, or no name at all. */
const char *oidc_shown_name(const char *name_claim, const struct json *claims,
                            const struct json *userinfo, struct arena *arena);

/* sub: the ID token's: what is said of another is refused. *doc is the caller's (jsonr_free), set
 * on failure too. */
enum status oidc_read_userinfo(const struct outbound_reply *r, struct str sub, struct json **doc,
                               struct error *err) MUST_CHECK;

/* The token endpoint's answer. *access has ptr NULL where it gave none that a header could
 * carry. Both in the arena. */
enum status oidc_read_tokens(const struct outbound_reply *r, struct arena *arena, struct str *id,
                             struct str *access, struct error *err) MUST_CHECK;

#endif
