/* The store through its own interface: documents come, change, move and go, and everything derived
 * agrees. */
#include "tests/unit/vectorstore/one_store.h"

#include "base/db.h"

static const char *const lighthouse[] = {"The lighthouse keeper is called Osgood.",
                                         "He polishes the lens on Mondays."};
static const char *const ferry[] = {"The ferry leaves from pier nine at noon."};
static const char *const whale[] = {"A whale was seen beyond the breakwater."};

static void put(struct fixture *f, struct draft d, bool applied)
{
    struct error err;
    Vs__PutReply r;
    OK(put_draft(f->s, &d, &r, &err));
    assert_int_equal(r.applied, applied);
}

static void expect(struct fixture *f, const char *query, const char *documents)
{
    char got[512];
    found(f->s, &appliance, query, NULL, 0, got, sizeof got);
    assert_string_equal(got, documents);
}

static void a_document_is_found_and_goes(void **state)
{
    struct fixture *f = *state;
    put(f, draft("d1", 1, lighthouse, 2), true);
    put(f, draft("d2", 2, ferry, 1), true);
    expect(f, "lighthouse keeper", "d1");
    expect(f, "ferry pier", "d2");
    assert_verified(f->s, 2, 3);
    assert_true(remove_document(f->s, "d1", 3));
    expect(f, "lighthouse keeper", "");
    assert_verified(f->s, 1, 1);
    settle(f->s);
    assert_verified(f->s, 1, 1);
    reopen(f);
    expect(f, "lighthouse keeper", "");
    expect(f, "ferry", "d2");
    assert_verified(f->s, 1, 1);
}

static void a_misspelled_word_finds_its_neighbour(void **state)
{
    struct fixture *f = *state;
    put(f, draft("d1", 1, lighthouse, 2), true);
    put(f, draft("d2", 2, whale, 1), true);
    expect(f, "lihgthouse", "d1");
    expect(f, "braekwater", "d2");
    expect(f, "zebra", "");
}

static void full_text_is_sealed_merged_and_mended(void **state)
{
    struct fixture *f = *state;
    static char room[1000][64];
    static const char *list[1000];
    char command[256];
    for (size_t i = 0; i < 1000; i++) {
        (void)snprintf(room[i], sizeof room[i], "Crate mark%zu holds copper.", i);
        list[i] = room[i];
    }
    for (size_t d = 0; d < 10; d++) { /* more than a tail holds */
        char name[16];
        (void)snprintf(name, sizeof name, "many%zu", d);
        for (size_t i = 0; i < 1000; i++) {
            (void)snprintf(room[i], sizeof room[i], "Crate mark%zu holds copper.", d * 1000 + i);
        }
        put(f, draft(name, d + 1, list, 1000), true);
    }
    seal_all(f->s);
    settle(f->s);
    expect(f, "mark7345", "many7");
    reopen(f);
    expect(f, "mark7345", "many7");
    expect(f, "mark9999", "many9");
    assert_true(remove_document(f->s, "many3", 100));
    settle(f->s);
    seal_all(f->s);
    expect(f, "mark3500", "");
    expect(f, "mark4500", "many4");
    assert_verified(f->s, 9, 9000);
    store_close(f->s);
    (void)snprintf(command, sizeof command,
                   "for f in $(ls %s/text | grep -v manifest); do printf xyz | dd of=%s/text/$f "
                   "bs=1 seek=200000 conv=notrunc 2>&1; done >/dev/null",
                   f->dir, f->dir);
    struct error err;
    assert_int_equal(system(command), 0);
    OK(store_open(f->dir, &f->s, &err));
    char got[64];
    found(f->s, &appliance, "mark4500 copper", NULL, 0, got, sizeof got); /* goes on */
    seal_all(f->s);
    expect(f, "mark4500", "many4");
    store_close(f->s);
    (void)snprintf(command, sizeof command, "rm -r %s/text", f->dir);
    assert_int_equal(system(command), 0);
    OK(store_open(f->dir, &f->s, &err));
    seal_all(f->s);
    expect(f, "mark7345", "many7");
    assert_verified(f->s, 9, 9000);
}

static void sequences_rule(void **state)
{
    struct fixture *f = *state;
    put(f, draft("d1", 5, lighthouse, 2), true);
    put(f, draft("d1", 5, lighthouse, 2), true); /* a repetition */
    put(f, draft("d1", 4, ferry, 1), false);
    expect(f, "ferry", "");
    assert_true(!remove_document(f->s, "d1", 4));
    assert_true(remove_document(f->s, "d1", 6));
    put(f, draft("d1", 5, lighthouse, 2), false);
    put(f, draft("d1", 6, lighthouse, 2), false);
    expect(f, "lighthouse", "");
    put(f, draft("d1", 7, lighthouse, 2), true);
    expect(f, "lighthouse", "d1");
    assert_true(remove_document(f->s, "never", 9)); /* leaves a tombstone */
    put(f, draft("never", 8, ferry, 1), false);
    assert_verified(f->s, 1, 2);
}

