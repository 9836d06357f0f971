/* Who is who: identities, signatures, signed callers. */
#include "base/rpc/caller.h"
#include "tests/unit/test.h"

#define NOW 1000000

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < PEER_COUNT; i++) {
        enum peer p = PEER_COUNT;
        assert_true(peer_parse(peer_name((enum peer)i), &p));
        assert_int_equal(p, i);
    }
    enum peer p;
    assert_false(peer_parse("", &p));
    assert_false(peer_parse("Serve", &p));
    assert_false(peer_parse("?", &p));
    assert_string_equal(peer_name(PEER_COUNT), "?");
    assert_string_equal(peer_name((enum peer) - 1), "?");
}

static void test_record(void **state)
{
    (void)state;
    struct identity all[PEER_COUNT], back;
    uint8_t record[IDENTITY_RECORD_BYTES + 1] = {0};
    struct error err;
    identity_make(all);
    identity_encode(&all[PEER_EMBED], record);
    assert_int_equal(identity_decode(record, IDENTITY_RECORD_BYTES, &back, &err), STATUS_OK);
    assert_int_equal(back.self, PEER_EMBED);
    assert_memory_equal(back.secret, all[PEER_EMBED].secret, PEER_SECRET_BYTES);
    assert_memory_equal(back.publics, all[0].publics, sizeof back.publics);

    assert_int_equal(identity_decode(record, IDENTITY_RECORD_BYTES - 1, &back, &err),
                     STATUS_INVALID);
    assert_int_equal(identity_decode(record, IDENTITY_RECORD_BYTES + 1, &back, &err),
                     STATUS_INVALID);
    static const size_t touched[] = {0, 8, 9, 12 + 40};
    for (size_t i = 0; i < COUNT_OF(touched); i++) { /* magic, number of the peer, its public key */
        record[touched[i]] ^= 0x10;
        assert_int_equal(identity_decode(record, IDENTITY_RECORD_BYTES, &back, &err),
                         STATUS_INVALID);
        record[touched[i]] ^= 0x10;
    }
}

static void test_signatures(void **state)
{
    (void)state;
    struct identity all[PEER_COUNT], others[PEER_COUNT];
    uint8_t sig[PEER_SIGNATURE_BYTES];
    identity_make(all);
    identity_make(others);
    identity_sign(&all[PEER_INGEST], "text", 4, sig);
    assert_true(identity_verify(&all[PEER_SERVE], PEER_INGEST, "text", 4, sig));
    assert_false(identity_verify(&all[PEER_SERVE], PEER_INGEST, "texT", 4, sig));
    assert_false(identity_verify(&all[PEER_SERVE], PEER_INGEST, "text", 3, sig));
    assert_false(identity_verify(&all[PEER_SERVE], PEER_EMBED, "text", 4, sig));
    assert_false(identity_verify(&all[PEER_SERVE], PEER_COUNT, "text", 4, sig));
    assert_false(identity_verify(&others[PEER_SERVE], PEER_INGEST, "text", 4, sig));
    sig[10] ^= 1;
    assert_false(identity_verify(&all[PEER_SERVE], PEER_INGEST, "text", 4, sig));
}

struct signed_fixture {
    struct identity all[PEER_COUNT];
    struct arena a;
    const uint8_t *token;
    size_t len;
};

static int sign(void **state)
{
    static const char *const groups[] = {"staff", "\xd8\xb9\xd8\xb1\xd8\xa8"};
    struct signed_fixture *f = calloc(1, sizeof *f);
    struct error err;
    const struct caller c = {.tenant = "main",
                             .user = "key:3f2a",
                             .groups = groups,
                             .n_groups = 2,
                             .admin = true,
                             .expires_wall_ms = NOW + 1};
    if (f == NULL) {
        return 1;
    }
    identity_make(f->all);
    arena_init(&f->a, 1024 * 1024);
    *state = f;
    return caller_sign(&f->all[PEER_SERVE], &c, &f->a, &f->token, &f->len, &err) == STATUS_OK ? 0
                                                                                              : 1;
}

static int forget(void **state)
{
    struct signed_fixture *f = *state;
    arena_reset(&f->a);
    free(f);
    return 0;
}

