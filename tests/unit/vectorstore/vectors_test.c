/* Vectors and rights: every search is compared with a plain reading of the same rules. */
#include "fixture.h"

#include <dirent.h>
#include <math.h>

#include "base/file.h"
#include "vectorstore/store_internal.h"
#include "vectorstore/vectors_internal.h"

#define DIMS 32U
#define PLENTY 16800U
#define SOME 6000U

struct fixture {
    char dir[64];
    struct store *s;
};

static uint32_t rng = 1;

static uint32_t next_random(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 17;
    rng ^= rng << 5;
    return rng;
}

static void random_unit(float *v)
{
    double sum = 0;
    for (uint32_t i = 0; i < DIMS; i++) {
        v[i] = (float)next_random() / 4294967296.0F - 0.5F;
        sum += (double)v[i] * (double)v[i];
    }
    for (uint32_t i = 0; i < DIMS; i++) {
        v[i] = half_to_float(half_from_float(v[i] / (float)sqrt(sum)));
    }
}

static int setup(void **state)
{
    struct error err;
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    temp_dir(f->dir);
    OK(store_open(f->dir, &f->s, &err));
    *state = f;
    rng = 1;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->s);
    drop_dir(f->dir);
    free(f);
    return 0;
}

static void search(struct store *s, const struct asker *who, const char *encoder, float *q,
                   uint32_t k, struct arena *a, Vs__SearchVectorReply *r)
{
    struct error err;
    Vs__SearchVectorRequest m = VS__SEARCH_VECTOR_REQUEST__INIT;
    m.encoder = (char *)(uintptr_t)encoder;
    m.vector = q;
    m.n_vector = DIMS;
    m.limit = k;
    OK(store_search_vector(s, who, &m, a, r, &err));
}

/* The store's k best against all of `all`: the same cosines in the same order. */
static void assert_exact(struct store *s, const char *encoder, const float *all, size_t n,
                         uint32_t k)
{
    struct arena a;
    Vs__SearchVectorReply r;
    float q[DIMS];
    float *want = calloc(n + 1, sizeof *want);
    assert_non_null(want);
    random_unit(q);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < DIMS; j++) {
            want[i] += q[j] * all[i * DIMS + j];
        }
    }
    arena_init(&a, (size_t)16 * 1024 * 1024);
    search(s, &appliance, encoder, q, k, &a, &r);
    assert_int_equal(r.n_hits, n < k ? n : k);
    for (size_t i = 0; i < r.n_hits; i++) {
        size_t best = 0;
        for (size_t j = 1; j < n; j++) {
            best = want[j] > want[best] ? j : best;
        }
        assert_true(fabsf(r.hits[i]->cosine - want[best]) < 2e-3F);
        want[best] = -2;
    }
    arena_reset(&a);
    free(want);
}

static char text_room[PLENTY][24];
static const char *texts[PLENTY];

static void put_plenty(struct store *s, const char *document, uint64_t sequence, size_t from,
                       size_t n, const float *vectors)
{
    struct error err;
    Vs__PutReply r;
    for (size_t i = from; i < from + n; i++) {
        (void)snprintf(text_room[i], sizeof text_room[i], "word%zu", i);
        texts[i] = text_room[i];
    }
    struct draft d = {.document = document,
                      .sequence = sequence,
                      .texts = texts + from,
                      .n = n,
                      .encoder = vectors == NULL ? NULL : "fit-1",
                      .vectors = vectors,
                      .dimensions = DIMS};
    OK(put_draft(s, &d, &r, &err));
    assert_true(r.applied);
}

static bool sealed(struct store *s)
{
    struct error err;
    bool yes = false;
    OK(store_seal(s, &yes, &err));
    return yes;
}

