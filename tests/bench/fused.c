/* Fused search through the services, as people's questions take it: retrieve asks vectorstore for
 * words and vectors and embed for the question's vector.
 *
 *   bench-fused [chunks] [dimensions] [folder]
 *
 * Fits the built-in encoder to made-up texts (zipf.h, 600 topics), puts documents of 20 chunks with
 * its vectors straight through store.h, and at 10,000, 100,000 and so on starts vectorstore, embed
 * and retrieve on them and calls retrieve.Search, one question at a time. A line tells: chunks put
 * a second (encoding included), milliseconds until the sockets are there and until the first answer
 * with nothing of the store in the page cache, then p50 and p99 of the 100 questions after that one
 * (cold), and of 300 of each kind (warm): four words among the 50 most frequent; four beyond rank
 * 2,000; two of the first 200 and three of a topic; in brackets the services' processor time a
 * question, which neighbours change little. Then resident memory of the three, and how long
 * vectorstore takes to stop. Binaries: ../bin beside this one, or CARREL_BIN. */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rpc/caller.h"
#include "base/rpc/rpc.h"
#include "embed/encode.h"
#include "retrieve/retrieve_rpc.h"
#include "tests/bench/zipf.h"
#include "vectorstore/dot.h"
#include "vectorstore/store.h"

#define DOCUMENT 20U /* chunks */
#define WORDS 60U    /* of a chunk */
#define FITTED 10000U
#define QUESTIONS 300U
#define COLD 100U
#define TEXT_CAP (WORDS * (ZIPF_WORD + 2))
#define START_MS 20000
#define VECTOR_MAX 1024 /* dimensions */

enum kind { FREQUENT, RARE, MIXED };

static const struct {
    const char *binary;
    enum peer peer;
} services[] = {{"carrel-vectorstore", PEER_VECTORSTORE},
                {"carrel-embed", PEER_EMBED},
                {"carrel-retrieve", PEER_RETRIEVE}};
#define SERVICES (sizeof services / sizeof services[0])

struct bench {
    char home[256], tenant[300], bin[4096];
    uint32_t dimensions;
    uint64_t rng, chunks, documents;
    struct store *s;
    _Atomic bool stop;
    struct lsa_model *model;
    struct encode_scratch *scratch;
    char encoder[LSA_ENCODER_CAP];
    struct identity all[PEER_COUNT];
    pid_t pids[SERVICES];
    uv_loop_t loop;
    struct rpc_client *client;
    uint64_t dense; /* passages that the vectors found too */
    unsigned notes;
};

static void must(enum status s, const struct error *err)
{
    if (s != STATUS_OK) {
        (void)fprintf(stderr, "bench-fused: %s: %s\n", status_name(s), err->text);
        exit(1);
    }
}

