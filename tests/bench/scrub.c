/* What an erasure makes others wait: `bench-scrub [chunks] [dir]` fills a store, takes a hundredth
 * of its documents out for good, step by step as ingest asks for it, while another thread searches,
 * and prints for every step how long its longest call holds the writer (that is what a put waits)
 * and the longest search meanwhile. The last two lines are the cleaning of the database: emptying
 * the log, as it is done; and writing the file anew, as it was done before and still is with a file
 * of an older version. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/arena.h"
#include "base/hash.h"
#include "tests/bench/zipf.h"
#include "vectorstore/store.h"

#define DOCUMENT 20U
#define WORDS 120U

static const struct asker appliance = {0};

struct bench {
    struct store *s;
    uint64_t rng;
    _Atomic bool stop;
    _Atomic uint64_t longest_ns; /* search since it was last set to 0 */
    _Atomic uint64_t searches;
};

static void must(enum status s, const struct error *err)
{
    if (s != STATUS_OK) {
        (void)fprintf(stderr, "bench-scrub: %s: %s\n", status_name(s), err->text);
        exit(1);
    }
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void put_document(struct bench *b, uint32_t number)
{
    static char text[DOCUMENT][4096];
    static char whole[DOCUMENT * 4096];
    struct error err;
    struct put *p = NULL;
    Vs__Location l = VS__LOCATION__INIT;
    Vs__PutRequest__Begin begin = VS__PUT_REQUEST__BEGIN__INIT;
    Vs__PutReply reply = VS__PUT_REPLY__INIT;
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    Vs__Chunk chunks[DOCUMENT];
    Vs__Chunk *list[DOCUMENT];
    uint8_t hash[SHA256_BYTES];
    char name[32];
    static char watch[] = "watch", collection[] = "default", format[] = "txt", pipeline[] = "b-1",
                language[] = "en", title[] = "title";
    size_t len = 0;
    uint32_t at = 0;
    (void)snprintf(name, sizeof name, "doc%07u", number);
    l.document = name;
    l.path = (ProtobufCBinaryData){.data = (uint8_t *)name, .len = strlen(name)};
    l.source = watch;
    l.collection = collection;
    l.sequence = number + 1U;
    for (uint32_t i = 0; i < DOCUMENT; i++) {
        size_t n = zipf_text(&b->rng, ZIPF_TOPICS, WORDS, text[i]);
        memcpy(whole + len, text[i], n);
        len += n;
        vs__chunk__init(&chunks[i]);
        list[i] = &chunks[i];
        chunks[i].ordinal = i;
        chunks[i].start = at;
        chunks[i].end = at += (uint32_t)n;
        chunks[i].text = (ProtobufCBinaryData){.data = (uint8_t *)text[i], .len = n};
    }
    sha256_of(whole, len, hash);
    begin.location = &l;
    begin.hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    begin.size = len;
    begin.format = format;
    begin.pipeline = pipeline;
    begin.title = title;
    begin.language = language;
    must(store_put_begin(b->s, &begin, &p, &err), &err);
    m.has_original = m.has_text = true;
    m.original = m.text = (ProtobufCBinaryData){.data = (uint8_t *)whole, .len = len};
    m.chunks = list;
    m.n_chunks = DOCUMENT;
    must(store_put_add(p, &m, &err), &err);
    must(store_put_commit(p, &reply, &err), &err);
    store_put_end(p);
}

static void *search(void *data)
{
    struct bench *b = data;
    uint64_t rng = 77;
    while (!atomic_load(&b->stop)) {
        struct arena a;
        struct error err;
        char query[256];
        Vs__SearchTextRequest m = VS__SEARCH_TEXT_REQUEST__INIT;
        Vs__SearchTextReply r = VS__SEARCH_TEXT_REPLY__INIT;
        arena_init(&a, (size_t)64 << 20);
        size_t n = zipf_word(zipf_rank(&rng, ZIPF_VOCABULARY), query);
        query[n++] = ' ';
        n += zipf_word(zipf_rank(&rng, ZIPF_VOCABULARY), query + n);
        m.query = (ProtobufCBinaryData){.data = (uint8_t *)query, .len = n};
        m.limit = 100;
        uint64_t from = now_ns();
        must(store_search_text(b->s, &appliance, &m, &a, &r, &err), &err);
        uint64_t took = now_ns() - from;
        if (took > atomic_load(&b->longest_ns)) {
            atomic_store(&b->longest_ns, took);
        }
        atomic_fetch_add(&b->searches, 1);
        arena_reset(&a);
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return NULL;
}

static void report(struct bench *b, const char *what, uint64_t longest, uint64_t total,
                   uint32_t calls)
{
    (void)printf("%-34s %5u calls, %8.1f ms in all, longest %8.1f ms; longest search %7.1f ms\n",
                 what, calls, (double)total / 1e6, (double)longest / 1e6,
                 (double)atomic_load(&b->longest_ns) / 1e6);
    (void)fflush(stdout);
}

static void erase(struct bench *b, uint32_t documents)
{
    struct error err;
    char names[256][32];
    char *list[256];
    Vs__EraseRequest m = VS__ERASE_REQUEST__INIT;
    Vs__EraseReply r = VS__ERASE_REPLY__INIT;
    m.documents = list;
    m.sequence = 1000000000;
    for (uint32_t i = 0; i < documents && m.n_documents < 256; i += 100) {
        (void)snprintf(names[m.n_documents], sizeof names[0], "doc%07u", i);
        list[m.n_documents] = names[m.n_documents];
        m.n_documents++;
    }
    atomic_store(&b->longest_ns, 0);
    uint64_t from = now_ns();
    must(store_erase(b->s, &m, &r, &err), &err);
    uint64_t took = now_ns() - from;
    report(b, "out of search", took, took, 1);
}

static void scrub(struct bench *b, const char *what, Vs__ScrubRequest__Step step, bool whole)
{
    struct error err;
    uint64_t longest = 0;
    uint64_t total = 0;
    uint32_t calls = 0;
    bool done = false;
    atomic_store(&b->longest_ns, 0);
    while (!done) {
        Vs__ScrubRequest m = VS__SCRUB_REQUEST__INIT;
        Vs__ScrubReply r = VS__SCRUB_REPLY__INIT;
        m.step = step;
        m.has_begin = 1;
        m.begin = calls == 0;
        m.has_whole = 1;
        m.whole = whole && calls == 0;
        uint64_t from = now_ns();
        must(store_scrub(b->s, &m, &r, &err), &err);
        uint64_t took = now_ns() - from;
        longest = took > longest ? took : longest;
        total += took;
        calls++;
        done = r.done;
    }
    report(b, what, longest, total, calls);
}

int main(int argc, char **argv)
{
    struct bench b = {.rng = 42};
    struct error err;
    char dir[512];
    pthread_t searcher;
    uint32_t chunks = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 50000;
    uint32_t documents = chunks / DOCUMENT;
    (void)snprintf(dir, sizeof dir, "%s", argc > 2 ? argv[2] : "/tmp/bench-scrub-XXXXXX");
    if (argc <= 2 && mkdtemp(dir) == NULL) {
        return 1;
    }
    must(store_open(dir, &b.s, &err), &err);
    uint64_t from = now_ns();
    for (uint32_t i = 0; i < documents; i++) {
        put_document(&b, i);
    }
    double seconds = (double)(now_ns() - from) / 1e9;
    bool more = true;
    while (more) {
        must(store_seal(b.s, &more, &err), &err);
    }
    char path[600];
    struct stat st = {0};
    (void)snprintf(path, sizeof path, "%s/store.db", dir);
    (void)stat(path, &st);
    (void)printf("%u chunks put in %.1f s (%.0f/s), store.db %lld MiB\n", documents * DOCUMENT,
                 seconds, (double)documents * DOCUMENT / seconds, (long long)st.st_size >> 20);
    if (pthread_create(&searcher, NULL, search, &b) != 0) {
        return 1;
    }
    erase(&b, documents);
    scrub(&b, "texts, chunks", VS__SCRUB_REQUEST__STEP__CONTENTS, false);
    scrub(&b, "words of the index", VS__SCRUB_REQUEST__STEP__POSTINGS, false);
    scrub(&b, "database: log emptied (now)", VS__SCRUB_REQUEST__STEP__FILE, false);
    scrub(&b, "database: written anew (before)", VS__SCRUB_REQUEST__STEP__FILE, true);
    atomic_store(&b.stop, true);
    (void)pthread_join(searcher, NULL);
    (void)printf("%llu searches; the store is in %s\n",
                 (unsigned long long)atomic_load(&b.searches), dir);
    store_close(b.s);
    return 0;
}