static void tail_and_segments_are_exact_and_mended(void **state)
{
    struct fixture *f = *state;
    struct error err;
    char command[256];
    float *all = calloc((size_t)SOME * DIMS, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < SOME; i++) {
        random_unit(all + i * DIMS);
    }
    OK(store_put_encoder(f->s, "fit-1", DIMS, 10, STR("blob"), &err));
    put_plenty(f->s, "one", 1, 0, 1000, all);
    assert_exact(f->s, "fit-1", all, 1000, 10);
    assert_false(sealed(f->s)); /* too few */
    put_plenty(f->s, "two", 2, 1000, 4000, all + (size_t)1000 * DIMS);
    assert_exact(f->s, "fit-1", all, 5000, 10);
    assert_true(sealed(f->s));
    assert_exact(f->s, "fit-1", all, 5000, 100);
    put_plenty(f->s, "three", 3, 5000, 1000, all + (size_t)5000 * DIMS);
    assert_exact(f->s, "fit-1", all, 6000, 10);
    assert_true(remove_document(f->s, "three", 4));
    assert_exact(f->s, "fit-1", all, 5000, 10);
    settle(f->s);
    assert_exact(f->s, "fit-1", all, 5000, 10);
    store_close(f->s);
    OK(store_open(f->dir, &f->s, &err)); /* from its files */
    assert_exact(f->s, "fit-1", all, 5000, 10);
    store_close(f->s);
    (void)snprintf(command, sizeof command,
                   "for f in $(ls %s/segments | grep -v manifest); do printf x | dd "
                   "of=%s/segments/$f bs=1 seek=9000 "
                   "conv=notrunc 2>/dev/null; done",
                   f->dir, f->dir);
    assert_int_equal(system(command), 0);
    OK(store_open(f->dir, &f->s, &err)); /* damaged: searched in the database, sealed again */
    struct arena a;
    Vs__VerifyReply verified;
    arena_init(&a, (size_t)1024 * 1024);
    OK(store_verify(f->s, &appliance, &a, &verified, &err));
    assert_int_equal(verified.problems, 1);
    assert_non_null(strstr(verified.problem[0], "made again"));
    arena_reset(&a);
    assert_exact(f->s, "fit-1", all, 5000, 10);
    assert_true(sealed(f->s));
    assert_exact(f->s, "fit-1", all, 5000, 10);
    assert_verified(f->s, 2, 5000);
    store_close(f->s);
    (void)snprintf(command, sizeof command, "rm -r %s/segments", f->dir);
    assert_int_equal(system(command), 0);
    OK(store_open(f->dir, &f->s, &err)); /* missing */
    assert_exact(f->s, "fit-1", all, 5000, 10);
    assert_true(remove_document(f->s, "two", 5));
    assert_exact(f->s, "fit-1", all, 1000, 10);
    assert_verified(f->s, 1, 1000);
    free(all);
}

/* ---- merging, mending, clearing ---- */

#define PART 4200U

static void counts_are(struct store *s, uint64_t sealed_rows, uint64_t segments)
{
    struct vectors_counts n;
    vectors_count(s->vectors, 1, &n);
    assert_int_equal(n.sealed, sealed_rows);
    assert_int_equal(n.segments, segments);
}

/* Is the vector on disk among the segments, as fp16? */
static bool on_disk(const char *dir, const float *vector)
{
    uint16_t row[DIMS];
    char path[400];
    bool found = false;
    for (size_t i = 0; i < DIMS; i++) {
        row[i] = half_from_float(vector[i]);
    }
    (void)snprintf(path, sizeof path, "%s/segments", dir);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        struct buf bytes;
        struct error err;
        buf_init(&bytes, (size_t)16 * 1024 * 1024);
        (void)snprintf(path, sizeof path, "%s/segments/%s", dir, e->d_name);
        if (e->d_name[0] != '.') {
            OK(file_read(path, &bytes, &err));
            found = found || memmem(bytes.ptr, bytes.len, row, sizeof row) != NULL;
        }
        buf_deinit(&bytes);
    }
    assert_int_equal(closedir(d), 0);
    return found;
}