static void need(bool yes, const char *what)
{
    if (!yes) {
        perror(what);
        exit(1);
    }
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the collection ---- */

static void fit(struct bench *b)
{
    struct error err;
    struct lsa_fit *f = NULL;
    struct lsa_info info;
    uint8_t *blob = NULL;
    size_t len = 0;
    const struct lsa_fit_options o = {
        .dimensions = b->dimensions, .min_document_frequency = 3, .seed = 1};
    must(encode_scratch_new(&b->scratch, &err), &err);
    must(lsa_fit_new(&o, &f, &err), &err);
    for (uint32_t i = 0; i < FITTED; i++) {
        char text[TEXT_CAP];
        size_t n = zipf_text(&b->rng, zipf_random(&b->rng, ZIPF_TOPICS), WORDS, text);
        const struct encode_text t = {.text = {text, n}, .title = STR("")};
        must(encode_into_fit(b->scratch, f, &t, &err), &err);
    }
    must(lsa_fit_solve(f, NULL, NULL, &blob, &len, &err), &err);
    lsa_fit_free(f);
    lsa_encoder_of(blob, len, b->encoder);
    must(store_put_encoder(b->s, b->encoder, b->dimensions, FITTED,
                           (struct str){(const char *)blob, len}, &err),
         &err);
    must(lsa_open(blob, len, &b->model, &err), &err);
    lsa_describe(b->model, &info);
    (void)fprintf(stderr, "fitted %u dimensions, %u words\n", info.dimensions, info.terms);
}

static void encode(struct bench *b, const char *text, size_t len, uint16_t *out)
{
    struct error err;
    float v[VECTOR_MAX];
    size_t words = 0;
    const struct encode_text t = {.text = {text, len}, .title = STR("")};
    must(encode_one(b->scratch, b->model, &t, false, v, &words, &err), &err);
    for (uint32_t i = 0; i < b->dimensions; i++) {
        out[i] = half_from_float(v[i]);
    }
}

static void put_chunks(struct bench *b, struct put *p, char (*text)[TEXT_CAP], const size_t *lens,
                       const char *whole, size_t len)
{
    static uint16_t vectors[DOCUMENT][VECTOR_MAX];
    struct error err;
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    Vs__Chunk chunks[DOCUMENT];
    Vs__Chunk *list[DOCUMENT];
    uint32_t at = 0;
    m.has_original = m.has_text = true;
    m.original = m.text = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)whole, .len = len};
    for (uint32_t i = 0; i < DOCUMENT; i++) {
        vs__chunk__init(&chunks[i]);
        list[i] = &chunks[i];
        encode(b, text[i], lens[i], vectors[i]);
        chunks[i].ordinal = i;
        chunks[i].start = at;
        chunks[i].end = at += (uint32_t)lens[i];
        chunks[i].text = (ProtobufCBinaryData){.data = (uint8_t *)text[i], .len = lens[i]};
        chunks[i].has_vector = true;
        chunks[i].vector =
            (ProtobufCBinaryData){.data = (uint8_t *)vectors[i], .len = b->dimensions * 2U};
    }
    m.chunks = list;
    m.n_chunks = DOCUMENT;
    must(store_put_add(p, &m, &err), &err);
}

static void put_document(struct bench *b)
{
    static char text[DOCUMENT][TEXT_CAP];
    static char whole[DOCUMENT * TEXT_CAP];
    static char watch[] = "watch", collection[] = "default", format[] = "txt", language[] = "en",
                pipeline[] = "bench-1";
    struct error err;
    struct put *p = NULL;
    Vs__Location l = VS__LOCATION__INIT;
    Vs__PutRequest__Begin begin = VS__PUT_REQUEST__BEGIN__INIT;
    Vs__PutReply reply = VS__PUT_REPLY__INIT;
    uint8_t hash[SHA256_BYTES];
    char name[32];
    size_t len = 0;
    size_t lens[DOCUMENT];
    uint32_t topic = zipf_random(&b->rng, ZIPF_TOPICS);
    for (uint32_t i = 0; i < DOCUMENT; i++) {
        lens[i] = zipf_text(&b->rng, topic, WORDS, text[i]);
        memcpy(whole + len, text[i], lens[i]);
        len += lens[i];
    }
    sha256_of(whole, len, hash);
    (void)snprintf(name, sizeof name, "doc%llu", (unsigned long long)b->documents);
    l.document = name;
    l.path = (ProtobufCBinaryData){.data = (uint8_t *)name, .len = strlen(name)};
    l.source = watch;
    l.collection = collection;
    l.sequence = ++b->documents;
    begin.location = &l;
    begin.hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    begin.size = len;
    begin.format = format;
    begin.pipeline = pipeline;
    begin.title = name;
    begin.language = language;
    begin.encoder = b->encoder;
    must(store_put_begin(b->s, &begin, &p, &err), &err);
    put_chunks(b, p, text, lens, whole, len);
    must(store_put_commit(p, &reply, &err), &err);
    store_put_end(p);
    b->chunks += DOCUMENT;
}

