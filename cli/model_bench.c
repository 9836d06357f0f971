/* carrel model bench: prompts and answers, or texts, a second, beside what the machine can read and
 * multiply. Times are the clock's; where other programs take the processor, the figures by
 * processor time say what was ours. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "cli/cmd_model.h"
#include "cli/json_field.h"
#include "model/backend.h"
#include "model/cuda/cuda.h"
#include "model/kernels.h"
#include "model/plan.h"
#include "model/sampler.h"

#define READ_FLOATS ((size_t)64 << 20) /* 256 MB, more than caches hold */
#define PEAK_ROUNDS 4000000U

struct clocks {
    double wall, processor;
};

static struct clocks now(void)
{
    struct timespec w;
    struct timespec p;
    (void)clock_gettime(CLOCK_MONOTONIC, &w);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &p);
    return (struct clocks){(double)w.tv_sec + (double)w.tv_nsec * 1e-9,
                           (double)p.tv_sec + (double)p.tv_nsec * 1e-9};
}

static struct clocks since(struct clocks start)
{
    struct clocks end = now();
    return (struct clocks){end.wall - start.wall, end.processor - start.processor};
}

struct bench {
    const struct options *o;
    uint32_t pass;
    uint32_t prompt, generate, threads, streams;
    struct model *model;
    struct backend *backend;
    struct pool *pool;
    enum backend_device device;
    struct kv_sequence *sequences;
    enum tensor_type kv_type;
    float *logits;
    uint32_t *tokens;
    struct clocks load, prompted, first, generated;
    double bytes_per_s, ops_per_s; /* of the machine, with as many threads */
};

/* ---- the machine ---- */

struct reading {
    const float *x;
    uint32_t threads;
    float sums[POOL_THREADS_MAX * 16];
};

static void read_part(void *data, uint32_t chunk, uint32_t worker)
{
    struct reading *r = data;
    size_t n = READ_FLOATS / 64;
    r->sums[(size_t)worker * 16] +=
        kernels_choose()->dot_f32(r->x + chunk * n, r->x + chunk * n, n);
}

static void multiply_part(void *data, uint32_t chunk, uint32_t worker)
{
    uint64_t *operations = data;
    (void)worker;
    operations[chunk] = kernels_choose()->peak(PEAK_ROUNDS);
}

static enum status measure_machine(struct bench *b, struct error *err)
{
    if (b->device == BACKEND_CUDA) {
        return cuda_measure(b->backend, &b->bytes_per_s, err);
    }
    struct reading r = {.threads = b->threads};
    uint64_t operations[POOL_THREADS_MAX] = {0};
    float *x = aligned_alloc((size_t)2 << 20, READ_FLOATS * sizeof *x);
    if (x == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "no memory to measure the machine");
    }
    /* with small pages their look-up would be measured */
    (void)madvise(x, READ_FLOATS * sizeof *x, MADV_HUGEPAGE);
    memset(x, 1, READ_FLOATS * sizeof *x);
    r.x = x;
    for (int i = 0; i < 3; i++) {
        struct clocks start = now();
        pool_run(b->pool, 64, read_part, &r);
        double rate = (double)READ_FLOATS * sizeof *x / since(start).wall;
        b->bytes_per_s = rate > b->bytes_per_s ? rate : b->bytes_per_s;
        start = now();
        pool_run(b->pool, b->threads, multiply_part, operations);
        rate = (double)operations[0] * b->threads / since(start).wall;
        b->ops_per_s = rate > b->ops_per_s ? rate : b->ops_per_s;
    }
    free(x);
    return STATUS_OK;
}

/* ---- the model ---- */

static enum status open_all(struct bench *b, struct error *err)
{
    struct clocks start = now();
    uint32_t pass =
        b->prompt * b->streams > MODEL_BATCH_MAX ? MODEL_BATCH_MAX : b->prompt * b->streams;
    pass = pass < 64 ? 64 : pass;
    enum status s = model_kv_option(b->o, &b->kv_type, err);
    if (s == STATUS_OK && b->o->device != NULL && !backend_device_parse(b->o->device, &b->device)) {
        s = error_set(err, STATUS_INVALID, "--device %.20s: known are cpu and cuda", b->o->device);
    }
    s = s == STATUS_OK ? pool_new(b->threads, &b->pool, err) : s;
    s = s == STATUS_OK ? model_open_named(b->o, &b->model, err) : s;
    if (s == STATUS_OK && !model_info(b->model)->encoder) {
        pass = b->prompt > 64 ? b->prompt : 64;
    }
    if (s == STATUS_OK) {
        bool encoder = model_info(b->model)->encoder;
        struct backend_options where = {.tokens = pass,
                                        .sequences = encoder ? 0 : b->streams,
                                        .context = b->prompt + b->generate,
                                        .kv_type = b->kv_type,
                                        .choices = b->device == BACKEND_CUDA ? b->streams : 0,
                                        .pool = b->pool,
                                        .device = b->device,
                                        .gpu_layers = BACKEND_LAYERS_FIT};
        s = backend_open(b->model, &where, &b->backend, err);
    }
    b->load = since(start);
    b->pass = pass;
    if (s != STATUS_OK) {
        return s;
    }
    const struct model_info *i = model_info(b->model);
    b->sequences = calloc(b->streams, sizeof *b->sequences);
    b->logits =
        calloc((size_t)b->streams * (i->encoder ? i->width : i->vocabulary), sizeof *b->logits);
    b->tokens = calloc((size_t)b->prompt + b->streams, sizeof *b->tokens);
    if (b->sequences == NULL || b->logits == NULL || b->tokens == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t t = 0; t < b->prompt + b->streams; t++) {
        b->tokens[t] = (1000 + t * 7919) % i->vocabulary;
    }
    return s;
}

