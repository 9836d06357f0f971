/* bench-peer MODULES FILE.gguf [--quick] [--one]
 *
 * Our speed beside llama.cpp's engine on the same file, in one process, turn by turn: medians of
 * the turns' ratios. A decoder: a prompt of 512 tokens and decoding with one thread and two, eight
 * streams; two threads beside a busy neighbour against one. An encoder: texts of 128 and 512
 * tokens, alone and in batches. Figures by the clock, then by processor time, which other programs
 * change less. MODULES: where tests/peer/install put the engine's package. --quick: one
 * turn instead of three; --one: the rows of one thread, which others beside us change least. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "model/kernels.h"
#include "model/model.h"
#include "tests/peer/engine.h"

#define PROMPT 512U
#define STREAMS 8U
#define TURNS_MAX 9
#define READ_FLOATS ((size_t)64 << 20)

struct clocks {
    double wall, cpu;
};

/* A thing to measure on either side: units done, in one go. */
struct side {
    double (*run)(void *data, uint32_t threads);
    void *data;
};

struct bench {
    const char *path;
    uint32_t turns, generate, threads;
    struct model *model;
    struct pool *pool;
    struct workspace *w[3]; /* by threads */
    struct kv_pool *kv;
    struct engine *engine;
    struct engine_run *peer[3];
    float *out;
    uint32_t tokens[4096];
    uint32_t n, batch; /* of texts */
    double work;       /* operations of a token */
    float *floats;
};

