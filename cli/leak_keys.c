/* Who asks in a leak test: keys that are made for it, and nobody; and what cannot be tried with
 * them. */
#include <stdio.h>
#include <string.h>

#include "cli/json_field.h"
#include "cli/leaktest.h"

#define KEY_MARK "carrel leaktest"

_Static_assert(3 * LEAK_TENANTS + 1 <= LEAK_READERS,
               "of every tenant an administrator and two without groups, and nobody");

static enum status make_key(struct leaktest *t, struct leak_reader *r, struct error *err)
{
    char name[64];
    json_t *answer = NULL;
    json_t *groups = json_array();

    for (size_t i = 0; i < r->n_groups; i++) {
        (void)json_array_append_new(groups, json_string(r->groups[i]));
    }
    (void)snprintf(name, sizeof(name), KEY_MARK " %s %zu", t->run, t->n_readers);
    json_t *body = json_pack("{s:s, s:s, s:b, s:o}", "name", name, "tenant", r->tenant, "admin",
                             (int)r->admin, "groups", groups);
    enum status s = http_json(&t->admin, "/api/keys", body, &answer, err);
    json_decref(body);
    if (s == STATUS_OK) {
        r->http = t->admin;
        (void)snprintf(r->http.key, sizeof(r->http.key), "%s", json_field(answer, "key"));
        (void)snprintf(r->id, sizeof(r->id), "%s", json_field(answer, "id"));
    }
    json_decref(answer);
    return s;
}

static enum status add_reader(struct leaktest *t, const char *tenant, const char *const *groups,
                              size_t n, bool admin, struct error *err)
{
    if (t->n_readers == LEAK_READERS) { /* only groups': the others are made first, and fit */
        t->groups_left_out = true;
        return STATUS_OK;
    }
    struct leak_reader *r = &t->readers[t->n_readers];
    *r = (struct leak_reader){.n_groups = n, .admin = admin};
    (void)snprintf(r->tenant, sizeof(r->tenant), "%s", tenant == NULL ? "" : tenant);
    for (size_t i = 0; i < n; i++) {
        r->groups[i] = groups[i];
    }
    enum status s = make_key(t, r, err);
    t->n_readers += s == STATUS_OK;
    return s;
}

static bool has_group(const struct leaktest *t, const char *group)
{
    for (size_t i = 0; i < t->n_groups; i++) {
        if (strcmp(t->groups[i], group) == 0) {
            return true;
        }
    }
    return false;
}

static void add_group(struct leaktest *t, const char *group)
{
    if (group == NULL || strcmp(group, RULES_NOBODY) == 0 || has_group(t, group)) {
        return;
    }
    if (t->n_groups == LEAK_GROUPS) {
        t->groups_left_out = true;
    } else {
        t->groups[t->n_groups++] = group;
    }
}

enum status leak_groups(struct leaktest *t, struct error *err)
{
    enum status s = http_json(&t->admin, "/api/keys", NULL, &t->keys, err);
    const json_t *keys = json_object_get(t->keys, "keys");

    for (size_t i = 0; i < t->rules.n; i++) {
        for (size_t k = 0; k < t->rules.items[i].n_readers; k++) {
            add_group(t, t->rules.items[i].readers[k]);
        }
    }
    t->n_ruled = t->n_groups;
    for (size_t i = 0; s == STATUS_OK && i < json_array_size(keys); i++) {
        const json_t *groups = json_object_get(json_array_get(keys, i), "groups");
        for (size_t k = 0; k < json_array_size(groups); k++) {
            add_group(t, json_string_value(json_array_get(groups, k)));
        }
    }
    return s;
}

void leak_note(struct leaktest *t, const char *text)
{
    size_t i;
    const json_t *said;

    json_array_foreach(t->notes, i, said)
    {
        if (strcmp(json_string_value(said), text) == 0) {
            return;
        }
    }
    (void)json_array_append_new(t->notes, json_string(text));
}

