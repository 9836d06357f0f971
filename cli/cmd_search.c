/* carrel search: the passages that fit best, with where they stand. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/filters.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/place.h"
#include "cli/term.h"

static void print(const json_t *list)
{
    bool colour = term_colour(stdout);

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *p = json_array_get(list, i);
        const char *heading = json_string_value(json_object_get(p, "heading_path"));
        const char *text = json_string_value(json_object_get(p, "text"));
        (void)printf("%s%zu. ", colour ? "\x1b[1m" : "", i + 1);
        place_print(stdout, p);
        (void)printf("%s  (%.3f)\n", colour ? "\x1b[0m" : "",
                     json_number_value(json_object_get(p, "score")));
        if (heading != NULL && heading[0] != '\0') {
            (void)printf("   ");
            term_put_clean(stdout, heading);
            (void)printf("\n");
        }
        (void)printf("   ");
        term_put_text(stdout, text, "   ");
        (void)printf("\n\n");
    }
}

/* What the reader should know of how the search went: misspelled words, parts that were down. */
static void print_notes(const json_t *notes)
{
    for (size_t i = 0; i < json_array_size(notes); i++) {
        (void)fprintf(stderr, "(");
        term_put_clean(stderr, json_string_value(json_array_get(notes, i)));
        (void)fprintf(stderr, ")\n");
    }
}

static enum exit_code run(const struct options *o)
{
    struct error err = {0};
    json_t *answer = NULL;
    json_t *body = filters_question(o, "search");

    if (body == NULL) {
        return EXIT_USAGE;
    }
    enum status s = http_ask(o, "/api/search", body, &answer, &err);
    json_decref(body);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    const json_t *list = json_object_get(answer, "passages");
    bool none = json_array_size(list) == 0;
    if (o->json) {
        json_print(answer);
    } else if (none) {
        (void)printf("nothing found\n");
    } else {
        print(list);
    }
    if (!o->json) {
        models_print(stderr, answer);
        print_notes(json_object_get(answer, "notes"));
    }
    json_decref(answer);
    return none ? EXIT_NOTHING : EXIT_OK;
}

const struct command cmd_search = {
    .name = "search",
    .args = "\"words or question\"",
    .summary = "Show the passages that fit best.",
    .help = "Exit code 4: nothing was found.",
    .options = OPT_HOME | OPT_JSON | OPT_TOP_K | OPT_KEY_FILE | OPT_FILTER,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