static void segments_are_merged_mended_and_cleared(void **state)
{
    static const char *const documents[] = {"one", "two", "three", "four"};
    struct fixture *f = *state;
    struct error err;
    struct encoder e;
    struct arena a;
    char command[256];
    float *all = calloc((size_t)PLENTY * DIMS, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < PLENTY; i++) {
        random_unit(all + i * DIMS);
    }
    OK(store_put_encoder(f->s, "fit-1", DIMS, 10, STR("blob"), &err));
    for (size_t i = 0; i < 4; i++) {
        put_plenty(f->s, documents[i], i + 1, i * PART, PART, all + i * PART * DIMS);
        assert_true(sealed(f->s));
        assert_exact(f->s, "fit-1", all, (i + 1) * PART, 20);
    }
    counts_are(f->s, PLENTY, 2); /* three became one */
    assert_false(sealed(f->s));
    assert_true(remove_document(f->s, "one", 10));
    settle(f->s);
    assert_true(sealed(f->s)); /* a third of the first is dead */
    counts_are(f->s, PLENTY - PART, 2);
    assert_false(sealed(f->s));
    const float *rest = all + (size_t)PART * DIMS;
    assert_exact(f->s, "fit-1", rest, PLENTY - PART, 50);
    store_close(f->s);
    (void)snprintf(command, sizeof command, "rm $(ls -S %s/segments/* | head -1)", f->dir);
    assert_int_equal(system(command), 0);
    OK(store_open(f->dir, &f->s, &err)); /* without the first: the second is kept */
    assert_exact(f->s, "fit-1", rest, PLENTY - PART, 50);
    counts_are(f->s, PART, 1);
    assert_true(sealed(f->s));
    counts_are(f->s, PLENTY - PART, 2);
    assert_exact(f->s, "fit-1", rest, PLENTY - PART, 50);
    /* what is removed for good leaves no bytes behind, however small its share */
    put_plenty(f->s, "one", 20, 0, 10, all);
    put_plenty(f->s, "five", 21, 10, PART - 10, all + (size_t)10 * DIMS);
    assert_true(sealed(f->s));
    assert_true(on_disk(f->dir, all + (size_t)3 * DIMS));
    assert_true(remove_document(f->s, "one", 22));
    settle(f->s);
    assert_false(sealed(f->s));
    assert_true(on_disk(f->dir, all + (size_t)3 * DIMS));
    size_t rewritten = 0;
    arena_init(&a, (size_t)1024 * 1024);
    OK(catalogue_encoder_by_name(f->s->sealer, STR("fit-1"), &a, &e, &err));
    OK(vectors_purge(f->s->vectors, f->s->sealer, &e, &rewritten, &err));
    assert_int_equal(rewritten, 1);
    assert_false(on_disk(f->dir, all + (size_t)3 * DIMS));
    assert_true(on_disk(f->dir, all + (size_t)13 * DIMS));
    assert_exact(f->s, "fit-1", all + (size_t)10 * DIMS, PLENTY - 10, 50);
    assert_verified(f->s, 4, PLENTY - 10);
    arena_reset(&a);
    free(all);
}

/* What an erasure or a stop waits for is a moment of sealing, and sealing still gets done. */
static void sealing_makes_way(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint32_t rewritten = 0;
    float *all = calloc((size_t)SOME * DIMS, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < SOME; i++) {
        random_unit(all + i * DIMS);
    }
    OK(store_put_encoder(f->s, "fit-1", DIMS, 1, (struct str){"x", 1}, &err));
    put_plenty(f->s, "one", 1, 0, SOME, all);
    store_purge_waits(f->s, true);
    assert_false(sealed(f->s));
    counts_are(f->s, 0, 0);
    assert_true(sealed(f->s)); /* not put off twice */
    counts_are(f->s, SOME, 1);
    store_purge_waits(f->s, true);
    OK(store_purge_vectors(f->s, &rewritten, &err)); /* does not make way for itself */
    assert_int_equal(rewritten, 0);
    put_plenty(f->s, "two", 2, SOME, SOME, all);
    store_closing(f->s);
    assert_false(sealed(f->s));
    counts_are(f->s, SOME, 1);
    free(all);
}

