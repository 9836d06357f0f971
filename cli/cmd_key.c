/* carrel key create|list|revoke and carrel tenant create|list|key|keyless: who may ask, as which
 * groups. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/lists.h"
#include "cli/tenant_key.h"
#include "cli/term.h"

static enum exit_code show(const struct options *o, enum status s, const struct error *err,
                           json_t *answer, void (*print)(const json_t *answer))
{
    if (s != STATUS_OK) {
        return command_failed(err);
    }
    if (o->json) {
        json_print(answer);
    } else {
        print(answer);
    }
    json_decref(answer);
    return EXIT_OK;
}

static void print_groups(const json_t *key)
{
    const json_t *groups = json_object_get(key, "groups");

    for (size_t i = 0; i < json_array_size(groups); i++) {
        (void)printf("%s", i == 0 ? "" : ",");
        term_put_clean(stdout, json_string_value(json_array_get(groups, i)));
    }
}

static void print_made(const json_t *answer)
{
    (void)printf("%s\n", json_field(answer, "key"));
    (void)fprintf(stderr, "The key is shown this once. Its id, for `carrel key revoke`: %s\n",
                  json_field(answer, "id"));
}

static void day_of(const json_t *seconds, bool minutes, const char *none, char *out, size_t cap)
{
    time_t t = (time_t)json_integer_value(seconds);
    struct tm tm;

    (void)snprintf(out, cap, "%s", none);
    if (seconds != NULL && localtime_r(&t, &tm) != NULL) {
        size_t n = strftime(out, cap, "%Y-%m-%d", &tm);
        n += minutes ? strftime(out + n, cap - n, " %H:%M", &tm) : 0;
        out[n] = '\0';
    }
}

static void print_keys(const json_t *answer)
{
    const json_t *list = json_object_get(answer, "keys");
    size_t unknown = 0;

    (void)printf("%-26s  %-12s %-8s %-16s %-10s %-20s %s\n", "id", "tenant", "role", "last used",
                 "ends", "name", "groups");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *k = json_array_get(list, i);
        char used[32];
        char ends[32];
        day_of(json_object_get(k, "last_used"), true, "never", used, sizeof(used));
        day_of(json_object_get(k, "expires"), false, "", ends, sizeof(ends));
        (void)printf("%-26s  %-12s %-8s %-16s %-10s ", json_field(k, "id"), json_field(k, "tenant"),
                     json_field(k, "role"), used, ends);
        term_put_clean(stdout, json_field(k, "name"));
        (void)printf("  ");
        print_groups(k);
        bool whose = json_is_true(json_object_get(k, "maker_unknown"));
        unknown += whose;
        (void)printf("%s\n", whose ? "  (maker unknown)" : "");
    }
    if (unknown > 0) {
        (void)fprintf(stderr,
                      "%zu made by a version before, which did not note by whom: such a key may do "
                      "all that its owner may, whatever he becomes. Make another for him (--owner) "
                      "and revoke it.\n",
                      unknown);
    }
}

static void print_revoked(const json_t *answer)
{
    (void)printf("revoked %s\n", json_field(answer, "id"));
}

json_t *list_of_names(const char *list)
{
    json_t *names = json_array();
    const char *at = list == NULL ? "" : list;

    while (*at != '\0') {
        size_t n = strcspn(at, ",");
        if (n > 0) {
            (void)json_array_append_new(names, json_stringn(at, n));
        }
        at += n + (at[n] == ',' ? 1 : 0);
    }
    return names;
}

static void add_list(json_t *body, const char *key, const char *list)
{
    if (list != NULL) {
        (void)json_object_set_new(body, key, list_of_names(list));
    }
}

static enum exit_code create(const struct options *o)
{
    struct error err = {0};
    json_t *answer = NULL;
    json_t *body = json_pack("{s:s, s:o}", "name", o->args[1], "groups", list_of_names(o->groups));

    if (body == NULL) {
        (void)fprintf(stderr, "carrel key: the name is not UTF-8\n");
        return EXIT_USAGE;
    }
    if (o->tenant != NULL) {
        (void)json_object_set_new(body, "tenant", json_string(o->tenant));
    }
    if (o->role != NULL || o->admin) {
        (void)json_object_set_new(body, "role", json_string(o->role != NULL ? o->role : "admin"));
    }
    if (o->owner != NULL) {
        (void)json_object_set_new(body, "owner", json_string(o->owner));
    }
    if (o->days > 0) {
        (void)json_object_set_new(body, "days", json_integer(o->days));
    }
    add_list(body, "scopes", o->scopes);
    add_list(body, "collections", o->collections);
    add_list(body, "addresses", o->addresses);
    enum status s = http_ask(o, "/api/keys", body, &answer, &err);
    json_decref(body);
    return show(o, s, &err, answer, print_made);
}

static enum exit_code revoke(const struct options *o)
{
    struct error err = {0};
    json_t *answer = NULL;
    char path[128];
    int n = snprintf(path, sizeof(path), "/api/keys/%.100s", o->args[1]);

    if (n < 0 || strcspn(o->args[1], "/?#% ") != strlen(o->args[1])) {
        (void)fprintf(stderr, "carrel key revoke: that is no key's id; `carrel key list`\n");
        return EXIT_USAGE;
    }
    enum status s = http_ask_delete(o, path, &answer, &err);
    return show(o, s, &err, answer, print_revoked);
}

static enum exit_code run(const struct options *o)
{
    const char *what = o->args[0];
    struct error err = {0};
    json_t *answer = NULL;

    if (strcmp(what, "list") == 0 && o->n_args == 1) {
        enum status s = http_ask(o, "/api/keys", NULL, &answer, &err);
        return show(o, s, &err, answer, print_keys);
    }
    if (strcmp(what, "create") == 0 && o->n_args == 2) {
        return create(o);
    }
    if (strcmp(what, "revoke") == 0 && o->n_args == 2) {
        return revoke(o);
    }
    (void)fprintf(stderr, "carrel key: create NAME, list or revoke ID\n");
    return EXIT_USAGE;
}

const struct command cmd_key = {
    .name = "key",
    .args = "create NAME|list|revoke ID",
    .summary = "Make, list or revoke keys of the API, with the groups they read as.",
    .help =
        "A document that names readers is found only by keys of one of these groups. A key made\n"
        "with --role admin (or --admin) may also look after documents, users and keys. --scopes\n"
        "leaves it a part of its role: ask, search, read, ingest, manage, audit, monitor, admin.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_GROUPS | OPT_KEY_TENANT | OPT_ADMIN,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};

/* ---- tenants ---- */

