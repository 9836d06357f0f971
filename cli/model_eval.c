/* carrel model eval: perplexity, as llama.cpp counts it: windows of 512 tokens one behind the
 * other, each on its own, of which the second half is foretold. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/cmd_model.h"
#include "model/model.h"

#define WINDOW 512U
#define TEXT_MAX ((size_t)64 << 20)

struct eval {
    struct model *model;
    struct pool *pool;
    struct workspace *w;
    struct kv_pool *kv;
    struct buf text;
    struct token_list tokens;
    float *logits;
    double sum; /* of the negative logarithms */
    size_t counted;
};

static double surprise(const float *logits, uint32_t n, uint32_t token)
{
    double most = (double)logits[0];
    double sum = 0;
    for (uint32_t i = 1; i < n; i++) {
        most = (double)logits[i] > most ? (double)logits[i] : most;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - most);
    }
    return log(sum) + most - (double)logits[token];
}

static enum status run_window(struct eval *e, uint32_t *tokens, struct error *err)
{
    const struct tokenizer *t = model_tokenizer(e->model);
    uint32_t vocabulary = model_info(e->model)->vocabulary;
    struct kv_sequence sequence = {0};
    uint32_t own = tokens[0];
    tokens[0] = e->tokens.ids[0] == tokenizer_bos(t) ? tokenizer_bos(t) : own;
    enum status s = kv_reserve(e->kv, &sequence, WINDOW, err);
    struct model_piece first = {&sequence, tokens, WINDOW / 2, false};
    struct model_piece second = {&sequence, tokens + WINDOW / 2, WINDOW / 2, true};
    s = s == STATUS_OK ? model_forward(e->model, e->w, e->kv, &first, 1, e->logits, err) : s;
    s = s == STATUS_OK ? model_forward(e->model, e->w, e->kv, &second, 1, e->logits, err) : s;
    for (uint32_t i = 0; s == STATUS_OK && i + 1 < WINDOW / 2; i++) {
        e->sum +=
            surprise(e->logits + (size_t)i * vocabulary, vocabulary, tokens[WINDOW / 2 + i + 1]);
        e->counted++;
    }
    tokens[0] = own;
    kv_release(e->kv, &sequence);
    return s;
}

static enum status open_all(struct eval *e, const struct options *o, struct error *err)
{
    uint32_t threads = o->threads > 0 ? (uint32_t)o->threads : 1;
    enum tensor_type kv = TENSOR_F16;
    enum status s = model_kv_option(o, &kv, err);
    s = s == STATUS_OK ? file_read(o->args[2], &e->text, err) : s;
    s = s == STATUS_OK ? pool_new(threads, &e->pool, err) : s;
    s = s == STATUS_OK ? model_open_named(o, &e->model, err) : s;
    if (s == STATUS_OK && model_info(e->model)->encoder) {
        s = error_set(err, STATUS_INVALID, "%s foretells no text: it is an encoder", o->args[1]);
    }
    s = s == STATUS_OK ? workspace_new_with(e->model, WINDOW / 2, e->pool, &e->w, err) : s;
    if (s != STATUS_OK) {
        return s;
    }
    struct kv_shape shape = model_kv_shape(e->model, kv);
    s = kv_pool_new(&shape, WINDOW / KV_PAGE, &e->kv, err);
    e->logits = calloc((size_t)WINDOW / 2 * model_info(e->model)->vocabulary, sizeof *e->logits);
    if (s == STATUS_OK && e->logits == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    return s == STATUS_OK ? tokenizer_encode(model_tokenizer(e->model), buf_view(&e->text),
                                             TOKENIZER_AFFIX, &e->tokens, err)
                          : s;
}

static void close_all(struct eval *e)
{
    free(e->logits);
    kv_pool_free(e->kv);
    workspace_free(e->w);
    model_close(e->model);
    pool_free(e->pool);
    buf_deinit(&e->text);
    token_list_deinit(&e->tokens);
}

enum exit_code model_eval(const struct options *o)
{
    struct error err = {0};
    struct eval e = {0};
    buf_init(&e.text, TEXT_MAX);
    token_list_init(&e.tokens, TEXT_MAX);
    enum status s = open_all(&e, o, &err);
    if (s == STATUS_OK && e.tokens.n < WINDOW) {
        s = error_set(&err, STATUS_INVALID, "%s has %zu tokens; %u are needed", o->args[2],
                      e.tokens.n, WINDOW);
    }
    for (size_t at = 0; s == STATUS_OK && at + WINDOW <= e.tokens.n; at += WINDOW) {
        s = run_window(&e, e.tokens.ids + at, &err);
    }
    if (s == STATUS_OK) {
        double perplexity = exp(e.sum / (double)e.counted);
        if (o->json) {
            (void)printf("{\"perplexity\": %.6f, \"tokens\": %zu}\n", perplexity, e.counted);
        } else {
            (void)printf("perplexity %.4f over %zu tokens\n", perplexity, e.counted);
        }
    }
    close_all(&e);
    return s == STATUS_OK ? EXIT_OK : command_failed(&err);
}