static void a_file_put_back_to_earlier_content_is_a_new_change(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 3; i++) {
        put(f, draft("d1", 3 * i + 1, lighthouse, 2), true);
        expect(f, "lighthouse", "d1");
        put(f, draft("d1", 3 * i + 2, ferry, 1), true);
        expect(f, "ferry", "d1");
        expect(f, "lighthouse", "");
        if (i == 1) {
            settle(f->s);
        }
        put(f, draft("d1", 3 * i + 3, lighthouse, 2), true);
        expect(f, "lighthouse", "d1");
        expect(f, "ferry", "");
    }
    assert_verified(f->s, 1, 2);
    settle(f->s);
    assert_verified(f->s, 1, 2);
}

static void a_content_is_stored_once_and_known(void **state)
{
    struct fixture *f = *state;
    struct error err;
    Vs__PutReply r;
    Vs__HasContentRequest has = VS__HAS_CONTENT_REQUEST__INIT;
    Vs__HasContentReply hr = VS__HAS_CONTENT_REPLY__INIT;
    uint8_t hash[SHA256_BYTES];
    uint64_t size;
    struct draft d = draft("d2", 2, lighthouse, 2);
    d.known = true;
    assert_int_equal(put_draft(f->s, &d, &r, &err), STATUS_BUSY); /* not there */
    put(f, draft("d1", 1, lighthouse, 2), true);
    hash_draft(&d, hash, &size);
    has.hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    has.pipeline = (char *)(uintptr_t) "test-1";
    OK(store_has_content(f->s, &has, &hr, &err));
    assert_true(hr.present);
    assert_int_equal(hr.chunks, 2);
    OK(put_draft(f->s, &d, &r, &err));
    assert_true(r.applied);
    assert_int_equal(r.chunks, 2);
    assert_verified(f->s, 2, 2);
    assert_true(remove_document(f->s, "d1", 3));
    expect(f, "lighthouse", "d2");
    settle(f->s);
    assert_verified(f->s, 1, 2);
}

static void a_move_changes_the_place_only(void **state)
{
    struct fixture *f = *state;
    struct error err;
    Vs__MoveRequest m = VS__MOVE_REQUEST__INIT;
    Vs__MoveReply r = VS__MOVE_REPLY__INIT;
    Vs__Location l = VS__LOCATION__INIT;
    char *hr[] = {(char *)(uintptr_t) "hr"};
    put(f, draft("d1", 1, lighthouse, 2), true);
    l.document = (char *)(uintptr_t) "d1";
    l.path = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "hr/new.txt", .len = 10};
    l.source = (char *)(uintptr_t) "watch";
    l.collection = hr[0];
    l.sequence = 2;
    m.location = &l;
    OK(store_move(f->s, &m, &r, &err));
    assert_true(r.applied);
    char got[128];
    char *other[] = {(char *)(uintptr_t) "default"};
    found(f->s, &appliance, "lighthouse", hr, 1, got, sizeof got);
    assert_string_equal(got, "d1");
    found(f->s, &appliance, "lighthouse", other, 1, got, sizeof got);
    assert_string_equal(got, "");
    l.sequence = 1;
    OK(store_move(f->s, &m, &r, &err));
    assert_false(r.applied);
    l.document = (char *)(uintptr_t) "unknown";
    assert_int_equal(store_move(f->s, &m, &r, &err), STATUS_NOT_FOUND);
    assert_verified(f->s, 1, 2);
}

