/* What is visible: to few of many, while it changes, as of then, in stores of versions before; and
 * that filters are checked. Random rules against brute force: rights_test.c. */
#include "fixture.h"

#include <pthread.h>
#include <time.h>

#include "base/db.h"
#include "vectorstore/catalogue_sql.h"

#define DIMENSIONS 8
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* ---- a few of many ---- */

#define FEW_DOCUMENTS 1000
#define FEW_CHUNKS 5

static void a_tenth_of_a_percent_is_a_full_answer(void **state)
{
    (void)state;
    struct error err;
    struct arena a;
    char dir[64];
    struct store *s = NULL;
    static const char *const mine[] = {"mine"};
    const struct caller me = {.tenant = "t", .user = "key:1", .groups = mine, .n_groups = 1};
    const struct asker who = {.caller = &me};
    temp_dir(dir);
    OK(store_open(dir, &s, &err));
    add_encoder(s, DIMENSIONS);
    uint64_t random = 7;
    for (uint64_t d = 0; d < FEW_DOCUMENTS; d++) {
        char id[16];
        char text[FEW_CHUNKS][64];
        const char *texts[FEW_CHUNKS];
        float vectors[FEW_CHUNKS * DIMENSIONS];
        Vs__PutReply r;
        (void)snprintf(id, sizeof id, "d%llu", (unsigned long long)d);
        for (size_t c = 0; c < FEW_CHUNKS; c++) {
            (void)snprintf(text[c], sizeof text[c], "common harbour %llu %zu",
                           (unsigned long long)d, c);
            texts[c] = text[c];
            for (size_t i = 0; i < DIMENSIONS; i++) {
                random = random * UINT64_C(6364136223846793005) + 1442695040888963407U;
                vectors[c * DIMENSIONS + i] = (float)(int64_t)(random >> 40) / 8388608.0F - 1.0F;
            }
        }
        struct draft draft = {.document = id,
                              .sequence = d + 1,
                              .texts = texts,
                              .n = FEW_CHUNKS,
                              .encoder = "e1",
                              .vectors = vectors,
                              .dimensions = DIMENSIONS,
                              .readers = {d == 617 ? "mine" : "others"}};
        OK(put_draft(s, &draft, &r, &err));
    }
    bool sealed = true;
    OK(store_seal(s, &sealed, &err));
    arena_init(&a, (size_t)16 * 1024 * 1024);
    Vs__SearchTextRequest t = VS__SEARCH_TEXT_REQUEST__INIT;
    Vs__SearchTextReply tr;
    t.query = (ProtobufCBinaryData){.data = (uint8_t *)z("common harbour"), .len = 14};
    t.limit = FEW_CHUNKS;
    OK(store_search_text(s, &who, &t, &a, &tr, &err));
    assert_int_equal(tr.n_hits, FEW_CHUNKS);
    assert_int_equal(tr.matched, FEW_CHUNKS);
    Vs__SearchVectorRequest v = VS__SEARCH_VECTOR_REQUEST__INIT;
    Vs__SearchVectorReply vr;
    float q[DIMENSIONS] = {1, -1, 0.5F};
    v.encoder = z("e1");
    v.vector = q;
    v.n_vector = DIMENSIONS;
    v.limit = FEW_CHUNKS;
    OK(store_search_vector(s, &who, &v, &a, &vr, &err));
    assert_int_equal(vr.n_hits, FEW_CHUNKS); /* as many as he may read: recall is 1 */
    arena_reset(&a);
    store_close(s);
    drop_dir(dir);
}

/* ---- while it changes ---- */

struct toggling {
    struct store *s;
    _Atomic bool stop;
    _Atomic unsigned searches;
};

/* The document is either harmless and for all, or secret and for others; he never sees the secret.
 */