static void test_caller_verified(void **state)
{
    struct signed_fixture *f = *state;
    struct caller c;
    struct error err;
    assert_int_equal(caller_verify(&f->all[PEER_EMBED], f->token, f->len, NOW, &f->a, &c, &err),
                     STATUS_OK);
    assert_string_equal(c.tenant, "main");
    assert_string_equal(c.user, "key:3f2a");
    assert_int_equal(c.n_groups, 2);
    assert_string_equal(c.groups[0], "staff");
    assert_string_equal(c.groups[1], "\xd8\xb9\xd8\xb1\xd8\xa8");
    assert_true(c.admin);
    assert_int_equal(c.expires_wall_ms, NOW + 1);
}

static void test_caller_expires(void **state)
{
    struct signed_fixture *f = *state;
    struct caller c;
    struct error err;
    assert_int_equal(caller_verify(&f->all[PEER_EMBED], f->token, f->len, NOW + 1, &f->a, &c, &err),
                     STATUS_UNAUTHENTICATED);
    assert_int_equal(caller_read_verified(f->token, f->len, NOW + 1, &f->a, &c, &err),
                     STATUS_UNAUTHENTICATED);
    assert_int_equal(caller_read_verified(f->token, f->len, NOW, &f->a, &c, &err), STATUS_OK);
}

/* No bit of a token may change, none may be missing, none may follow. */
static void test_caller_forged(void **state)
{
    struct signed_fixture *f = *state;
    struct caller c;
    struct error err;
    uint8_t *copy = malloc(f->len + 1);
    assert_non_null(copy);
    for (size_t bit = 0; bit < f->len * 8; bit++) {
        struct arena a;
        arena_init(&a, 64 * 1024);
        memcpy(copy, f->token, f->len);
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(caller_verify(&f->all[PEER_EMBED], copy, f->len, NOW, &a, &c, &err),
                         STATUS_UNAUTHENTICATED);
        arena_reset(&a);
    }
    for (size_t len = 0; len < f->len; len++) {
        assert_int_equal(caller_verify(&f->all[PEER_EMBED], f->token, len, NOW, &f->a, &c, &err),
                         STATUS_UNAUTHENTICATED);
    }
    free(copy);
}

/* Only serve's key counts, and only its own generation's. */
static void test_caller_of_others(void **state)
{
    struct signed_fixture *f = *state;
    struct identity others[PEER_COUNT];
    struct caller c;
    struct error err;
    const struct caller mine = {.tenant = "main", .user = "u", .expires_wall_ms = NOW + 1};
    const uint8_t *token;
    size_t len;
    identity_make(others);
    assert_int_equal(caller_verify(&others[PEER_EMBED], f->token, f->len, NOW, &f->a, &c, &err),
                     STATUS_UNAUTHENTICATED);
    assert_int_equal(caller_sign(&f->all[PEER_RETRIEVE], &mine, &f->a, &token, &len, &err),
                     STATUS_OK);
    assert_int_equal(caller_verify(&f->all[PEER_EMBED], token, len, NOW, &f->a, &c, &err),
                     STATUS_UNAUTHENTICATED);
}

static void test_caller_too_large(void **state)
{
    struct signed_fixture *f = *state;
    static char name[200];
    const char *groups[65];
    struct error err;
    const uint8_t *token;
    size_t len;
    memset(name, 'g', sizeof name - 1);
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        groups[i] = name;
    }
    struct caller c = {.tenant = "t", .user = "u", .groups = groups, .n_groups = 64};
    assert_int_equal(caller_sign(&f->all[PEER_SERVE], &c, &f->a, &token, &len, &err),
                     STATUS_TOO_LARGE);
    c.n_groups = 65;
    assert_int_equal(caller_sign(&f->all[PEER_SERVE], &c, &f->a, &token, &len, &err),
                     STATUS_TOO_LARGE);
    c.n_groups = 15;
    assert_int_equal(caller_sign(&f->all[PEER_SERVE], &c, &f->a, &token, &len, &err), STATUS_OK);
    assert_true(len <= 4096);
}

int main(void)
{
#define SIGNED(t) cmocka_unit_test_setup_teardown(t, sign, forget)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),      cmocka_unit_test(test_record),
        cmocka_unit_test(test_signatures), SIGNED(test_caller_verified),
        SIGNED(test_caller_expires),       SIGNED(test_caller_forged),
        SIGNED(test_caller_of_others),     SIGNED(test_caller_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