static void put_slides(struct fixture *f, const char *const *whole)
{
    static const struct {
        uint32_t start, end;
        const char *context, *unit;
    } cut[] = {{0, 20, NULL, "slide 1"},
               {9, 30, "Name | Price\nof all", "slide 1"},
               {32, 44, NULL, "slide 2"}};
    struct error err;
    struct put *p = NULL;
    Vs__PutReply r = VS__PUT_REPLY__INIT;
    struct draft d = draft("d1", 1, whole, 1);
    OK(begin_draft(f->s, &d, &p, &err));
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    m.has_original = m.has_text = true;
    m.text.data = m.original.data = (uint8_t *)(uintptr_t)whole[0];
    m.text.len = m.original.len = strlen(whole[0]);
    OK(store_put_add(p, &m, &err));
    for (uint32_t i = 0; i < 3; i++) {
        Vs__Chunk c = VS__CHUNK__INIT, *list[] = {&c};
        c.ordinal = i;
        c.start = cut[i].start;
        c.end = cut[i].end;
        c.text.data = (uint8_t *)(uintptr_t)whole[0] + cut[i].start;
        c.text.len = cut[i].end - cut[i].start;
        c.heading_path = (char *)(uintptr_t) "A > B";
        c.context = (char *)(uintptr_t)cut[i].context;
        c.unit = (char *)(uintptr_t)cut[i].unit;
        m = (Vs__PutRequest)VS__PUT_REQUEST__INIT;
        m.chunks = list;
        m.n_chunks = 1;
        OK(store_put_add(p, &m, &err));
    }
    OK(store_put_commit(p, &r, &err));
    store_put_end(p);
}

/* Chunks may overlap: widened, nothing is said twice, and a slide does not widen into the next.
 * What is said again before a chunk is found by and shown, but is no part of its text. */
static void overlapping_passages_widen_to_their_range(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct arena a;
    Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
    Vs__SearchTextReply r;
    Vs__FetchRequest fr = VS__FETCH_REQUEST__INIT;
    Vs__FetchReply out;
    static const char *const whole[] = {"One two. Three four. Five six.\n\nOther slide."};
    put_slides(f, whole);
    arena_init(&a, (size_t)16 * 1024 * 1024);
    q.query = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "price six", .len = 9};
    q.limit = 10;
    OK(store_search_text(f->s, &appliance, &q, &a, &r, &err));
    assert_int_equal(r.n_hits, 1); /* "price" stands in its context alone */
    fr.chunks = &r.hits[0]->chunk;
    fr.n_chunks = 1;
    OK(store_fetch(f->s, &appliance, &fr, &a, &out, &err));
    const Vs__Passage *p = out.passages[0];
    assert_string_equal(p->unit, "slide 1");
    assert_string_equal(p->context, "Name | Price\nof all");
    assert_string_equal(p->heading_path, "A > B");
    assert_int_equal(p->start, 9);
    fr.has_widen = true;
    fr.widen = 2;
    OK(store_fetch(f->s, &appliance, &fr, &a, &out, &err));
    p = out.passages[0];
    assert_int_equal(p->start, 0);
    assert_int_equal(p->end, 30);
    assert_int_equal(p->text.len, 30);
    assert_memory_equal(p->text.data, whole[0], 30);
    assert_null(p->context);
    arena_reset(&a);
    assert_verified(f->s, 1, 3);
}

/* The whole document as one chunk, under another pipeline's name. */
static bool recut(struct fixture *f, const char *document, uint64_t sequence, const char *pipeline,
                  const char *text)
{
    struct error err;
    struct put *p = NULL;
    Vs__PutReply r = VS__PUT_REPLY__INIT;
    Vs__Location l = VS__LOCATION__INIT;
    Vs__PutRequest__Begin b = VS__PUT_REQUEST__BEGIN__INIT;
    l.document = (char *)(uintptr_t)document;
    l.source = l.collection = b.format = (char *)(uintptr_t) "";
    l.sequence = sequence;
    b.location = &l;
    b.pipeline = (char *)(uintptr_t)pipeline;
    b.has_recut = b.recut = true;
    OK(store_put_begin(f->s, &b, &p, &err));
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    Vs__Chunk c = VS__CHUNK__INIT, *list[] = {&c};
    c.end = (uint32_t)strlen(text);
    c.text = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = strlen(text)};
    m.chunks = list;
    m.n_chunks = 1;
    OK(store_put_add(p, &m, &err));
    OK(store_put_commit(p, &r, &err));
    store_put_end(p);
    return r.applied;
}