static void *watch_toggling(void *data)
{
    struct toggling *t = data;
    static const char *const mine[] = {"mine"};
    const struct caller me = {.tenant = "t", .user = "key:1", .groups = mine, .n_groups = 1};
    const struct asker who = {.caller = &me};
    while (!atomic_load(&t->stop)) {
        struct error err;
        struct arena a;
        Vs__SearchTextRequest m = VS__SEARCH_TEXT_REQUEST__INIT;
        Vs__SearchTextReply r;
        arena_init(&a, (size_t)16 * 1024 * 1024);
        m.query = (ProtobufCBinaryData){.data = (uint8_t *)z("treasure"), .len = 8};
        m.limit = 10;
        enum status st = store_search_text(t->s, &who, &m, &a, &r, &err);
        if (st == STATUS_OK && r.n_hits > 0) {
            Vs__FetchRequest f = VS__FETCH_REQUEST__INIT;
            Vs__FetchReply fr;
            f.chunks = &r.hits[0]->chunk;
            f.n_chunks = 1;
            st = store_fetch(t->s, &who, &f, &a, &fr, &err);
            print_error("found a secret%s\n",
                        st == STATUS_OK && fr.n_passages > 0 ? ", and read it" : "");
            atomic_store(&t->stop, true);
        }
        arena_reset(&a);
        (void)atomic_fetch_add(&t->searches, 1);
    }
    return NULL;
}

static void rights_change_with_the_text(void **state)
{
    (void)state;
    struct error err;
    char dir[64];
    struct toggling t = {0};
    pthread_t threads[2];
    static const char *const secret[] = {"The treasure lies below the mill."};
    static const char *const harmless[] = {"The mill was built of stone."};
    temp_dir(dir);
    OK(store_open(dir, &t.s, &err));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, watch_toggling, &t), 0);
    }
    for (uint64_t i = 1; i < 200 && !atomic_load(&t.stop); i++) {
        Vs__PutReply r;
        bool hide = i % 2 == 0;
        struct draft d = {.document = "d",
                          .sequence = i,
                          .texts = hide ? secret : harmless,
                          .n = 1,
                          .readers = {hide ? "others" : NULL}};
        OK(put_draft(t.s, &d, &r, &err));
        if (i % 7 == 0) {
            settle(t.s);
        }
    }
    bool leaked = atomic_load(&t.stop);
    atomic_store(&t.stop, true);
    for (size_t i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    assert_false(leaked);
    assert_true(atomic_load(&t.searches) > 0);
    store_close(t.s);
    drop_dir(dir);
}

/* ---- time ---- */

static size_t dense_hits(struct store *s, const char *encoder, const int64_t *as_of)
{
    struct error err;
    struct arena a;
    float v[DIMENSIONS] = {1};
    Vs__Filter f = VS__FILTER__INIT;
    Vs__SearchVectorRequest m = VS__SEARCH_VECTOR_REQUEST__INIT;
    Vs__SearchVectorReply r;
    arena_init(&a, (size_t)16 * 1024 * 1024);
    f.has_as_of_ms = as_of != NULL;
    f.as_of_ms = as_of == NULL ? 0 : *as_of;
    m.encoder = z(encoder);
    m.vector = v;
    m.n_vector = DIMENSIONS;
    m.limit = 10;
    m.filter = &f;
    OK(store_search_vector(s, &appliance, &m, &a, &r, &err));
    size_t n = r.n_hits;
    arena_reset(&a);
    return n;
}

