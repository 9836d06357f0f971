/* carrel model: finds the action's row and runs it. */
#include "cli/cmd_model.h"
#include "cli/term.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct model_action actions[] = {
    {"import", 1, 1, model_import}, {"list", 0, 0, model_list}, {"verify", 0, 1, model_verify},
    {"remove", 1, 1, model_remove}, {"show", 1, 1, model_show}, {"plan", 0, 1, model_plan},
    {"bench", 1, 1, model_bench},   {"eval", 2, 2, model_eval}, {"quantize", 3, 3, model_quantize},
};

static enum exit_code run(const struct options *o)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        const struct model_action *a = &actions[i];
        if (strcmp(o->args[0], a->name) == 0) {
            if (o->n_args - 1 < a->min_args || o->n_args - 1 > a->max_args) {
                term_complain("carrel model %s: %s; see `carrel model --help`", a->name,
                              o->n_args - 1 < a->min_args ? "something is missing"
                                                          : "too many words");
                return EXIT_USAGE;
            }
            return a->run(o);
        }
    }
    (void)fprintf(stderr, "carrel model: there is no \"%.40s\"; see `carrel model --help`\n",
                  o->args[0]);
    return EXIT_USAGE;
}

enum status model_kv_option(const struct options *o, enum tensor_type *out, struct error *err)
{
    *out = TENSOR_F16;
    return o->kv == NULL || kv_type_parse(o->kv, out)
               ? STATUS_OK
               : error_set(err, STATUS_INVALID, "--kv %.20s: known are f16, q8_0 and f32", o->kv);
}

enum status model_open_named(const struct options *o, struct model **out, struct error *err)
{
    struct model_record *r = NULL;
    struct error ignored;
    if (access(o->args[1], F_OK) != 0 && (r = calloc(1, sizeof *r)) != NULL &&
        registry_find(o->home, o->args[1], r, &ignored) == STATUS_OK) {
        enum status s = registry_open(o->home, r, out, err);
        free(r);
        return s;
    }
    free(r);
    return model_open(o->args[1], out, err);
}

const struct command cmd_model = {
    .name = "model",
    .args =
        "import FILE | list | verify [NAME] | remove NAME | show FILE | plan FILE | bench FILE | "
        "eval FILE TEXT | "
        "quantize IN OUT TYPE",
    .summary = "Bring in GGUF models that answer, embed or rerank; list, check, plan for them.",
    .help =
        "import copies FILE (of a split model the first part) into the data directory, checks it "
        "for the role\ngiven with --as, and prints the name by which generate.model, encoder.model "
        "and reranker.model in\ncarrel.yaml choose it. verify reads every byte again. remove keeps "
        "a model that a setting names or whose vectors a tenant has, without --force.\nplan "
        "reckons weights, keys and values for --users at "
        "--context tokens, and a pass's workspace against\n--vram (this machine's memory when left "
        "out); --shape plans for 8B, 13B, 34B or 70B without a file.\nbench "
        "measures FILE's speed here; eval how well it foretells the file TEXT (perplexity over "
        "windows\nof 512 tokens, the second half of each); plan, bench and eval take an imported "
        "model's name for FILE\ntoo. quantize writes IN, with F16, BF16 or F32 weights, as OUT in "
        "Q8_0, Q4_0, Q4_K, Q6_K or\nQ4_K_M.",
    .options = OPT_HOME | OPT_JSON | OPT_MODEL | OPT_MODEL_FORCE | OPT_MODEL_PLAN | OPT_MODEL_BENCH,
    .min_args = 1,
    .max_args = 4,
    .run = run,
};
