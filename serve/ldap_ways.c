#include "serve/ldap_ways.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

#define WIDTH 2
#define QUEUED_MAX 64

/* Names that are distinguished ones, in the form that ldap.c gives groups. */
static enum status normal_groups(struct ldap_ways *w, struct error *err)
{
    size_t n = w->settings.n_directory_groups;
    w->groups = calloc(n + 1, sizeof *w->groups);
    w->names = calloc(n + 1, sizeof *w->names);
    if (w->groups == NULL || w->names == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        char normal[LDAP_DN_CAP];
        w->groups[i] = w->settings.directory_groups[i];
        if (strchr(w->groups[i].name, '=') != NULL && ldap_dn_normal(w->groups[i].name, normal)) {
            w->names[i] = strdup(normal);
            if (w->names[i] == NULL) {
                return error_set(err, STATUS_NO_MEMORY, "out of memory");
            }
            w->groups[i].name = w->names[i];
        }
    }
    w->settings.directory_groups = w->groups;
    return STATUS_OK;
}

enum status ldap_ways_new(uv_loop_t *loop, const struct settings *s, const char *socket,
                          struct ldap_ways **out, struct error *err)
{
    *out = NULL;
    if (s->ldap.url[0] == '\0') {
        return STATUS_OK;
    }
    enum status st = ldap_begin(err);
    if (st != STATUS_OK) {
        return st;
    }
    struct ldap_ways *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    w->settings = *s;
    w->directory.settings = &w->settings;
    w->directory.socket = socket;
    lane_init(&w->lane, loop, WIDTH, QUEUED_MAX);
    st = normal_groups(w, err);
    if (st == STATUS_OK && idp_secret(s->ldap.bind_password_file, w->directory.password,
                                      sizeof w->directory.password, err) != STATUS_OK) {
        st = error_prefix(err, "ldap.bind_password_file");
    }
    if (st != STATUS_OK) {
        ldap_ways_free(w);
        return st;
    }
    *out = w;
    return STATUS_OK;
}

void ldap_ways_free(struct ldap_ways *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; w->names != NULL && i < w->settings.n_directory_groups; i++) {
        free(w->names[i]);
    }
    free(w->names);
    free(w->groups);
    explicit_bzero(w->directory.password, sizeof w->directory.password);
    free(w);
}

bool ldap_ways_idle(const struct ldap_ways *w)
{
    return w == NULL || lane_idle(&w->lane);
}

/* Directories know no case in names: Ada and ada are tried together. */
static struct ldap_tries *slot(struct ldap_ways *w, struct str user, int64_t now_ms)
{
    char small[128] = {0};
    uint8_t digest[SHA256_BYTES];
    uint64_t hash;
    for (size_t i = 0; i < user.len && i < sizeof small; i++) {
        char c = user.ptr[i];
        small[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    sha256_of(small, sizeof small, digest);
    memcpy(&hash, digest, sizeof hash);
    hash |= 1;
    struct ldap_tries *t = &w->tries[hash / 2 % LDAP_TRIES_SLOTS];
    if (t->name != hash) { /* another's place: names that share one share its fate */
        double more = t->name == 0 ? LDAP_TRIES : (double)(now_ms - t->ms) / (double)LDAP_TRY_MS;
        double left = t->name == 0 || t->left + more >= LDAP_TRIES ? LDAP_TRIES : t->left + more;
        *t = (struct ldap_tries){hash, left, now_ms};
        return t;
    }
    double left = t->left + (double)(now_ms - t->ms) / (double)LDAP_TRY_MS;
    t->left = left > LDAP_TRIES ? LDAP_TRIES : left;
    t->ms = now_ms;
    return t;
}

bool ldap_ways_may(struct ldap_ways *w, struct str user, int64_t now_ms, int64_t *retry_s)
{
    struct ldap_tries *t = slot(w, user, now_ms);
    if (t->left >= 1) {
        t->left -= 1; /* given back when it was right */
        return true;
    }
    *retry_s = (int64_t)((1 - t->left) * (double)LDAP_TRY_MS / 1000) + 1;
    return false;
}

void ldap_ways_note(struct ldap_ways *w, struct str user, bool right, int64_t now_ms)
{
    if (right) {
        slot(w, user, now_ms)->left = LDAP_TRIES;
    }
}