/* ---- encoders ---- */

static void fill_missing(struct store *s, const char *encoder, uint32_t dims)
{
    struct error err;
    ProtobufCBinaryData cursor = {0};
    bool last = false;
    struct arena a;
    arena_init(&a, (size_t)64 * 1024 * 1024);
    while (!last) {
        Vs__ScanReply page;
        Vs__PutVectorsRequest m = VS__PUT_VECTORS_REQUEST__INIT;
        Vs__PutVectorsReply r = VS__PUT_VECTORS_REPLY__INIT;
        OK(store_scan(s, encoder, cursor, 0, &a, &page, &last, &err));
        cursor = page.cursor;
        m.encoder = (char *)(uintptr_t)encoder;
        m.items = calloc(page.n_items + 1, sizeof *m.items);
        for (size_t i = 0; i < page.n_items; i++) {
            uint16_t *v = calloc(dims, sizeof *v);
            m.items[i] = calloc(1, sizeof *m.items[i]);
            vs__put_vectors_request__item__init(m.items[i]);
            m.items[i]->key = page.items[i]->key;
            v[i % dims] = half_from_float(1);
            m.items[i]->vector =
                (ProtobufCBinaryData){.data = (uint8_t *)v, .len = dims * sizeof *v};
        }
        m.n_items = page.n_items;
        OK(store_put_vectors(s, &m, &r, &err));
        assert_int_equal(r.stored, page.n_items);
        for (size_t i = 0; i < page.n_items; i++) {
            free(m.items[i]->vector.data);
            free(m.items[i]);
        }
        free(m.items);
    }
    arena_reset(&a);
}

static void status_is(struct store *s, const char *encoder, const char *building, uint32_t missing)
{
    struct error err;
    struct arena a;
    Vs__StatusReply r;
    arena_init(&a, (size_t)1024 * 1024);
    OK(store_status(s, &a, &r, &err));
    assert_string_equal(r.encoder, encoder);
    assert_string_equal(r.building == NULL ? "" : r.building, building);
    assert_int_equal(r.missing, missing);
    arena_reset(&a);
}

/* ---- searching while segments change ---- */

struct asking {
    struct store *s;
    const float *q;
    float best; /* cosine of the nearest */
    _Atomic bool stop;
    _Atomic size_t asked, wrong;
};

/* No cmocka in here: it is not for threads. */
static void *ask_on(void *data)
{
    struct asking *k = data;
    while (!atomic_load(&k->stop)) {
        struct error err;
        struct arena a;
        float q[DIMS];
        Vs__SearchVectorReply r;
        Vs__SearchVectorRequest m = VS__SEARCH_VECTOR_REQUEST__INIT;
        memcpy(q, k->q, sizeof q);
        m.encoder = (char *)(uintptr_t) "fit-1";
        m.vector = q;
        m.n_vector = DIMS;
        m.limit = 10;
        arena_init(&a, (size_t)1024 * 1024);
        enum status s = store_search_vector(k->s, &appliance, &m, &a, &r, &err);
        bool right = s == STATUS_OK && r.n_hits == 10 && fabsf(r.hits[0]->cosine - k->best) < 2e-3F;
        (void)atomic_fetch_add(&k->wrong, right ? 0 : 1);
        (void)atomic_fetch_add(&k->asked, 1);
        arena_reset(&a);
    }
    return NULL;
}

