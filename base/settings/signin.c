#include "base/settings/signin.h"

#include <string.h>

#include "base/destination.h"
#include "base/tenant.h"

static bool this_machine(const struct destination *d)
{
    return strcmp(d->host, "localhost") == 0 || strncmp(d->host, "127.", 4) == 0 ||
           strcmp(d->host, "::1") == 0;
}

/* https, or http to this machine itself. */
static enum status web_address(const char *setting, const char *url, struct error *err)
{
    struct destination d;
    enum status s = destination_of_url(url, &d, err);
    if (s != STATUS_OK) {
        return error_prefix(err, "%s", setting);
    }
    bool plain = strcmp(d.scheme, "http") == 0 && this_machine(&d);
    if (strpbrk(url, "?#\\ \t\r\n\"") != NULL || (strcmp(d.scheme, "https") != 0 && !plain)) {
        return error_set(err, STATUS_INVALID,
                         "%s: must begin with https:// and hold no query (http:// is for this "
                         "machine only)",
                         setting);
    }
    return STATUS_OK;
}

static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = strstr(list, word); p != NULL; p = strstr(p + 1, word)) {
        if ((p == list || p[-1] == ' ') && (p[len] == '\0' || p[len] == ' ')) {
            return true;
        }
    }
    return false;
}

static enum status check_tenant(const char *setting, const char *tenant, struct error *err)
{
    return tenant_name_valid(str_from(tenant))
               ? STATUS_OK
               : error_set(err, STATUS_INVALID, "%s: \"%.40s\" is no tenant's name", setting,
                           tenant);
}

static enum status check_oidc(const struct settings *s, const char **key, struct error *err)
{
    *key = "oidc.issuer";
    enum status st = web_address(*key, s->oidc.issuer, err);
    if (st == STATUS_OK && s->oidc.client_id[0] == '\0') {
        st = error_set(err, STATUS_INVALID, "oidc.issuer: needs oidc.client_id");
    }
    for (size_t i = 0; i < s->oidc.hosts.n && st == STATUS_OK; i++) {
        *key = "oidc.hosts";
        st = web_address(*key, s->oidc.hosts.items[i], err);
    }
    if (st == STATUS_OK) {
        const char *uri = s->oidc.redirect_uri;
        size_t end = strlen(OIDC_CALLBACK_PATH);
        size_t len = strlen(uri);
        *key = "oidc.redirect_uri";
        st = web_address(*key, uri, err);
        const char *path = st == STATUS_OK ? strchr(strstr(uri, "://") + 3, '/') : NULL;
        if (st == STATUS_OK &&
            (len < end || path == NULL || strcmp(path, OIDC_CALLBACK_PATH) != 0)) {
            st =
                error_set(err, STATUS_INVALID,
                          "oidc.redirect_uri: is this appliance's address and " OIDC_CALLBACK_PATH);
        }
    }
    if (st == STATUS_OK && !has_word(s->oidc.scopes, "openid")) {
        *key = "oidc.scopes";
        st = error_set(err, STATUS_INVALID, "oidc.scopes: openid must be among them");
    }
    if (st == STATUS_OK) {
        *key = "oidc.tenant";
        st = check_tenant(*key, s->oidc.tenant, err);
    }
    return st;
}

static enum status check_ldap_url(const struct settings *s, struct error *err)
{
    struct destination d;
    enum status st = destination_of_url(s->ldap.url, &d, err);
    if (st != STATUS_OK) {
        return error_prefix(err, "ldap.url");
    }
    const char *rest = strstr(s->ldap.url, "://") + 3;
    rest += strcspn(rest, "/?#");
    bool plain = strcmp(d.scheme, "ldap") == 0;
    if ((!plain && strcmp(d.scheme, "ldaps") != 0) || (rest[0] != '\0' && strcmp(rest, "/") != 0)) {
        return error_set(
            err, STATUS_INVALID,
            "ldap.url: is ldaps://host or ldap://host, with a port where it is needed, "
            "and nothing more");
    }
    if (plain && !s->ldap.start_tls && !this_machine(&d)) {
        return error_set(err, STATUS_INVALID,
                         "ldap.url: passwords would cross the network readable: use ldaps://, or "
                         "ldap.start_tls: true");
    }
    return STATUS_OK;
}

static enum status check_ldap(const struct settings *s, const char **key, struct error *err)
{
    *key = "ldap.url";
    enum status st = check_ldap_url(s, err);
    if (st == STATUS_OK && s->ldap.bind_template[0] != '\0') {
        *key = "ldap.bind_template";
        if (strstr(s->ldap.bind_template, "%u") == NULL) {
            st = error_set(err, STATUS_INVALID, "ldap.bind_template: holds no %%u");
        } else if (s->ldap.bind_dn[0] != '\0') {
            st = error_set(err, STATUS_INVALID,
                           "ldap.bind_template: with it ldap.bind_dn is not used: remove one");
        }
    } else if (st == STATUS_OK) {
        *key = "ldap.user_filter";
        if (s->ldap.user_base[0] == '\0') {
            st = error_set(err, STATUS_INVALID,
                           "ldap.user_base: must be given, or ldap.bind_template");
        } else if (strstr(s->ldap.user_filter, "%u") == NULL) {
            st = error_set(err, STATUS_INVALID, "ldap.user_filter: holds no %%u");
        } else if ((s->ldap.bind_dn[0] == '\0') != (s->ldap.bind_password_file[0] == '\0')) {
            st = error_set(err, STATUS_INVALID, "ldap: bind_dn and bind_password_file go together");
        }
    }
    if (st == STATUS_OK && strcmp(s->ldap.groups_by, "search") == 0) {
        *key = "ldap.group_base";
        if (s->ldap.group_base[0] == '\0' || (strstr(s->ldap.group_filter, "%d") == NULL &&
                                              strstr(s->ldap.group_filter, "%u") == NULL)) {
            st = error_set(err, STATUS_INVALID,
                           "ldap.groups_by: search needs ldap.group_base, and %%d or %%u in "
                           "ldap.group_filter");
        }
    }
    if (st == STATUS_OK) {
        *key = "ldap.tenant";
        st = check_tenant(*key, s->ldap.tenant, err);
    }
    return st;
}

enum status settings_check_signin(const struct settings *s, const char **key, struct error *err)
{
    enum status st = s->oidc.issuer[0] == '\0' ? STATUS_OK : check_oidc(s, key, err);
    if (st == STATUS_OK && s->ldap.url[0] != '\0') {
        st = check_ldap(s, key, err);
    }
    return st;
}
