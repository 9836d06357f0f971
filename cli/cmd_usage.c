/* carrel usage: who used what in a month, as a table, JSON or CSV. */
#include <stdio.h>
#include <string.h>

#include "base/money.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

struct amount {
    char text[MONEY_CAP];
};

static struct amount money(const json_t *o, const char *key)
{
    struct amount a;
    money_text(a.text, json_integer_value(json_object_get(o, key)));
    return a;
}

static void print_group(const json_t *list, const char *title, const char *name)
{
    (void)printf("\n%-28s %7s %9s %12s %10s %10s %12s\n", title, "share", "requests", "tokens",
                 "CPU s", "GPU s", "cost");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *g = json_array_get(list, i);
        const char *text = json_string_value(json_object_get(g, name));
        char shown[29];
        (void)snprintf(shown, sizeof(shown), "%s", text == NULL || text[0] == '\0' ? "-" : text);
        term_put_clean(stdout, shown);
        (void)printf("%*s %6.1f%% %9.0f %12.0f %10.3f %10.3f %12s\n",
                     (int)(sizeof(shown) - 1 - strlen(shown)), "",
                     100 * json_field_number(g, "share"), json_field_number(g, "requests"),
                     json_field_number(g, "prompt_tokens") +
                         json_field_number(g, "completion_tokens") +
                         json_field_number(g, "embedding_tokens"),
                     json_field_number(g, "cpu_us") / 1e6, json_field_number(g, "gpu_us") / 1e6,
                     money(g, "cost_micro").text);
    }
}

static void print_capacity(const json_t *capacity)
{
    static const char *const names[] = {"cpu", "gpu"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *c = json_object_get(capacity, names[i]);
        if (c != NULL) {
            (void)printf("%s: %.4f of %.0f hours used, idle %.2f %%\n", i == 0 ? "CPU" : "GPU",
                         json_field_number(c, "used_us") / 3.6e9,
                         json_field_number(c, "capacity_us") / 3.6e9,
                         100 * json_field_number(c, "idle_share"));
        }
    }
}

static void print_report(const json_t *r)
{
    const json_t *totals = json_object_get(r, "totals");
    const json_t *advice = json_object_get(r, "advice");
    (void)printf(
        "%s, tenant %s: %.0f requests, %s %s (%s elsewhere, of it %s estimated; %s storage)\n",
        json_string_value(json_object_get(r, "month")),
        json_string_value(json_object_get(r, "tenant")), json_field_number(totals, "requests"),
        money(totals, "all_micro").text, json_string_value(json_object_get(r, "currency")),
        money(totals, "external_micro").text, money(totals, "estimated_micro").text,
        money(totals, "storage_micro").text);
    print_capacity(json_object_get(r, "capacity"));
    print_group(json_object_get(r, "teams"), "team", "team");
    print_group(json_object_get(r, "users"), "user", "name");
    print_group(json_object_get(r, "models"), "model", "model");
    for (size_t i = 0; i < json_array_size(advice); i++) {
        (void)printf(i == 0 ? "\n* " : "* ");
        term_put_clean(stdout,
                       json_string_value(json_object_get(json_array_get(advice, i), "text")));
        (void)printf("\n");
    }
}

static enum status fetch_csv(const struct http *h, const char *path, struct error *err)
{
    struct buf out;
    long code = 0;
    buf_init(&out, (size_t)128 * 1024 * 1024);
    enum status s = http_raw(h, "GET", path, NULL, NULL, &code, &out, err);
    if (s == STATUS_OK && code != 200) {
        s = error_set(err, STATUS_FORBIDDEN, "the appliance answered %ld", code);
    }
    if (s == STATUS_OK && fwrite(out.ptr, 1, out.len, stdout) != out.len) {
        s = error_set(err, STATUS_INTERNAL, "standard output cannot be written");
    }
    buf_deinit(&out);
    return s;
}

static bool is_month(const char *text)
{
    return strlen(text) == 7 && text[4] == '-' && strspn(text, "0123456789") == 4 &&
           strspn(text + 5, "0123456789") == 2;
}

static enum exit_code run(const struct options *o)
{
    struct http h;
    struct error err = {0};
    char path[200];
    json_t *answer = NULL;
    bool csv = o->n_args > 0 && strcmp(o->args[0], "csv") == 0;
    const char *month = o->n_args > (csv ? 1 : 0) ? o->args[csv ? 1 : 0] : NULL;
    bool tenant_ok =
        o->tenant == NULL ||
        strspn(o->tenant, "abcdefghijklmnopqrstuvwxyz0123456789-*") == strlen(o->tenant);
    if (o->n_args > (csv ? 2 : 1) || (month != NULL && !is_month(month)) || !tenant_ok) {
        return command_misread(&cmd_usage, o);
    }
    (void)snprintf(path, sizeof(path), "/api/usage?format=%s%s%s%s%.80s", csv ? "csv" : "json",
                   month == NULL ? "" : "&month=", month == NULL ? "" : month,
                   o->tenant == NULL ? "" : "&tenant=", o->tenant == NULL ? "" : o->tenant);
    enum status s = http_open(o, &h, &err);
    if (s == STATUS_OK) {
        s = csv ? fetch_csv(&h, path, &err) : http_json(&h, path, NULL, &answer, &err);
    }
    explicit_bzero(h.key, sizeof(h.key));
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    if (o->json && !csv) {
        json_print(answer);
    } else if (!csv) {
        print_report(answer);
    }
    json_decref(answer);
    return EXIT_OK;
}

const struct command cmd_usage = {
    .name = "usage",
    .args = "[csv] [MONTH]",
    .summary = "Show who used what in a month, and what it cost.",
    .help = "MONTH is written 2026-11; left out: the one that runs. `usage csv` writes one row for "
            "each\n"
            "key and model, for spreadsheets. --tenant '*': all tenants, for those who run the "
            "appliance.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_TENANT,
    .max_args = 2,
    .run = run,
};