static void *seal(void *data)
{
    struct bench *b = data;
    while (!atomic_load(&b->stop)) {
        struct error err;
        bool sealed = false;
        must(store_seal(b->s, &sealed, &err), &err);
        if (!sealed) {
            (void)usleep(20000);
        }
    }
    return NULL;
}

/* Chunks a second. */
static double grow(struct bench *b, uint64_t until)
{
    struct error err;
    pthread_t thread;
    uint64_t before = b->chunks;
    bool more = true;
    bool sealed = true;
    atomic_store(&b->stop, false);
    need(pthread_create(&thread, NULL, seal, b) == 0, "thread");
    double start = now();
    while (b->chunks < until) {
        put_document(b);
        if (b->documents % 64 == 0) {
            must(store_maintain(b->s, clock_wall_ms(), &more, &err), &err);
        }
        if (b->chunks % 100000 == 0) {
            (void)fprintf(stderr, "%llu chunks after %.0f s\n", (unsigned long long)b->chunks,
                          now() - start);
        }
    }
    double seconds = now() - start;
    atomic_store(&b->stop, true);
    (void)pthread_join(thread, NULL);
    while (sealed) {
        must(store_seal(b->s, &sealed, &err), &err);
    }
    for (more = true; more;) {
        must(store_maintain(b->s, clock_wall_ms(), &more, &err), &err);
    }
    Vs__PublishRequest m = VS__PUBLISH_REQUEST__INIT;
    Vs__PublishReply r = VS__PUBLISH_REPLY__INIT;
    m.encoder = b->encoder;
    must(store_publish(b->s, &m, &r, &err), &err);
    return (double)(b->chunks - before) / seconds;
}

/* ---- services ---- */

static int forget_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    int fd = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fdatasync(fd); /* what is dirty is not dropped */
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        (void)close(fd);
    }
    return 0;
}

static void start_one(struct bench *b, size_t i)
{
    uint8_t record[IDENTITY_RECORD_BYTES];
    int ends[2];
    char path[5000];
    identity_encode(&b->all[services[i].peer], record);
    need(pipe(ends) == 0, "pipe");
    (void)snprintf(path, sizeof path, "%s/%s", b->bin, services[i].binary);
    b->pids[i] = fork();
    need(b->pids[i] >= 0, "fork");
    if (b->pids[i] == 0) {
        (void)close(ends[1]);
        if (ends[0] != 3) {
            (void)dup2(ends[0], 3);
            (void)close(ends[0]);
        }
        (void)execl(path, services[i].binary, "--home", b->home, "--boot-fd", "3", (char *)NULL);
        perror(path);
        _exit(127);
    }
    (void)close(ends[0]);
    need(write(ends[1], record, sizeof record) == (ssize_t)sizeof record, "write");
    (void)close(ends[1]);
}