static void print_tenants(const json_t *answer)
{
    const json_t *list = json_object_get(answer, "tenants");

    for (size_t i = 0; i < json_array_size(list); i++) {
        (void)printf("%s\n", json_string_value(json_array_get(list, i)));
    }
}

static void print_tenant(const json_t *answer)
{
    (void)printf("made tenant %s: its folder appears beside the others within seconds\n",
                 json_field(answer, "tenant"));
}

static enum exit_code run_tenant(const struct options *o)
{
    struct error err = {0};
    json_t *answer = NULL;
    enum status s;

    if (strcmp(o->args[0], "list") == 0 && o->n_args == 1) {
        s = http_ask(o, "/api/tenants", NULL, &answer, &err);
        return show(o, s, &err, answer, print_tenants);
    }
    if (strcmp(o->args[0], "create") == 0 && o->n_args == 2) {
        json_t *body = json_pack("{s:s}", "tenant", o->args[1]);
        s = http_ask(o, "/api/tenants", body, &answer, &err);
        json_decref(body);
        return show(o, s, &err, answer, print_tenant);
    }
    if (strcmp(o->args[0], "key") == 0 && o->n_args == 2) {
        return tenant_key_make(o, o->args[1]);
    }
    if (strcmp(o->args[0], "keyless") == 0 && o->n_args == 2) {
        return tenant_key_drop(o, o->args[1]);
    }
    (void)fprintf(stderr, "carrel tenant: create NAME, list, key NAME or keyless NAME\n");
    return EXIT_USAGE;
}

const struct command cmd_tenant = {
    .name = "tenant",
    .args = "create NAME|list|key NAME|keyless NAME",
    .summary = "Make or list tenants, whose documents and keys know nothing of each other.",
    .help = "key makes a key for the tenant's full-text and vector segments (store.key_dir), which "
            "are\n"
            "encrypted from then on. keyless takes it away, also one that is lost: the segments "
            "are made\n"
            "again from the database.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE,
    .min_args = 1,
    .max_args = 2,
    .run = run_tenant,
};
