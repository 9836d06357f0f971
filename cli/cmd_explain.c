/* carrel explain: why these passages, word by word; with --document, why not that one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/filters.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/place.h"
#include "cli/term.h"

#define BAR 20

static void bar(double share)
{
    int n = (int)(share * BAR + .5);

    for (int i = 0; i < BAR; i++) {
        (void)printf("%s", i < n ? "\u2588" : "\u00b7");
    }
}

static void print_uses(const json_t *uses)
{
    for (size_t i = 0; i < json_array_size(uses); i++) {
        const json_t *u = json_array_get(uses, i);
        (void)printf("   ");
        bar(json_field_number(u, "share"));
        (void)printf(" %3.0f%%  ", 100 * json_field_number(u, "share"));
        term_put_clean(stdout, json_string_value(json_object_get(u, "word")));
        (void)printf("  %" JSON_INTEGER_FORMAT " in the text%s%s%s\n",
                     json_integer_value(json_object_get(u, "in_text")),
                     json_is_true(json_object_get(u, "in_title")) ? ", in the title" : "",
                     json_is_true(json_object_get(u, "function_word")) ? " (says little)" : "",
                     json_is_true(json_object_get(u, "earlier")) ? " (asked before)" : "");
    }
}

static void print_rank(const json_t *why, const char *list, const char *rank, const char *score)
{
    if (json_object_get(why, rank) == NULL) {
        (void)printf("   %s: not among its candidates\n", list);
    } else {
        (void)printf("   %s: place %" JSON_INTEGER_FORMAT ", score %.3f\n", list,
                     json_integer_value(json_object_get(why, rank)), json_field_number(why, score));
    }
}

static void print_passages(const json_t *list)
{
    bool colour = term_colour(stdout);

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *p = json_array_get(list, i);
        const json_t *why = json_object_get(p, "why");
        const json_t *folded = json_object_get(why, "folded");
        (void)printf("%s%zu. ", colour ? "\x1b[1m" : "", i + 1);
        place_print(stdout, p);
        (void)printf("%s  (%.3f)\n", colour ? "\x1b[0m" : "", json_field_number(p, "score"));
        print_rank(why, "words", "text_rank", "text_score");
        print_rank(why, "vectors", "dense_rank", "dense_score");
        if (json_object_get(why, "rerank_score") != NULL) {
            (void)printf("   reranker: score %.3f, before it at place %" JSON_INTEGER_FORMAT "\n",
                         json_field_number(why, "rerank_score"),
                         json_integer_value(json_object_get(why, "rank_before")));
        }
        print_uses(json_object_get(why, "uses"));
        for (size_t k = 0; k < json_array_size(folded); k++) {
            (void)printf("   the same also in ");
            term_put_clean(stdout, json_string_value(json_array_get(folded, k)));
            (void)printf("\n");
        }
        (void)printf("\n");
    }
}

/* What ordered them, and what did not. */
static void print_judges(const json_t *answer)
{
    const char *reranker = json_string_value(json_object_get(answer, "reranker"));
    const json_t *notes = json_object_get(answer, "notes");
    if (reranker != NULL) {
        (void)printf("The first %" JSON_INTEGER_FORMAT " were put in order by the reranker %s.\n",
                     json_integer_value(json_object_get(answer, "reranked")), reranker);
    }
    for (size_t i = 0; i < json_array_size(notes); i++) {
        const char *text = json_string_value(json_array_get(notes, i));
        (void)printf("Note: ");
        term_put_clean(stdout, text == NULL ? "" : text);
        (void)printf("\n");
    }
}

static void print_why_not(const json_t *w)
{
    const json_t *best = json_object_get(w, "best");
    const json_t *filtered = json_object_get(w, "filtered");

    if (!json_is_true(json_object_get(w, "known"))) {
        (void)printf("That document is not there, or not for this key.\n");
        return;
    }
    if (json_object_get(w, "shown_rank") != NULL) {
        (void)printf("That document is at place %" JSON_INTEGER_FORMAT ".\n",
                     json_integer_value(json_object_get(w, "shown_rank")));
        return;
    }
    (void)printf("That document is not among the passages:\n");
    for (size_t i = 0; i < json_array_size(filtered); i++) {
        (void)printf("   it does not meet the condition \"%s\"\n",
                     json_string_value(json_array_get(filtered, i)));
    }
    if (best != NULL) {
        print_rank(best, "its best passage, words", "text_rank", "text_score");
    }
    if (best != NULL && json_object_get(best, "text_rank") == NULL) {
        (void)printf("   its words are worth %.2f; %.2f would make it one of %" JSON_INTEGER_FORMAT
                     " candidates\n",
                     json_field_number(best, "words"), json_field_number(best, "words_needed"),
                     json_integer_value(json_object_get(w, "candidates")));
    }
    print_uses(json_object_get(best, "uses"));
}

/* An id, or a path of the document list. NULL: there is none. */
static char *find_document(const struct http *h, const char *named, json_t **list,
                           struct error *err)
{
    if (strchr(named, '/') == NULL && strchr(named, '.') == NULL) {
        return strdup(named);
    }
    if (http_json(h, "/api/documents", NULL, list, err) != STATUS_OK) {
        return NULL;
    }
    const json_t *all = json_object_get(*list, "documents");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *d = json_array_get(all, i);
        const char *path = json_string_value(json_object_get(d, "path"));
        if (path != NULL && strcmp(path, named) == 0) {
            return strdup(json_string_value(json_object_get(d, "id")));
        }
    }
    (void)error_set(err, STATUS_NOT_FOUND, "%s: there is no such document (`carrel docs`)", named);
    return NULL;
}

static enum status ask(const struct options *o, const struct http *h, json_t *body, json_t **answer,
                       struct error *err)
{
    json_t *list = NULL;

    if (o->document != NULL) {
        char *id = find_document(h, o->document, &list, err);
        json_decref(list);
        if (id == NULL) {
            return err->code == STATUS_OK ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                          : err->code;
        }
        (void)json_object_set_new(body, "document", json_string(id));
        free(id);
    }
    return http_json(h, "/api/explain", body, answer, err);
}

static enum exit_code run(const struct options *o)
{
    struct http h;
    struct error err = {0};
    json_t *answer = NULL;
    json_t *body = filters_question(o, "explain");

    if (body == NULL) {
        return EXIT_USAGE;
    }
    enum status s = http_open(o, &h, &err);
    if (s == STATUS_OK) {
        s = ask(o, &h, body, &answer, &err);
    }
    explicit_bzero(h.key, sizeof(h.key));
    json_decref(body);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    const json_t *list = json_object_get(answer, "passages");
    const json_t *why_not = json_object_get(answer, "why_not");
    bool none = json_array_size(list) == 0;
    if (o->json) {
        json_print(answer);
    } else {
        print_passages(list);
        print_judges(answer);
        if (why_not != NULL) {
            print_why_not(why_not);
        } else if (none) {
            (void)printf("nothing found\n");
        }
    }
    json_decref(answer);
    return none ? EXIT_NOTHING : EXIT_OK;
}

const struct command cmd_explain = {
    .name = "explain",
    .args = "\"words or question\"",
    .summary = "Say why these passages fit best, and with --document why another does not.",
    .help = "Exit code 4: nothing was found.",
    .options = OPT_HOME | OPT_JSON | OPT_TOP_K | OPT_KEY_FILE | OPT_FILTER | OPT_DOCUMENT,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