static void searches_are_right_while_segments_change(void **state)
{
    struct fixture *f = *state;
    struct error err;
    pthread_t threads[2];
    char document[16];
    char path[400];
    float *all = calloc((size_t)PLENTY * DIMS, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < PLENTY; i++) {
        random_unit(all + i * DIMS);
    }
    OK(store_put_encoder(f->s, "fit-1", DIMS, 10, STR("blob"), &err));
    put_plenty(f->s, "first", 1, 0, 600, all);
    struct asking k = {.s = f->s, .q = all, .best = 1};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_on, &k), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(document, sizeof document, "d%zu", i);
        put_plenty(f->s, document, 2 + i, 600 + i * PART, PART, all + (600 + i * PART) * DIMS);
        assert_true(sealed(f->s));
    }
    /* and a file goes bad under them: they read the database then, and it is made again */
    (void)snprintf(path, sizeof path, "%s/segments", f->dir);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        (void)snprintf(path, sizeof path, "%s/segments/%s", f->dir, e->d_name);
        if (e->d_name[0] != '.' && strcmp(e->d_name, "manifest") != 0) {
            vectors_lose(f->s->vectors, 1, e->d_name, "a test");
        }
    }
    assert_int_equal(closedir(d), 0);
    assert_true(sealed(f->s));
    atomic_store(&k.stop, true);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(k.wrong, 0);
    assert_true(k.asked > 10);
    assert_exact(f->s, "fit-1", all, 600 + 3 * (size_t)PART, 30);
    free(all);
}

/* All of one encoder's vectors go out, and as floats into another. */
static void vectors_go_out_and_come_in(void **state)
{
    struct fixture *f = *state;
    struct error err;
    int64_t after = 0;
    bool last = false;
    size_t n = 0;
    float *all = calloc((size_t)700 * DIMS, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < 700; i++) {
        random_unit(all + i * DIMS);
    }
    OK(store_put_encoder(f->s, "fit-1", DIMS, 10, STR("blob"), &err));
    put_plenty(f->s, "one", 1, 0, 700, all);
    OK(store_put_encoder(f->s, "fit-2", DIMS, 10, STR("blob"), &err));
    status_is(f->s, "", "fit-2", 700);
    while (!last) {
        struct arena a;
        Vs__ExportVectorsReply r;
        Vs__PutVectorsRequest m = VS__PUT_VECTORS_REQUEST__INIT;
        Vs__PutVectorsReply stored = VS__PUT_VECTORS_REPLY__INIT;
        arena_init(&a, (size_t)4 * 1024 * 1024);
        OK(store_export_vectors(f->s, "fit-1", &after, &a, &r, &last, &err));
        assert_int_equal(r.dimensions, DIMS);
        assert_int_equal(r.rows.len, r.n_key * DIMS * sizeof(float));
        assert_true(r.n_key == 0 ||
                    memcmp(r.rows.data, all + n * DIMS, r.rows.len) == 0); /* in order */
        m.encoder = (char *)(uintptr_t) "fit-2";
        m.items = arena_array(&a, r.n_key + 1, sizeof *m.items);
        for (size_t i = 0; i < r.n_key; i++) {
            m.items[i] = arena_alloc(&a, sizeof *m.items[i]);
            vs__put_vectors_request__item__init(m.items[i]);
            m.items[i]->key = r.key[i];
            m.items[i]->vector = (ProtobufCBinaryData){
                .data = r.rows.data + i * DIMS * sizeof(float), .len = DIMS * sizeof(float)};
        }
        m.n_items = r.n_key;
        OK(store_put_vectors(f->s, &m, &stored, &err));
        assert_int_equal(stored.stored, r.n_key);
        n += r.n_key;
        arena_reset(&a);
    }
    assert_int_equal(n, 700);
    status_is(f->s, "", "fit-2", 0);
    assert_exact(f->s, "fit-2", all, 700, 20);
    struct arena a;
    Vs__ExportVectorsReply r;
    arena_init(&a, (size_t)1024 * 1024);
    assert_int_equal(store_export_vectors(f->s, NULL, &after, &a, &r, &last, &err),
                     STATUS_NOT_FOUND); /* none is published */
    arena_reset(&a);
    free(all);
}

