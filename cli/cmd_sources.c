/* carrel sources: where documents are fetched from and how that goes; poll has one looked at now.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

static json_int_t number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static void print_time(const char *what, json_int_t s)
{
    char text[32] = "never";
    struct tm local;
    time_t t = (time_t)s;

    if (s > 0 && localtime_r(&t, &local) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
    }
    (void)printf("%s %s", what, text);
}

static void print_text(const char *before, const char *text)
{
    if (text[0] != '\0') {
        (void)printf("  %s", before);
        term_put_clean(stdout, text);
        (void)printf("\n");
    }
}

static void print_one(const json_t *s)
{
    char bytes[16];
    json_int_t failed = number(s, "failed"), gone = number(s, "gone"), n = number(s, "files");

    term_bytes((uint64_t)(number(s, "bytes") < 0 ? 0 : number(s, "bytes")), bytes);
    (void)printf("%s  %s  %s  ", json_field(s, "name"), json_field(s, "kind"),
                 json_field(s, "state"));
    term_put_clean(stdout, json_field(s, "url"));
    (void)printf("\n  %" PRId64 " %s (%s) in ", (int64_t)n, term_word((uint64_t)n, "file", "files"),
                 bytes);
    term_put_clean(stdout, json_field(s, "folder"));
    if (failed > 0) {
        (void)printf(", %" PRId64 " could not be fetched", (int64_t)failed);
    }
    if (gone > 0) {
        (void)printf(", %" PRId64 " deleted here", (int64_t)gone);
    }
    if (number(s, "passed_over") > 0) {
        (void)printf(", %" PRId64 " passed over", (int64_t)number(s, "passed_over"));
    }
    (void)printf("\n  ");
    print_time("looked at", number(s, "ended"));
    print_time(", next", number(s, "due"));
    (void)printf("\n");
    print_text("failing: ", json_field(s, "error"));
    print_text("a file: ", json_field(s, "file_error"));
}

static enum exit_code run(const struct options *o)
{
    struct error err = {0};
    json_t *answer = NULL;
    json_t *body = NULL;
    bool poll = o->n_args > 0 && strcmp(o->args[0], "poll") == 0;

    if ((int)o->n_args != (poll ? 2 : 0)) {
        (void)fprintf(stderr, "carrel sources: nothing, or poll NAME\n");
        return EXIT_USAGE;
    }
    body = poll ? json_pack("{s:s}", "poll", o->args[1]) : NULL;
    enum status s = http_ask(o, "/api/sources", body, &answer, &err);
    json_decref(body);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    const json_t *sources = json_object_get(answer, "sources");
    bool failing = false;
    if (o->json) {
        json_print(answer);
    } else if (poll) {
        (void)printf("it is looked at now: `carrel sources` tells what comes of it\n");
    } else if (json_array_size(sources) == 0) {
        (void)printf("carrel.yaml names no sources of this tenant\n");
    }
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *one = json_array_get(sources, i);
        failing = failing || json_field(one, "error")[0] != '\0';
        if (!o->json) {
            print_one(one);
        }
    }
    json_decref(answer);
    return failing ? EXIT_FAILED : EXIT_OK;
}

const struct command cmd_sources = {
    .name = "sources",
    .args = "[poll NAME]",
    .summary = "List the places that documents are fetched from, or have one looked at now.",
    .help = "They stand under `sources:` in carrel.yaml: buckets, WebDAV folders and lists on web "
            "servers. What is\nfetched lies in a folder of the watched one and is read like any "
            "other file.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE,
    .min_args = 0,
    .max_args = 2,
    .run = run,
};
