/* A tenant's key: what it hides, what is refused without it, and that nothing else changes. */
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/map.h"
#include "vectorstore/segment_keys.h"
#include "vectorstore/vectors.h"

#define DIMENSIONS 16U
#define DOCUMENTS 43U
#define CHUNKS 200U /* of each: together more than are sealed from */

struct kept {
    char dir[64], key[128], marker[128];
    struct segment_cache *cache;
    struct store *s;
};

static void vector_of(uint32_t seed, float *out)
{
    for (uint32_t i = 0; i < DIMENSIONS; i++) {
        seed = seed * 1664525U + 1013904223U;
        out[i] = (float)(int32_t)(seed >> 8) / (1 << 23) - 1.0F;
    }
}

static enum status open_store(struct kept *k, struct error *err)
{
    return store_open_keyed(k->dir, k->key, k->cache, &k->s, err);
}

static void write_key(const struct kept *k, uint8_t first, size_t len, mode_t mode)
{
    struct error err;
    uint8_t bytes[64] = {first, 7, 7};
    OK(file_write_atomic(k->key, bytes, len, mode, &err));
    assert_int_equal(chmod(k->key, mode), 0);
}

static void fill(struct store *s)
{
    struct error err;
    OK(store_put_encoder(s, "fit-1", DIMENSIONS, 1, (struct str){"x", 1}, &err));
    for (uint32_t i = 0; i < DOCUMENTS; i++) {
        static char texts[CHUNKS][128];
        static float vectors[CHUNKS * DIMENSIONS];
        const char *list[CHUNKS];
        char name[32];
        Vs__PutReply r;
        for (uint32_t j = 0; j < CHUNKS; j++) {
            uint32_t n = i * CHUNKS + j;
            (void)snprintf(texts[j], sizeof texts[j], "zebrafish%u swims beside quokka%u", n % 500,
                           n % 77);
            vector_of(n, vectors + (size_t)j * DIMENSIONS);
            list[j] = texts[j];
        }
        (void)snprintf(name, sizeof name, "d%u", i);
        struct draft d = {.document = name,
                          .sequence = i + 1,
                          .encoder = "fit-1",
                          .texts = list,
                          .n = CHUNKS,
                          .vectors = vectors,
                          .dimensions = DIMENSIONS};
        OK(put_draft(s, &d, &r, &err));
    }
    Vs__PublishRequest p = VS__PUBLISH_REQUEST__INIT;
    Vs__PublishReply pr = VS__PUBLISH_REPLY__INIT;
    char encoder[] = "fit-1";
    p.encoder = encoder;
    OK(store_publish(s, &p, &pr, &err));
    seal_all(s);
    settle(s);
}

/* Everything that both searches answer, as a hash. */
static uint64_t answers(struct store *s)
{
    static const char *const questions[] = {"zebrafish17", "quokka3 zebrafish80", "swims",
                                            "beside quokka76 zebrafish499"};
    struct error err;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 40; i++) {
        struct arena a;
        Vs__SearchTextRequest t = VS__SEARCH_TEXT_REQUEST__INIT;
        Vs__SearchTextReply tr;
        Vs__SearchVectorRequest v = VS__SEARCH_VECTOR_REQUEST__INIT;
        Vs__SearchVectorReply vr;
        char encoder[] = "fit-1";
        float q[DIMENSIONS];
        arena_init(&a, (size_t)16 * 1024 * 1024);
        t.query = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)questions[i % 4],
                                        .len = strlen(questions[i % 4])};
        t.limit = v.limit = 50;
        OK(store_search_text(s, &appliance, &t, &a, &tr, &err));
        vector_of(i * 191, q);
        v.encoder = encoder;
        v.vector = q;
        v.n_vector = DIMENSIONS;
        OK(store_search_vector(s, &appliance, &v, &a, &vr, &err));
        assert_true(tr.n_hits > 0);
        assert_int_equal(vr.n_hits, 50);
        for (size_t h = 0; h < tr.n_hits; h++) {
            sum = sum * 31 + hash64(tr.hits[h]->chunk.data, tr.hits[h]->chunk.len);
            sum = sum * 31 + hash64(&tr.hits[h]->score, sizeof tr.hits[h]->score);
        }
        for (size_t h = 0; h < vr.n_hits; h++) {
            sum = sum * 31 + hash64(vr.hits[h]->chunk.data, vr.hits[h]->chunk.len);
            sum = sum * 31 + hash64(&vr.hits[h]->cosine, sizeof vr.hits[h]->cosine);
        }
        arena_reset(&a);
    }
    return sum;
}