static void an_encoder_is_built_published_and_replaced(void **state)
{
    struct fixture *f = *state;
    struct error err;
    Vs__PublishRequest m = VS__PUBLISH_REQUEST__INIT;
    Vs__PublishReply r = VS__PUBLISH_REPLY__INIT;
    struct arena a;
    Vs__SearchVectorReply found_now;
    float q[DIMS] = {1};
    char path[256];
    status_is(f->s, "", "", 0);
    put_plenty(f->s, "one", 1, 0, 300, NULL);
    OK(store_put_encoder(f->s, "fit-1", DIMS, 300, STR("first"), &err));
    status_is(f->s, "", "fit-1", 300);
    m.encoder = (char *)(uintptr_t) "fit-1";
    assert_int_equal(store_publish(f->s, &m, &r, &err), STATUS_CONFLICT);
    fill_missing(f->s, "fit-1", DIMS);
    status_is(f->s, "", "fit-1", 0);
    OK(store_publish(f->s, &m, &r, &err));
    status_is(f->s, "fit-1", "", 0);
    put_plenty(f->s, "two", 2, 300, 10, NULL);
    status_is(f->s, "fit-1", "", 10);
    assert_verified(f->s, 2, 310);
    OK(store_put_encoder(f->s, "fit-2", DIMS, 310, STR("second"), &err));
    status_is(f->s, "fit-1", "fit-2", 310);
    fill_missing(f->s, "fit-2", DIMS);
    m.encoder = (char *)(uintptr_t) "fit-2";
    OK(store_publish(f->s, &m, &r, &err));
    status_is(f->s, "fit-2", "", 0);
    bool more;
    OK(store_maintain(f->s, clock_wall_ms(), &more,
                      &err)); /* within the grace the old one still serves */
    arena_init(&a, (size_t)1024 * 1024);
    search(f->s, &appliance, "fit-1", q, 5, &a, &found_now);
    assert_int_equal(found_now.n_hits, 5);
    settle(f->s);
    Vs__SearchVectorRequest sv = VS__SEARCH_VECTOR_REQUEST__INIT;
    sv.encoder = (char *)(uintptr_t) "fit-1";
    sv.vector = q;
    sv.n_vector = DIMS;
    sv.limit = 5;
    assert_int_equal(store_search_vector(f->s, &appliance, &sv, &a, &found_now, &err),
                     STATUS_NOT_FOUND);
    assert_int_equal(store_encoder_path(f->s, "fit-1", path, sizeof path, &err), STATUS_NOT_FOUND);
    OK(store_encoder_path(f->s, "fit-2", path, sizeof path, &err));
    assert_int_equal(store_encoder_path(f->s, "../store.db", path, sizeof path, &err),
                     STATUS_INVALID);
    assert_verified(f->s, 2, 310);
    arena_reset(&a);
}

/* ---- rights ---- */

#define CONTENTS 20
#define PLACES 60
static const char *const groups[] = {"hr", "it", "board"};
static const char *const collections[] = {"a", "b", "c"};

struct place {
    size_t content, collection;
    unsigned readers; /* bits of groups; 0: everyone */
    bool excluded;
};

static bool may(const struct place *p, unsigned mine, int collection)
{
    return !p->excluded && (p->readers == 0 || (p->readers & mine) != 0) &&
           (collection < 0 || p->collection == (size_t)collection);
}

