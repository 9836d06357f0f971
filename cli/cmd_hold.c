/* carrel hold: legal holds, which no erasure passes. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

static void print_one(const json_t *h)
{
    static const char *const kinds[] = {"document", "path", "collection"};

    (void)printf("%s  ", json_string_value(json_object_get(h, "id")));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const char *target = json_string_value(json_object_get(h, kinds[i]));
        if (target != NULL) {
            (void)printf("%s ", kinds[i]);
            term_put_clean(stdout, target);
        }
    }
    (void)printf("  (");
    term_put_clean(stdout, json_string_value(json_object_get(h, "reason")));
    (void)printf(")\n");
}

static json_t *new_hold(const struct options *o)
{
    json_t *body = json_pack("{s:s}", "reason", o->reason);

    if (body != NULL && o->document != NULL) {
        (void)json_object_set_new(body, "document", json_string(o->document));
    }
    if (body != NULL && o->path != NULL) {
        (void)json_object_set_new(body, "path", json_string(o->path));
    }
    if (body != NULL && o->held_collection != NULL) {
        (void)json_object_set_new(body, "collection", json_string(o->held_collection));
    }
    return body;
}

static enum exit_code run(const struct options *o)
{
    struct error err = {0};
    char path[96];
    json_t *answer = NULL;
    json_t *body = NULL;
    bool add = strcmp(o->args[0], "add") == 0;
    bool list = strcmp(o->args[0], "list") == 0 && o->n_args == 1;
    bool remove = strcmp(o->args[0], "remove") == 0 && o->n_args == 2;
    int targets = (o->document != NULL) + (o->path != NULL) + (o->held_collection != NULL);

    if ((!add && !list && !remove) || (add && (targets != 1 || o->reason == NULL))) {
        return command_misread(&cmd_hold, o);
    }
    body = add ? new_hold(o) : NULL;
    (void)snprintf(path, sizeof(path), "/api/holds%s%.64s", remove ? "/" : "",
                   remove ? o->args[1] : "");
    enum status s =
        remove ? http_ask_delete(o, path, &answer, &err) : http_ask(o, path, body, &answer, &err);
    json_decref(body);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    const json_t *holds = json_object_get(answer, "holds");
    if (o->json) {
        json_print(answer);
    } else if (add) {
        print_one(answer);
    }
    for (size_t i = 0; !o->json && i < json_array_size(holds); i++) {
        print_one(json_array_get(holds, i));
    }
    bool none = list && json_array_size(holds) == 0;
    json_decref(answer);
    return none ? EXIT_NOTHING : EXIT_OK;
}

const struct command cmd_hold = {
    .name = "hold",
    .args = "add|list|remove [ID]",
    .summary = "Put documents under a legal hold, list holds, or lift one.",
    .help = "hold add --document ID, --path PATH (a file, or a folder with all below it) or "
            "--collection NAME, with\n--reason TEXT. What is held cannot be erased, stays in "
            "the trash, and its earlier\nversions stay findable as of then.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_PATH | OPT_HOLD,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
