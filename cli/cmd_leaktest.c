/* carrel leaktest. In this order:
 *
 *   1. what an earlier run left behind (it was killed) is taken away: by the mark in its names
 *   2. keys: of each tenant an administrator's, two without groups, one for each group of the rules
 *      and of the keys that there are (leak_keys.c); and nobody, who has none
 *   3. canaries: for each tenant a file for every rule of access.yaml that names readers, one where
 * no rule is, put there as people put files there; waited for until they are ready
 *   4. each reader who may finds it; everybody else tries every door (leak_probes.c); and another's
 *      answer, also where its document may be read
 *   5. the canaries are erased for good, the keys revoked
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/glob.h"
#include "base/hash.h"
#include "cli/command.h"
#include "cli/json_field.h"
#include "cli/leaktest.h"
#include "cli/term.h"

#define READY_MS 180000
#define ERASED_MS 600000
#define ARENA_MAX ((size_t)4 << 20)

static void pause_ms(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void word(char out[24])
{
    uint8_t r[8];

    random_bytes(r, sizeof(r));
    out[0] = 'q';
    for (size_t i = 0; i < sizeof(r); i++) { /* letters only: no index takes it apart */
        out[1 + 2 * i] = (char)('a' + (r[i] & 15));
        out[2 + 2 * i] = (char)('a' + (r[i] >> 4));
    }
    out[1 + 2 * sizeof(r)] = '\0';
}

/* ---- canaries ---- */

/* A path that the pattern matches: its wildcards become folders of ours, its last part our name. */
static bool place(const struct rule *u, const char *name, char *out, size_t cap)
{
    const char *pattern = u == NULL || u->path == NULL ? "" : u->path;
    char folder[600] = "";
    size_t at = 0;
    const char *slash = strrchr(pattern, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - pattern);

    if (len == 0 && u != NULL && u->collection != NULL && strcmp(u->collection, "default") != 0) {
        at = (size_t)snprintf(folder, sizeof(folder), "%.255s", u->collection);
    }
    for (size_t i = 0; i < len && at + 32 < sizeof(folder); i++) {
        if (pattern[i] == '*') {
            at += (size_t)snprintf(folder + at, sizeof(folder) - at, "%s", "carrel-leaktest");
            while (i + 1 < len && pattern[i + 1] == '*') {
                i++;
            }
        } else {
            folder[at++] = pattern[i] == '?' ? 'x' : pattern[i];
            folder[at] = '\0';
        }
    }
    int n = snprintf(out, cap, "%s%s%s", folder, folder[0] == '\0' ? "" : "/", name);
    return n > 0 && (size_t)n < cap &&
           (u == NULL || u->path == NULL || glob_match(u->path, str_from(out), 0));
}

static void judge(const struct leaktest *t, struct canary *c)
{
    char collection[700] = "default";
    const char *slash = strchr(c->path, '/');

    if (slash != NULL) {
        (void)snprintf(collection, sizeof(collection), "%.*s", (int)(slash - c->path), c->path);
    }
    rules_judge(&t->rules, c->tenant, str_from(c->path), collection, &c->verdict);
}

static enum status escape(const char *path, char *out, size_t cap, struct error *err)
{
    size_t at = 0;

    for (; *path != '\0' && at + 4 < cap; path++) {
        unsigned char b = (unsigned char)*path;
        bool plain = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
                     b == '/' || b == '-' || b == '.' || b == '_';
        at += (size_t)snprintf(out + at, cap - at, plain ? "%c" : "%%%02X", b);
    }
    return *path == '\0' ? STATUS_OK : error_set(err, STATUS_TOO_LARGE, "%s: too long", path);
}

static enum status upload(struct leaktest *t, struct canary *c, struct error *err)
{
    const struct leak_reader *admin = leak_admin(t, c->tenant);
    char query[1600] = "/api/documents?path=";
    char text[600];
    struct buf out;
    long code = 0;
    json_error_t why;
    int n = snprintf(text, sizeof(text),
                     "---\nauthor: %s %s\n---\n\n# A canary\n\nThis file was made by carrel "
                     "leaktest and is removed by it. "
                     "The %s is kept beside the %s.\n",
                     c->asked, c->told, c->asked, c->told);
    struct str body = {text, (size_t)n};

    buf_init(&out, 1 << 20);
    enum status s = escape(c->path, query + strlen(query), sizeof(query) - strlen(query), err);
    if (s == STATUS_OK) {
        s = http_raw(&admin->http, "POST", query, &body, "text/markdown", &code, &out, err);
    }
    json_t *j =
        s == STATUS_OK ? json_loadb(out.ptr == NULL ? "" : out.ptr, out.len, 0, &why) : NULL;
    const json_t *d = json_array_get(json_object_get(j, "documents"), 0);
    if (s == STATUS_OK && (code != 201 || d == NULL)) {
        s = error_set(err, STATUS_INTERNAL, "planting %.80s: %s (%ld)", c->path,
                      json_field(json_object_get(j, "error"), "message"), code);
    }
    if (s == STATUS_OK) {
        (void)snprintf(c->id, sizeof(c->id), "%s", json_field(d, "id"));
    }
    json_decref(j);
    buf_deinit(&out);
    return s;
}

