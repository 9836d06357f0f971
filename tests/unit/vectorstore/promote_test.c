/* Candidates, promotion, holding back and removal of encoders in one store. */
#include "fixture.h"

#include "base/clock.h"
#include "base/file.h"

#define DIMS 4U

struct world {
    char dir[64];
    struct store *s;
};

static int setup(void **state)
{
    struct error err;
    static const char *const texts[] = {"one pear", "two plums", "three figs"};
    struct draft d = {.document = "d", .sequence = 1, .texts = texts, .n = 3};
    Vs__PutReply r;
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    temp_dir(w->dir);
    OK(store_open(w->dir, &w->s, &err));
    store_keep_encoders(w->s, 86400000);
    OK(put_draft(w->s, &d, &r, &err));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    store_close(w->s);
    drop_dir(w->dir);
    free(w);
    return 0;
}

static void fill(struct store *s, const char *encoder)
{
    struct error err;
    struct arena a;
    Vs__ScanReply page;
    bool last;
    uint16_t v[DIMS] = {half_from_float(1)};
    arena_init(&a, (size_t)1024 * 1024);
    OK(store_scan(s, encoder, (ProtobufCBinaryData){0}, 0, &a, &page, &last, &err));
    Vs__PutVectorsRequest__Item items[8];
    Vs__PutVectorsRequest__Item *list[8];
    assert_true(page.n_items <= 8);
    for (size_t i = 0; i < page.n_items; i++) {
        vs__put_vectors_request__item__init(&items[i]);
        items[i].key = page.items[i]->key;
        items[i].vector = (ProtobufCBinaryData){.data = (uint8_t *)v, .len = sizeof v};
        list[i] = &items[i];
    }
    Vs__PutVectorsRequest m = VS__PUT_VECTORS_REQUEST__INIT;
    Vs__PutVectorsReply r = VS__PUT_VECTORS_REPLY__INIT;
    m.encoder = (char *)(uintptr_t)encoder;
    m.items = list;
    m.n_items = page.n_items;
    OK(store_put_vectors(s, &m, &r, &err));
    arena_reset(&a);
}

static void candidate(struct store *s, const char *name, const char *state)
{
    struct error err;
    const char *is = "";
    OK(store_put_candidate(s, name, DIMS, 3, STR("fit"), &is, &err));
    assert_string_equal(is, state);
}

static void published(struct store *s, const char *name)
{
    struct error err;
    OK(store_put_encoder(s, name, DIMS, 3, STR("fit"), &err));
    fill(s, name);
    Vs__PublishRequest m = VS__PUBLISH_REQUEST__INIT;
    Vs__PublishReply r = VS__PUBLISH_REPLY__INIT;
    m.encoder = (char *)(uintptr_t)name;
    OK(store_publish(s, &m, &r, &err));
}

static void hold_back(struct store *s, const char *name, enum status expected)
{
    struct error err;
    Vs__HoldBackRequest m = VS__HOLD_BACK_REQUEST__INIT;
    Vs__Comparison c = VS__COMPARISON__INIT;
    c.against = c.verdict = (char *)(uintptr_t) "worse";
    m.encoder = (char *)(uintptr_t)name;
    m.comparison = &c;
    assert_int_equal(store_hold_back(s, &m, &err), expected);
}

static Vs__PromoteReply promote(struct store *s, const char *name, bool compare)
{
    struct error err;
    struct arena a;
    Vs__PromoteRequest m = VS__PROMOTE_REQUEST__INIT;
    Vs__PromoteReply r = VS__PROMOTE_REPLY__INIT;
    arena_init(&a, 65536);
    m.encoder = (char *)(uintptr_t)name;
    m.has_compare = m.compare = compare;
    OK(store_promote(s, &m, &a, &r, &err));
    r.encoder = NULL;
    arena_reset(&a);
    return r;
}

/* "name state, ..." of all but the retired ones. */
static void stand(struct store *s, const char *expected)
{
    struct error err;
    struct arena a;
    Vs__ListEncodersReply l = VS__LIST_ENCODERS_REPLY__INIT;
    char text[512] = "";
    size_t n = 0;
    arena_init(&a, 65536);
    OK(store_list_encoders(s, &a, &l, &err));
    for (size_t i = 0; i < l.n_encoders; i++) {
        if (strcmp(l.encoders[i]->state, "retired") != 0) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %s", n > 0 ? ", " : "",
                                  l.encoders[i]->name, l.encoders[i]->state);
        }
    }
    assert_string_equal(text, expected);
    arena_reset(&a);
}

