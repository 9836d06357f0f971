/* carrel limits: what keys, users, teams and tenants may use, and have used. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/money.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

static const struct {
    const char *name, *field;
} words[] = {
    {"requests", "requests_per_minute"}, {"tokens", "tokens_per_day"},   {"streams", "streams"},
    {"upload", "upload_bytes_per_day"},  {"budget", "budget_per_month"},
};
#define WORDS (sizeof(words) / sizeof(words[0]))

static void print_one(const json_t *s)
{
    const json_t *limits = json_object_get(s, "limits");
    const json_t *used = json_object_get(s, "used");
    const char *title = json_string_value(json_object_get(s, "title"));
    const char *team = json_string_value(json_object_get(s, "team"));
    char amount[MONEY_CAP];
    (void)printf("%-6s ", json_string_value(json_object_get(s, "kind")));
    term_put_clean(stdout, json_string_value(json_object_get(s, "name")));
    if (title != NULL) {
        (void)printf(" (");
        term_put_clean(stdout, title);
        (void)printf(")");
    }
    if (team != NULL) {
        (void)printf(" of team ");
        term_put_clean(stdout, team);
    }
    (void)printf(":");
    bool any = false;
    for (size_t i = 0; i < WORDS; i++) {
        double n = json_number_value(json_object_get(limits, words[i].field));
        any = any || n > 0;
        if (n > 0 && i + 1 == WORDS) {
            money_text(amount, (int64_t)(n * 1e6 + 0.5));
            (void)printf(" %s %s", words[i].name, amount);
        } else if (n > 0) {
            (void)printf(" %s %.0f", words[i].name, n);
        }
    }
    money_text(amount, json_integer_value(json_object_get(used, "cost_micro_this_month")));
    (void)printf("%s; today %.0f tokens, %.0f bytes; this month %s\n", any ? "" : " no limit",
                 json_number_value(json_object_get(used, "tokens_today")),
                 json_number_value(json_object_get(used, "upload_bytes_today")), amount);
}

/* NAME=NUMBER, NAME=default, or team=NAME. */
static bool add_word(json_t *body, const char *word)
{
    const char *equals = strchr(word, '=');
    size_t n = equals == NULL ? 0 : (size_t)(equals - word);
    if (n == 4 && memcmp(word, "team", 4) == 0) {
        return json_object_set_new(body, "team", json_string(equals + 1)) == 0;
    }
    for (size_t i = 0; n > 0 && i < WORDS; i++) {
        if (strlen(words[i].name) != n || memcmp(words[i].name, word, n) != 0) {
            continue;
        }
        char *end = NULL;
        errno = 0;
        double amount = strtod(equals + 1, &end);
        bool number = end != equals + 1 && *end == '\0' && errno == 0 && amount >= 0;
        json_t *v = strcmp(equals + 1, "default") == 0 ? json_null()
                    : !number                          ? NULL
                    : i + 1 == WORDS                   ? json_real(amount)
                                                       : json_integer((json_int_t)amount);
        return v != NULL && json_object_set_new(body, words[i].field, v) == 0;
    }
    return false;
}

/* set|reset KIND NAME [WORD=...]; NULL: not understood. */
static json_t *new_body(const struct options *o)
{
    bool set = o->n_args >= 4 && strcmp(o->args[0], "set") == 0;
    bool reset = o->n_args == 3 && strcmp(o->args[0], "reset") == 0;
    if (!set && !reset) {
        return NULL;
    }
    json_t *body = json_pack("{s:s,s:s}", "kind", o->args[1], "name", o->args[2]);
    bool ok = body != NULL;
    if (ok && o->tenant != NULL) {
        ok = json_object_set_new(body, "tenant", json_string(o->tenant)) == 0;
    }
    if (ok && reset) {
        ok = json_object_set_new(body, "reset", json_true()) == 0;
    }
    for (int i = 3; ok && i < o->n_args; i++) {
        ok = add_word(body, o->args[i]);
    }
    if (!ok) {
        json_decref(body);
        body = NULL;
    }
    return body;
}

static enum exit_code run(const struct options *o)
{
    struct error err = {0};
    json_t *answer = NULL;
    bool list = o->n_args == 0 || (o->n_args == 1 && strcmp(o->args[0], "list") == 0);
    json_t *body = list ? NULL : new_body(o);
    if (!list && body == NULL) {
        return command_misread(&cmd_limits, o);
    }
    enum status s = http_ask(o, "/api/limits", body, &answer, &err);
    json_decref(body);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    const json_t *subjects = json_object_get(answer, "subjects");
    if (o->json) {
        json_print(answer);
    } else if (!list) {
        print_one(answer);
    }
    for (size_t i = 0; list && !o->json && i < json_array_size(subjects); i++) {
        print_one(json_array_get(subjects, i));
    }
    json_decref(answer);
    return EXIT_OK;
}

const struct command cmd_limits = {
    .name = "limits",
    .args = "[list] | set KIND NAME WORD=N... | reset KIND NAME",
    .summary = "Show or set what keys, users, teams and tenants may use.",
    .help = "KIND is key, user, team or tenant; NAME the id of the key or user (carrel key list), "
            "or the\n"
            "team's or tenant's name. WORD: requests (a minute), tokens (a day), streams (at "
            "once), upload\n"
            "(bytes a day), budget (money a month); 0: no limit, default: as carrel.yaml says. "
            "team=NAME,\n"
            "of a key or user: which team its use counts for. --tenant: of another tenant.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_TENANT,
    .max_args = 12,
    .run = run,
};
