/* The frame codec: what is encoded comes back, cut at every byte, and everything broken is refused.
 * Also what lies under it: checked unpacking, calls by id, deadlines. */
#include "base/clock.h"
#include "base/rpc/deadlines.h"
#include "base/rpc/flow.h"
#include "base/rpc/frame.h"
#include "base/rpc/idmap.h"
#include "base/rpc/message.h"
#include "echo.pb-c.h"
#include "tests/unit/test.h"

#define BODY_MAX 1024

static struct frame_scratch scratch;

static struct out_frame *sample(void)
{
    Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
    h.kind = RPC__FRAME_KIND__REQUEST;
    h.has_id = 1;
    h.id = 300;
    h.method = (char[]){"echo.Echo"};
    h.tenant = (char[]){"main"};
    h.traceparent = (char[]){"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"};
    h.has_time_left_ms = 1;
    h.time_left_ms = 2000;
    h.has_caller = 1;
    h.caller.data = (uint8_t[]){1, 2, 3};
    h.caller.len = 3;
    h.has_has_message = h.has_message = 1;
    struct out_frame *f = frame_encode_bytes(&h, "body", 4);
    assert_non_null(f);
    return f;
}

static void test_every_cut(void **state)
{
    (void)state;
    struct out_frame *f = sample();
    struct frame got;
    struct error err;
    for (size_t len = 0; len < f->len; len++) {
        /* its own allocation, so that reading past the cut is seen */
        uint8_t *cut = malloc(len == 0 ? 1 : len);
        assert_non_null(cut);
        memcpy(cut, f->data, len);
        assert_int_equal(frame_decode(cut, len, BODY_MAX, &scratch, &got, &err), STATUS_OK);
        assert_int_equal(got.size, 0);
        assert_true(got.need > len && got.need <= f->len);
        free(cut);
    }
    assert_int_equal(frame_decode(f->data, f->len, BODY_MAX, &scratch, &got, &err), STATUS_OK);
    assert_int_equal(got.size, f->len);
    assert_int_equal(got.header->kind, RPC__FRAME_KIND__REQUEST);
    assert_int_equal(got.header->id, 300);
    assert_string_equal(got.header->method, "echo.Echo");
    assert_string_equal(got.header->tenant, "main");
    assert_int_equal(got.header->caller.len, 3);
    assert_int_equal(got.body_len, 4);
    assert_memory_equal(got.body, "body", 4);
    free(f);
}

/* A frame whose header or body was changed is refused or understood otherwise, never read past its
 * end. */
