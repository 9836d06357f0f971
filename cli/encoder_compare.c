/* Two encoders on the same questions: as people search, and by vectors alone. */
#include "cli/encoder_compare.h"

#include <stdio.h>
#include <string.h>

#include "cli/eval_wait.h"
#include "cli/json_field.h"
#include "cli/term.h"

static const char *const modes[] = {"default", "dense"};
static const char *const shown[] = {"as people search", "by vectors alone"};
static const char *const measures[] = {"ndcg_10", "recall_5", "recall_20"};
static const char *const names[] = {"nDCG@10", "Recall@5", "Recall@20"};

static const json_t *all_of(const json_t *run)
{
    return json_object_get(run, "all");
}

/* The newest run above `above`, or NULL. */
static const json_t *run_of(const json_t *answer, const char *encoder, const char *mode,
                            double above)
{
    const json_t *runs = json_object_get(answer, "runs");

    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *r = json_array_get(runs, i);
        if (json_field_number(r, "id") > above && strcmp(json_field(r, "encoder"), encoder) == 0 &&
            strcmp(json_field(r, "mode"), mode) == 0) {
            return r;
        }
    }
    return NULL;
}

/* {"a": measures, "b": measures, "difference": measures} of one mode. */
static enum status difference(const struct http *h, const json_t *a, const json_t *b, json_t **out,
                              struct error *err)
{
    char path[96];
    json_t *answer = NULL;
    enum status s = STATUS_OK;

    if (a == NULL || b == NULL) {
        return error_set(err, STATUS_INTERNAL, "the evaluation's figures were not kept: try again");
    }
    (void)snprintf(path, sizeof path, "/api/eval?a=%.0f&b=%.0f", json_field_number(a, "id"),
                   json_field_number(b, "id"));
    s = http_json(h, path, NULL, &answer, err);
    if (s == STATUS_OK) {
        *out = json_pack("{s:O,s:O,s:O}", "a", all_of(a), "b", all_of(b), "difference",
                         json_object_get(answer, "difference"));
        s = *out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : s;
    }
    json_decref(answer);
    return s;
}

static json_t *request(const char *a, const char *b)
{
    json_t *list = json_array();

    for (int i = 0; i < 2; i++) {
        (void)json_array_append_new(list, json_pack("{s:s,s:s}", "encoder", a, "mode", modes[i]));
        (void)json_array_append_new(list, json_pack("{s:s,s:s}", "encoder", b, "mode", modes[i]));
    }
    return json_pack("{s:o}", "configurations", list);
}

enum status encoder_compare(const struct http *h, const char *a, const char *b, json_t **out,
                            struct error *err)
{
    json_t *answer = NULL;
    json_t *body = request(a, b);
    json_t *both[2] = {NULL, NULL};
    enum status s = body == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                 : http_json(h, "/api/eval?history=1", NULL, &answer, err);
    double before = json_field_number(json_array_get(json_object_get(answer, "runs"), 0), "id");

    json_decref(answer);
    answer = NULL;
    if (s == STATUS_OK) {
        s = http_json(h, "/api/eval", body, &answer, err);
    }
    if (s == STATUS_OK) {
        s = eval_wait(h, &answer, err);
    }
    for (int i = 0; i < 2 && s == STATUS_OK; i++) {
        s = difference(h, run_of(answer, a, modes[i], before), run_of(answer, b, modes[i], before),
                       &both[i], err);
    }
    if (s == STATUS_OK) {
        *out = json_pack("{s:s,s:s,s:O,s:O}", "against", a, "encoder", b, "default", both[0],
                         "dense", both[1]);
        s = *out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : s;
    }
    json_decref(both[0]);
    json_decref(both[1]);
    json_decref(body);
    json_decref(answer);
    return s;
}

static void row(const char *name, const json_t *g, bool sign)
{
    (void)printf("  ");
    term_put_clean(stdout, name);
    (void)printf("%*s", (int)(strlen(name) < 28 ? 28 - strlen(name) : 0), "");
    for (int i = 0; i < 3; i++) {
        const json_t *m = json_object_get(g, measures[i]);
        (void)printf(sign ? "  %+.3f [%+.3f, %+.3f]" : "   %.3f [%.3f, %.3f] ",
                     json_field_number(m, "mean"), json_field_number(m, "low"),
                     json_field_number(m, "high"));
    }
    (void)printf("\n");
}

/* -1: worse, 1: better, 0: the intervals of nDCG@10 and Recall@20 tell neither. */
static int side(const json_t *c, int mode)
{
    const json_t *d = json_object_get(json_object_get(c, modes[mode]), "difference");
    const json_t *n = json_object_get(d, "ndcg_10");
    const json_t *r = json_object_get(d, "recall_20");

    if (json_field_number(n, "high") < 0 || (mode == 0 && json_field_number(r, "high") < 0)) {
        return -1;
    }
    return json_field_number(n, "low") > 0 || (mode == 0 && json_field_number(r, "low") > 0) ? 1
                                                                                             : 0;
}

void encoder_compare_print(const json_t *c)
{
    for (int i = 0; i < 2; i++) {
        const json_t *m = json_object_get(c, modes[i]);
        const json_t *d = json_object_get(m, "difference");
        (void)printf("%s, %.0f questions (95 %% intervals)\n", shown[i],
                     json_field_number(d, "questions"));
        (void)printf("  %-28s", "");
        for (int k = 0; k < 3; k++) {
            (void)printf("  %-23s", names[k]);
        }
        (void)printf("\n");
        row(json_field(c, "against"), json_object_get(m, "a"), false);
        row(json_field(c, "encoder"), json_object_get(m, "b"), false);
        row("difference", d, true);
    }
    int people = side(c, 0);
    int vectors = side(c, 1);
    term_put_clean(stdout, json_field(c, "encoder"));
    (void)printf("%s\n", people < 0    ? " is worse: an interval lies below 0."
                         : people > 0  ? " is better: an interval lies above 0."
                         : vectors < 0 ? " is worse by vectors alone; as people search no "
                                         "difference is shown."
                         : vectors > 0 ? " is better by vectors alone; as people search no "
                                         "difference is shown."
                                       : ": no difference is shown, the intervals hold 0.");
}
