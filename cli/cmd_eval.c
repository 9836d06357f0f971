/* carrel eval: does search find what it should? Runs, history, comparison. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/eval_wait.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

#define COMPARED 4 /* configurations of one comparison */

static const char *const measures[] = {"recall_5", "recall_20", "ndcg_10", "mrr_10"};
static const char *const names[] = {"Recall@5", "Recall@20", "nDCG@10", "MRR@10"};

static void when(const json_t *run)
{
    time_t t = (time_t)json_integer_value(json_object_get(run, "at"));
    struct tm tm;
    char text[32] = "";

    if (localtime_r(&t, &tm) != NULL) {
        (void)strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm);
    }
    (void)fputs(text, stdout);
}

/* One line a group: the measures with their intervals. */
static void group(const char *name, const json_t *g, bool sign)
{
    (void)printf("  ");
    term_put_clean(stdout, name);
    (void)printf("%*s %4.0f", (int)(strlen(name) < 20 ? 20 - strlen(name) : 0), "",
                 json_field_number(g, "questions"));
    for (int i = 0; i < 4; i++) {
        const json_t *m = json_object_get(g, measures[i]);
        (void)printf(sign ? "   %+.3f [%+.3f, %+.3f]" : "    %.3f [%.3f, %.3f]",
                     json_field_number(m, "mean"), json_field_number(m, "low"),
                     json_field_number(m, "high"));
    }
    (void)printf("\n");
}

static void heading(bool sign)
{
    (void)printf("  %-20s %4s", "", "n");
    for (int i = 0; i < 4; i++) {
        (void)printf(sign ? "   %-24s" : "    %-21s", names[i]);
    }
    (void)printf("\n");
}

static void print_run(const json_t *run)
{
    const json_t *list = json_object_get(run, "collections");

    (void)printf("run %.0f, ", json_field_number(run, "id"));
    when(run);
    (void)printf(", encoder ");
    term_put_clean(stdout,
                   json_field(run, "encoder")[0] == '\0' ? "none" : json_field(run, "encoder"));
    (void)printf(", mode %s, %.0f documents (95 %% intervals)\n", json_field(run, "mode"),
                 json_field_number(run, "documents"));
    heading(false);
    group("all", json_object_get(run, "all"), false);
    for (size_t i = 0; json_array_size(list) > 1 && i < json_array_size(list); i++) {
        const json_t *g = json_array_get(list, i);
        group(json_field(g, "collection"), g, false);
    }
}

/* nDCG@10 from the oldest to the newest, one cell a run. */
static void sparkline(const json_t *runs)
{
    static const char *const cells[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

    (void)printf("nDCG@10 from 0 to 1, oldest first: ");
    for (size_t i = json_array_size(runs); i > 0; i--) {
        const json_t *all = json_object_get(json_array_get(runs, i - 1), "all");
        double v = json_field_number(json_object_get(all, "ndcg_10"), "mean");
        int cell = (int)(v * 8);
        (void)fputs(cells[cell > 7 ? 7 : cell < 0 ? 0 : cell], stdout);
    }
    (void)printf("\n");
}

static void print_history(const json_t *runs)
{
    sparkline(runs);
    (void)printf("  %4s  %-16s  %-9s %-9s %-9s %-9s  %-7s  %s\n", "run", "date", names[0], names[1],
                 names[2], names[3], "mode", "encoder");
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i);
        const json_t *all = json_object_get(run, "all");
        (void)printf("  %4.0f  ", json_field_number(run, "id"));
        when(run);
        (void)printf(" ");
        for (int k = 0; k < 4; k++) {
            (void)printf(" %-9.3f", json_field_number(json_object_get(all, measures[k]), "mean"));
        }
        (void)printf("  %-7s  ", json_field(run, "mode"));
        term_put_clean(stdout, json_field(run, "encoder"));
        (void)printf("\n");
    }
}

static void print_difference(const json_t *answer, int a, int b)
{
    (void)printf("run %d minus run %d, question by question (95 %% intervals)\n", b, a);
    heading(true);
    group("difference", json_object_get(answer, "difference"), true);
    const json_t *m = json_object_get(json_object_get(answer, "difference"), "ndcg_10");
    (void)printf("%s\n", json_field_number(m, "low") > 0
                             ? "The second is better: the interval lies above 0."
                         : json_field_number(m, "high") < 0
                             ? "The second is worse: the interval lies below 0."
                             : "No difference is shown: the interval holds 0.");
}

