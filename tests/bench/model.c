/* bench-model FILE.gguf logits|embed TOKENS [SLICE]
 *
 * Runs a model over token ids ("1,2,3") and writes the logits of every token, or the text's vector,
 * as raw floats to standard output, for comparison with another engine's. SLICE: tokens a pass (all
 * at once when left out). */
#include <stdio.h>
#include <stdlib.h>

#include "model/model.h"

#define TOKENS_MAX 4096U

static uint32_t read_tokens(const char *z, uint32_t *out)
{
    uint32_t n = 0;
    while (*z != '\0' && n < TOKENS_MAX) {
        char *end = NULL;
        out[n++] = (uint32_t)strtoul(z, &end, 10);
        z = *end == ',' ? end + 1 : end;
    }
    return n;
}

static enum status run_decoder(const struct model *m, struct workspace *w, const uint32_t *tokens,
                               uint32_t n, uint32_t slice, float *out, struct error *err)
{
    struct kv_pool *pool = NULL;
    struct kv_sequence sequence = {0};
    struct kv_shape shape = model_kv_shape(m, TENSOR_F32);
    enum status s = kv_pool_new(&shape, n / KV_PAGE + 2, &pool, err);
    if (s == STATUS_OK) {
        s = kv_reserve(pool, &sequence, n, err);
    }
    for (uint32_t at = 0; at < n && s == STATUS_OK; at += slice) {
        struct model_piece piece = {.sequence = &sequence,
                                    .tokens = tokens + at,
                                    .n = n - at < slice ? n - at : slice,
                                    .every_logit = true};
        s = model_forward(m, w, pool, &piece, 1, out + (size_t)at * model_info(m)->vocabulary, err);
    }
    if (pool != NULL) {
        kv_release(pool, &sequence);
    }
    kv_pool_free(pool);
    return s;
}

int main(int argc, char **argv)
{
    static uint32_t tokens[TOKENS_MAX];
    struct error err = {0};
    struct model *m = NULL;
    struct workspace *w = NULL;
    if (argc < 4) {
        (void)fprintf(stderr, "usage: bench-model FILE.gguf logits|embed TOKENS [SLICE]\n");
        return 2;
    }
    uint32_t n = read_tokens(argv[3], tokens);
    uint32_t slice = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : n;
    bool embed = argv[2][0] == 'e';
    float *out = NULL;
    size_t count = 0;
    enum status s = model_open(argv[1], &m, &err);
    if (s == STATUS_OK) {
        s = workspace_new(m, n, &w, &err);
    }
    if (s == STATUS_OK) {
        count = embed ? model_info(m)->width : (size_t)n * model_info(m)->vocabulary;
        out = calloc(count + 1, sizeof *out);
        s = out == NULL  ? STATUS_NO_MEMORY
            : embed      ? model_embed(m, w, tokens, n, out, &err)
            : slice == 0 ? STATUS_INVALID
                         : run_decoder(m, w, tokens, n, slice, out, &err);
    }
    if (s == STATUS_OK && fwrite(out, sizeof *out, count, stdout) != count) {
        s = STATUS_IO;
    }
    if (s != STATUS_OK) {
        (void)fprintf(stderr, "bench-model: %s\n", err.text[0] == '\0' ? status_text(s) : err.text);
    }
    free(out);
    workspace_free(w);
    model_close(m);
    return s == STATUS_OK ? 0 : 1;
}
