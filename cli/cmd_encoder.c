/* carrel encoder: the encoders that are stored, candidates beside the published one, and which of
 * them is searched with. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/encoder_compare.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

#define POLL_US 500000

static long long number_of(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

/* "  worse than X: nDCG@10 -0.021 [-0.034, -0.008], ... on 120 questions" */
static void print_comparison(const json_t *c)
{
    static const char *const keys[] = {"ndcg_10", "recall_5", "recall_20"};
    static const char *const names[] = {"nDCG@10", "Recall@5", "Recall@20"};

    if (c == NULL) {
        return;
    }
    const char *verdict = json_field(c, "verdict");
    (void)printf("  %s ", strcmp(verdict, "same") == 0         ? "no different from"
                          : strcmp(verdict, "unmeasured") == 0 ? "not compared with"
                          : strcmp(verdict, "worse") == 0      ? "worse than"
                                                               : "better than");
    term_put_clean(stdout, json_field(c, "against"));
    for (int i = 0; i < 3; i++) {
        const json_t *m = json_object_get(c, keys[i]);
        if (m != NULL) {
            (void)printf("%s %s %+.3f [%+.3f, %+.3f]", i == 0 ? ":" : ",", names[i],
                         json_number_value(json_object_get(m, "mean")),
                         json_number_value(json_object_get(m, "low")),
                         json_number_value(json_object_get(m, "high")));
        }
    }
    if (number_of(c, "questions") > 0) {
        (void)printf(" on %lld %s", number_of(c, "questions"),
                     term_word((uint64_t)number_of(c, "questions"), "question", "questions"));
    }
    if (json_field(c, "why")[0] != '\0') {
        (void)printf(": ");
        term_put_clean(stdout, json_field(c, "why"));
    }
    (void)printf("\n");
}

static void print_one(const json_t *e)
{
    const char *state = json_field(e, "state");
    long long missing = number_of(e, "missing");

    (void)printf("%-10s ", state);
    term_put_clean(stdout, json_field(e, "name"));
    (void)printf("  %lld %s, ", number_of(e, "dimensions"),
                 term_word((uint64_t)number_of(e, "dimensions"), "dimension", "dimensions"));
    if (number_of(e, "fitted_on") > 0) {
        (void)printf("fitted on %lld %s, ", number_of(e, "fitted_on"),
                     term_word((uint64_t)number_of(e, "fitted_on"), "chunk", "chunks"));
    }
    (void)printf("%lld %s", number_of(e, "vectors"),
                 term_word((uint64_t)number_of(e, "vectors"), "vector", "vectors"));
    if (missing > 0 && strcmp(state, "retired") != 0) {
        (void)printf(", %lld to go", missing);
    }
    (void)printf("\n");
    print_comparison(json_object_get(e, "comparison"));
}

static void print_list(const json_t *answer)
{
    const json_t *list = json_object_get(answer, "encoders");

    for (size_t i = 0; i < json_array_size(list); i++) {
        print_one(json_array_get(list, i));
    }
    if (json_field(answer, "doing")[0] != '\0') {
        term_put_clean(stdout, json_field(answer, "doing"));
        (void)printf("\n");
    } else if (json_is_true(json_object_get(answer, "making"))) {
        (void)printf("a candidate is about to be made\n");
    }
    if (json_field(answer, "last")[0] != '\0') {
        (void)printf("last candidate: ");
        term_put_clean(stdout, json_field(answer, "last"));
        (void)printf("\n");
    }
}

static enum exit_code list(const struct options *o, const struct http *h, struct error *err)
{
    json_t *answer = NULL;
    enum status s = http_json(h, "/api/encoders", NULL, &answer, err);

    if (s != STATUS_OK) {
        return command_failed(err);
    }
    if (o->json) {
        json_print(answer);
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
        if (strcmp(json_field(e, "state"), "candidate") == 0 && number_of(e, "missing") > 0) {
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
        term_progress(stderr, vectors, vectors + missing, json_field(*answer, "doing"));
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
        json_print(answer);
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
        json_print(answer);
    } else {
        (void)printf(name != NULL ? "%s is removed\n" : "nothing is made any more%s\n",
                     name != NULL ? name : "");
    }
    json_decref(answer);
    return EXIT_OK;
}

/* ---- compare ---- */

/* The encoder of that name, or with NULL the published one; NULL: there is none. */
static const json_t *find(const json_t *answer, const char *name)
{
    const json_t *list = json_object_get(answer, "encoders");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        if (strcmp(name == NULL ? json_field(e, "state") : json_field(e, "name"),
                   name == NULL ? "published" : name) == 0) {
            return e;
        }
    }
    return NULL;
}

/* That both are stored and complete. */
static enum status check_pair(const json_t *a, const json_t *b, struct error *err)
{
    const json_t *both[2] = {a, b};

    for (int i = 0; i < 2; i++) {
        if (both[i] == NULL) {
            return error_set(err, STATUS_NOT_FOUND,
                             i == 0 ? "there is nothing to compare it with: no such encoder"
                                    : "there is no such encoder (carrel encoder list)");
        }
        if (number_of(both[i], "missing") > 0) {
            return error_set(err, STATUS_CONFLICT,
                             "%.60s lacks the vectors of %lld %s being made (carrel encoder list)",
                             json_field(both[i], "name"), number_of(both[i], "missing"),
                             term_word((uint64_t)number_of(both[i], "missing"), "chunk: it is",
                                       "chunks: they are"));
        }
    }
    return STATUS_OK;
}

static enum exit_code compare(const struct options *o, const struct http *h, struct error *err)
{
    json_t *answer = NULL;
    json_t *comparison = NULL;
    enum status s = http_json(h, "/api/encoders", NULL, &answer, err);

