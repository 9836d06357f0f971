/* Texts of LDAP: what a stranger typed as part of a filter or of a distinguished name, and names
 * made comparable. Pure; any thread. */
#ifndef CARREL_SERVE_LDAP_TEXT_H
#define CARREL_SERVE_LDAP_TEXT_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/* As an assertion value of a search filter (RFC 4515 section 3): every byte that means something
 * there becomes \XX, bytes above 127 too, so that what is not UTF-8 cannot matter. */
void ldap_escape_filter(struct buf *out, struct str value);
/* As an attribute value of a distinguished name (RFC 4514 section 2.4). */
void ldap_escape_dn(struct buf *out, struct str value);
/* template with %u and %d (their escaped forms) put in; %% is %. d may be NULL. */
typedef void (*ldap_escape_fn)(struct buf *out, struct str value);
enum status ldap_fill(const char *template, struct str u, const char *d, ldap_escape_fn escape,
                      struct buf *out, struct error *err) MUST_CHECK;
/* What somebody may type as his name: 1 to 128 bytes without control characters, and no white space
 * at its ends. */
bool ldap_user_ok(struct str user);

#endif