static void searches_find_exactly_what_the_rules_allow(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct place places[PLACES];
    static char room[CONTENTS][48];
    static float vectors[CONTENTS][DIMS];
    OK(store_put_encoder(f->s, "fit-1", DIMS, 10, STR("blob"), &err));
    for (size_t i = 0; i < CONTENTS; i++) {
        (void)snprintf(room[i], sizeof room[i], "harbour canary%zu", i);
        random_unit(vectors[i]);
    }
    for (size_t i = 0; i < PLACES; i++) {
        Vs__PutReply r;
        char name[16];
        const char *text[1];
        places[i] = (struct place){.content = next_random() % CONTENTS,
                                   .collection = next_random() % 3,
                                   .readers = next_random() % 8,
                                   .excluded = next_random() % 10 == 0};
        text[0] = room[places[i].content];
        (void)snprintf(name, sizeof name, "p%zu", i);
        struct draft d = {.document = name,
                          .sequence = i + 1,
                          .texts = text,
                          .n = 1,
                          .collection = collections[places[i].collection],
                          .excluded = places[i].excluded,
                          .encoder = "fit-1",
                          .vectors = vectors[places[i].content],
                          .dimensions = DIMS};
        size_t n = 0;
        for (size_t g = 0; g < 3; g++) {
            if ((places[i].readers >> g & 1U) != 0) {
                d.readers[n++] = groups[g];
            }
        }
        OK(put_draft(f->s, &d, &r, &err));
    }
    for (unsigned mine = 0; mine < 8; mine++) {
        for (int collection = -1; collection < 3; collection++) {
            const char *held[3];
            size_t n_held = 0;
            for (size_t g = 0; g < 3; g++) {
                if ((mine >> g & 1U) != 0) {
                    held[n_held++] = groups[g];
                }
            }
            const struct caller caller = {.tenant = "main",
                                          .user = "u",
                                          .groups = held,
                                          .n_groups = n_held,
                                          .admin = mine == 5};
            const struct asker who = {.caller = &caller};
            char *filter[] = {(char *)(uintptr_t)(collection < 0 ? "" : collections[collection])};
            size_t want = 0;
            for (size_t c = 0; c < CONTENTS; c++) {
                bool any = false;
                for (size_t i = 0; i < PLACES; i++) {
                    any = any || (places[i].content == c && may(&places[i], mine, collection));
                }
                want += any ? 1 : 0;
            }
            char got[2048];
            found(f->s, &who, "harbour", filter, collection < 0 ? 0 : 1, got, sizeof got);
            size_t n = got[0] == '\0' ? 0 : 1;
            for (const char *p = got; *p != '\0'; p++) {
                n += *p == ',' ? 1 : 0;
            }
            assert_int_equal(n, want);
            for (const char *name = got; name != NULL && name[0] != '\0';) {
                assert_true(may(&places[strtoul(name + 1, NULL, 10)], mine, collection));
                name = strchr(name, ',');
                name = name == NULL ? NULL : name + 1;
            }
            struct arena a;
            Vs__SearchVectorReply r;
            Vs__SearchVectorRequest m = VS__SEARCH_VECTOR_REQUEST__INIT;
            Vs__Filter flt = VS__FILTER__INIT;
            arena_init(&a, (size_t)1024 * 1024);
            m.encoder = (char *)(uintptr_t) "fit-1";
            m.vector = vectors[0];
            m.n_vector = DIMS;
            m.limit = 100;
            flt.collections = filter;
            flt.n_collections = collection < 0 ? 0 : 1;
            m.filter = &flt;
            OK(store_search_vector(f->s, &who, &m, &a, &r, &err));
            assert_int_equal(r.n_hits, want);
            arena_reset(&a);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tail_and_segments_are_exact_and_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(segments_are_merged_mended_and_cleared, setup, teardown),
        cmocka_unit_test_setup_teardown(sealing_makes_way, setup, teardown),
        cmocka_unit_test_setup_teardown(searches_are_right_while_segments_change, setup, teardown),
        cmocka_unit_test_setup_teardown(vectors_go_out_and_come_in, setup, teardown),
        cmocka_unit_test_setup_teardown(an_encoder_is_built_published_and_replaced, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(searches_find_exactly_what_the_rules_allow, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
