/* carrel user: people who sign in with a name and a password. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/lists.h"
#include "cli/term.h"

static void print_users(const json_t *answer)
{
    const json_t *list = json_object_get(answer, "users");

    (void)printf("%-26s  %-12s %-8s %-16s %-20s %s\n", "id", "tenant", "role", "state", "name",
                 "groups");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *u = json_array_get(list, i);
        const json_t *groups = json_object_get(u, "groups");
        const char *state = json_is_true(json_object_get(u, "disabled")) ? "disabled"
                            : json_is_true(json_object_get(u, "locked")) ? "locked"
                            : json_is_true(json_object_get(u, "must_change_password"))
                                ? "new password"
                            : json_is_true(json_object_get(u, "second_factor")) ? "with code"
                                                                                : "";
        (void)printf("%-26s  %-12s %-8s %-16s ", json_field(u, "id"), json_field(u, "tenant"),
                     json_field(u, "role"), state);
        term_put_clean(stdout, json_field(u, "name"));
        for (size_t k = 0; k < json_array_size(groups); k++) {
            (void)printf(k == 0 ? "  " : ",");
            term_put_clean(stdout, json_string_value(json_array_get(groups, k)));
        }
        (void)printf("\n");
    }
}

/* The user of that name or id; a name that several tenants have needs --tenant. */
static enum status find(const struct http *h, const struct options *o, char id[65],
                        struct error *err)
{
    json_t *answer = NULL;
    size_t found = 0;
    enum status s = http_json(h, "/api/users", NULL, &answer, err);
    const json_t *list = json_object_get(answer, "users");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *u = json_array_get(list, i);
        bool in = o->tenant == NULL || strcmp(json_field(u, "tenant"), o->tenant) == 0;
        if (strcmp(json_field(u, "id"), o->args[1]) == 0 ||
            (in && strcmp(json_field(u, "name"), o->args[1]) == 0)) {
            (void)snprintf(id, 65, "%s", json_field(u, "id"));
            found++;
        }
    }
    json_decref(answer);
    if (s == STATUS_OK && found != 1) {
        s = error_set(err, found == 0 ? STATUS_NOT_FOUND : STATUS_INVALID, "%s: %s", o->args[1],
                      found == 0 ? "there is no such user; `carrel user list`"
                                 : "several tenants have one: say --tenant, or the id");
    }
    return s;
}

static void print_password(const json_t *answer)
{
    const char *password = json_string_value(json_object_get(answer, "password"));

    if (password != NULL) {
        (void)printf("%s\n", password);
        (void)fprintf(stderr, "The password is shown this once, and must be changed at the first "
                              "sign-in.\n");
    }
}

static void print_changed(const json_t *answer)
{
    if (json_is_true(json_object_get(answer, "removed"))) {
        (void)printf("removed %s\n", json_field(answer, "id"));
        return;
    }
    term_put_clean(stdout, json_field(answer, "name"));
    (void)printf(": %s%s\n", json_field(answer, "role"),
                 json_is_true(json_object_get(answer, "disabled")) ? ", disabled" : "");
}

static json_t *body_of(const struct options *o)
{
    const char *what = o->args[0];
    json_t *body = json_object();

    if (strcmp(what, "add") == 0) {
        (void)json_object_set_new(body, "name", json_string(o->args[1]));
        (void)json_object_set_new(body, "role", json_string(o->role == NULL ? "reader" : o->role));
        if (o->tenant != NULL) {
            (void)json_object_set_new(body, "tenant", json_string(o->tenant));
        }
    } else if (strcmp(what, "role") == 0) {
        (void)json_object_set_new(body, "role", json_string(o->args[2]));
    } else if (strcmp(what, "password") != 0) {
        (void)json_object_set_new(body, "disabled", json_boolean(strcmp(what, "disable") == 0));
    }
    if (o->groups != NULL) {
        (void)json_object_set_new(body, "groups", list_of_names(o->groups));
    }
    return body;
}

static const char *const actions[] = {"role",   "password", "disable",
                                      "enable", "remove",   "totp-reset"};

static bool is_action(const struct options *o)
{
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(o->args[0], actions[i]) == 0) {
            return o->n_args == (i == 0 ? 3 : 2);
        }
    }
    return false;
}

static enum status act(const struct http *h, const struct options *o, json_t **answer,
                       struct error *err)
{
    const char *what = o->args[0];
    char id[65] = "";
    char path[160];
    bool removes = strcmp(what, "remove") == 0 || strcmp(what, "totp-reset") == 0;
    enum status s = find(h, o, id, err);

    if (s != STATUS_OK) {
        return s;
    }
    (void)snprintf(path, sizeof(path), "/api/users/%s%s", id,
                   strcmp(what, "password") == 0     ? "/password"
                   : strcmp(what, "totp-reset") == 0 ? "/totp"
                                                     : "");
    if (removes) {
        return http_delete(h, path, answer, err);
    }
    json_t *body = body_of(o);
    s = http_json(h, path, body, answer, err);
    json_decref(body);
    return s;
}

static enum exit_code run(const struct options *o)
{
    struct http h;
    struct error err = {0};
    json_t *answer = NULL;
    bool list = strcmp(o->args[0], "list") == 0 && o->n_args == 1;
    bool add = strcmp(o->args[0], "add") == 0 && o->n_args == 2;

    if (!list && !add && !is_action(o)) {
        return command_misread(&cmd_user, o);
    }
    enum status s = http_open(o, &h, &err);
    if (s == STATUS_OK && list) {
        s = http_json(&h, "/api/users", NULL, &answer, &err);
    } else if (s == STATUS_OK && add) {
        json_t *body = body_of(o);
        s = http_json(&h, "/api/users", body, &answer, &err);
        json_decref(body);
    } else if (s == STATUS_OK) {
        s = act(&h, o, &answer, &err);
    }
    explicit_bzero(h.key, sizeof(h.key));
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    if (o->json) {
        json_print(answer);
    } else if (list) {
        print_users(answer);
    } else if (add || strcmp(o->args[0], "password") == 0) {
        print_password(answer);
    } else {
        print_changed(answer);
    }
    json_decref(answer);
    return EXIT_OK;
}

const struct command cmd_user = {
    .name = "user",
    .args = "add NAME|list|role NAME ROLE|password NAME|disable NAME|enable NAME|remove "
            "NAME|totp-reset NAME",
    .summary = "Look after the people who sign in with a name and a password.",
    .help = "add and password show a password once, which its user must change. remove ends "
            "sessions and\n"
            "keys for good; disable until enable. Roles: admin, manager, editor, reader, auditor.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_GROUPS | OPT_KEY_TENANT,
    .min_args = 1,
    .max_args = 3,
    .run = run,
};