static enum status plant(struct leaktest *t, const char *tenant, const struct rule *u,
                         struct error *err)
{
    if (t->n_canaries == LEAK_CANARIES) {
        t->n_unplanted++;
        return STATUS_OK;
    }
    struct canary *c = &t->canaries[t->n_canaries];
    *c = (struct canary){0};
    (void)snprintf(c->tenant, sizeof(c->tenant), "%s", tenant);
    (void)snprintf(c->name, sizeof(c->name), LEAK_MARK "%s-%zu.md", t->run, t->n_canaries);
    word(c->asked);
    word(c->told);
    char path[sizeof(c->path)];
    if (!place(u, c->name, path, sizeof(path))) {
        char text[160];
        (void)snprintf(text, sizeof(text),
                       "the rule of line %zu was not tried: no .md file fits it", u->line);
        leak_note(t, text);
        return STATUS_OK;
    }
    memcpy(c->path, path, sizeof(path));
    judge(t, c);
    if (c->verdict.share) {
        char text[160];
        (void)snprintf(text, sizeof(text),
                       "the rule of line %zu was not tried: it asks the share who may read",
                       u == NULL ? 0 : u->line);
        leak_note(t, text);
        return STATUS_OK;
    }
    enum status s = upload(t, c, err);
    t->n_canaries += s == STATUS_OK;
    return s;
}

static enum status plant_all(struct leaktest *t, const char *tenant, struct error *err)
{
    enum status s = plant(t, tenant, NULL, err);

    for (size_t i = 0; i < t->rules.n && s == STATUS_OK; i++) {
        const struct rule *u = &t->rules.items[i];
        if (u->has_readers && (u->tenant == NULL || strcmp(u->tenant, tenant) == 0)) {
            s = plant(t, tenant, u, err);
        }
    }
    return s;
}

static enum status wait_ready(struct leaktest *t, struct error *err)
{
    int64_t end = clock_monotonic_ms() + READY_MS;

    for (size_t i = 0; i < t->n_canaries;) {
        const struct canary *c = &t->canaries[i];
        char path[128];
        json_t *d = NULL;
        (void)snprintf(path, sizeof(path), "/api/documents/%s", c->id);
        enum status s = http_json(&leak_admin(t, c->tenant)->http, path, NULL, &d, err);
        bool ready = strcmp(json_field(d, "state"), "ready") == 0;
        bool failed = strcmp(json_field(d, "state"), "failed") == 0;
        json_decref(d);
        if (s != STATUS_OK) {
            return s;
        }
        if (failed || (!ready && clock_monotonic_ms() > end)) {
            return error_set(err, STATUS_DEADLINE, "the canary %.80s is not ready", c->path);
        }
        i += ready;
        if (!ready) {
            pause_ms(100);
        }
    }
    return STATUS_OK;
}

/* ---- taking away ---- */

/* Erases what of this administrator's tenant has our mark in its name; *n counts it. An erasure
 * goes on by itself when it is not waited for any more: that is no failure. */
static enum status erase_marked(struct leaktest *t, const struct leak_reader *admin, size_t *n,
                                struct error *err)
{
    json_t *list = NULL;
    json_t *begun = NULL;
    json_t *ids = json_array();
    enum status s = http_json(&admin->http, "/api/documents", NULL, &list, err);
    const json_t *documents = json_object_get(list, "documents");

    for (size_t i = 0; i < json_array_size(documents); i++) {
        const json_t *d = json_array_get(documents, i);
        const char *path = json_field(d, "path");
        const char *slash = strrchr(path, '/');
        if (strncmp(slash == NULL ? path : slash + 1, LEAK_MARK, strlen(LEAK_MARK)) == 0 &&
            json_array_size(ids) < LEAK_CANARIES) {
            (void)json_array_append_new(ids, json_string(json_field(d, "id")));
        }
    }
    *n = json_array_size(ids);
    if (s == STATUS_OK && *n > 0) {
        json_t *body = json_pack("{s:O}", "documents", ids);
        s = http_json(&admin->http, "/api/erasures", body, &begun, err);
        json_decref(body);
    }
    int64_t end = clock_monotonic_ms() + ERASED_MS;
    for (bool done = *n == 0; s == STATUS_OK && !done;) {
        char path[128];
        json_t *e = NULL;
        (void)snprintf(path, sizeof(path), "/api/erasures/%.64s", json_field(begun, "id"));
        s = http_json(&admin->http, path, NULL, &e, err);
        done = strcmp(json_field(e, "state"), "done") == 0;
        json_decref(e);
        if (s == STATUS_OK && !done && clock_monotonic_ms() > end) {
            char text[200];
            (void)snprintf(text, sizeof(text),
                           "the erasure of what was planted in tenant %s is not finished after %d "
                           "minutes; it goes on by itself",
                           admin->tenant, ERASED_MS / 60000);
            leak_note(t, text);
            done = true;
        }
        if (!done && s == STATUS_OK) {
            pause_ms(200);
        }
    }
    json_decref(list);
    json_decref(begun);
    json_decref(ids);
    return s;
}