/* A later encoder is not whole before what is kept for its versions has its vectors too. */
static void a_new_encoder_covers_what_is_kept(void **state)
{
    (void)state;
    struct error err;
    struct arena a;
    char dir[64];
    struct store *s = NULL;
    static const char *const first[] = {"The first tariff."};
    static const char *const second[] = {"The second tariff."};
    float unit[DIMENSIONS] = {1};
    Vs__PutReply pr;
    temp_dir(dir);
    OK(store_open(dir, &s, &err));
    store_retain_versions(s, 86400000);
    add_encoder(s, DIMENSIONS);
    struct draft d = {.document = "d",
                      .sequence = 1,
                      .texts = first,
                      .n = 1,
                      .encoder = "e1",
                      .vectors = unit,
                      .dimensions = DIMENSIONS};
    OK(put_draft(s, &d, &pr, &err));
    pause_ms(3);
    int64_t then = clock_wall_ms();
    pause_ms(3);
    d.texts = second;
    d.sequence = 2;
    OK(put_draft(s, &d, &pr, &err));
    settle(s); /* ten minutes on: kept all the same */
    assert_int_equal(dense_hits(s, "e1", NULL), 1);
    assert_int_equal(dense_hits(s, "e1", &then), 1);
    OK(store_put_encoder(s, "e2", DIMENSIONS, 1, STR("fit"), &err));
    arena_init(&a, (size_t)16 * 1024 * 1024);
    Vs__StatusReply status;
    OK(store_status(s, &a, &status, &err));
    assert_int_equal(status.missing, 2);
    assert_int_equal(status.chunks, 1);
    assert_int_equal(status.retained_chunks, 1);
    Vs__ScanReply scan;
    bool last = false;
    OK(store_scan(s, "e2", (ProtobufCBinaryData){0}, 10, &a, &scan, &last, &err));
    assert_int_equal(scan.n_items, 2);
    uint16_t half[DIMENSIONS] = {half_from_float(1)};
    Vs__PublishRequest pm = VS__PUBLISH_REQUEST__INIT;
    Vs__PublishReply published = VS__PUBLISH_REPLY__INIT;
    pm.encoder = z("e2");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(store_publish(s, &pm, &published, &err), STATUS_CONFLICT);
        Vs__PutVectorsRequest m = VS__PUT_VECTORS_REQUEST__INIT;
        Vs__PutVectorsReply r = VS__PUT_VECTORS_REPLY__INIT;
        Vs__PutVectorsRequest__Item item = VS__PUT_VECTORS_REQUEST__ITEM__INIT;
        Vs__PutVectorsRequest__Item *items[] = {&item};
        m.encoder = z("e2");
        m.items = items;
        m.n_items = 1;
        item.key = scan.items[i]->key;
        item.vector = (ProtobufCBinaryData){.data = (uint8_t *)half, .len = sizeof half};
        OK(store_put_vectors(s, &m, &r, &err));
        assert_int_equal(r.stored, 1);
    }
    OK(store_publish(s, &pm, &published, &err));
    assert_int_equal(dense_hits(s, "e2", NULL), 1);
    assert_int_equal(dense_hits(s, "e2", &then), 1);
    assert_verified(s, 1, 1);
    assert_true(remove_document(s, "d", 3));
    assert_int_equal(dense_hits(s, "e2", NULL), 0);
    assert_int_equal(dense_hits(s, "e2", &then), 1); /* gone now, there then */
    store_retain_versions(s, 60000);
    settle(s); /* ten minutes on: past its time */
    OK(store_status(s, &a, &status, &err));
    assert_int_equal(status.retained_chunks, 0);
    assert_int_equal(status.missing, 0);
    assert_verified(s, 0, 0);
    arena_reset(&a);
    store_close(s);
    drop_dir(dir);
}

