/* carrel encoder: the encoders that are stored, candidates beside the published one, and which of
 * them is searched with. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/term.h"

#define POLL_US 500000

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s == NULL ? "" : s;
}

static long long number_of(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static void print_one(const json_t *e)
{
    const char *state = text_of(e, "state");
    long long missing = number_of(e, "missing");

    (void)printf("%-10s ", state);
    term_put_clean(stdout, text_of(e, "name"));
    (void)printf("  %lld dimensions, ", number_of(e, "dimensions"));
    if (number_of(e, "fitted_on") > 0) {
        (void)printf("fitted on %lld chunks, ", number_of(e, "fitted_on"));
    }
    (void)printf("%lld vectors", number_of(e, "vectors"));
    if (missing > 0 && strcmp(state, "retired") != 0) {
        (void)printf(", %lld to go", missing);
    }
    (void)printf("\n");
}

static void print_list(const json_t *answer)
{
    const json_t *list = json_object_get(answer, "encoders");

    for (size_t i = 0; i < json_array_size(list); i++) {
        print_one(json_array_get(list, i));
    }
    if (text_of(answer, "doing")[0] != '\0') {
        term_put_clean(stdout, text_of(answer, "doing"));
        (void)printf("\n");
    } else if (json_is_true(json_object_get(answer, "making"))) {
        (void)printf("a candidate is about to be made\n");
    }
    if (text_of(answer, "last")[0] != '\0') {
        (void)printf("last candidate: ");
        term_put_clean(stdout, text_of(answer, "last"));
        (void)printf("\n");
    }
}

static void print_json(const json_t *answer)
{
    (void)json_dumpf(answer, stdout, JSON_INDENT(2));
    (void)printf("\n");
}

static enum exit_code list(const struct options *o, const struct http *h, struct error *err)
{
    json_t *answer = NULL;
    enum status s = http_json(h, "/api/encoders", NULL, &answer, err);

    if (s != STATUS_OK) {
        return command_failed(err);
    }
    if (o->json) {
        print_json(answer);
    } else {
        print_list(answer);
    }
    bool none = json_array_size(json_object_get(answer, "encoders")) == 0;
    json_decref(answer);
    return none ? EXIT_NOTHING : EXIT_OK;
}

/* ---- build ---- */

/* The encoder that is being filled beside the published one, or NULL. */
static const json_t *incomplete(const json_t *answer)
{
    const json_t *list = json_object_get(answer, "encoders");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        if (strcmp(text_of(e, "state"), "candidate") == 0 && number_of(e, "missing") > 0) {
            return e;
        }
    }
    return NULL;
}

/* Until no candidate is being made or filled. */
static enum status watch(const struct http *h, json_t **answer, struct error *err)
{
    enum status s = http_json(h, "/api/encoders", NULL, answer, err);

    while (s == STATUS_OK) {
        const json_t *e = incomplete(*answer);
        if (!json_is_true(json_object_get(*answer, "making")) && e == NULL) {
            break;
        }
        uint64_t vectors = e == NULL ? 0 : (uint64_t)number_of(e, "vectors");
        uint64_t missing = e == NULL ? 1 : (uint64_t)number_of(e, "missing");
        term_progress(stderr, vectors, vectors + missing, text_of(*answer, "doing"));
        (void)usleep(POLL_US);
        json_decref(*answer);
        *answer = NULL;
        s = http_json(h, "/api/encoders", NULL, answer, err);
    }
    term_progress_end(stderr);
    return s;
}

static enum exit_code build(const struct options *o, const struct http *h, struct error *err)
{
    json_t *answer = NULL;
    json_t *body = json_object();