/* How many files of the folder hold these bytes; *files how many there are. */
static size_t holding(const struct kept *k, const char *folder, const void *bytes, size_t len,
                      size_t *files)
{
    struct error err;
    char dir[128];
    size_t n = 0;
    (void)snprintf(dir, sizeof dir, "%s/%s", k->dir, folder);
    DIR *d = opendir(dir);
    assert_non_null(d);
    *files = 0;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        char path[512];
        struct buf b;
        if (e->d_name[0] == '.' || strcmp(e->d_name, "manifest") == 0) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        buf_init(&b, (size_t)64 * 1024 * 1024);
        OK(file_read(path, &b, &err));
        n += memmem(b.ptr, b.len, bytes, len) != NULL ? 1 : 0;
        (*files)++;
        buf_deinit(&b);
    }
    (void)closedir(d);
    return n;
}

/* Words are stored without what they share with the one before: the first of a group is whole. */
static size_t words_seen(const struct kept *k, size_t *files)
{
    return holding(k, "text", "zebrafish", 9, files);
}

static size_t vectors_seen(const struct kept *k, size_t *files)
{
    float v[DIMENSIONS];
    uint16_t row[DIMENSIONS];
    vector_of(4711, v);
    for (uint32_t i = 0; i < DIMENSIONS; i++) {
        row[i] = half_from_float(v[i]);
    }
    uint16_t unit[DIMENSIONS];
    assert_true(vector_normalise((struct str){(const char *)row, sizeof row}, unit, DIMENSIONS));
    return holding(k, "segments", unit, sizeof unit, files);
}

static void setup_kept(struct kept *k)
{
    struct error err;
    temp_dir(k->dir);
    (void)snprintf(k->key, sizeof k->key, "%s/the.key", k->dir);
    (void)snprintf(k->marker, sizeof k->marker, "%s/%s", k->dir, SEGMENT_KEYED);
    OK(segment_cache_new((size_t)1 << 20, &k->cache, &err));
}

static void teardown_kept(struct kept *k)
{
    store_close(k->s);
    segment_cache_free(k->cache);
    drop_dir(k->dir);
}

static void refused(struct kept *k, const char *says)
{
    struct error err;
    assert_int_equal(open_store(k, &err), STATUS_UNAVAILABLE);
    assert_non_null(strstr(err.text, k->key));
    assert_non_null(strstr(err.text, says));
    k->s = NULL;
}

static void reopen(struct kept *k)
{
    struct error err;
    store_close(k->s);
    k->s = NULL;
    OK(open_store(k, &err));
}