/* All of it, also after a failure; the first error counts. */
static enum status take_away(struct leaktest *t, struct error *err)
{
    enum status s = STATUS_OK;
    struct error one = {0};

    for (size_t i = 0; i < t->n_readers; i++) {
        size_t n = 0;
        if (t->readers[i].admin && erase_marked(t, &t->readers[i], &n, &one) != STATUS_OK &&
            s == STATUS_OK) {
            s = one.code;
            *err = one;
        }
    }
    if (leak_sweep_keys(t, &one) != STATUS_OK && s == STATUS_OK) {
        s = one.code;
        *err = one;
    }
    return s;
}

/* ---- one run ---- */

static enum status load_rules(struct leaktest *t, const struct options *o, struct error *err)
{
    struct buf text;
    enum status s;

    if (o->rules == NULL) {
        s = rules_load(o->home, &t->arena, &t->rules, err);
        return s == STATUS_NOT_FOUND ? STATUS_OK : s;
    }
    buf_init(&text, 1 << 20);
    s = file_read(o->rules, &text, err);
    if (s == STATUS_OK) {
        s = rules_parse(buf_view(&text), o->rules, &t->arena, &t->rules, err);
    }
    buf_deinit(&text);
    return s;
}

static enum status prepare(struct leaktest *t, struct error *err)
{
    json_t *list = NULL;
    enum status s = http_json(&t->admin, "/api/tenants", NULL, &list, err);
    const json_t *tenants = json_object_get(list, "tenants");

    if (s == STATUS_OK) {
        s = leak_groups(t, err);
    }
    if (s == STATUS_OK) {
        s = leak_keys(t, tenants, err);
    }
    if (s == STATUS_OK) {
        leak_untried(t, json_array_size(tenants));
    }
    for (size_t i = 0; i < t->n_readers && s == STATUS_OK; i++) {
        const struct leak_reader *admin = &t->readers[i];
        size_t n = 0;
        if (!admin->admin) {
            continue;
        }
        s = erase_marked(t, admin, &n, err);
        if (s == STATUS_OK && n > 0) {
            leak_note(t, "what a run that was broken off had planted was removed");
        }
        if (s == STATUS_OK) {
            s = plant_all(t, admin->tenant, err);
        }
    }
    if (t->n_unplanted > 0) {
        char text[160];
        (void)snprintf(text, sizeof(text),
                       "%zu %s not tried: more than %d canaries are not planted", t->n_unplanted,
                       term_word(t->n_unplanted, "place of rules was", "places of rules were"),
                       LEAK_CANARIES);
        leak_note(t, text);
    }
    json_decref(list);
    return s;
}

static enum status try_canary(struct leaktest *t, struct canary *c, struct error *err)
{
    enum status s = STATUS_OK;
    const struct leak_reader *answered = NULL;

    for (size_t k = 0; k < t->n_readers && s == STATUS_OK; k++) {
        if (!t->readers[k].admin && leak_may_read(&t->readers[k], c)) {
            answered = &t->readers[k];
            s = leak_control(t, c, answered, err);
        }
    }
    for (size_t k = 0; k < t->n_readers && s == STATUS_OK; k++) {
        const struct leak_reader *r = &t->readers[k];
        if (!r->admin && !leak_may_read(r, c)) {
            s = leak_probe(t, c, r, err);
        } else if (!r->admin && r != answered) {
            s = leak_probe_answer(t, c, r, err);
        }
    }
    return s;
}

static enum status try_all(struct leaktest *t, struct error *err)
{
    enum status s = STATUS_OK;

    for (size_t i = 0; i < t->n_canaries && s == STATUS_OK; i++) {
        s = try_canary(t, &t->canaries[i], err);
    }
    return s;
}

/* failed: NULL, or why the run did not get to its end; what was found until then counts all the
 * same. */