    if (s == STATUS_OK) {
        const json_t *a = find(answer, o->against);
        const json_t *b = find(answer, o->args[1]);
        s = check_pair(a, b, err);
        if (s == STATUS_OK) {
            s = encoder_compare(h, json_field(a, "name"), json_field(b, "name"), &comparison, err);
        }
    }
    json_decref(answer);
    if (s != STATUS_OK) {
        return command_failed(err);
    }
    if (o->json) {
        json_print(comparison);
    } else {
        encoder_compare_print(comparison);
    }
    json_decref(comparison);
    return EXIT_OK;
}

/* ---- promote, rollback ---- */

/* Before a promotion: the figures, with the questions of people's thumbs, which the appliance's own
 * comparison then takes over. Where they cannot be had it makes its own. */
static enum status compare_first(const struct options *o, const struct http *h, struct error *err)
{
    struct error why;
    json_t *answer = NULL;
    json_t *comparison = NULL;
    enum status s = http_json(h, "/api/encoders", NULL, &answer, err);

    if (s == STATUS_OK && json_is_true(json_object_get(answer, "gate"))) {
        const json_t *a = find(answer, NULL);
        const json_t *b = find(answer, o->args[1]);
        if (a != b && check_pair(a, b, &why) == STATUS_OK &&
            encoder_compare(h, json_field(a, "name"), json_field(b, "name"), &comparison, &why) ==
                STATUS_OK &&
            !o->json) {
            encoder_compare_print(comparison);
        }
    }
    json_decref(comparison);
    json_decref(answer);
    return s;
}

/* Until it is no longer being built; *answer: the encoders then. */
static enum status wait_for(const struct http *h, const char *name, json_t **answer,
                            struct error *err)
{
    enum status s = http_json(h, "/api/encoders", NULL, answer, err);

    while (s == STATUS_OK) {
        const json_t *e = find(*answer, name);
        if (e == NULL || strcmp(json_field(e, "state"), "building") != 0) {
            break;
        }
        term_progress(stderr, 0, 1, json_field(*answer, "doing"));
        (void)usleep(POLL_US);
        json_decref(*answer);
        *answer = NULL;
        s = http_json(h, "/api/encoders", NULL, answer, err);
    }
    term_progress_end(stderr);
    return s;
}

/* What became of a promotion that waited for the comparison. */
static enum exit_code outcome(const struct options *o, const json_t *answer, const char *name)
{
    const json_t *e = find(answer, name);
    bool published = strcmp(json_field(e, "state"), "published") == 0;

    if (o->json) {
        json_print(e == NULL ? answer : e);
    } else if (published) {
        (void)printf("%s is published\n", name);
    } else {
        (void)printf("%s is not published", name);
        (void)printf(e == NULL ? ": it is gone\n" : "; --force publishes it all the same\n");
        print_comparison(json_object_get(e, "comparison"));
    }
    return published ? EXIT_OK : EXIT_FAILED;
}

static enum exit_code promote(const struct options *o, const struct http *h, struct error *err)
{
    json_t *answer = NULL;
    const char *name = o->n_args == 2 ? o->args[1] : NULL;
    json_t *body = name == NULL ? json_object()
                                : json_pack("{s:s,s:b}", "encoder", name, "force", (int)o->force);
    enum status s = name == NULL || o->force ? STATUS_OK : compare_first(o, h, err);

    if (s == STATUS_OK) {
        s = body == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                         : http_json(h, "/api/encoders", body, &answer, err);
    }
    json_decref(body);
    bool comparing = s == STATUS_OK && json_is_true(json_object_get(answer, "comparing"));
    if (comparing) {
        json_decref(answer);
        answer = NULL;
        s = wait_for(h, name, &answer, err);
    }
    if (s != STATUS_OK) {
        return command_failed(err);
    }
    enum exit_code code = EXIT_OK;
    if (comparing) {
        code = outcome(o, answer, name);
    } else if (o->json) {
        json_print(answer);
    } else if (json_is_true(json_object_get(answer, "published"))) {
        (void)printf("%s is published\n", json_field(answer, "encoder"));
    } else {
        (void)printf("%s is published as soon as %lld %s\n", json_field(answer, "encoder"),
                     number_of(answer, "missing"),
                     term_word((uint64_t)number_of(answer, "missing"),
                               "chunk that came since has its vector",
                               "chunks that came since have their vectors"));
    }
    json_decref(answer);
    return code;
}

static enum exit_code run(const struct options *o)
{
    static const struct {
        const char *name;
        int n_args;
        enum exit_code (*run)(const struct options *o, const struct http *h, struct error *err);
    } actions[] = {
        {"list", 1, list},        {"build", 1, build}, {"cancel", 1, away},
        {"compare", 2, compare},  {"remove", 2, away}, {"promote", 2, promote},
        {"rollback", 1, promote},
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
    return command_misread(&cmd_encoder, o);
}

const struct command cmd_encoder = {
    .name = "encoder",
    .args = "list|build|cancel|compare NAME|promote NAME|rollback|remove NAME",
    .summary = "Encoders beside the published one: make, compare, promote, go back.",
    .help =
        "build makes a candidate in the background, beside the published one: a fresh fit, or an\n"
        "encoder of embed's own (--model); --watch stays until it is complete, cancel stops a "
        "fit.\n"
        "compare asks both the tenant's own questions. promote does so first and refuses what is\n"
        "worse, unless --force; then, as with rollback, the change takes effect at once, when "
        "passages\nthat came since have their vectors.\n"
        "The encoder published before is kept for encoder.keep_days.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_WATCH | OPT_ENCODER,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