static void test_life_of_a_key(void **unused)
{
    (void)unused;
    struct error err;
    struct kept k = {0};
    size_t texts = 0;
    size_t segments = 0;
    setup_kept(&k);
    OK(open_store(&k, &err));
    fill(k.s);
    assert_false(store_keyed(k.s));
    assert_int_equal(store_clear_segments(k.s), 0); /* none that should be otherwise */
    uint64_t before = answers(k.s);
    assert_true(words_seen(&k, &texts) > 0); /* or the looking is wrong */
    assert_true(vectors_seen(&k, &segments) > 0);
    assert_true(texts > 0 && segments > 0);

    /* a key appears: what is there is read until it is written anew */
    reopen(&k);
    write_key(&k, 1, SEGMENT_KEY_BYTES, 0600);
    assert_true(answers(k.s) == before);
    reopen(&k);
    assert_true(store_keyed(k.s));
    assert_true(answers(k.s) == before);
    assert_int_equal(store_clear_segments(k.s), texts + segments);
    seal_all(k.s);
    assert_int_equal(store_clear_segments(k.s), 0);
    assert_true(answers(k.s) == before);
    assert_int_equal(words_seen(&k, &texts), 0);
    assert_int_equal(vectors_seen(&k, &segments), 0);
    assert_true(texts > 0 && segments > 0);
    assert_verified(k.s, DOCUMENTS, DOCUMENTS * CHUNKS);
    reopen(&k);
    assert_true(answers(k.s) == before);

    /* another key, none, or one that cannot be right: refused, and nothing changed by it */
    store_close(k.s);
    write_key(&k, 2, SEGMENT_KEY_BYTES, 0600);
    refused(&k, "is not the key");
    assert_int_equal(unlink(k.key), 0);
    refused(&k, "missing");
    write_key(&k, 1, SEGMENT_KEY_BYTES - 1, 0600);
    refused(&k, "32 bytes");
    write_key(&k, 1, SEGMENT_KEY_BYTES + 1, 0600);
    refused(&k, "32 bytes");
    write_key(&k, 1, SEGMENT_KEY_BYTES, 0640);
    refused(&k, "chmod 600");
    write_key(&k, 1, SEGMENT_KEY_BYTES, 0600);
    OK(open_store(&k, &err));
    assert_true(answers(k.s) == before);

    /* lost for good: with the fingerprint away the segments are made again */
    store_close(k.s);
    assert_int_equal(unlink(k.key), 0);
    assert_int_equal(unlink(k.marker), 0);
    OK(open_store(&k, &err));
    seal_all(k.s);
    settle(k.s);
    assert_false(store_keyed(k.s));
    assert_true(answers(k.s) == before);
    assert_verified(k.s, DOCUMENTS, DOCUMENTS * CHUNKS);

    /* a key appears while the store is open; a wrong file stops sealing and nothing else */
    write_key(&k, 3, 5, 0600);
    bool sealed = false;
    assert_int_equal(store_seal(k.s, &sealed, &err), STATUS_UNAVAILABLE);
    assert_true(answers(k.s) == before);
    write_key(&k, 3, SEGMENT_KEY_BYTES, 0600);
    seal_all(k.s);
    assert_true(store_keyed(k.s));
    assert_int_equal(store_clear_segments(k.s), 0);
    assert_int_equal(words_seen(&k, &texts), 0);
    assert_true(answers(k.s) == before);

    /* what comes now is never written in clear */
    assert_true(remove_document(k.s, "d7", 1000));
    settle(k.s);
    uint32_t rewritten = 0;
    OK(store_purge_vectors(k.s, &rewritten, &err));
    assert_true(rewritten > 0);
    assert_int_equal(vectors_seen(&k, &segments), 0);
    assert_int_equal(words_seen(&k, &texts), 0);
    assert_int_equal(store_clear_segments(k.s), 0);
    teardown_kept(&k);
}

static void test_new_store_with_a_key(void **unused)
{
    (void)unused;
    struct error err;
    struct kept k = {0};
    size_t texts = 0;
    size_t segments = 0;
    setup_kept(&k);
    write_key(&k, 9, SEGMENT_KEY_BYTES, 0600);
    OK(open_store(&k, &err));
    fill(k.s);
    assert_true(store_keyed(k.s));
    assert_int_equal(words_seen(&k, &texts), 0);
    assert_int_equal(vectors_seen(&k, &segments), 0);
    assert_true(texts > 0 && segments > 0);
    assert_int_equal(store_clear_segments(k.s), 0);
    assert_verified(k.s, DOCUMENTS, DOCUMENTS * CHUNKS);
    teardown_kept(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_key),
        cmocka_unit_test(test_new_store_with_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