static void start(struct bench *b)
{
    char address[400];
    struct error err;
    int64_t end = clock_monotonic_ms() + START_MS;
    for (size_t i = 0; i < SERVICES; i++) {
        start_one(b, i);
    }
    for (size_t i = 0; i < SERVICES; i++) {
        (void)snprintf(address, sizeof address, "%s/run/%s.sock", b->home,
                       peer_name(services[i].peer));
        while (access(address, F_OK) != 0) {
            need(clock_monotonic_ms() < end, address);
            (void)usleep(1000);
        }
    }
    (void)snprintf(address, sizeof address, "unix:%s/run/%s.sock", b->home,
                   peer_name(PEER_RETRIEVE));
    need(uv_loop_init(&b->loop) == 0, "loop");
    must(rpc_client_new(&b->loop, &b->all[PEER_SERVE], PEER_RETRIEVE, address, NULL, &b->client,
                        &err),
         &err);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

/* Milliseconds that vectorstore took. */
static double stop(struct bench *b)
{
    bool closed = false;
    double took = 0;
    rpc_client_close(b->client, on_closed, &closed);
    while (!closed) {
        (void)uv_run(&b->loop, UV_RUN_ONCE);
    }
    (void)uv_run(&b->loop, UV_RUN_DEFAULT);
    need(uv_loop_close(&b->loop) == 0, "loop");
    for (size_t i = SERVICES; i-- > 0;) {
        int status = 0;
        double at = now();
        need(kill(b->pids[i], SIGTERM) == 0 && waitpid(b->pids[i], &status, 0) == b->pids[i],
             services[i].binary);
        took = (now() - at) * 1e3;
    }
    return took;
}

static double resident(pid_t pid)
{
    char line[256];
    char path[64];
    double kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) {
            kib = strtod(line + 6, NULL);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return kib / 1024;
}

/* Of all services, seconds of processor so far. */
static double busy(const struct bench *b)
{
    double ticks = 0;
    for (size_t i = 0; i < SERVICES; i++) {
        char path[64];
        char line[1024];
        unsigned long user = 0;
        unsigned long kernel = 0;
        (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)b->pids[i]);
        FILE *f = fopen(path, "r");
        const char *rest = NULL;
        if (f != NULL) {
            rest = fgets(line, sizeof line, f) == NULL ? NULL : strrchr(line, ')');
            (void)fclose(f);
        }
        if (rest != NULL && sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                   &user, &kernel) == 2) {
            ticks += (double)(user + kernel);
        }
    }
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

/* ---- questions ---- */

struct answer {
    struct bench *b;
    bool over;
    struct error err;
};

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct answer *a = data;
    const Rt__SearchReply *reply = rt_search_reply(m);
    (void)r;
    for (size_t i = 0; reply != NULL && i < reply->n_passages; i++) {
        a->b->dense += reply->passages[i]->why->has_dense_rank ? 1 : 0;
    }
    if (reply != NULL && reply->n_notes > 0 && a->b->notes++ == 0) {
        (void)fprintf(stderr, "a note: %s\n", reply->notes[0]);
    }
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    struct answer *a = data;
    (void)r;
    a->err = *err;
    a->over = true;
}

static size_t question(struct bench *b, enum kind kind, char *out)
{
    size_t n = 0;
    uint32_t topic = zipf_random(&b->rng, ZIPF_TOPICS);
    for (uint32_t i = 0; i < (kind == MIXED ? 5 : 4); i++) {
        uint32_t rank = 2000 + zipf_random(&b->rng, ZIPF_VOCABULARY - 2000);
        if (kind == FREQUENT || (kind == MIXED && i < 2)) {
            rank = 1 + zipf_random(&b->rng, kind == MIXED ? 200 : 49);
        } else if (kind == MIXED) {
            rank = zipf_topic_rank(&b->rng, topic);
        }
        n += zipf_word(rank, out + n);
        out[n++] = ' ';
    }
    return n;
}

/* Seconds. */
static double ask(struct bench *b, enum kind kind)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_reply, .on_finish = on_finish};
    static const char *const none[] = {NULL};
    char text[256];
    struct arena arena;
    struct answer a = {.b = b};
    Rt__SearchRequest m = RT__SEARCH_REQUEST__INIT;
    const struct caller who = {.tenant = "main",
                               .user = "bench",
                               .groups = none,
                               .admin = true,
                               .expires_wall_ms = clock_wall_ms() + 60000};
    struct rpc_options o = {.tenant = "main", .wait_for_ready = true};
    arena_init(&arena, (size_t)64 * 1024);
    must(caller_sign(&b->all[PEER_SERVE], &who, &arena, &o.caller, &o.caller_len, &a.err), &a.err);
    m.query = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = question(b, kind, text)};
    double at = now();
    need(rpc_client_start(b->client, &rt_search_method, &o, &m.base, &callbacks, &a) != NULL,
         "search");
    while (!a.over) {
        (void)uv_run(&b->loop, UV_RUN_ONCE);
    }
    double took = now() - at;
    must(a.err.code, &a.err);
    arena_reset(&arena);
    return took;
}

