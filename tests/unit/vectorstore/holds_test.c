/* Legal holds over versions: what is held is kept past its time and found as of then, by those who
 * may know of it. */
#include "tests/unit/vectorstore/fixture.h"

#define DAY_MS INT64_C(86400000)

static const struct caller reader = {.tenant = "t", .user = "u"};
static const struct caller chief = {.tenant = "t", .user = "c", .admin = true};
static const struct asker plain = {.caller = &reader};
static const struct asker admin = {.caller = &chief};

struct world {
    char dir[80];
    struct store *s;
    uint64_t round;
    int64_t then;
};

static uint32_t tell(struct world *w, const char *id, Vs__HoldVersionsRequest__Hold__Kind kind,
                     const char *target, bool complete)
{
    struct error err;
    Vs__HoldVersionsRequest m = VS__HOLD_VERSIONS_REQUEST__INIT;
    Vs__HoldVersionsRequest__Hold h = VS__HOLD_VERSIONS_REQUEST__HOLD__INIT;
    Vs__HoldVersionsRequest__Hold *list[] = {&h};
    Vs__HoldVersionsReply r = VS__HOLD_VERSIONS_REPLY__INIT;
    char text[64];
    char name[32];
    m.round = ++w->round;
    m.has_complete = true;
    m.complete = complete;
    if (id != NULL) {
        (void)snprintf(name, sizeof name, "%s", id);
        (void)snprintf(text, sizeof text, "%s", target);
        h.id = name;
        h.kind = kind;
        h.target = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
        m.holds = list;
        m.n_holds = 1;
    }
    OK(store_hold_versions(w->s, &m, &r, &err));
    return r.holds;
}

static void put(struct world *w, const char *document, const char *path, const char *text,
                uint64_t sequence)
{
    struct error err;
    Vs__PutReply pr;
    const char *const texts[] = {text};
    const struct draft d = {.document = document,
                            .path = path,
                            .collection = "files",
                            .sequence = sequence,
                            .texts = texts,
                            .n = 1};
    OK(put_draft(w->s, &d, &pr, &err));
}

/* Three documents, each replaced once; the first versions ended just after w->then. */
static void setup(struct world *w, int64_t retain_ms)
{
    struct error err;
    *w = (struct world){.round = 0};
    temp_dir(w->dir);
    OK(store_open(w->dir, &w->s, &err));
    store_retain_versions(w->s, retain_ms);
}

static void fill(struct world *w)
{
    put(w, "a", "cases/9/a.txt", "The first harbour tariff.", 1);
    put(w, "b", "cases/99/b.txt", "The first lighthouse tariff.", 2);
    put(w, "c", "other/c.txt", "The first bridge tariff.", 3);
    pause_ms(3);
    w->then = clock_wall_ms();
    pause_ms(3);
    put(w, "a", "cases/9/a.txt", "The second harbour tariff.", 4);
    put(w, "b", "cases/99/b.txt", "The second lighthouse tariff.", 5);
    put(w, "c", "other/c.txt", "The second bridge tariff.", 6);
    settle(w->s); /* ten minutes on */
}

static void teardown(struct world *w)
{
    store_close(w->s);
    drop_dir(w->dir);
}

static void expect(struct world *w, const char *query, const int64_t *as_of, const char *documents)
{
    char got[128];
    struct error err;
    struct arena a;
    Vs__SearchTextRequest m = VS__SEARCH_TEXT_REQUEST__INIT;
    Vs__SearchTextReply r;
    Vs__Filter f = VS__FILTER__INIT;
    char text[64];
    (void)snprintf(text, sizeof text, "%s", query);
    arena_init(&a, (size_t)16 * 1024 * 1024);
    m.query = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
    m.limit = 10;
    f.has_as_of_ms = as_of != NULL;
    f.as_of_ms = as_of == NULL ? 0 : *as_of;
    m.filter = &f;
    OK(store_search_text(w->s, &admin, &m, &a, &r, &err));
    got[0] = '\0';
    if (r.n_hits > 0) {
        Vs__FetchRequest fm = VS__FETCH_REQUEST__INIT;
        Vs__FetchReply fr;
        ProtobufCBinaryData ids[10];
        for (size_t i = 0; i < r.n_hits; i++) {
            ids[i] = r.hits[i]->chunk;
        }
        fm.chunks = ids;
        fm.n_chunks = r.n_hits;
        fm.filter = &f;
        OK(store_fetch(w->s, &admin, &fm, &a, &fr, &err));
        for (size_t i = 0; i < fr.n_passages; i++) {
            size_t used = strlen(got);
            (void)snprintf(got + used, sizeof got - used, "%s%.*s", i > 0 ? " " : "", 6,
                           (const char *)fr.passages[i]->text.data + 4);
        }
    }
    assert_string_equal(got, documents);
    arena_reset(&a);
}

