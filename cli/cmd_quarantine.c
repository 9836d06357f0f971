/* carrel quarantine: what the malware scanner found, and letting something in all the same. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

static void print_one(const json_t *f)
{
    const char *by = json_string_value(json_object_get(f, "released_by"));
    (void)printf("%s  ", json_string_value(json_object_get(f, "id")));
    term_put_clean(stdout, json_string_value(json_object_get(f, "path")));
    (void)printf("  ");
    term_put_clean(stdout, json_string_value(json_object_get(f, "found")));
    (void)printf("  (");
    if (by != NULL) {
        (void)printf("let in by ");
        term_put_clean(stdout, by);
    } else {
        (void)printf(json_is_true(json_object_get(f, "moved")) ? "moved away"
                                                               : "left in its place");
    }
    (void)printf(")\n");
}

static enum exit_code run(const struct options *o)
{
    struct error err = {0};
    char path[120];
    json_t *answer = NULL;
    bool list = strcmp(o->args[0], "list") == 0 && o->n_args == 1;
    bool release = strcmp(o->args[0], "release") == 0 && o->n_args == 2;

    if (!list && !release) {
        return command_misread(&cmd_quarantine, o);
    }
    (void)snprintf(path, sizeof(path),
                   release ? "/api/quarantine/%.64s/release" : "/api/quarantine",
                   release ? o->args[1] : "");
    json_t *body = release ? json_object() : NULL;
    enum status s = http_ask(o, path, body, &answer, &err);
    json_decref(body);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    const json_t *files = json_object_get(answer, "files");
    if (o->json) {
        json_print(answer);
    } else if (release) {
        (void)printf("let in; it is read now\n");
    }
    for (size_t i = 0; !o->json && i < json_array_size(files); i++) {
        print_one(json_array_get(files, i));
    }
    bool none = list && json_array_size(files) == 0;
    json_decref(answer);
    return none ? EXIT_NOTHING : EXIT_OK;
}

const struct command cmd_quarantine = {
    .name = "quarantine",
    .args = "list|release [ID]",
    .summary = "List what the malware scanner found, or let a file in all the same.",
    .help = "Needs ingest.scanner. release ID puts a file that was moved away back to its place "
            "and lets\n"
            "its content in, here and wherever else it stands; who did so is written down.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