static void a_document_is_cut_anew(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct arena a;
    Vs__ListVersionsRequest lv = VS__LIST_VERSIONS_REQUEST__INIT;
    Vs__ListVersionsReply past, now;
    const char *whole =
        "The lighthouse keeper is called Osgood.\n\nHe polishes the lens on Mondays.";
    arena_init(&a, (size_t)16 * 1024 * 1024);
    store_retain_versions(f->s, 1000000);
    put(f, draft("d1", 3, lighthouse, 2), true);
    put(f, draft("d2", 4, lighthouse, 2), true); /* the same content */
    lv.document = (char *)(uintptr_t) "d1";
    OK(store_list_versions(f->s, &appliance, &lv, &a, &past, &err));
    assert_false(recut(f, "d1", 2, "test-2", whole)); /* it has changed since */
    assert_false(recut(f, "gone", 2, "test-2", whole));
    assert_verified(f->s, 2, 2);
    assert_true(recut(f, "d1", 3, "test-2", whole));
    expect(f, "lighthouse Mondays", "d1,d2,d2");
    assert_verified(f->s, 2, 3); /* d2 has the old chunks */
    OK(store_list_versions(f->s, &appliance, &lv, &a, &now, &err));
    assert_int_equal(now.n_versions, past.n_versions);
    assert_int_equal(now.versions[0]->valid_from_ms, past.versions[0]->valid_from_ms);
    assert_true(recut(f, "d1", 3, "test-2", whole)); /* again: nothing happens */
    assert_true(recut(f, "d2", 4, "test-2", whole)); /* known already */
    settle(f->s);
    assert_verified(f->s, 2, 1);
    assert_true(remove_document(f->s, "d1", 5));
    assert_false(recut(f, "d1", 5, "test-3", whole)); /* it does not come back */
    expect(f, "lighthouse Mondays", "d2");
    arena_reset(&a);
}

static void passages_say_where_they_are(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct arena a;
    Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
    Vs__SearchTextReply r;
    Vs__FetchRequest fr = VS__FETCH_REQUEST__INIT;
    Vs__FetchReply out;
    struct draft d = draft("d1", 1, lighthouse, 2);
    d.label = "internal";
    d.title = "The coast";
    put(f, d, true);
    d.document = "d2";
    d.label = "restricted";
    d.sequence = 2;
    put(f, d, true);
    arena_init(&a, (size_t)16 * 1024 * 1024);
    q.query = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "polishes lens", .len = 13};
    q.limit = 10;
    OK(store_search_text(f->s, &appliance, &q, &a, &r, &err));
    assert_int_equal(r.n_hits, 1);
    fr.chunks = &r.hits[0]->chunk;
    fr.n_chunks = 1;
    OK(store_fetch(f->s, &appliance, &fr, &a, &out, &err));
    assert_int_equal(out.n_passages, 1);
    assert_string_equal(out.passages[0]->label, "restricted"); /* of all its locations */
    assert_string_equal(out.passages[0]->document, "d1");
    assert_string_equal(out.passages[0]->title, "The coast");
    assert_memory_equal(out.passages[0]->text.data, lighthouse[1], strlen(lighthouse[1]));
    fr.has_widen = true;
    fr.widen = 1;
    OK(store_fetch(f->s, &appliance, &fr, &a, &out, &err));
    const char *whole =
        "The lighthouse keeper is called Osgood.\n\nHe polishes the lens on Mondays.";
    assert_int_equal(out.passages[0]->text.len, strlen(whole));
    assert_memory_equal(out.passages[0]->text.data, whole, strlen(whole));
    assert_int_equal(out.passages[0]->start, 0);
    assert_int_equal(out.passages[0]->end, strlen(whole));
    d.document = "d3";
    d.label = NULL;
    d.sequence = 3;
    put(f, d, true);
    OK(store_fetch(f->s, &appliance, &fr, &a, &out, &err));
    assert_string_equal(out.passages[0]->label, ""); /* one is unlabelled */
    uint8_t garbage[] = "zz.1";
    ProtobufCBinaryData bad = {.data = garbage, .len = 4};
    fr.chunks = &bad;
    OK(store_fetch(f->s, &appliance, &fr, &a, &out, &err));
    assert_int_equal(out.n_passages, 0);
    arena_reset(&a);
}

static void bad_puts_are_refused_and_leave_nothing(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct put *p = NULL;
    Vs__PutReply r = VS__PUT_REPLY__INIT;
    struct draft d = draft("d1", 1, lighthouse, 2);
    OK(begin_draft(f->s, &d, &p, &err));
    struct draft half = d;
    half.n = 1;
    OK(add_draft(p, &half, &err));
    assert_int_equal(store_put_commit(p, &r, &err), STATUS_INVALID); /* the hash does not match */
    store_put_end(p);
    OK(begin_draft(f->s, &d, &p, &err));
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    Vs__Chunk c = VS__CHUNK__INIT;
    Vs__Chunk *chunks[] = {&c};
    c.ordinal = 7;
    c.text = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "x", .len = 1};
    m.chunks = chunks;
    m.n_chunks = 1;
    assert_int_equal(store_put_add(p, &m, &err), STATUS_INVALID);
    store_put_end(p);
    settle(f->s);
    assert_verified(f->s, 0, 0);
    expect(f, "lighthouse", "");
    char path[256];
    (void)snprintf(path, sizeof path, "rmdir %s/blobs && mkdir %s/blobs", f->dir, f->dir);
    assert_int_equal(system(path), 0); /* the folder was empty */
}

