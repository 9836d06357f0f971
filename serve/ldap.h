/* One sign-in at a directory, over a connection through the door for serve (base/door.h), so that
 * only the directory that is configured can be dialled. Blocks, but no longer than ldap.timeout: on
 * a lane. libldap is used in ldap.c only; without it (ldap_absent.c) a configured directory stops
 * the start.
 *
 * Referrals are not followed, aliases not dereferenced, libldap's own configuration files and
 * environment not read, and a certificate that is not good ends it. */
#ifndef CARREL_SERVE_LDAP_H
#define CARREL_SERVE_LDAP_H

#include "base/arena.h"
#include "serve/idp.h"

#define LDAP_DN_CAP 1024
#define LDAP_ID_CAP 256
#define LDAP_NAME_CAP 256
#define LDAP_PASSWORD_MAX 512
#define LDAP_GROUPS_MAX 256 /* nested ones included; further ones are not looked for */

struct ldap_directory {
    const struct settings *settings;
    const char *socket;  /* the door's */
    char password[1024]; /* of the account that looks people up */
};

struct ldap_person {
    char dn[LDAP_DN_CAP];
    char id[LDAP_ID_CAP]; /* of ldap.id_attribute; what is no text in hexadecimal */
    char name[LDAP_NAME_CAP];
    struct idp_group groups[LDAP_GROUPS_MAX]; /* in the arena; distinguished names as
                                                 ldap_dn_normal makes them */
    size_t n_groups;
};

/* Before any thread: what libldap reads once. UNSUPPORTED: built without it. */
enum status ldap_begin(struct error *err) MUST_CHECK;
/* UNAUTHENTICATED: no such person, or another password; the two look alike, and an empty password
 * is never sent (a directory takes it for nobody's, and says yes). UNAVAILABLE, DEADLINE: the
 * directory. FORBIDDEN, INVALID: the configuration. */
enum status ldap_sign_in(const struct ldap_directory *d, struct str user, struct str password,
                         struct arena *a, struct ldap_person *out, struct error *err) MUST_CHECK;
/* One form for each distinguished name: letters small, no blanks between parts. false: it is none.
 */
bool ldap_dn_normal(const char *dn, char out[LDAP_DN_CAP]);

#endif