static int by_time(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

static void times(struct bench *b, int kind, size_t n)
{
    double took[QUESTIONS];
    double worked = busy(b);
    for (size_t i = 0; i < n; i++) {
        took[i] = ask(b, kind < 0 ? (enum kind)(i % 3) : (enum kind)kind);
    }
    qsort(took, n, sizeof took[0], by_time);
    (void)printf(" %.1f / %.1f (%.1f) |", took[n / 2] * 1e3, took[n * 99 / 100] * 1e3,
                 (busy(b) - worked) / (double)n * 1e3);
    (void)fflush(stdout);
}

static void measure(struct bench *b, double rate)
{
    struct error err;
    store_close(b->s);
    (void)nftw(b->tenant, forget_file, 16, FTW_PHYS);
    double at = now();
    start(b);
    double ready = now() - at;
    at = now();
    (void)ask(b, MIXED);
    (void)printf("| %llu | %.0f | %.0f | %.0f |", (unsigned long long)b->chunks, rate, ready * 1e3,
                 (now() - at) * 1e3);
    times(b, -1, COLD);
    b->dense = 0;
    for (int kind = FREQUENT; kind <= MIXED; kind++) {
        times(b, kind, QUESTIONS);
    }
    double memory[SERVICES];
    for (size_t i = 0; i < SERVICES; i++) {
        memory[i] = resident(b->pids[i]);
    }
    (void)printf(" %.0f + %.0f + %.0f | %.0f |\n", memory[0], memory[1], memory[2], stop(b));
    (void)fflush(stdout);
    (void)fprintf(stderr,
                  "%llu of the passages shown were found by vectors too; %u answers had notes\n",
                  (unsigned long long)b->dense, b->notes);
    must(store_open(b->tenant, &b->s, &err), &err);
}

static void make_home(struct bench *b, const char *folder)
{
    char path[400];
    char *slash = NULL;
    struct error err;
    (void)snprintf(b->home, sizeof b->home, "%s/carrel-fused-XXXXXX", folder);
    need(mkdtemp(b->home) != NULL, b->home);
    (void)snprintf(path, sizeof path, "%s/run", b->home);
    must(file_mkdirs(path, 0700, &err), &err);
    (void)snprintf(b->tenant, sizeof b->tenant, "%s/tenants/main", b->home);
    must(file_mkdirs(b->tenant, 0700, &err), &err);
    if (getenv("CARREL_BIN") != NULL) {
        (void)snprintf(b->bin, sizeof b->bin, "%s", getenv("CARREL_BIN"));
        return;
    }
    ssize_t n = readlink("/proc/self/exe", b->bin, sizeof b->bin - 8);
    need(n > 0, "/proc/self/exe");
    b->bin[n] = '\0';
    slash = strrchr(b->bin, '/');
    need(slash != NULL, b->bin);
    memcpy(slash, "/../bin", sizeof "/../bin");
}

int main(int argc, char **argv)
{
    struct bench b = {.rng = 42};
    struct error err;
    uint64_t most = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    b.dimensions = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 384;
    if (most == 0 || b.dimensions == 0 || b.dimensions > VECTOR_MAX) {
        (void)fprintf(stderr, "usage: bench-fused [chunks] [dimensions] [folder]\n");
        return 2;
    }
    make_home(&b, argc > 3 ? argv[3] : "/tmp");
    identity_make(b.all);
    must(store_open(b.tenant, &b.s, &err), &err);
    fit(&b);
    (void)printf(
        "| chunks | put/s | sockets ms | first answer ms | cold p50/p99 (cpu) ms | frequent | "
        "rare | mixed | RSS MiB vectorstore + embed + retrieve | stop ms |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (uint64_t step = 10000; b.chunks < most; step *= 10) {
        double rate = grow(&b, step < most ? step : most);
        measure(&b, rate);
    }
    store_close(b.s);
    lsa_close(b.model);
    encode_scratch_free(b.scratch);
    return file_remove_tree(b.home, &err) == STATUS_OK ? 0 : 1;
}