static bool names_readers(const struct leaktest *t)
{
    for (size_t i = 0; i < t->rules.n; i++) {
        if (t->rules.items[i].has_readers) {
            return true;
        }
    }
    return false;
}

void leak_untried(struct leaktest *t, size_t tenants)
{
    char text[700];

    if (tenants < 2) {
        leak_note(t, "not tried, for there is one tenant: reading another tenant's documents "
                     "(carrel tenant create makes a second one)");
    }
    if (!names_readers(t)) {
        leak_note(t,
                  "not tried, for no rule in access.yaml names readers: reading what is for other "
                  "groups; everybody of a tenant may read all of it");
    }
    for (size_t i = t->n_ruled; i < t->n_groups; i++) {
        (void)snprintf(text, sizeof(text),
                       "no rule names the group %.200s that keys have: they read what keys without "
                       "a group read",
                       t->groups[i]);
        leak_note(t, text);
    }
    if (tenants > LEAK_TENANTS) {
        (void)snprintf(text, sizeof(text), "only the first %d of %zu tenants were tried",
                       LEAK_TENANTS, tenants);
        leak_note(t, text);
    }
    if (t->groups_left_out) {
        leak_note(t, "not every group was tried: there are too many");
    }
}

/* An administrator's key for each tenant before all others: what is planted has somebody who can
 * take it away. Groups last, each in all tenants before the next. */
enum status leak_keys(struct leaktest *t, const json_t *tenants, struct error *err)
{
    enum status s = STATUS_OK;
    size_t n = json_array_size(tenants);

    n = n < LEAK_TENANTS ? n : LEAK_TENANTS;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = add_reader(t, json_string_value(json_array_get(tenants, i)), NULL, 0, true, err);
    }
    for (size_t i = 0; i < 2 * n && s == STATUS_OK; i++) { /* two: one is not shown the other's
                                                              answers */
        s = add_reader(t, json_string_value(json_array_get(tenants, i / 2)), NULL, 0, false, err);
    }
    if (s == STATUS_OK) {
        struct leak_reader *r = &t->readers[t->n_readers++];
        *r = (struct leak_reader){.http = t->admin};
        explicit_bzero(r->http.key, sizeof(r->http.key)); /* of no tenant, without a key */
    }
    for (size_t i = 0; i < n * t->n_groups && s == STATUS_OK; i++) {
        s = add_reader(t, json_string_value(json_array_get(tenants, i % n)), &t->groups[i / n], 1,
                       false, err);
    }
    return s;
}

const struct leak_reader *leak_admin(const struct leaktest *t, const char *tenant)
{
    for (size_t i = 0; i < t->n_readers; i++) {
        if (t->readers[i].admin && strcmp(t->readers[i].tenant, tenant) == 0) {
            return &t->readers[i];
        }
    }
    return NULL;
}

static enum status revoke(const struct leaktest *t, const char *id, struct error *err)
{
    char path[128];
    json_t *answer = NULL;

    (void)snprintf(path, sizeof(path), "/api/keys/%.100s", id);
    enum status s = http_delete(&t->admin, path, &answer, err);
    json_decref(answer);
    return s;
}

/* Keys of a run that was killed. Its documents are found once there are administrators' keys. */
enum status leak_sweep_keys(const struct leaktest *t, struct error *err)
{
    json_t *list = NULL;
    enum status s = http_json(&t->admin, "/api/keys", NULL, &list, err);
    const json_t *keys = json_object_get(list, "keys");

    for (size_t i = 0; i < json_array_size(keys) && s == STATUS_OK; i++) {
        const json_t *k = json_array_get(keys, i);
        if (strncmp(json_field(k, "name"), KEY_MARK " ", strlen(KEY_MARK) + 1) == 0) {
            s = revoke(t, json_field(k, "id"), err);
        }
    }
    json_decref(list);
    return s;
}