static void close_all(struct bench *b)
{
    bool keys = b->backend != NULL && b->backend->keys != NULL && b->sequences != NULL;
    for (uint32_t i = 0; keys && i < b->streams; i++) {
        kv_release(b->backend->keys, &b->sequences[i]);
    }
    free(b->sequences);
    free(b->logits);
    free(b->tokens);
    backend_close(b->backend);
    model_close(b->model);
    pool_free(b->pool);
}

static enum status run_prompts(struct bench *b, struct error *err)
{
    enum status s = STATUS_OK;
    for (uint32_t i = 0; i < b->streams && s == STATUS_OK; i++) {
        struct model_piece piece = {&b->sequences[i], b->tokens + i, b->prompt, false};
        s = kv_reserve(b->backend->keys, piece.sequence, b->prompt + b->generate, err);
        struct clocks start = now();
        if (s == STATUS_OK) {
            s = backend_forward(b->backend, &piece, 1, b->logits, err);
        }
        struct clocks took = since(start);
        b->first = i == 0 ? took : b->first;
        b->prompted.wall += took.wall;
        b->prompted.processor += took.processor;
    }
    return s;
}

static uint32_t likeliest(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

static enum status run_answers(struct bench *b, struct error *err)
{
    struct model_piece pieces[64];
    uint32_t next[64];
    uint32_t vocabulary = model_info(b->model)->vocabulary;
    enum status s = STATUS_OK;
    for (uint32_t i = 0; i < b->streams; i++) {
        next[i] = b->tokens[i];
        pieces[i] = (struct model_piece){&b->sequences[i], &next[i], 1, false};
    }
    struct clocks start = now();
    for (uint32_t t = 0; t < b->generate && s == STATUS_OK; t++) {
        s = backend_forward(b->backend, pieces, b->streams, b->logits, err);
        for (uint32_t i = 0; i < b->streams && s == STATUS_OK; i++) {
            next[i] = likeliest(b->logits + (size_t)i * vocabulary, vocabulary);
        }
    }
    b->generated = since(start);
    return s;
}

static enum status run_texts(struct bench *b, struct error *err)
{
    struct model_tokens texts[64];
    enum status s = STATUS_OK;
    for (uint32_t i = 0; i < b->streams; i++) {
        texts[i] = (struct model_tokens){b->tokens + i, b->prompt};
    }
    s = backend_embed(b->backend, texts, b->streams, b->logits, err);
    struct clocks start = now();
    for (int i = 0; i < 3 && s == STATUS_OK; i++) {
        s = backend_embed(b->backend, texts, b->streams, b->logits, err);
    }
    b->prompted = since(start);
    return s;
}

/* ---- what came out ---- */

struct memory {
    double used;  /* this process's share, its packed weights' file too */
    double cache; /* of it the model file's mapping: rows of the embedding that were looked up */
};

/* Proportional sizes of all mappings, as the system counts them. */
static struct memory memory_used(void)
{
    struct memory m = {0};
    char line[4096];
    bool of_model = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        char *end = NULL;
        struct str text = str_from(line);
        text.len -= text.len > 0 && text.ptr[text.len - 1] == '\n' ? 1 : 0;
        (void)strtoull(line, &end, 16);
        if (end != line && *end == '-') { /* a mapping begins */
            of_model = str_ends(text, STR(".gguf"));
        } else if (strncmp(line, "Pss:", 4) == 0) {
            double bytes = (double)strtoull(line + 4, NULL, 10) * 1024;
            m.used += bytes;
            m.cache += of_model ? bytes : 0;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return m;
}

/* What carrel model plan says for as many users as there are streams; there are no samplers here.
 */
static double memory_planned(const struct bench *b)
{
    const struct model_info *i = model_info(b->model);
    struct error ignored;
    struct plan p;
    struct plan_request r = {.info = i,
                             .kv_type = b->kv_type,
                             .context = b->prompt + b->generate,
                             .users = b->streams,
                             .pass_tokens = b->pass,
                             .weights = plan_packed_weights(b->model),
                             .vocabulary = plan_vocabulary(b->model)};
    uint64_t absent = sampler_bytes(i->vocabulary) + (i->encoder ? i->vocabulary * 4ULL : 0);
    return plan_make(&r, &p, &ignored) == STATUS_OK ? (double)(p.total - b->streams * absent) : 0;
}

static void report_memory(const struct bench *b, json_t *r)
{
    struct memory m = memory_used();
    double planned = memory_planned(b);
    double file = (double)plan_header(b->model);
    double cache = m.cache > file ? m.cache - file : 0;
    (void)json_object_set_new(r, "memory_bytes", json_real(m.used - cache));
    (void)json_object_set_new(r, "memory_planned_bytes", json_real(planned));
    (void)json_object_set_new(r, "memory_share_of_plan", json_real((m.used - cache) / planned));
    (void)json_object_set_new(r, "cache_bytes", json_real(cache));
}

/* Multiplications and additions of one token, the embedding's rows only looked up. */
static double work_of(const struct model_info *i)
{
    double layer = (double)i->width * i->heads * i->head_width * 2 +
                   (double)i->width * i->kv_heads * (i->head_width + i->value_width) +
                   (double)i->width * i->feed_forward * (i->encoder ? 2 : 3);
    return 2 * layer * i->layers;
}

static json_t *report(const struct bench *b)
{
    const struct model_info *i = model_info(b->model);
    double n = (double)b->prompt * b->streams * (i->encoder ? 3 : 1);
    double rate = n / b->prompted.wall;
    json_t *r = json_pack("{s:s, s:s, s:i, s:i, s:i, s:f, s:f, s:f, s:f}", "model", i->name,
                          "kernels", b->backend->name, "threads", (int)b->threads, "streams",
                          (int)b->streams, "prompt", (int)b->prompt, "load_ms", b->load.wall * 1e3,
                          "machine_bytes_per_s", b->bytes_per_s, "prompt_tokens_per_s", rate,
                          "prompt_tokens_per_cpu_s", n / b->prompted.processor);
    (void)json_object_set_new(r, "weights",
                              json_string(b->device == BACKEND_CUDA       ? "on the GPU"
                                          : model_packed_mapped(b->model) ? "mapped"
                                                                          : "in memory"));
    if (b->ops_per_s > 0) { /* the processor's; a GPU's is measured by tests/gpu/run.sh */
        (void)json_object_set_new(r, "machine_int8_per_s", json_real(b->ops_per_s));
        (void)json_object_set_new(r, "prompt_share_of_peak",
                                  json_real(rate * work_of(i) / b->ops_per_s));
    }
    report_memory(b, r);
    if (r == NULL || i->encoder) {
        double texts = 3.0 * b->streams;
        (void)json_object_set_new(r, "texts_per_s", json_real(texts / b->prompted.wall));
        (void)json_object_set_new(r, "texts_per_cpu_s", json_real(texts / b->prompted.processor));
        return r;
    }
    (void)json_object_set_new(r, "keys_values", json_string(kv_type_name(b->kv_type)));
    (void)json_object_set_new(r, "first_token_ms", json_real(b->first.wall * 1e3));
    if (b->generate > 0) {
        double steps = b->generate / b->generated.wall;
        double tokens = (double)b->generate * b->streams;
        (void)json_object_set_new(r, "generate", json_integer(b->generate));
        (void)json_object_set_new(r, "generate_tokens_per_s", json_real(steps * b->streams));
        (void)json_object_set_new(r, "generate_tokens_per_cpu_s",
                                  json_real(tokens / b->generated.processor));
        (void)json_object_set_new(r, "generate_share_of_bandwidth",
                                  json_real(steps * (double)b->backend->bytes / b->bytes_per_s));
    }
    return r;
}

static void print(const json_t *r)
{
    const char *key = NULL;
    const json_t *v = NULL;
    /* jansson has no walk over a const object */
    union {
        const json_t *from;
        json_t *to;
    } object = {.from = r};
    json_object_foreach(object.to, key, v)
    {
        if (json_is_string(v)) {
            (void)printf("%-28s %s\n", key, json_string_value(v));
        } else {
            (void)printf("%-28s %.6g\n", key, json_number_value(v));
        }
    }
}

enum exit_code model_bench(const struct options *o)
{
    struct error err = {0};
    struct bench b = {.o = o,
                      .prompt = o->prompt > 0 ? (uint32_t)o->prompt : 512,
                      .generate = o->generate >= 0 ? (uint32_t)o->generate : 64,
                      .threads = o->threads > 0 ? (uint32_t)o->threads : 1,
                      .streams = o->streams > 0 ? (uint32_t)o->streams : 1};
    enum status s = open_all(&b, &err);
    s = s == STATUS_OK ? measure_machine(&b, &err) : s;
    if (s == STATUS_OK && model_info(b.model)->encoder) {
        s = run_texts(&b, &err);
    } else if (s == STATUS_OK) {
        s = run_prompts(&b, &err);
        s = s == STATUS_OK ? run_answers(&b, &err) : s;
    }
    if (s == STATUS_OK) {
        json_t *r = report(&b);
        if (o->json) {
            json_print(r);
        } else {
            print(r);
        }
        json_decref(r);
    }
    close_all(&b);
    return s == STATUS_OK ? EXIT_OK : command_failed(&err);
}