static size_t versions(struct world *w, const struct asker *who, const char *document)
{
    struct error err;
    struct arena a;
    Vs__ListVersionsRequest m = VS__LIST_VERSIONS_REQUEST__INIT;
    Vs__ListVersionsReply r;
    char id[8];
    arena_init(&a, (size_t)1024 * 1024);
    (void)snprintf(id, sizeof id, "%s", document);
    m.document = id;
    enum status st = store_list_versions(w->s, who, &m, &a, &r, &err);
    size_t n = st == STATUS_OK ? r.n_versions : 0;
    arena_reset(&a);
    return n;
}

static enum status ask_then(struct world *w, const struct asker *who, struct error *err)
{
    struct arena a;
    Vs__DocumentInfo info;
    arena_init(&a, (size_t)1024 * 1024);
    enum status st = store_document(w->s, who, "a", &w->then, &a, &info, err);
    arena_reset(&a);
    return st;
}

/* ---- */

static void a_hold_keeps_versions_past_their_time(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    setup(&w, 60000);
    assert_int_equal(tell(&w, "h1", VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__PATH, "cases/9", true),
                     1);
    fill(&w);
    assert_int_equal(versions(&w, &admin, "a"), 2); /* below the folder */
    assert_int_equal(versions(&w, &admin, "b"), 1); /* a longer name is not */
    assert_int_equal(versions(&w, &admin, "c"), 1);
    expect(&w, "harbour", &w.then, "first ");
    expect(&w, "harbour", NULL, "second");
    expect(&w, "lighthouse", &w.then, "");
    /* it outlives the store's life in memory */
    store_close(w.s);
    OK(store_open(w.dir, &w.s, &err));
    store_retain_versions(w.s, 60000);
    settle(w.s);
    expect(&w, "harbour", &w.then, "first ");
    /* one more by itself, then the first is lifted */
    assert_int_equal(tell(&w, "h2", VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__DOCUMENT, "c", false),
                     2);
    settle(w.s);
    assert_int_equal(versions(&w, &admin, "a"), 2);
    assert_int_equal(tell(&w, "h2", VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__DOCUMENT, "c", true), 1);
    settle(w.s);
    assert_int_equal(versions(&w, &admin, "a"), 1);
    expect(&w, "harbour", &w.then, "");
    expect(&w, "harbour", NULL, "second");
    assert_verified(w.s, 3, 3);
    teardown(&w);
}

static void without_retention_a_hold_keeps_all_the_same(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 0);
    (void)tell(&w, "h1", VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__COLLECTION, "files", true);
    fill(&w);
    assert_int_equal(versions(&w, &admin, "b"), 2);
    expect(&w, "first", &w.then, "first  first  first ");
    assert_true(remove_document(w.s, "a", 7));
    settle(w.s);
    expect(&w, "harbour", NULL, "");
    expect(&w, "harbour", &w.then, "first "); /* gone now, there then */
    assert_int_equal(tell(&w, NULL, 0, NULL, true), 0);
    settle(w.s);
    expect(&w, "harbour", NULL, "");
    assert_int_equal(versions(&w, &admin, "a"), 0);
    assert_int_equal(versions(&w, &admin, "b"), 1);
    assert_verified(w.s, 2, 2);
    teardown(&w);
}

/* That something is held, and what, is told to administrators only. */
static void a_reader_notices_nothing(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    struct error other;
    setup(&w, 1);
    (void)tell(&w, "h1", VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__DOCUMENT, "a", true);
    fill(&w);
    assert_int_equal(versions(&w, &admin, "a"), 2);
    assert_int_equal(versions(&w, &plain, "a"), 1);
    OK(ask_then(&w, &admin, &err));
    assert_int_equal(ask_then(&w, &plain, &err), STATUS_INVALID);
    (void)tell(&w, NULL, 0, NULL, true);
    assert_int_equal(ask_then(&w, &admin, &other), STATUS_INVALID);
    assert_int_equal(strncmp(err.text, other.text, 28), 0); /* the time in it moves on */
    teardown(&w);
}