static void candidates_stand_beside(void **state)
{
    struct store *s = ((struct world *)*state)->s;
    struct error err;
    struct arena a;
    Vs__StatusReply r;
    published(s, "old");
    candidate(s, "c1", "candidate");
    candidate(s, "c1", "candidate");
    candidate(s, "old", "published");
    stand(s, "old published, c1 candidate");
    arena_init(&a, 65536);
    OK(store_status(s, &a, &r, &err));
    assert_string_equal(r.candidate, "c1");
    assert_int_equal(r.candidate_missing, 3);
    assert_null(r.building);
    fill(s, "c1");
    OK(store_status(s, &a, &r, &err));
    assert_null(r.candidate); /* complete */
    candidate(s, "c2", "candidate");
    candidate(s, "c3", "candidate");
    const char *is;
    assert_int_equal(store_put_candidate(s, "c4", DIMS, 3, STR("fit"), &is, &err), STATUS_CONFLICT);
    assert_int_equal(store_remove_encoder(s, "old", &err), STATUS_CONFLICT);
    assert_int_equal(store_remove_encoder(s, "none", &err), STATUS_NOT_FOUND);
    OK(store_remove_encoder(s, "c2", &err));
    assert_int_equal(store_remove_encoder(s, "c2", &err), STATUS_NOT_FOUND);
    candidate(s, "c4", "candidate");
    stand(s, "old published, c1 candidate, c3 candidate, c4 candidate");
    published(s, "next"); /* a fit by growth leaves candidates alone */
    stand(s, "old kept, c1 candidate, c3 candidate, c4 candidate, next published");
    settle(s);
    assert_verified(s, 1, 3);
    arena_reset(&a);
}

static void promotion_waits_for_the_comparison_or_not(void **state)
{
    struct store *s = ((struct world *)*state)->s;
    struct error err;
    candidate(s, "c1", "candidate");
    fill(s, "c1");
    assert_true(promote(s, "c1", true).now); /* nothing to be compared with */
    stand(s, "c1 published");
    candidate(s, "c2", "candidate");
    fill(s, "c2");
    Vs__PromoteReply r = promote(s, "c2", true);
    assert_false(r.now);
    assert_true(r.has_comparing && r.comparing);
    stand(s, "c1 published, c2 building");
    hold_back(s, "c2", STATUS_OK);
    stand(s, "c1 published, c2 candidate");
    hold_back(s, "c2", STATUS_OK); /* its figures once more */
    hold_back(s, "c1", STATUS_CONFLICT);
    assert_true(promote(s, "c2", false).now); /* whatever it said */
    stand(s, "c1 kept, c2 published");
    assert_false(promote(s, "c1", true).now);
    hold_back(s, "c1", STATUS_OK); /* where it was */
    stand(s, "c1 kept, c2 published");
    assert_true(promote(s, NULL, false).now); /* rollback */
    stand(s, "c1 published, c2 kept");
    OK(store_remove_encoder(s, "c2", &err));
    settle(s);
    assert_verified(s, 1, 3);
}

static void growth_that_was_held_back_settles(void **state)
{
    struct store *s = ((struct world *)*state)->s;
    struct error err;
    struct arena a;
    Vs__StatusReply r;
    OK(store_put_encoder(s, "first", DIMS, 1, STR("fit"), &err));
    assert_int_equal(store_remove_encoder(s, "first", &err), STATUS_CONFLICT); /* the only one */
    hold_back(s, "first", STATUS_CONFLICT);
    published(s, "first");
    for (int i = 0; i < 3; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "g%d", i);
        OK(store_put_encoder(s, name, DIMS, 3, STR("fit"), &err));
        fill(s, name);
        hold_back(s, name, STATUS_OK);
    }
    stand(s, "first published, g2 candidate"); /* of those held back only the last */
    arena_init(&a, 65536);
    OK(store_status(s, &a, &r, &err));
    assert_int_equal(r.fitted_on, 3); /* growth counts from here */
    arena_reset(&a);
    settle(s);
    assert_verified(s, 1, 3);
}

static void put(struct store *s, const char *document, uint64_t sequence, const char *text)
{
    struct error err;
    Vs__PutReply r;
    const char *texts[] = {text};
    struct draft d = {.document = document, .sequence = sequence, .texts = texts, .n = 1};
    OK(put_draft(s, &d, &r, &err));
}

static void erase(struct store *s, const char *document, uint64_t sequence)
{
    struct error err;
    char *list[] = {(char *)(uintptr_t)document};
    Vs__EraseRequest m = VS__ERASE_REQUEST__INIT;
    Vs__EraseReply r = VS__ERASE_REPLY__INIT;
    Vs__ScrubRequest step = VS__SCRUB_REQUEST__INIT;
    Vs__ScrubReply stepped = VS__SCRUB_REPLY__INIT;
    m.documents = list;
    m.n_documents = 1;
    m.sequence = sequence;
    OK(store_erase(s, &m, &r, &err));
    step.step = VS__SCRUB_REQUEST__STEP__CONTENTS;
    while (!stepped.done) {
        OK(store_scrub(s, &step, &stepped, &err));
    }
}

static bool intact(struct store *s, const char *name)
{
    struct error err;
    struct arena a;
    bool is = false;
    Vs__ListEncodersReply r = VS__LIST_ENCODERS_REPLY__INIT;
    arena_init(&a, (size_t)1024 * 1024);
    OK(store_list_encoders(s, &a, &r, &err));
    for (size_t i = 0; i < r.n_encoders; i++) {
        is = is || (strcmp(r.encoders[i]->name, name) == 0 && r.encoders[i]->intact);
    }
    arena_reset(&a);
    return is;
}

