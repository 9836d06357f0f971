#include "base/settings/places.h"

#include "base/address.h"
#include "base/destination.h"

/* An address that is written out was meant; a name may have been made to point anywhere. */
static bool written_address(const char *url)
{
    struct destination d;
    struct error err;
    return destination_of_url(url, &d, &err) == STATUS_OK && destination_is_private_address(&d);
}

static void webhooks_places(const struct settings *s, place_fn each, void *data)
{
    for (size_t i = 0; i < s->webhooks.allow.n; i++) {
        const char *url = s->webhooks.allow.items[i];
        const struct place p = {"webhooks.allow", url, written_address(url)};
        each(data, &p);
    }
    for (size_t i = 0; i < s->webhooks.allow_private.n; i++) {
        const struct place p = {"webhooks.allow_private", s->webhooks.allow_private.items[i], true};
        each(data, &p);
    }
}

static void oidc_places(const struct settings *s, place_fn each, void *data)
{
    if (s->oidc.issuer[0] == '\0') {
        return;
    }
    const struct place p = {"oidc.issuer", s->oidc.issuer, s->oidc.allow_private_address};
    each(data, &p);
    for (size_t i = 0; i < s->oidc.hosts.n; i++) {
        const struct place more = {"oidc.hosts", s->oidc.hosts.items[i],
                                   s->oidc.allow_private_address};
        each(data, &more);
    }
}

static void ldap_places(const struct settings *s, place_fn each, void *data)
{
    const struct place p = {"ldap.url", s->ldap.url, s->ldap.allow_private_address};
    if (p.url[0] != '\0') {
        each(data, &p);
    }
}

static void audit_places(const struct settings *s, place_fn each, void *data)
{
    if (strncmp(s->audit.syslog, "tls://", 6) == 0) {
        const struct place p = {"audit.syslog", s->audit.syslog, true}; /* log hosts are inside */
        each(data, &p);
    }
}

/* A row for each group of settings. */
static void (*const groups[])(const struct settings *s, place_fn each, void *data) = {
    webhooks_places,
    oidc_places,
    ldap_places,
    audit_places,
};

void settings_places(const struct settings *s, place_fn each, void *data)
{
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        groups[i](s, each, data);
    }
}

static void count(void *data, const struct place *p)
{
    (void)p;
    ++*(size_t *)data;
}

bool settings_reach_outside(const struct settings *s)
{
    size_t n = 0;
    settings_places(s, count, &n);
    return n > 0 || s->generate.upstream.url[0] != '\0' || s->n_sources > 0;
}

static enum status check_origin(const char *url, bool may_be_plain, const char *setting,
                                struct error *err)
{
    struct destination d;
    enum status s = destination_of_url(url, &d, err);
    if (s != STATUS_OK) {
        return error_prefix(err, "%s: %.80s", setting, url);
    }
    const char *rest = strstr(url, "://") + 3;
    rest += strcspn(rest, "/?#\\");
    if (rest[0] != '\0' && strcmp(rest, "/") != 0) {
        return error_set(err, STATUS_INVALID, "%s: %.80s: name the origin alone, without a path",
                         setting, url);
    }
    if (strcmp(d.scheme, "https") == 0) {
        return STATUS_OK;
    }
    if (strcmp(d.scheme, "http") != 0) {
        return error_set(err, STATUS_INVALID, "%s: %.80s: must begin with https:// or http://",
                         setting, url);
    }
    return may_be_plain || destination_is_private_address(&d)
               ? STATUS_OK
               : error_set(
                     err, STATUS_INVALID,
                     "%s: %.80s: what is told would cross the network readable; use https://, "
                     "or webhooks.allow_private for one inside",
                     setting, url);
}

enum status settings_check_webhooks(const struct settings *s, struct error *err)
{
    enum status st = STATUS_OK;
    for (size_t i = 0; i < s->webhooks.allow.n && st == STATUS_OK; i++) {
        st = check_origin(s->webhooks.allow.items[i], false, "webhooks.allow", err);
    }
    for (size_t i = 0; i < s->webhooks.allow_private.n && st == STATUS_OK; i++) {
        st = check_origin(s->webhooks.allow_private.items[i], true, "webhooks.allow_private", err);
    }
    return st;
}

enum status settings_check_proxies(const struct settings *s, struct error *err)
{
    const struct string_list *l = &s->http.trusted_proxies;
    struct address_range r;
    for (size_t i = 0; i < l->n; i++) {
        if (!address_range_read(str_from(l->items[i]), &r)) {
            return error_set(err, STATUS_INVALID,
                             "http.trusted_proxies: %.80s must be like 192.0.2.7, 10.0.0.0/8 or "
                             "2001:db8::/32",
                             l->items[i]);
        }
    }
    return l->n <= SETTINGS_PROXIES_MAX
               ? STATUS_OK
               : error_set(err, STATUS_INVALID, "http.trusted_proxies: at most %d",
                           SETTINGS_PROXIES_MAX);
}