/* More of one document than are kept otherwise, and more than one step of housekeeping looks at. */
static void many_held_versions_do_not_stop_the_others(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 1);
    (void)tell(&w, "h1", VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__DOCUMENT, "a", true);
    uint64_t sequence = 1;
    for (int i = 0; i < 300; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "The tariff of day %d.", i);
        put(&w, "a", "a.txt", text, sequence++);
    }
    put(&w, "b", "b.txt", "The first lighthouse.", sequence++);
    put(&w, "b", "b.txt", "The second lighthouse.", sequence++);
    settle(w.s);
    assert_int_equal(versions(&w, &admin, "b"), 1);
    assert_int_equal(versions(&w, &plain, "a"), 1);
    struct arena a;
    struct error err;
    Vs__ListVersionsRequest m = VS__LIST_VERSIONS_REQUEST__INIT;
    Vs__ListVersionsReply r;
    char id[] = "a";
    arena_init(&a, (size_t)4 * 1024 * 1024);
    m.document = id;
    m.has_limit = true;
    m.limit = 1000;
    OK(store_list_versions(w.s, &admin, &m, &a, &r, &err));
    assert_int_equal(r.n_versions, 300);
    arena_reset(&a);
    (void)tell(&w, NULL, 0, NULL, true);
    settle(w.s);
    assert_int_equal(versions(&w, &admin, "a"), 1);
    assert_verified(w.s, 2, 2);
    teardown(&w);
}

/* ---- erasures ---- */

static enum status erase(struct world *w, const char *document, bool stays, uint32_t *freed,
                         struct error *err)
{
    Vs__EraseRequest m = VS__ERASE_REQUEST__INIT;
    Vs__EraseReply r = VS__ERASE_REPLY__INIT;
    protobuf_c_boolean flag = stays;
    char id[8];
    char *ids[] = {id};
    (void)snprintf(id, sizeof id, "%s", document);
    m.documents = ids;
    m.n_documents = 1;
    m.sequence = 1000;
    m.content_stays = &flag;
    m.n_content_stays = stays ? 1 : 0;
    enum status st = store_erase(w->s, &m, &r, err);
    *freed = r.contents;
    return st;
}

static Vs__EraseInspectReply__Item *inspect(struct world *w, const char *document, struct arena *a)
{
    struct error err;
    Vs__EraseInspectRequest m = VS__ERASE_INSPECT_REQUEST__INIT;
    Vs__EraseInspectReply r = VS__ERASE_INSPECT_REPLY__INIT;
    char id[8];
    char *ids[] = {id};
    (void)snprintf(id, sizeof id, "%s", document);
    m.documents = ids;
    m.n_documents = 1;
    OK(store_erase_inspect(w->s, &m, a, &r, &err));
    assert_int_equal(r.n_items, 1);
    return r.items[0];
}

/* d has today what a had before, and a's versions are held: d goes, and what a had does not. */
static void an_erasure_leaves_what_is_held_for_another_document(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    struct arena a;
    uint32_t freed = 0;
    setup(&w, DAY_MS);
    (void)tell(&w, "h1", VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__PATH, "cases/9", true);
    fill(&w);
    put(&w, "d", "plain/d.txt", "The first harbour tariff.", 7);
    put(&w, "e", "plain/e.txt", "The first harbour tariff.", 8);
    put(&w, "e", "plain/e.txt", "Something else altogether.", 9);
    settle(w.s);
    arena_init(&a, (size_t)1024 * 1024);
    Vs__EraseInspectReply__Item *item = inspect(&w, "d", &a);
    assert_int_equal(item->n_copies, 1);
    assert_string_equal(item->copies[0]->document, "a");
    assert_memory_equal(item->copies[0]->path.data, "cases/9/a.txt", 13);
    assert_null(item->hold);
    assert_int_equal(erase(&w, "d", false, &freed, &err), STATUS_CONFLICT);
    assert_non_null(strstr(err.text, "h1"));
    assert_int_equal(versions(&w, &admin, "a"), 2);
    expect(&w, "harbour", &w.then, "first ");
    OK(erase(&w, "d", true, &freed, &err));
    assert_int_equal(freed, 0);
    settle(w.s);
    assert_int_equal(versions(&w, &admin, "a"), 2);
    assert_int_equal(versions(&w, &admin, "d"), 0);
    expect(&w, "harbour", &w.then, "first ");
    expect(&w, "harbour", NULL, "second");
    /* what a document had before and what is held for another: the same */
    OK(erase(&w, "e", false, &freed, &err));
    settle(w.s);
    expect(&w, "harbour", &w.then, "first ");
    /* no hold any more: nothing keeps it */
    put(&w, "d", "plain/d.txt", "The first harbour tariff.", 2000);
    (void)tell(&w, NULL, 0, NULL, true);
    OK(erase(&w, "d", false, &freed, &err));
    assert_int_equal(freed, 1);
    settle(w.s);
    expect(&w, "harbour", &w.then, "");
    assert_verified(w.s, 3, 3);
    arena_reset(&a);
    teardown(&w);
}

