#include "serve/ldap.h"

#include <lber.h>
#include <openldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/destination.h"
#include "base/door.h"
#include "base/sign.h"
#include "serve/ldap_text.h"

#define SYSTEM_AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"
#define FILTER_MAX ((size_t)8 * 1024)
#define ASKS_MAX 300 /* searches of one sign-in */
#define DEPTH_MAX 8

struct conversation {
    LDAP *ld;
    const struct ldap_directory *d;
    int64_t end_ms;
    struct str user;
    unsigned asks;
    struct arena *a;
    struct ldap_person *person;
};

enum status ldap_begin(struct error *err)
{
    int version = 0;
    if (setenv("LDAPNOINIT", "1", 1) != 0 ||
        ldap_get_option(NULL, LDAP_OPT_PROTOCOL_VERSION, &version) != LDAP_OPT_SUCCESS) {
        return error_set(err, STATUS_INTERNAL, "libldap cannot be used");
    }
    return STATUS_OK;
}

/* ---- names ---- */

static void lower(char *s)
{
    for (; *s != '\0'; s++) {
        *s = *s >= 'A' && *s <= 'Z' ? (char)(*s - 'A' + 'a') : *s;
    }
}

bool ldap_dn_normal(const char *dn, char out[LDAP_DN_CAP])
{
    LDAPDN parts = NULL;
    char *text = NULL;
    bool ok = dn[0] != '\0' && strlen(dn) < LDAP_DN_CAP &&
              ldap_str2dn(dn, &parts, LDAP_DN_FORMAT_LDAPV3) == LDAP_SUCCESS && parts != NULL &&
              ldap_dn2str(parts, &text, LDAP_DN_FORMAT_LDAPV3) == LDAP_SUCCESS && text != NULL &&
              strlen(text) < LDAP_DN_CAP;
    if (ok) {
        (void)snprintf(out, LDAP_DN_CAP, "%s", text);
        lower(out);
    }
    ldap_memfree(text);
    ldap_dnfree(parts);
    return ok;
}

/* The value of its first part: "staff" of cn=staff,ou=groups,... */
static const char *short_name(const char *dn, struct arena *a)
{
    LDAPDN parts = NULL;
    const char *out = NULL;
    if (ldap_str2dn(dn, &parts, LDAP_DN_FORMAT_LDAPV3) == LDAP_SUCCESS && parts != NULL &&
        parts[0] != NULL && parts[0][0] != NULL && parts[0][1] == NULL) {
        out = arena_strndup(a, parts[0][0]->la_value.bv_val, parts[0][0]->la_value.bv_len);
    }
    ldap_dnfree(parts);
    return out;
}

static bool below(const char *dn, const char *base)
{
    size_t n = strlen(dn);
    size_t m = strlen(base);
    return n > m + 1 && dn[n - m - 1] == ',' && strcmp(dn + n - m, base) == 0;
}

/* ---- one step ---- */

static enum status failed(int rc, const char *doing, struct error *err)
{
    switch (rc) {
    case LDAP_TIMEOUT:
    case LDAP_TIMELIMIT_EXCEEDED:
        return error_set(err, STATUS_DEADLINE, "the directory: %s took too long", doing);
    case LDAP_SERVER_DOWN:
    case LDAP_CONNECT_ERROR:
    case LDAP_UNAVAILABLE:
    case LDAP_BUSY:
        return error_set(err, STATUS_UNAVAILABLE, "the directory: %s: %s", doing,
                         ldap_err2string(rc));
    case LDAP_NO_MEMORY:
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    default:
        return error_set(err, STATUS_FORBIDDEN, "the directory: %s: %s", doing,
                         ldap_err2string(rc));
    }
}

