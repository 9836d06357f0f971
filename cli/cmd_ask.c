/* carrel ask: the answer as it is written, then where each citation stands. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/filters.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/place.h"
#include "cli/sse.h"
#include "cli/term.h"

struct ask {
    struct sse sse;
    json_t *citations; /* the last list that came */
    json_t *about;     /* the last "carrel" object */
    char error[256];
    bool any_text;
    char last;
};

static void on_event(void *data, const char *text)
{
    struct ask *a = data;
    json_error_t why;
    json_t *chunk = strcmp(text, "[DONE]") == 0 ? NULL : json_loads(text, 0, &why);
    json_t *list = json_object_get(chunk, "citations");
    json_t *about = json_object_get(chunk, "carrel");
    const char *failed =
        json_string_value(json_object_get(json_object_get(chunk, "error"), "message"));
    const char *delta = json_string_value(json_object_get(
        json_object_get(json_array_get(json_object_get(chunk, "choices"), 0), "delta"), "content"));

    if (delta != NULL && delta[0] != '\0') {
        term_put_text(stdout, delta, "");
        (void)fflush(stdout);
        a->any_text = true;
        a->last = delta[strlen(delta) - 1];
    }
    if (json_is_array(list)) {
        json_decref(a->citations);
        a->citations = json_incref(list);
    }
    if (json_is_object(about)) {
        json_decref(a->about);
        a->about = json_incref(about);
    }
    if (failed != NULL) {
        (void)snprintf(a->error, sizeof(a->error), "%s", failed);
    }
    json_decref(chunk);
}

static bool on_data(void *data, const char *p, size_t n)
{
    struct ask *a = data;

    return sse_feed(&a->sse, p, n, on_event, a);
}

static void print_end(const struct ask *a)
{
    const char *note = json_string_value(json_object_get(a->about, "note"));

    if (a->any_text && a->last != '\n') {
        (void)printf("\n");
    }
    if (json_array_size(a->citations) > 0) {
        (void)printf("\n");
    }
    for (size_t i = 0; i < json_array_size(a->citations); i++) {
        const json_t *c = json_array_get(a->citations, i);
        (void)printf("[%" JSON_INTEGER_FORMAT "] ",
                     json_integer_value(json_object_get(c, "number")));
        place_print(stdout, c);
        (void)printf("\n");
    }
    const char *engine = json_string_value(json_object_get(a->about, "engine"));
    const char *model = json_string_value(json_object_get(a->about, "model"));
    if (engine != NULL && model != NULL && strcmp(engine, "extractive") != 0) {
        (void)printf("\n(written by ");
        term_put_clean(stdout, model);
        (void)printf(strcmp(engine, "local") == 0 ? ", on this machine)\n" : ", elsewhere)\n");
    }
    models_print(stdout, json_object_get(a->about, "search"));
    if (note != NULL && note[0] != '\0') {
        (void)printf("\n(");
        term_put_clean(stdout, note);
        (void)printf(")\n");
    }
}

static enum exit_code print_whole(const struct http *h, const json_t *body)
{
    struct error err = {0};
    json_t *answer = NULL;

    if (http_json(h, "/v1/chat/completions", body, &answer, &err) != STATUS_OK) {
        return command_failed(&err);
    }
    bool refused = json_is_true(json_object_get(json_object_get(answer, "carrel"), "refused"));
    json_print(answer);
    json_decref(answer);
    return refused ? EXIT_NOTHING : EXIT_OK;
}

static enum exit_code print_stream(const struct http *h, const json_t *body)
{
    struct error err = {0};
    struct ask a = {0};
    enum exit_code code = EXIT_OK;

    sse_init(&a.sse);
    enum status s = http_stream(h, "/v1/chat/completions", body, on_data, &a, &err);
    if (s == STATUS_OK && a.error[0] != '\0') {
        s = error_set(&err, STATUS_INTERNAL, "%s", a.error);
    }
    print_end(&a);
    if (s != STATUS_OK) {
        code = command_failed(&err);
    } else if (!a.any_text || json_is_true(json_object_get(a.about, "refused"))) {
        code = EXIT_NOTHING;
    }
    json_decref(a.citations);
    json_decref(a.about);
    sse_deinit(&a.sse);
    return code;
}

static enum exit_code run(const struct options *o)
{
    struct http h;
    struct error err = {0};
    json_t *body = json_pack("{s:s, s:b, s:[{s:s, s:s}]}", "model", "carrel", "stream", !o->json,
                             "messages", "role", "user", "content", o->args[0]);

    json_t *ours = json_object();
    if (body == NULL || !filters_add(o, ours) || json_object_set(body, "carrel", ours) != 0) {
        json_decref(body);
        json_decref(ours);
        (void)fprintf(stderr, "carrel ask: the question is not UTF-8\n");
        return EXIT_USAGE;
    }
    json_decref(ours);
    enum exit_code code = EXIT_OK;
    if (http_open(o, &h, &err) != STATUS_OK) {
        code = command_failed(&err);
    } else {
        code = o->json ? print_whole(&h, body) : print_stream(&h, body);
    }
    explicit_bzero(h.key, sizeof(h.key));
    json_decref(body);
    return code;
}

const struct command cmd_ask = {
    .name = "ask",
    .args = "\"question\"",
    .summary = "Answer from the documents, with citations.",
    .help = "Exit code 4: nothing in the documents answers it.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_FILTER,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
