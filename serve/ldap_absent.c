/* In place of ldap.c where libldap was not there when this was built. */
#include "serve/ldap.h"

enum status ldap_begin(struct error *err)
{
    return error_set(err, STATUS_UNSUPPORTED,
                     "ldap.url is set, but this Carrel was built without libldap: install "
                     "libldap-dev and build it again");
}

enum status ldap_sign_in(const struct ldap_directory *d, struct str user, struct str password,
                         struct arena *a, struct ldap_person *out, struct error *err)
{
    (void)d;
    (void)user;
    (void)password;
    (void)a;
    (void)out;
    return ldap_begin(err);
}

bool ldap_dn_normal(const char *dn, char out[LDAP_DN_CAP])
{
    (void)dn;
    out[0] = '\0';
    return false;
}