static void report(const struct options *o, const struct leaktest *t, const char *failed)
{
    const char *name;
    json_t *row;
    size_t i;
    const json_t *text;

    if (o->json) {
        json_t *all =
            json_pack("{s:b, s:I, s:I, s:I, s:I, s:O, s:O, s:O, s:s*}", "ok",
                      (int)(t->n_leaks == 0 && failed == NULL), "canaries",
                      (json_int_t)t->n_canaries, "probes", (json_int_t)t->n_probes, "leaks",
                      (json_int_t)t->n_leaks, "untried", (json_int_t)t->n_untried, "paths",
                      t->paths, "found", t->leaks, "notes", t->notes, "failed", failed);
        json_print(all);
        json_decref(all);
        return;
    }
    json_object_foreach(t->paths, name, row)
    {
        json_int_t untried = json_integer_value(json_object_get(row, "untried"));
        (void)printf("%-22s %6" JSON_INTEGER_FORMAT " probes %6" JSON_INTEGER_FORMAT " leaks", name,
                     json_integer_value(json_object_get(row, "probes")),
                     json_integer_value(json_object_get(row, "leaks")));
        if (untried > 0) {
            (void)printf(" %6" JSON_INTEGER_FORMAT " not tried", untried);
        }
        (void)printf("\n");
    }
    json_array_foreach(t->leaks, i, text)
    {
        (void)printf("LEAK  %s\n", json_string_value(text));
    }
    json_array_foreach(t->notes, i, text)
    {
        (void)printf("note  %s\n", json_string_value(text));
    }
    (void)printf("%zu %s, %zu %s, %zu %s, %zu not tried\n", t->n_canaries,
                 term_word(t->n_canaries, "canary", "canaries"), t->n_probes,
                 term_word(t->n_probes, "probe", "probes"), t->n_leaks,
                 term_word(t->n_leaks, "leak", "leaks"), t->n_untried);
}

static enum exit_code once(const struct options *o)
{
    struct error err = {0};
    struct error after = {0};
    struct leaktest *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        return command_failed(&err);
    }
    arena_init(&t->arena, ARENA_MAX);
    t->paths = json_object();
    t->leaks = json_array();
    t->notes = json_array();
    word(t->run);
    enum status s = http_open(o, &t->admin, &err);
    if (s == STATUS_OK) {
        s = load_rules(t, o, &err);
    }
    bool begun = s == STATUS_OK;
    if (s == STATUS_OK) {
        s = leak_sweep_keys(t, &err);
    }
    if (s == STATUS_OK) {
        s = prepare(t, &err);
    }
    if (s == STATUS_OK) {
        s = wait_ready(t, &err);
    }
    if (s == STATUS_OK) {
        s = try_all(t, &err);
    }
    if (begun && take_away(t, &after) != STATUS_OK && s == STATUS_OK) {
        s = after.code;
        err = after;
    }
    enum exit_code code = t->n_leaks == 0 ? EXIT_OK : EXIT_FAILED;
    if (begun) {
        report(o, t, s == STATUS_OK ? NULL : err.text);
    }
    if (s != STATUS_OK) {
        enum exit_code failed = command_failed(&err);
        code = code == EXIT_OK ? failed : code;
    }
    json_decref(t->paths);
    json_decref(t->leaks);
    json_decref(t->notes);
    json_decref(t->keys);
    arena_reset(&t->arena);
    explicit_bzero(t, sizeof(*t));
    free(t);
    return code;
}

/* "30m", "6h", "90s"; 0: not that. */
static long seconds_of(const char *text)
{
    char *end = NULL;

    errno = 0;
    long n = strtol(text, &end, 10);
    long unit = strcmp(end, "s") == 0   ? 1
                : strcmp(end, "m") == 0 ? 60
                : strcmp(end, "h") == 0 ? 3600
                                        : 0;
    return errno != 0 || n < 1 || n > 100000 ? 0 : n * unit;
}

static enum exit_code run(const struct options *o)
{
    long every = o->every == NULL ? 0 : seconds_of(o->every);

    if (o->every != NULL && every == 0) {
        (void)fprintf(stderr, "carrel leaktest: --every must be such as 30m or 6h\n");
        return EXIT_USAGE;
    }
    enum exit_code code = once(o);
    while (every > 0) {
        (void)fflush(stdout);
        pause_ms(every * 1000);
        code = once(o);
    }
    return code;
}

const struct command cmd_leaktest = {
    .name = "leaktest",
    .args = "",
    .summary = "Plant documents that only some may read, and try every door as the others.",
    .help =
        "Plants files by the rules in access.yaml in every tenant, asks for them with keys of "
        "every\n"
        "group, of the other tenants and with none over every path of the API, for answers also as "
        "other\n"
        "people, and erases all of it again. What could not be tried is said. Exit code 1: "
        "something "
        "leaks.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_EVERY | OPT_RULES,
    .run = run,
};