/* It has moved out of the folder since. */
static void a_document_that_is_held_where_it_was_is_not_erased(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    struct arena a;
    uint32_t freed = 0;
    setup(&w, 0);
    (void)tell(&w, "h1", VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__PATH, "cases/9", true);
    fill(&w);
    put(&w, "a", "plain/a.txt", "The third harbour tariff.", 7);
    settle(w.s);
    arena_init(&a, (size_t)1024 * 1024);
    assert_string_equal(inspect(&w, "a", &a)->hold, "h1");
    arena_reset(&a);
    assert_int_equal(erase(&w, "a", true, &freed, &err), STATUS_CONFLICT);
    assert_non_null(strstr(err.text, "h1"));
    assert_int_equal(versions(&w, &admin, "a"), 3);
    expect(&w, "harbour", &w.then, "first ");
    (void)tell(&w, NULL, 0, NULL, true);
    OK(erase(&w, "a", false, &freed, &err));
    settle(w.s);
    assert_int_equal(versions(&w, &admin, "a"), 0);
    assert_verified(w.s, 2, 2);
    teardown(&w);
}

/* What a copy holds was told by a journal that may since have learned of more. */
static void a_copy_forgets_nothing_before_it_is_told(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    uint32_t freed = 0;
    char copy[sizeof w.dir];
    struct store_snapshot *k = NULL;
    Vs__SnapshotReply reply = VS__SNAPSHOT_REPLY__INIT;
    setup(&w, DAY_MS);
    fill(&w);
    (void)snprintf(copy, sizeof copy, "%.64s.copy", w.dir);
    OK(store_snapshot_prepare(w.s, copy, &err));
    OK(store_snapshot_take(w.s, copy, &k, &reply, &err));
    OK(store_snapshot_copy(k, NULL, &err));
    store_snapshot_end(k);
    teardown(&w);
    (void)snprintf(w.dir, sizeof w.dir, "%s", copy);
    OK(store_open(w.dir, &w.s, &err));
    store_retain_versions(w.s, 1);
    settle(w.s);
    assert_int_equal(versions(&w, &admin, "a"), 2);
    assert_int_equal(erase(&w, "b", true, &freed, &err), STATUS_UNAVAILABLE);
    (void)tell(&w, "h1", VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__DOCUMENT, "a", true);
    settle(w.s);
    assert_int_equal(versions(&w, &admin, "a"), 2);
    assert_int_equal(versions(&w, &admin, "b"), 1);
    teardown(&w);
}

static void what_is_told_is_checked(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    Vs__HoldVersionsRequest m = VS__HOLD_VERSIONS_REQUEST__INIT;
    Vs__HoldVersionsRequest__Hold h = VS__HOLD_VERSIONS_REQUEST__HOLD__INIT;
    Vs__HoldVersionsRequest__Hold *list[300];
    Vs__HoldVersionsReply r = VS__HOLD_VERSIONS_REPLY__INIT;
    char id[] = "h";
    setup(&w, 0);
    for (size_t i = 0; i < 300; i++) {
        list[i] = &h;
    }
    h.id = id;
    h.kind = VS__HOLD_VERSIONS_REQUEST__HOLD__KIND__PATH;
    m.holds = list;
    m.n_holds = 1;
    assert_int_equal(store_hold_versions(w.s, &m, &r, &err), STATUS_INVALID); /* no target */
    h.target = (ProtobufCBinaryData){.data = (uint8_t *)id, .len = 1};
    m.n_holds = 300;
    assert_int_equal(store_hold_versions(w.s, &m, &r, &err), STATUS_INVALID);
    m.n_holds = 256;
    OK(store_hold_versions(w.s, &m, &r, &err));
    assert_int_equal(r.holds, 1);
    teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hold_keeps_versions_past_their_time),
        cmocka_unit_test(without_retention_a_hold_keeps_all_the_same),
        cmocka_unit_test(a_reader_notices_nothing),
        cmocka_unit_test(many_held_versions_do_not_stop_the_others),
        cmocka_unit_test(an_erasure_leaves_what_is_held_for_another_document),
        cmocka_unit_test(a_document_that_is_held_where_it_was_is_not_erased),
        cmocka_unit_test(a_copy_forgets_nothing_before_it_is_told),
        cmocka_unit_test(what_is_told_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
