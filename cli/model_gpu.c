/* What commands say of the GPU: whether there is one, and what it could take of a model. */
#include <jansson.h>
#include <stdio.h>

#include "cli/cmd_model.h"
#include "cli/term.h"
#include "model/cuda/cuda.h"
#include "model/plan.h"

static enum status fit_of(const struct model *m, enum tensor_type kv_type, uint32_t users,
                          uint32_t context, struct cuda_fit *out, struct error *err)
{
    struct backend_options o = {.tokens = PLAN_PASS_TOKENS,
                                .sequences = users,
                                .context = context,
                                .kv_type = kv_type,
                                .choices = users > 64 ? 64 : users,
                                .gpu_layers = BACKEND_LAYERS_FIT};
    return cuda_fit(m, &o, out, err);
}

void model_print_gpu(const char *label, const struct model *m, enum tensor_type kv_type,
                     uint32_t users, uint32_t context)
{
    struct cuda_fit f;
    struct error err = {0};
    char a[16];
    char b[16];
    if (fit_of(m, kv_type, users, context, &f, &err) != STATUS_OK) {
        (void)printf("%snone: %s\n", label, err.text);
        return;
    }
    term_bytes(f.weights + f.keys_values + f.pass, a);
    term_bytes(f.gpu.memory_free, b);
    (void)printf("%s%s (CUDA %d.%d): %u of %u layers, %s of %s free\n", label, f.gpu.name,
                 f.gpu.major, f.gpu.minor, f.layers, model_info(m)->layers, a, b);
}

json_t *model_gpu_json(const struct model *m, enum tensor_type kv_type, uint32_t users,
                       uint32_t context)
{
    struct cuda_fit f;
    struct error err = {0};
    if (fit_of(m, kv_type, users, context, &f, &err) != STATUS_OK) {
        return json_pack("{s:s}", "problem", err.text);
    }
    return json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I}", "name", f.gpu.name, "capability",
                     f.gpu.major * 10 + f.gpu.minor, "memory_free", (json_int_t)f.gpu.memory_free,
                     "layers", (json_int_t)f.layers, "weights", (json_int_t)f.weights,
                     "keys_values", (json_int_t)f.keys_values, "pass", (json_int_t)f.pass);
}
