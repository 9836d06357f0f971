/* What `carrel model` can do: one row each in cmd_model.c, one file or function each. */
#ifndef CARREL_CLI_CMD_MODEL_H
#define CARREL_CLI_CMD_MODEL_H

#include <jansson.h>

#include "cli/command.h"
#include "model/registry.h"

struct model_action {
    const char *name;
    int min_args, max_args; /* the action's name not counted */
    enum exit_code (*run)(const struct options *o);
};

/* --kv; f16 where it is not given. */
enum status model_kv_option(const struct options *o, enum tensor_type *out,
                            struct error *err) MUST_CHECK;
/* args[1] as a file, else as an imported model's name: with its packed weights beside it. */
enum status model_open_named(const struct options *o, struct model **out,
                             struct error *err) MUST_CHECK;
enum exit_code model_import(const struct options *o);
enum exit_code model_list(const struct options *o);
enum exit_code model_verify(const struct options *o);
enum exit_code model_remove(const struct options *o);
enum exit_code model_show(const struct options *o);
enum exit_code model_bench(const struct options *o);
enum exit_code model_quantize(const struct options *o);
enum exit_code model_eval(const struct options *o);
enum exit_code model_plan(const struct options *o);

/* What a GPU of this machine could take of the model for so many users at that context: a line
 * behind the label, or an object; or why there is none. */
void model_print_gpu(const char *label, const struct model *m, enum tensor_type kv_type,
                     uint32_t users, uint32_t context);
json_t *model_gpu_json(const struct model *m, enum tensor_type kv_type, uint32_t users,
                       uint32_t context);

#endif