static void many_chunks_go_in_batches(void **state)
{
    struct fixture *f = *state;
    static char room[700][64];
    static const char *texts[700];
    for (size_t i = 0; i < 700; i++) {
        (void)snprintf(room[i], sizeof room[i], "Paragraph number%zu speaks of barnacles.", i);
        texts[i] = room[i];
    }
    put(f, draft("big", 1, texts, 700), true);
    assert_verified(f->s, 1, 700);
    expect(f, "number433", "big");
    put(f, draft("big", 2, ferry, 1), true);
    expect(f, "number433", "");
    settle(f->s);
    assert_verified(f->s, 1, 1);
    struct draft d = draft("cut", 3, texts, 700);
    struct error err;
    struct put *p = NULL;
    OK(begin_draft(f->s, &d, &p, &err));
    OK(add_draft(p, &d, &err));
    store_put_end(p); /* given up after batches were stored */
    expect(f, "number433", "");
    settle(f->s);
    assert_verified(f->s, 1, 1);
}

static void verify_sees_damage(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct arena a;
    Vs__VerifyReply r;
    char command[512];
    put(f, draft("d1", 1, lighthouse, 2), true);
    (void)snprintf(command, sizeof command, "for f in %s/blobs/*; do printf x >> $f; done", f->dir);
    assert_int_equal(system(command), 0);
    arena_init(&a, (size_t)1024 * 1024);
    OK(store_verify(f->s, &appliance, &a, &r, &err));
    assert_int_equal(r.problems, 3); /* sizes of original and text, hash of the original */
    arena_reset(&a);
    store_close(f->s);
    sqlite3 *db;
    (void)snprintf(command, sizeof command, "%s/store.db", f->dir);
    OK(db_open(command, 0, NULL, 0, &db, &err));
    OK(db_exec(db, "UPDATE text_runs SET image=zeroblob(10)", &err));
    db_close(db);
    OK(store_open(f->dir, &f->s, &err));
    OK(store_verify(f->s, &appliance, &a, &r, &err));
    assert_int_equal(r.problems, 3); /* mended while the store opened: it is small */
    arena_reset(&a);
}

static void lists_pages_and_excludes(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct arena a;
    Vs__ListReply r;
    arena_init(&a, (size_t)1024 * 1024);
    put(f, draft("a", 1, lighthouse, 2), true);
    put(f, draft("b", 2, ferry, 1), true);
    put(f, draft("c", 3, whale, 1), true);
    Vs__RemoveRequest m = VS__REMOVE_REQUEST__INIT;
    Vs__RemoveReply rr = VS__REMOVE_REPLY__INIT;
    m.document = (char *)(uintptr_t) "b";
    m.sequence = 4;
    m.has_excluded = m.excluded = true;
    OK(store_remove(f->s, &m, &rr, &err));
    assert_true(rr.applied);
    expect(f, "ferry", "");
    OK(store_list(f->s, &appliance, NULL, "", 2, &a, &r, &err));
    assert_int_equal(r.n_documents, 2);
    assert_true(r.documents[1]->location->excluded);
    OK(store_list(f->s, &appliance, NULL, "b", 2, &a, &r, &err));
    assert_int_equal(r.n_documents, 1);
    assert_string_equal(r.documents[0]->location->document, "c");
    const struct caller caller = {.tenant = "main", .user = "u"};
    const struct asker who = {.caller = &caller};
    OK(store_list(f->s, &who, NULL, "", 9, &a, &r, &err));
    assert_int_equal(r.n_documents, 2);
    assert_verified(f->s, 3, 4);
    put(f, draft("b", 5, ferry, 1), true);
    expect(f, "ferry", "b");
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_document_is_found_and_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_misspelled_word_finds_its_neighbour, setup, teardown),
        cmocka_unit_test_setup_teardown(full_text_is_sealed_merged_and_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(sequences_rule, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_put_back_to_earlier_content_is_a_new_change, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_content_is_stored_once_and_known, setup, teardown),
        cmocka_unit_test_setup_teardown(a_move_changes_the_place_only, setup, teardown),
        cmocka_unit_test_setup_teardown(passages_say_where_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(a_document_is_cut_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(overlapping_passages_widen_to_their_range, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_puts_are_refused_and_leave_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(many_chunks_go_in_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(verify_sees_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_pages_and_excludes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