struct machine {
    double bytes_per_s, ops_per_s;
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

static void die(const char *what)
{
    (void)fprintf(stderr, "bench-peer: %s\n", what);
    exit(1);
}

static void must(enum status s, const struct error *err)
{
    if (s != STATUS_OK) {
        die(err->text);
    }
}

/* ---- the machine ---- */

struct reading {
    const float *x;
    float sums[POOL_THREADS_MAX * 16];
    uint64_t operations[POOL_THREADS_MAX];
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
    struct reading *r = data;
    (void)worker;
    r->operations[chunk] = kernels_choose()->peak(4000000);
}

/* What the machine reads and multiplies now in a second of a processor: the best of three. */
static struct machine measure_machine(const struct bench *b, uint32_t threads)
{
    static struct reading r;
    struct pool *pool = threads == 1 ? NULL : b->pool;
    struct machine m = {0};
    r.x = b->floats;
    for (int i = 0; i < 3; i++) {
        double start = now().cpu;
        pool_run(pool, 64, read_part, &r);
        m.bytes_per_s = fmax(READ_FLOATS * sizeof *r.x / (now().cpu - start), m.bytes_per_s);
        start = now().cpu;
        pool_run(pool, threads, multiply_part, &r);
        m.ops_per_s = fmax((double)r.operations[0] * threads / (now().cpu - start), m.ops_per_s);
    }
    return m;
}

/* ---- what is measured ---- */

static struct engine_run *peer_of(struct bench *b, uint32_t threads)
{
    if (b->peer[threads] == NULL) {
        bool encoder = model_info(b->model)->encoder;
        uint32_t all = encoder ? b->n * b->batch : PROMPT + STREAMS * (b->generate + 32);
        struct engine_options o = {.context = all,
                                   .batch = encoder ? all : PROMPT,
                                   .sequences = encoder ? b->batch : STREAMS,
                                   .threads = threads,
                                   .vectors = encoder};
        if (!encoder) { /* contexts are cut in equal parts */
            o.context = STREAMS * (PROMPT + 64);
        }
        b->peer[threads] = engine_run_open(b->engine, b->path, &o);
        if (b->peer[threads] == NULL) {
            die("the peer does not load the file");
        }
    }
    return b->peer[threads];
}

static double our_prompt(void *data, uint32_t threads)
{
    struct bench *b = data;
    struct kv_sequence s = {0};
    struct error err;
    struct model_piece piece = {&s, b->tokens, PROMPT, false};
    must(kv_reserve(b->kv, &s, PROMPT, &err), &err);
    must(model_forward(b->model, b->w[threads], b->kv, &piece, 1, b->out, &err), &err);
    kv_release(b->kv, &s);
    return PROMPT;
}

static double peer_prompt(void *data, uint32_t threads)
{
    struct bench *b = data;
    static struct engine_token list[PROMPT];
    for (uint32_t i = 0; i < PROMPT; i++) {
        list[i] = (struct engine_token){b->tokens[i], i, 0, i + 1 == PROMPT};
    }
    engine_forget(peer_of(b, threads));
    if (!engine_pass(peer_of(b, threads), list, PROMPT)) {
        die("the peer fails");
    }
    return PROMPT;
}

static double our_steps(struct bench *b, uint32_t threads, uint32_t streams)
{
    struct kv_sequence s[STREAMS] = {{0}};
    struct model_piece pieces[STREAMS];
    struct error err;
    for (uint32_t i = 0; i < streams; i++) {
        must(kv_reserve(b->kv, &s[i], b->generate, &err), &err);
    }
    for (uint32_t t = 0; t < b->generate; t++) {
        for (uint32_t i = 0; i < streams; i++) {
            pieces[i] = (struct model_piece){&s[i], b->tokens + t + i, 1, false};
        }
        must(model_forward(b->model, b->w[threads], b->kv, pieces, streams, b->out, &err), &err);
    }
    for (uint32_t i = 0; i < streams; i++) {
        kv_release(b->kv, &s[i]);
    }
    return (double)b->generate * streams;
}

static double peer_steps(struct bench *b, uint32_t threads, uint32_t streams)
{
    struct engine_token list[STREAMS];
    engine_forget(peer_of(b, threads));
    for (uint32_t t = 0; t < b->generate; t++) {
        for (uint32_t i = 0; i < streams; i++) {
            list[i] = (struct engine_token){b->tokens[t + i], t, i, true};
        }
        if (!engine_pass(peer_of(b, threads), list, streams)) {
            die("the peer fails");
        }
    }
    return (double)b->generate * streams;
}

static double our_decoding(void *data, uint32_t threads)
{
    return our_steps(data, threads, 1);
}

static double peer_decoding(void *data, uint32_t threads)
{
    return peer_steps(data, threads, 1);
}

static double our_streams(void *data, uint32_t threads)
{
    return our_steps(data, threads, STREAMS);
}

static double peer_streams(void *data, uint32_t threads)
{
    return peer_steps(data, threads, STREAMS);
}

static double our_texts(void *data, uint32_t threads)
{
    struct bench *b = data;
    struct model_tokens texts[64];
    struct error err;
    for (uint32_t i = 0; i < b->batch; i++) {
        texts[i] = (struct model_tokens){b->tokens + i, b->n};
    }
    must(model_embed_many(b->model, b->w[threads], texts, b->batch, b->out, &err), &err);
    return b->batch;
}

static double peer_texts(void *data, uint32_t threads)
{
    struct bench *b = data;
    static struct engine_token list[64 * 512];
    uint32_t n = 0;
    for (uint32_t s = 0; s < b->batch; s++) {
        for (uint32_t i = 0; i < b->n; i++) {
            list[n++] = (struct engine_token){b->tokens[s + i], i, s, true};
        }
    }
    if (!engine_pass(peer_of(b, threads), list, n)) {
        die("the peer fails");
    }
    return b->batch;
}

/* ---- turns ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(const double *values, uint32_t n)
{
    double sorted[TURNS_MAX];
    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    return sorted[n / 2];
}

/* At least a quarter of a second. */
static struct clocks rate(const struct side *s, uint32_t threads)
{
    struct clocks start = now();
    struct clocks end = start;
    double units = 0;
    while (end.wall - start.wall < 0.25) {
        units += s->run(s->data, threads);
        end = now();
    }
    return (struct clocks){units / (end.wall - start.wall), units / (end.cpu - start.cpu)};
}

/* One row; returns ours. */
static struct clocks row(const struct bench *b, const char *what, const struct side *ours,
                         uint32_t threads, const struct side *theirs, uint32_t their_threads,
                         double aim)
{
    double o[2][TURNS_MAX];
    double p[2][TURNS_MAX];
    double r[2][TURNS_MAX];
    (void)ours->run(ours->data, threads);
    (void)theirs->run(theirs->data, their_threads);
    for (uint32_t i = 0; i < b->turns; i++) {
        struct clocks x = rate(ours, threads);
        struct clocks y = rate(theirs, their_threads);
        o[0][i] = x.wall;
        o[1][i] = x.cpu;
        p[0][i] = y.wall;
        p[1][i] = y.cpu;
        r[0][i] = x.wall / y.wall;
        r[1][i] = x.cpu / y.cpu;
    }
    double got = median(r[0], b->turns);
    (void)printf("%-34s %9.1f %9.1f %6.2f %6.2f %-6s %9.1f %9.1f %6.2f", what,
                 median(o[0], b->turns), median(p[0], b->turns), got, aim,
                 got >= aim ? "" : "MISSED", median(o[1], b->turns), median(p[1], b->turns),
                 median(r[1], b->turns));
    return (struct clocks){median(o[0], b->turns), median(o[1], b->turns)};
}

/* Of what the machine did just before and does just after the row. */
static void share(const char *of, double x, double before, double after, double aim)
{
    (void)printf("  %.0f%% of %s %.0f..%.0f (aim %.0f)\n", x / (before + after) * 200, of,
                 fmin(before, after) * 1e-9, fmax(before, after) * 1e-9, aim * 100);
}

static void decoder_rows(struct bench *b)
{
    struct side prompt[] = {{our_prompt, b}, {peer_prompt, b}};
    struct side decoding[] = {{our_decoding, b}, {peer_decoding, b}};
    struct side streams[] = {{our_streams, b}, {peer_streams, b}};
    bool q8 = strstr(b->path, "Q8_0") != NULL;
    double bytes = (double)model_packed_bytes(b->model);
    char what[64];
    for (uint32_t t = 1; t <= b->threads; t++) {
        (void)snprintf(what, sizeof what, "decoding, %u thread%s", t, t > 1 ? "s" : "");
        struct machine before = measure_machine(b, t);
        struct clocks r = row(b, what, &decoding[0], t, &decoding[1], t, 1.15);
        struct machine after = measure_machine(b, t);
        share("GB/s", r.cpu * bytes, before.bytes_per_s, after.bytes_per_s, .8);
        (void)snprintf(what, sizeof what, "prompt of 512, %u thread%s", t, t > 1 ? "s" : "");
        r = row(b, what, &prompt[0], t, &prompt[1], t, q8 ? 2 : 1.3);
        before = measure_machine(b, t);
        share("int8 GOP/s", r.cpu * b->work, before.ops_per_s, after.ops_per_s, .4);
    }
    if (b->threads < 2) {
        return;
    }
    (void)row(b, "eight streams, 2 threads", &streams[0], 2, &streams[1], 2, 1.3);
    (void)printf("\n");
    pid_t neighbour = fork();
    if (neighbour == 0) {
        for (;;) {
            __asm__ volatile("" ::: "memory");
        }
    }
    (void)row(b, "busy neighbour: 2 threads to 1", &decoding[0], 2, &decoding[0], 1, 1);
    (void)printf("\n");
    (void)row(b, "  the same, a prompt", &prompt[0], 2, &prompt[0], 1, 1);
    (void)printf("\n");
    if (neighbour > 0) {
        (void)kill(neighbour, SIGKILL);
        (void)waitpid(neighbour, NULL, 0);
    }
}

static void encoder_rows(struct bench *b)
{
    static const uint32_t lengths[] = {128, 512};
    struct side texts[] = {{our_texts, b}, {peer_texts, b}};
    char what[64];
    for (uint32_t i = 0; i < 2; i++) {
        for (uint32_t t = 1; t <= b->threads; t++) {
            struct clocks alone = {0};
            b->n = lengths[i];
            for (uint32_t k = 0; k < 2; k++) {
                b->batch = k == 0 ? 1 : b->n == 128 ? 16 : 8;
                (void)snprintf(what, sizeof what, "texts of %u, %u at once, %u thr.", b->n,
                               b->batch, t);
                struct clocks r = row(b, what, &texts[0], t, &texts[1], t, 2.5);
                if (k == 0) {
                    alone = r;
                    (void)printf("\n");
                } else {
                    (void)printf("  %.2f times alone (aim 1), by processor time %.2f\n",
                                 r.wall / alone.wall, r.cpu / alone.cpu);
                }
                engine_run_close(b->peer[t]);
                b->peer[t] = NULL;
            }
        }
    }
}

static void open_all(struct bench *b, const char *modules)
{
    struct error err = {0};
    char reason[256];
    char packed[1024];
    static const uint8_t unnamed[32] = {0};
    uint32_t pass = 0;
    double ready = 0;
    (void)snprintf(packed, sizeof packed, "%s.packed", b->path);
    (void)unlink(packed);
    must(pool_new(2, &b->pool, &err), &err);
    for (int i = 0; i < 2; i++) { /* the first time may pack the weights, which a file keeps */
        workspace_free(b->w[2]);
        model_close(b->model);
        struct clocks start = now();
        must(model_open(b->path, &b->model, &err), &err);
        must(model_keep_packed(b->model, packed, b->path, unnamed, &err), &err);
        pass = model_info(b->model)->encoder ? MODEL_BATCH_MAX : PROMPT;
        must(workspace_new_with(b->model, pass, b->pool, &b->w[2], &err), &err);
        ready = now().wall - start.wall;
    }
    (void)unlink(packed); /* what is mapped stays */
    const struct model_info *i = model_info(b->model);
    must(workspace_new_with(b->model, pass, NULL, &b->w[1], &err), &err);
    if (!i->encoder) {
        struct kv_shape shape = model_kv_shape(b->model, TENSOR_F16);
        must(kv_pool_new(&shape, STREAMS * (PROMPT + 64) / KV_PAGE, &b->kv, &err), &err);
    }
    b->out =
        calloc((size_t)64 * (i->vocabulary > i->width ? i->vocabulary : i->width), sizeof *b->out);
    for (uint32_t t = 0; t < sizeof b->tokens / sizeof b->tokens[0]; t++) {
        b->tokens[t] = (1000 + t * 7919) % i->vocabulary;
    }
    double layer = (double)i->width * i->heads * i->head_width * 2 +
                   (double)i->width * i->kv_heads * (i->head_width + i->value_width) +
                   (double)i->width * i->feed_forward * (i->encoder ? 2 : 3);
    b->work = 2 * layer * i->layers;
    b->floats = aligned_alloc((size_t)2 << 20, READ_FLOATS * sizeof *b->floats);
    if (b->floats != NULL) { /* with small pages their look-up would be measured */
        (void)madvise(b->floats, READ_FLOATS * sizeof *b->floats, MADV_HUGEPAGE);
        memset(b->floats, 1, READ_FLOATS * sizeof *b->floats);
    }
    if (b->out == NULL || b->floats == NULL || !engine_open(modules, &b->engine, reason)) {
        die(b->out == NULL || b->floats == NULL ? "out of memory" : reason);
    }
    (void)printf("%s: ready in %.2f s (aim 0.5, warm), weights %.0f MB, kernels %s\n", b->path,
                 ready, (double)model_packed_bytes(b->model) * 1e-6, workspace_kernels(b->w[1]));
}

int main(int argc, char **argv)
{
    static struct bench b = {.turns = 3, .generate = 32, .threads = 2};
    if (argc < 3) {
        (void)fprintf(stderr, "usage: bench-peer MODULES FILE.gguf [--quick] [--one]\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            b.turns = 1;
            b.generate = 16;
        } else if (strcmp(argv[i], "--one") == 0) {
            b.threads = 1;
        }
    }
    b.path = argv[2];
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    open_all(&b, argv[1]);
    (void)printf("%-34s %9s %9s %6s %6s %-6s %9s %9s %6s\n", "", "ours/s", "peer/s", "ratio", "aim",
                 "", "ours/cpu", "peer/cpu", "ratio");
    if (model_info(b.model)->encoder) {
        encoder_rows(&b);
    } else {
        decoder_rows(&b);
    }
    for (uint32_t t = 1; t <= 2; t++) {
        engine_run_close(b.peer[t]);
        workspace_free(b.w[t]);
    }
    kv_pool_free(b.kv);
    model_close(b.model);
    pool_free(b.pool);
    engine_close(b.engine);
    free(b.out);
    free(b.floats);
    return 0;
}