    if (o->dims > 0) {
        (void)json_object_set_new(body, "dimensions", json_integer(o->dims));
    }
    if (o->source != NULL) {
        (void)json_object_set_new(body, "encoder", json_string(o->source));
    }
    enum status s = body == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                 : http_json(h, "/api/encoders/build", body, &answer, err);
    json_decref(body);
    if (s == STATUS_OK && o->watch) {
        json_decref(answer);
        answer = NULL;
        s = watch(h, &answer, err);
    }
    if (s != STATUS_OK) {
        return command_failed(err);
    }
    if (o->json) {
        print_json(answer);
    } else if (o->watch) {
        print_list(answer);
    } else {
        (void)printf("a candidate is made in the background: carrel encoder list\n");
    }
    json_decref(answer);
    return EXIT_OK;
}

/* ---- remove, cancel ---- */

static enum exit_code away(const struct options *o, const struct http *h, struct error *err)
{
    char path[256] = "/api/encoders";
    const char *name = o->n_args == 2 ? o->args[1] : NULL;
    json_t *answer = NULL;
    enum status s = STATUS_OK;

    if (name != NULL) {
        bool plain =
            strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
            strlen(name);
        int n = snprintf(path, sizeof path, "/api/encoders/%s", name);
        if (!plain || n < 0 || (size_t)n >= sizeof path) {
            s = error_set(err, STATUS_NOT_FOUND, "there is no such encoder (carrel encoder list)");
        }
    }
    if (s == STATUS_OK) {
        s = http_delete(h, path, &answer, err);
    }
    if (s != STATUS_OK) {
        return command_failed(err);
    }
    if (o->json) {
        print_json(answer);
    } else {
        (void)printf(name != NULL ? "%s is removed\n" : "nothing is made any more%s\n",
                     name != NULL ? name : "");
    }
    json_decref(answer);
    return EXIT_OK;
}

/* ---- promote, rollback ---- */

static enum exit_code promote(const struct options *o, const struct http *h, struct error *err)
{
    json_t *answer = NULL;
    json_t *body = o->n_args == 2 ? json_pack("{s:s}", "encoder", o->args[1]) : json_object();
    enum status s = body == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                 : http_json(h, "/api/encoders", body, &answer, err);

    json_decref(body);
    if (s != STATUS_OK) {
        return command_failed(err);
    }
    if (o->json) {
        print_json(answer);
    } else if (json_is_true(json_object_get(answer, "published"))) {
        (void)printf("%s is published\n", text_of(answer, "encoder"));
    } else {
        (void)printf("%s is published as soon as %lld chunks that came since have their vectors\n",
                     text_of(answer, "encoder"), number_of(answer, "missing"));
    }
    json_decref(answer);
    return EXIT_OK;
}

static enum exit_code run(const struct options *o)
{
    static const struct {
        const char *name;
        int n_args;
        enum exit_code (*run)(const struct options *o, const struct http *h, struct error *err);
    } actions[] = {
        {"list", 1, list},   {"build", 1, build},     {"cancel", 1, away},
        {"remove", 2, away}, {"promote", 2, promote}, {"rollback", 1, promote},
    };
    struct http h;
    struct error err = {0};

    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(o->args[0], actions[i].name) == 0 && o->n_args == actions[i].n_args) {
            enum exit_code code = http_open(o, &h, &err) == STATUS_OK ? actions[i].run(o, &h, &err)
                                                                      : command_failed(&err);
            explicit_bzero(h.key, sizeof(h.key));
            return code;
        }
    }
    (void)fprintf(stderr, "carrel encoder: not understood; see `carrel encoder --help`\n");
    return EXIT_USAGE;
}

const struct command cmd_encoder = {
    .name = "encoder",
    .args = "list|build|cancel|remove NAME|promote NAME|rollback",
    .summary = "Encoders beside the published one: make, promote, go back.",
    .help =
        "build makes a candidate in the background, beside the published one: a fresh fit, or an\n"
        "encoder of embed's own (--model); --watch stays until it is complete, cancel stops a "
        "fit.\n"
        "promote and rollback take effect at once; passages that came since get their vectors "
        "first.\n"
        "The encoder published before is kept for encoder.keep_days.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_WATCH | OPT_ENCODER,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