/* "bm25", "text", "dense", "fused", "default", or an encoder's name. */
static json_t *configuration(const char *word)
{
    static const char *const modes[] = {"default", "bm25", "dense", "text", "fused"};

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(word, modes[i]) == 0) {
            return json_pack("{s:s}", "mode", word);
        }
    }
    return json_pack("{s:s}", "encoder", word);
}

static enum status start(const struct http *h, const struct options *o, json_t **answer,
                         struct error *err)
{
    json_t *body = json_object();
    json_t *list = json_array();

    for (int i = 1; i < o->n_args; i++) {
        (void)json_array_append_new(list, configuration(o->args[i]));
    }
    if (json_array_size(list) > 0) {
        (void)json_object_set(body, "configurations", list);
    }
    enum status s = body == NULL || list == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                                 : http_json(h, "/api/eval", body, answer, err);
    json_decref(list);
    json_decref(body);
    return s == STATUS_OK ? eval_wait(h, answer, err) : s;
}

/* The difference of the two newest runs, the older one first. */
static enum status difference(const struct http *h, json_t **answer, int *a, int *b,
                              struct error *err)
{
    char path[96];
    const json_t *runs = json_object_get(*answer, "runs");

    *a = (int)json_field_number(json_array_get(runs, 1), "id");
    *b = (int)json_field_number(json_array_get(runs, 0), "id");
    json_decref(*answer);
    *answer = NULL;
    (void)snprintf(path, sizeof path, "/api/eval?a=%d&b=%d", *a, *b);
    return http_json(h, path, NULL, answer, err);
}

static enum exit_code show(const struct options *o, const json_t *answer, const char *what, int a,
                           int b)
{
    const json_t *runs = json_object_get(answer, "runs");

    if (o->json) {
        json_print(answer);
    } else if (json_array_size(runs) == 0) {
        (void)printf("no run yet: carrel eval run\n");
    } else if (strcmp(what, "history") == 0) {
        print_history(runs);
    } else if (strcmp(what, "compare") == 0) {
        print_run(json_array_get(runs, 1));
        print_run(json_array_get(runs, 0));
        print_difference(answer, a, b);
    } else {
        print_run(json_array_get(runs, 0));
    }
    return json_array_size(runs) == 0 ? EXIT_NOTHING : EXIT_OK;
}

static enum exit_code run(const struct options *o)
{
    const char *what = o->n_args == 0 ? "run" : o->args[0];
    bool comparing = strcmp(what, "compare") == 0;
    struct http h;
    struct error err = {0};
    json_t *answer = NULL;
    int a = 0, b = 0;

    if (strcmp(what, "run") != 0 && strcmp(what, "history") != 0 && !comparing) {
        term_complain("carrel eval: %s is none of run, history, compare", what);
        return EXIT_USAGE;
    }
    if ((comparing && o->n_args != 3) ||
        (!comparing && o->n_args > (strcmp(what, "run") == 0) + 1)) {
        (void)fprintf(stderr,
                      "carrel eval: compare takes two of default, fused, bm25, text, dense or an "
                      "encoder's name, run at most one, history none\n");
        return EXIT_USAGE;
    }
    enum status s = http_open(o, &h, &err);
    if (s == STATUS_OK) {
        s = strcmp(what, "history") == 0
                ? http_json(&h, "/api/eval?history=100", NULL, &answer, &err)
                : start(&h, o, &answer, &err);
    }
    if (s == STATUS_OK && comparing) {
        s = difference(&h, &answer, &a, &b, &err);
    }
    explicit_bzero(h.key, sizeof(h.key));
    enum exit_code code = s == STATUS_OK ? show(o, answer, what, a, b) : command_failed(&err);
    json_decref(answer);
    return code;
}

const struct command cmd_eval = {
    .name = "eval",
    .args = "[run [WHAT] | history | compare WHAT WHAT]",
    .summary = "Measure whether search finds what it should.",
    .help =
        "Asks questions made from your own documents and tells how often the right passage is\n"
        "among the first 5 and 20, with 95 % intervals. WHAT: default, fused (default without\n"
        "the reranker), bm25, text, dense, or the name of an encoder; compare asks both the same\n"
        "questions.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE,
    .min_args = 0,
    .max_args = 3,
    .run = run,
};
