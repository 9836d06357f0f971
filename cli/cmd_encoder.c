/* carrel encoder: the fits that are stored, and which of them is searched with. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/http.h"

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s == NULL ? "" : s;
}

static void print(const json_t *answer)
{
    const json_t *list = json_object_get(answer, "encoders");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        (void)printf("%-10s %s  %" JSON_INTEGER_FORMAT
                     " dimensions, fitted on %" JSON_INTEGER_FORMAT " chunks, %" JSON_INTEGER_FORMAT
                     " vectors\n",
                     text_of(e, "state"), text_of(e, "name"),
                     json_integer_value(json_object_get(e, "dimensions")),
                     json_integer_value(json_object_get(e, "fitted_on")),
                     json_integer_value(json_object_get(e, "vectors")));
    }
    if (list == NULL && json_is_true(json_object_get(answer, "published"))) {
        (void)printf("%s is published\n", text_of(answer, "encoder"));
    } else if (list == NULL) {
        (void)printf("%s is published as soon as %" JSON_INTEGER_FORMAT
                     " chunks that came since have their vectors\n",
                     text_of(answer, "encoder"),
                     json_integer_value(json_object_get(answer, "missing")));
    }
}

static enum exit_code run(const struct options *o)
{
    struct http h;
    struct error err = {0};
    json_t *answer = NULL;
    json_t *body = NULL;
    bool list = strcmp(o->args[0], "list") == 0 && o->n_args == 1;
    bool promote = strcmp(o->args[0], "promote") == 0 && o->n_args == 2;
    bool rollback = strcmp(o->args[0], "rollback") == 0 && o->n_args == 1;

    if (!list && !promote && !rollback) {
        (void)fprintf(stderr, "carrel encoder: not understood; see `carrel encoder --help`\n");
        return EXIT_USAGE;
    }
    if (promote) {
        body = json_pack("{s:s}", "encoder", o->args[1]);
    } else if (rollback) {
        body = json_object();
    }
    enum status s = http_open(o, &h, &err);
    if (s == STATUS_OK) {
        s = http_json(&h, "/api/encoders", body, &answer, &err);
    }
    explicit_bzero(h.key, sizeof(h.key));
    json_decref(body);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    if (o->json) {
        (void)json_dumpf(answer, stdout, JSON_INDENT(2));
        (void)printf("\n");
    } else {
        print(answer);
    }
    bool none = list && json_array_size(json_object_get(answer, "encoders")) == 0;
    json_decref(answer);
    return none ? EXIT_NOTHING : EXIT_OK;
}

const struct command cmd_encoder = {
    .name = "encoder",
    .args = "list|promote NAME|rollback",
    .summary = "List the encoders that are stored, publish one, or go back to the last.",
    .help =
        "Both take effect at once; passages that came since get their vectors first. The encoder "
        "published\nbefore is kept for encoder.keep_days.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