/* What came after a fit may go again without the fit knowing of it; what it was made of may not,
 * nor what went while it was made. */
static void a_fit_knows_what_was_there(void **state)
{
    struct world *w = *state;
    struct error err;
    struct arena a;
    ProtobufCBinaryData basis = {0};
    arena_init(&a, 65536);
    OK(store_scan_basis(w->s, &a, &basis, &err));
    put(w->s, "meanwhile", 2, "four quinces");
    published(w->s, "clean");
    assert_false(intact(w->s, "clean")); /* nobody said what it was fitted on */
    OK(store_encoder_basis(w->s, "clean", basis, &err));
    assert_true(intact(w->s, "clean"));
    put(w->s, "later", 3, "five medlars");
    erase(w->s, "later", 4);
    assert_true(intact(w->s, "clean"));
    store_close(w->s);
    OK(store_open(w->dir, &w->s, &err));
    assert_true(intact(w->s, "clean"));
    erase(w->s, "meanwhile", 5); /* the scan may have met it */
    assert_false(intact(w->s, "clean"));

    OK(store_scan_basis(w->s, &a, &basis, &err));
    put(w->s, "short", 6, "six sloes");
    erase(w->s, "short", 7);
    candidate(w->s, "c1", "candidate");
    OK(store_encoder_basis(w->s, "c1", basis, &err));
    assert_false(intact(w->s, "c1"));
    basis.len--;
    assert_int_equal(store_encoder_basis(w->s, "c1", basis, &err), STATUS_INVALID);
    arena_reset(&a);
}

/* What was promoted and waits goes back when something else takes its place: nothing is lost, and
 * it does not publish itself later. */
static void what_waits_goes_back_to_where_it_was(void **state)
{
    struct store *s = ((struct world *)*state)->s;
    published(s, "old");
    candidate(s, "c1", "candidate");
    fill(s, "c1");
    candidate(s, "c2", "candidate");
    fill(s, "c2");
    assert_false(promote(s, "c1", true).now); /* waits to be compared */
    assert_true(promote(s, "c2", false).now);
    stand(s, "old kept, c1 candidate, c2 published");
    assert_false(promote(s, "c1", true).now);
    assert_false(promote(s, "old", true).now); /* the other branch */
    stand(s, "old building, c1 candidate, c2 published");
    struct error err;
    OK(store_put_encoder(s, "growth", DIMS, 3, STR("fit"), &err));
    stand(s, "old kept, c1 candidate, c2 published, growth building");
    candidate(s, "c3", "candidate");
    assert_false(promote(s, "c3", false).now); /* for lack of vectors */
    stand(s, "old kept, c1 candidate, c2 published, c3 building");
    published(s, "next");
    settle(s);
    stand(s, "c1 candidate, c2 kept, c3 candidate, next published");
    assert_true(promote(s, "c1", false).now); /* its vectors are all there */
    assert_verified(s, 1, 3);
}

static bool has_fit(const struct world *w, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/encoder/%s", w->dir, name);
    return access(path, F_OK) == 0;
}

static void a_refused_encoder_leaves_no_file(void **state)
{
    struct world *w = *state;
    struct error err;
    char path[128];
    const char *is;
    published(w->s, "old");
    candidate(w->s, "c1", "candidate");
    candidate(w->s, "c2", "candidate");
    candidate(w->s, "c3", "candidate");
    assert_false(promote(w->s, "c3", true).now); /* it may come back: still one of three */
    assert_int_equal(store_put_candidate(w->s, "c4", DIMS, 3, STR("fit"), &is, &err),
                     STATUS_CONFLICT);
    assert_false(has_fit(w, "c4"));
    assert_int_equal(store_put_encoder(w->s, "c1", DIMS + 1, 3, STR("other"), &err),
                     STATUS_CONFLICT);
    /* one that a version before left, and a temporary one */
    (void)snprintf(path, sizeof path, "%s/encoder/c4", w->dir);
    OK(file_write_atomic(path, "fit", 3, 0600, &err));
    (void)snprintf(path, sizeof path, "%s/encoder/c5.1.tmp", w->dir);
    OK(file_write_atomic(path, "fit", 3, 0600, &err));
    store_close(w->s);
    OK(store_open(w->dir, &w->s, &err));
    assert_false(has_fit(w, "c4"));
    assert_false(has_fit(w, "c5.1.tmp"));
    assert_true(has_fit(w, "c1"));
    assert_true(has_fit(w, "old"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_fit_knows_what_was_there, setup, teardown),
        cmocka_unit_test_setup_teardown(candidates_stand_beside, setup, teardown),
        cmocka_unit_test_setup_teardown(promotion_waits_for_the_comparison_or_not, setup, teardown),
        cmocka_unit_test_setup_teardown(growth_that_was_held_back_settles, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waits_goes_back_to_where_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_encoder_leaves_no_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