/* A file of the first schema, as it was before versions knew their content. */
static void an_older_store_opens_with_its_documents(void **state)
{
    (void)state;
    struct error err;
    char dir[64];
    char path[96];
    char got[64];
    struct store *s = NULL;
    sqlite3 *db = NULL;
    static const struct db_migration first[] = {{1, CATALOGUE_SCHEMA_1}};
    temp_dir(dir);
    (void)snprintf(path, sizeof path, "%s/store.db", dir);
    OK(db_open(path, DB_CREATE, first, 1, &db, &err));
    OK(db_exec(
        db,
        "INSERT INTO contents VALUES(1,'01ABCDEFGHJKMNPQRSTVWXYZ01',zeroblob(32),'test-1','txt',"
        "'','en',0,9,9,0,1,1);"
        "INSERT INTO chunks VALUES(1,1,0,0,9,0,0,0,0,0,'',CAST('old harbour' AS BLOB));"
        "INSERT INTO spans VALUES(1,1,1);"
        "INSERT INTO locations VALUES('d',CAST('a/b' AS BLOB),'watch','north','public',"
        "x'737461666600',3,77,0,1);"
        "INSERT INTO versions VALUES('d',5,2,9,zeroblob(32),CAST('a/a' AS BLOB));"
        "INSERT INTO versions VALUES('d',9,3,NULL,zeroblob(32),CAST('a/b' AS BLOB));"
        "INSERT INTO languages VALUES('en',1);"
        "UPDATE state SET generation=1,documents=1,visible=1,next_chunk=2",
        &err));
    db_close(db);
    OK(store_open(dir, &s, &err));
    for (bool sealed = true; sealed;) { /* what is derived is made in the background */
        OK(store_seal(s, &sealed, &err));
    }
    found(s, &appliance, "harbour", NULL, 0, got, sizeof got);
    assert_string_equal(got, "d");
    static const char *const others[] = {"others"};
    const struct caller stranger = {.tenant = "t", .user = "u", .groups = others, .n_groups = 1};
    const struct asker who = {.caller = &stranger};
    found(s, &who, "harbour", NULL, 0, got, sizeof got);
    assert_string_equal(got, "");
    struct arena a;
    Vs__ListVersionsRequest m = VS__LIST_VERSIONS_REQUEST__INIT;
    Vs__ListVersionsReply r;
    arena_init(&a, (size_t)1024 * 1024);
    m.document = z("d");
    OK(store_list_versions(s, &appliance, &m, &a, &r, &err));
    assert_int_equal(r.n_versions, 2);
    assert_true(r.versions[0]->stored && !r.versions[0]->has_valid_to_ms);
    assert_true(!r.versions[1]->stored && r.versions[1]->valid_to_ms == 9);
    arena_reset(&a);
    store_close(s);
    drop_dir(dir);
}

/* ---- what comes in is checked ---- */

static void filters_are_checked(void **state)
{
    (void)state;
    struct error err;
    struct arena a;
    char dir[64];
    struct store *s = NULL;
    Vs__ListReply r;
    char *many[300];
    temp_dir(dir);
    OK(store_open(dir, &s, &err));
    arena_init(&a, (size_t)16 * 1024 * 1024);
    for (size_t i = 0; i < COUNT(many); i++) {
        many[i] = z("x");
    }
    Vs__Filter f = VS__FILTER__INIT;
    f.tags = many;
    f.n_tags = 300;
    assert_int_equal(store_list(s, &appliance, &f, "", 1, &a, &r, &err), STATUS_TOO_LARGE);
    f.n_tags = 0;
    f.has_as_of_ms = true;
    f.as_of_ms = clock_wall_ms();
    assert_int_equal(store_list(s, &appliance, &f, "", 1, &a, &r, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "store.retain_versions_days"));
    store_retain_versions(s, 86400000);
    OK(store_list(s, &appliance, &f, "", 1, &a, &r, &err));
    f.as_of_ms -= 2 * INT64_C(86400000);
    assert_int_equal(store_list(s, &appliance, &f, "", 1, &a, &r, &err), STATUS_INVALID);
    f.has_as_of_ms = false;
    ProtobufCBinaryData none = {0};
    f.under = &none;
    f.n_under = 1;
    assert_int_equal(store_list(s, &appliance, &f, "", 1, &a, &r, &err), STATUS_INVALID);
    arena_reset(&a);
    store_close(s);
    drop_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenth_of_a_percent_is_a_full_answer),
        cmocka_unit_test(rights_change_with_the_text),
        cmocka_unit_test(a_new_encoder_covers_what_is_kept),
        cmocka_unit_test(an_older_store_opens_with_its_documents),
        cmocka_unit_test(filters_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