/* What is left of the time, for the next step. */
static enum status time_left(struct conversation *c, struct timeval *out, struct error *err)
{
    int64_t ms = c->end_ms - clock_monotonic_ms();
    if (ms <= 0) {
        return failed(LDAP_TIMEOUT, "the sign-in", err);
    }
    *out = (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    (void)ldap_set_option(c->ld, LDAP_OPT_TIMEOUT, out);
    (void)ldap_set_option(c->ld, LDAP_OPT_NETWORK_TIMEOUT, out);
    return STATUS_OK;
}

static enum status bind_as(struct conversation *c, const char *dn, struct str password,
                           const char *doing, int *rc, struct error *err)
{
    struct timeval left;
    char *copy = arena_strndup(c->a, password.ptr == NULL ? "" : password.ptr, password.len);
    enum status s = time_left(c, &left, err);
    *rc = LDAP_SUCCESS;
    if (s != STATUS_OK || copy == NULL) {
        return s != STATUS_OK ? s : error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    struct berval secret = {.bv_len = password.len, .bv_val = copy};
    *rc = ldap_sasl_bind_s(c->ld, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
    explicit_bzero(copy, password.len);
    return *rc == LDAP_SUCCESS ? STATUS_OK : failed(*rc, doing, err);
}

/* *out is the caller's: ldap_msgfree, also after an error. */
static enum status search(struct conversation *c, const char *base, int scope, const char *filter,
                          char **attributes, int most, LDAPMessage **out, int *rc,
                          struct error *err)
{
    struct timeval left;
    *out = NULL;
    *rc = LDAP_SUCCESS;
    if (++c->asks > ASKS_MAX) {
        return error_set(err, STATUS_FORBIDDEN, "the directory: more than %d searches", ASKS_MAX);
    }
    enum status s = time_left(c, &left, err);
    if (s != STATUS_OK) {
        return s;
    }
    *rc =
        ldap_search_ext_s(c->ld, base, scope, filter, attributes, 0, NULL, NULL, &left, most, out);
    return *rc == LDAP_SUCCESS ? STATUS_OK : failed(*rc, "looking up", err);
}

static enum status encrypt(struct conversation *c, const struct destination *to, struct error *err)
{
    const struct settings *s = c->d->settings;
    const char *file = s->ldap.ca_file[0] != '\0' ? s->ldap.ca_file : SYSTEM_AUTHORITIES;
    int demand = LDAP_OPT_X_TLS_DEMAND;
    int least = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
    int client = 0;
    struct timeval left;
    bool ldaps = strcmp(to->scheme, "ldaps") == 0;
    if (!ldaps && !s->ldap.start_tls) {
        return STATUS_OK;
    }
    enum status st = time_left(c, &left, err);
    if (st != STATUS_OK) {
        return st;
    }
    if (ldap_set_option(c->ld, LDAP_OPT_X_TLS_CACERTFILE, file) != LDAP_OPT_SUCCESS ||
        ldap_set_option(c->ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand) != LDAP_OPT_SUCCESS ||
        ldap_set_option(c->ld, LDAP_OPT_X_TLS_PROTOCOL_MIN, &least) != LDAP_OPT_SUCCESS ||
        ldap_set_option(c->ld, LDAP_OPT_X_TLS_NEWCTX, &client) != LDAP_OPT_SUCCESS) {
        return error_set(err, STATUS_INVALID, "the directory: %.100s cannot be used", file);
    }
    int rc = ldaps ? ldap_install_tls(c->ld) : ldap_start_tls_s(c->ld, NULL, NULL);
    if (rc == LDAP_SUCCESS) {
        return STATUS_OK;
    }
    char *why = NULL;
    (void)ldap_get_option(c->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &why);
    st = error_set(err, STATUS_UNAVAILABLE, "the directory: no TLS (%s): %.120s",
                   ldap_err2string(rc), why == NULL ? "" : why);
    ldap_memfree(why);
    return st;
}

static enum status dial(struct conversation *c, struct error *err)
{
    const struct settings *s = c->d->settings;
    struct destination to;
    int fd;
    enum status st = destination_of_url(s->ldap.url, &to, err);
    st = st != STATUS_OK ? st
                         : door_dial(c->d->socket, to.host, to.port, s->ldap.timeout_ms, &fd, err);
    if (st != STATUS_OK) {
        return error_prefix(err, "the directory");
    }
    if (ldap_init_fd(fd, LDAP_PROTO_TCP, s->ldap.url, &c->ld) != LDAP_SUCCESS) {
        (void)close(fd);
        c->ld = NULL;
        return error_set(err, STATUS_INTERNAL,
                         "the directory: libldap does not take the connection");
    }
    int three = LDAP_VERSION3;
    int never = LDAP_DEREF_NEVER;
    if (ldap_set_option(c->ld, LDAP_OPT_PROTOCOL_VERSION, &three) != LDAP_OPT_SUCCESS ||
        ldap_set_option(c->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) != LDAP_OPT_SUCCESS ||
        ldap_set_option(c->ld, LDAP_OPT_DEREF, &never) != LDAP_OPT_SUCCESS) {
        return error_set(err, STATUS_INTERNAL, "libldap refuses its options");
    }
    return encrypt(c, &to, err);
}

/* ---- the person ---- */

static bool is_text(const struct berval *v)
{
    for (size_t i = 0; i < v->bv_len; i++) {
        unsigned char c = (unsigned char)v->bv_val[i];
        if (c < 0x20 || c >= 0x7f) {
            return false;
        }
    }
    return v->bv_len > 0;
}

static enum status take_id(struct conversation *c, LDAPMessage *entry, struct error *err)
{
    const char *attribute = c->d->settings->ldap.id_attribute;
    struct ldap_person *p = c->person;
    struct berval **v = ldap_get_values_len(c->ld, entry, attribute);
    enum status s = STATUS_OK;
    if (v == NULL || v[0] == NULL || v[1] != NULL || v[0]->bv_len == 0 ||
        v[0]->bv_len * 2 >= sizeof p->id) {
        s = error_set(err, STATUS_FORBIDDEN,
                      "the directory: somebody's %.40s (ldap.id_attribute) is not one short value",
                      attribute);
    } else if (is_text(v[0])) {
        memcpy(p->id, v[0]->bv_val, v[0]->bv_len);
        p->id[v[0]->bv_len] = '\0';
    } else {
        hex_encode((const uint8_t *)v[0]->bv_val, v[0]->bv_len, p->id);
    }
    ldap_value_free_len(v);
    return s;
}

static void take_name(struct conversation *c, LDAPMessage *entry)
{
    struct ldap_person *p = c->person;
    struct berval **v = ldap_get_values_len(c->ld, entry, c->d->settings->ldap.name_attribute);
    if (v != NULL && v[0] != NULL && v[0]->bv_len > 0 && v[0]->bv_len < sizeof p->name) {
        memcpy(p->name, v[0]->bv_val, v[0]->bv_len);
        p->name[v[0]->bv_len] = '\0';
    } else {
        (void)snprintf(p->name, sizeof p->name, "%.*s", (int)c->user.len, c->user.ptr);
    }
    ldap_value_free_len(v);
}

/* One group more, by its distinguished name. */
static enum status add_group(struct conversation *c, const char *dn, struct error *err)
{
    const struct settings *s = c->d->settings;
    struct ldap_person *p = c->person;
    char normal[LDAP_DN_CAP];
    char base[LDAP_DN_CAP];
    if (!ldap_dn_normal(dn, normal) || p->n_groups == LDAP_GROUPS_MAX) {
        return STATUS_OK;
    }
    bool based = s->ldap.group_base[0] != '\0';
    if (based && (!ldap_dn_normal(s->ldap.group_base, base) || !below(normal, base))) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < p->n_groups; i++) {
        if (str_eq(p->groups[i].name, str_from(normal))) {
            return STATUS_OK;
        }
    }
    struct idp_group *g = &p->groups[p->n_groups];
    *g = (struct idp_group){.name = {arena_strndup(c->a, normal, strlen(normal)), strlen(normal)}};
    if (g->name.ptr == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (based) { /* short names mean something only where it is said where groups lie */
        g->shorter = str_from(short_name(normal, c->a));
    }
    p->n_groups++;
    return STATUS_OK;
}

static enum status groups_of_entry(struct conversation *c, LDAPMessage *entry, struct error *err)
{
    struct berval **v = ldap_get_values_len(c->ld, entry, c->d->settings->ldap.memberof_attribute);
    enum status s = STATUS_OK;
    for (size_t i = 0; v != NULL && v[i] != NULL && s == STATUS_OK; i++) {
        if (v[i]->bv_len < LDAP_DN_CAP && memchr(v[i]->bv_val, '\0', v[i]->bv_len) == NULL) {
            s = add_group(c, v[i]->bv_val, err); /* libldap ends values with a NUL */
        }
    }
    ldap_value_free_len(v);
    return s;
}

/* The groups that one entry is in, by a search. */
static enum status groups_by_search(struct conversation *c, const char *dn, struct error *err)
{
    const struct settings *set = c->d->settings;
    char *none[] = {(char[]){LDAP_NO_ATTRS}, NULL};
    LDAPMessage *found = NULL;
    struct buf filter;
    int rc;
    buf_init(&filter, FILTER_MAX);
    enum status s =
        ldap_fill(set->ldap.group_filter, c->user, dn, ldap_escape_filter, &filter, err);
    s = s != STATUS_OK ? s
                       : search(c, set->ldap.group_base, LDAP_SCOPE_SUBTREE, buf_view(&filter).ptr,
                                none, LDAP_GROUPS_MAX, &found, &rc, err);
    for (LDAPMessage *e = s == STATUS_OK ? ldap_first_entry(c->ld, found) : NULL;
         e != NULL && s == STATUS_OK; e = ldap_next_entry(c->ld, e)) {
        char *group = ldap_get_dn(c->ld, e);
        s = group == NULL ? STATUS_OK : add_group(c, group, err);
        ldap_memfree(group);
    }
    ldap_msgfree(found);
    buf_deinit(&filter);
    return s;
}

/* The groups that one group is in, as its entry says. */
static enum status groups_of_group(struct conversation *c, const char *dn, struct error *err)
{
    char *attributes[2] = {arena_strndup(c->a, c->d->settings->ldap.memberof_attribute,
                                         strlen(c->d->settings->ldap.memberof_attribute)),
                           NULL};
    LDAPMessage *found = NULL;
    int rc;
    if (attributes[0] == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s =
        search(c, dn, LDAP_SCOPE_BASE, "(objectClass=*)", attributes, 1, &found, &rc, err);
    if (rc == LDAP_NO_SUCH_OBJECT || rc == LDAP_INSUFFICIENT_ACCESS || rc == LDAP_REFERRAL) {
        s = STATUS_OK; /* it may lie where we see nothing: then it leads no further */
    } else if (s == STATUS_OK) {
        LDAPMessage *e = ldap_first_entry(c->ld, found);
        s = e == NULL ? STATUS_OK : groups_of_entry(c, e, err);
    }
    ldap_msgfree(found);
    return s;
}

/* Breadth first: each group is asked about once, so circles end. */
static enum status nested(struct conversation *c, bool by_search, struct error *err)
{
    int64_t depth = c->d->settings->ldap.nested;
    size_t from = 0;
    enum status s = STATUS_OK;
    for (int64_t step = 0; step < depth && step < DEPTH_MAX && s == STATUS_OK; step++) {
        size_t to = c->person->n_groups;
        for (; from < to && s == STATUS_OK; from++) {
            const char *dn = c->person->groups[from].name.ptr;
            s = by_search ? groups_by_search(c, dn, err) : groups_of_group(c, dn, err);
        }
    }
    return s;
}

static enum status take_entry(struct conversation *c, LDAPMessage *entry, struct error *err)
{
    char *dn = ldap_get_dn(c->ld, entry);
    enum status s = STATUS_OK;
    if (dn == NULL || dn[0] == '\0' || strlen(dn) >= sizeof c->person->dn) {
        s = error_set(err, STATUS_FORBIDDEN, "the directory: an entry without a usable name");
    } else {
        (void)snprintf(c->person->dn, sizeof c->person->dn, "%s", dn);
        take_name(c, entry);
        s = take_id(c, entry, err);
    }
    ldap_memfree(dn);
    if (s == STATUS_OK && strcmp(c->d->settings->ldap.groups_by, "memberof") == 0) {
        s = groups_of_entry(c, entry, err);
    }
    return s;
}

static enum status wrong(struct error *err)
{
    return error_set(err, STATUS_UNAUTHENTICATED, "The name or the password is wrong.");
}

/* Exactly one entry, or it is nobody. */
static enum status look_up(struct conversation *c, const char *base, int scope, const char *filter,
                           struct error *err)
{
    const struct settings *set = c->d->settings;
    const char *const names[] = {set->ldap.id_attribute, set->ldap.name_attribute,
                                 set->ldap.memberof_attribute};
    char *attributes[4] = {NULL};
    LDAPMessage *found = NULL;
    int rc;
    for (size_t i = 0; i < 3; i++) {
        attributes[i] = arena_strndup(c->a, names[i], strlen(names[i]));
        if (attributes[i] == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    enum status s = search(c, base, scope, filter, attributes, 2, &found, &rc, err);
    if (rc == LDAP_SIZELIMIT_EXCEEDED) {
        s = error_set(err, STATUS_FORBIDDEN,
                      "the directory: ldap.user_filter finds more than one person by one name");
    } else if (s == STATUS_OK) {
        int n = ldap_count_entries(c->ld, found);
        s = n == 1  ? take_entry(c, ldap_first_entry(c->ld, found), err)
            : n < 1 ? wrong(err)
                    : error_set(err, STATUS_FORBIDDEN,
                                "the directory: ldap.user_filter finds more than one person by one "
                                "name");
    }
    ldap_msgfree(found);
    return s;
}

static enum status service_bind(struct conversation *c, struct error *err)
{
    const struct settings *set = c->d->settings;
    int rc;
    return set->ldap.bind_dn[0] == '\0' ? STATUS_OK
                                        : bind_as(c, set->ldap.bind_dn, str_from(c->d->password),
                                                  "signing in as ldap.bind_dn", &rc, err);
}

static enum status user_bind(struct conversation *c, const char *dn, struct str password,
                             struct error *err)
{
    int rc;
    enum status s = bind_as(c, dn, password, "signing in", &rc, err);
    /* of these a stranger must not learn which it was */
    bool no = rc == LDAP_INVALID_CREDENTIALS || rc == LDAP_NO_SUCH_OBJECT ||
              rc == LDAP_INVALID_DN_SYNTAX || rc == LDAP_INAPPROPRIATE_AUTH ||
              rc == LDAP_UNWILLING_TO_PERFORM || rc == LDAP_CONSTRAINT_VIOLATION;
    return s == STATUS_FORBIDDEN && no ? wrong(err) : s;
}

static enum status by_template(struct conversation *c, struct str password, struct error *err)
{
    struct buf dn;
    buf_init(&dn, LDAP_DN_CAP);
    enum status s =
        ldap_fill(c->d->settings->ldap.bind_template, c->user, NULL, ldap_escape_dn, &dn, err);
    s = s != STATUS_OK ? s : user_bind(c, buf_view(&dn).ptr, password, err);
    s = s != STATUS_OK ? s : look_up(c, buf_view(&dn).ptr, LDAP_SCOPE_BASE, "(objectClass=*)", err);
    buf_deinit(&dn);
    return s;
}

static enum status by_search(struct conversation *c, struct str password, struct error *err)
{
    const struct settings *set = c->d->settings;
    struct buf filter;
    buf_init(&filter, FILTER_MAX);
    enum status s = service_bind(c, err);
    s = s != STATUS_OK
            ? s
            : ldap_fill(set->ldap.user_filter, c->user, NULL, ldap_escape_filter, &filter, err);
    s = s != STATUS_OK
            ? s
            : look_up(c, set->ldap.user_base, LDAP_SCOPE_SUBTREE, buf_view(&filter).ptr, err);
    s = s != STATUS_OK ? s : user_bind(c, c->person->dn, password, err);
    s = s != STATUS_OK ? s : service_bind(c, err); /* who may see groups, as people often may not */
    buf_deinit(&filter);
    return s;
}

enum status ldap_sign_in(const struct ldap_directory *d, struct str user, struct str password,
                         struct arena *a, struct ldap_person *out, struct error *err)
{
    struct conversation c = {.d = d,
                             .end_ms = clock_monotonic_ms() + d->settings->ldap.timeout_ms,
                             .user = user,
                             .a = a,
                             .person = out};
    memset(out, 0, sizeof *out);
    if (!ldap_user_ok(user) || password.len == 0 || password.len > LDAP_PASSWORD_MAX ||
        memchr(password.ptr, '\0', password.len) != NULL) {
        return wrong(err);
    }
    enum status s = dial(&c, err);
    if (s == STATUS_OK) {
        s = d->settings->ldap.bind_template[0] != '\0' ? by_template(&c, password, err)
                                                       : by_search(&c, password, err);
    }
    bool searched = strcmp(d->settings->ldap.groups_by, "search") == 0;
    if (s == STATUS_OK && searched) {
        s = groups_by_search(&c, out->dn, err);
    }
    if (s == STATUS_OK && strcmp(d->settings->ldap.groups_by, "none") != 0) {
        s = nested(&c, searched, err);
    }
    if (c.ld != NULL) {
        (void)ldap_unbind_ext_s(c.ld, NULL, NULL);
    }
    return s;
}