static void test_every_flipped_bit(void **state)
{
    (void)state;
    struct out_frame *f = sample();
    unsigned refused = 0;
    for (size_t bit = 0; bit < f->len * 8; bit++) {
        struct frame got;
        struct error err;
        uint8_t *copy = malloc(f->len);
        assert_non_null(copy);
        memcpy(copy, f->data, f->len);
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        enum status s = frame_decode(copy, f->len, BODY_MAX, &scratch, &got, &err);
        assert_true(s == STATUS_OK || s == STATUS_PROTOCOL);
        refused += s == STATUS_PROTOCOL ? 1 : 0;
        free(copy);
    }
    assert_true(refused > 64);
    free(f);
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        uint8_t prefix[8];
        enum status expected;
    } cases[] = {
        {{0, 0, 0, 0, 0, 0, 0, 0}, STATUS_PROTOCOL},             /* no header */
        {{0x01, 0x20, 0, 0, 0, 0, 0, 0}, STATUS_PROTOCOL},       /* 8193 */
        {{0x00, 0x20, 0, 0, 0, 0, 0, 0}, STATUS_OK},             /* 8192 */
        {{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, STATUS_PROTOCOL}, /* 4 GiB */
        {{1, 0, 0, 0, 0x00, 0x04, 0, 0}, STATUS_OK},             /* 1024 */
        {{1, 0, 0, 0, 0x01, 0x04, 0, 0}, STATUS_PROTOCOL},
        {{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, STATUS_PROTOCOL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct frame got;
        struct error err;
        assert_int_equal(frame_decode(cases[i].prefix, 8, BODY_MAX, &scratch, &got, &err),
                         cases[i].expected);
    }
}

static void test_header_fields(void **state)
{
    (void)state;
    static const struct {
        uint8_t header[8];
        size_t len;
        bool good;
    } cases[] = {
        {{0x08, 3}, 2, true},                       /* kind REQUEST */
        {{0x10, 3}, 2, false},                      /* the kind is missing */
        {{0x08, 3, 0xf8, 0x07, 1}, 5, true},        /* a field of a later version */
        {{0x08, 3, 0x1a, 2, 0xc3, 0x28}, 6, false}, /* method is not UTF-8 */
        {{0x08, 3, 0x1a, 2, 'a', 0}, 6, false},     /* method with NUL */
        {{0x08, 3, 0x1a, 9, 'a'}, 5, false},        /* longer than the header */
        {{0x08, 3, 0x0b}, 3, false},                /* a group */
        {{0x08, 3, 0x00, 1}, 4, false},             /* field number 0 */
        {{0x08, 0x80}, 2, false},                   /* an unfinished number */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t bytes[16] = {(uint8_t)cases[i].len};
        struct frame got;
        struct error err;
        memcpy(bytes + 8, cases[i].header, cases[i].len);
        enum status s = frame_decode(bytes, 8 + cases[i].len, BODY_MAX, &scratch, &got, &err);
        assert_int_equal(s == STATUS_OK, cases[i].good);
    }
}

static void test_text_valid(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        bool valid;
    } cases[] = {
        {"", 0, true},
        {"plain text, longer than eight", 29, true},
        {"\xd8\xb9\xd8\xb1\xd8\xa8\xd9\x8a", 8, true},
        {"\xf0\x9f\x93\x9a", 4, true},
        {"12345678\0abcdefgh", 17, false},
        {"\xf0\x9f\x93", 3, false},
        {"\x80", 1, false},
        {"\xc0\x80", 2, false},
        {"\xe0\x9f\xbf", 3, false},
        {"\xed\xa0\x80", 3, false},
        {"\xf4\x90\x80\x80", 4, false},
        {"\xf5\x80\x80\x80", 4, false},
        {"abcdefg\xff", 8, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(message_text_valid((const uint8_t *)cases[i].bytes, cases[i].len),
                         cases[i].valid);
    }
}

static void test_unpack_ceiling(void **state)
{
    (void)state;
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    uint8_t bytes[4096];
    ProtobufCMessage *m;
    struct error err;
    struct arena small, enough;
    q.has_blob = 1;
    q.blob.len = 3000;
    q.blob.data = calloc(1, q.blob.len);
    assert_non_null(q.blob.data);
    size_t len = echo__echo_request__pack(&q, bytes);
    free(q.blob.data);
    arena_init(&small, 1000);
    arena_init(&enough, message_memory_max(len));
    assert_int_equal(message_unpack(&echo__echo_request__descriptor, bytes, len, &small, &m, &err),
                     STATUS_TOO_LARGE);
    assert_int_equal(message_unpack(&echo__echo_request__descriptor, bytes, len, &enough, &m, &err),
                     STATUS_OK);
    assert_int_equal(message_unpack(&echo__echo_request__descriptor, NULL, 0, &enough, &m, &err),
                     STATUS_OK);
    for (size_t cut = 1; cut < len; cut += 97) {
        assert_int_equal(
            message_unpack(&echo__echo_request__descriptor, bytes, cut, &enough, &m, &err),
            STATUS_PROTOCOL);
    }
    arena_reset(&small);
    arena_reset(&enough);
}

static void test_idmap(void **state)
{
    (void)state;
    struct idmap m = {0};
    static char values[5000];
    static bool there[5000];
    uint32_t seed = 7;
    for (int step = 0; step < 200000; step++) {
        seed = seed * 1664525U + 1013904223U;
        uint32_t id = seed >> 8 & 4095;
        if (id == 0) {
            continue;
        }
        assert_ptr_equal(idmap_get(&m, id), there[id] ? &values[id] : NULL);
        if (there[id]) {
            idmap_remove(&m, id);
        } else {
            assert_true(idmap_put(&m, id, &values[id]));
        }
        there[id] = !there[id];
    }
    for (uint32_t id = 1; id < 4096; id++) {
        assert_ptr_equal(idmap_get(&m, id), there[id] ? &values[id] : NULL);
        idmap_remove(&m, id);
    }
    assert_int_equal(m.len, 0);
    idmap_deinit(&m);
}

static void test_flow(void **state)
{
    (void)state;
    struct flow_in in;
    flow_in_init(&in, 1000);
    assert_true(flow_in_arrived(&in, 900));
    assert_true(flow_in_arrived(&in, 5000)); /* the last one may overshoot */
    assert_false(flow_in_arrived(&in, 0));
    flow_in_init(&in, 1000);
    assert_true(flow_in_arrived(&in, 400));
    assert_int_equal(flow_in_delivered(&in, 400), 0);
    assert_true(flow_in_arrived(&in, 100));
    assert_int_equal(flow_in_delivered(&in, 100), 500 + 2 * FRAME_COST);
    assert_int_equal(in.granted, 1000);
}

static unsigned due_order[1000];
static unsigned n_due;

struct numbered {
    struct deadline d;
    unsigned number;
};

static void on_due(struct deadline *d)
{
    due_order[n_due++] = list_entry(d, struct numbered, d)->number;
}

static void test_deadlines(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct deadlines ds;
    static struct numbered all[1000];
    int64_t now = clock_monotonic_ms();
    assert_int_equal(uv_loop_init(&loop), 0);
    deadlines_init(&ds, &loop, on_due);
    n_due = 0;
    for (unsigned i = 0; i < 1000; i++) {
        unsigned number = (i * 617) % 1000; /* a permutation */
        all[number] = (struct numbered){{now + number / 10, DEADLINE_NONE}, number};
        assert_true(deadlines_add(&ds, &all[number].d));
    }
    for (unsigned i = 1; i < 1000; i += 2) {
        deadlines_remove(&ds, &all[i].d);
        deadlines_remove(&ds, &all[i].d);
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* ends by itself: the timer stops with the last one */
    assert_true(clock_monotonic_ms() >= now + 99);
    assert_int_equal(n_due, 500);
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(due_order[i] % 2, 0);
        assert_true(i == 0 || due_order[i - 1] / 10 <= due_order[i] / 10);
    }
    deadlines_close(&ds, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),  cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_header_fields),
        cmocka_unit_test(test_text_valid), cmocka_unit_test(test_unpack_ceiling),
        cmocka_unit_test(test_idmap),      cmocka_unit_test(test_flow),
        cmocka_unit_test(test_deadlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
