/* The beginning of a job that is its end already: a call to the store that cannot begin. */
#include "tests/unit/test.h"

#include "ingest/job_internal.h"
#include "ingest/queue.h"
#include "ingest/recut.h"

struct rpc_request *__wrap_rpc_client_start(void);
struct rpc_client *__wrap_service_client(void);

static unsigned asked;

struct rpc_request *__wrap_rpc_client_start(void)
{
    asked++;
    return NULL;
}

struct rpc_client *__wrap_service_client(void)
{
    return NULL;
}

static void removals_that_cannot_be_asked_for(void **state)
{
    (void)state;
    static const enum file_op ops[] = {FILE_OP_REMOVE, FILE_OP_TRASH, FILE_OP_EXCLUDE};
    uv_loop_t loop;
    struct settings settings = {0};
    struct ingest in = {.loop = &loop, .settings = &settings};
    struct tenant t = {.in = &in, .id = "main"};
    assert_int_equal(uv_loop_init(&loop), 0);
    list_init(&in.tenants);
    list_init(&in.want_extractor);
    list_init(&in.want_extractor_large);
    list_init(&t.deletes);
    held_init(&t.held);
    t.queue = queue_new(&t);
    t.recut = recut_new(&t);
    assert_non_null(t.queue);
    assert_non_null(t.recut);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct file_row row = {.id = 7, .path = STR("a.txt"), .op = ops[i], .wanted = 3};
        row.collection = row.title = row.author = row.language = row.format = "";
        (void)snprintf(row.document, sizeof row.document, "a0000000000000000000000001");
        (void)queue_adopt(t.queue, &row);
        assert_int_equal(asked, i + 1);
        assert_int_equal(in.active, 0);
        assert_int_equal(queue_working(t.queue), 0);
        assert_string_not_equal(queue_held(t.queue), ""); /* and is not asked again at once */
    }
    queue_close(t.queue);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    queue_free(t.queue);
    recut_free(t.recut);
    held_deinit(&t.held);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* A PDF may have pages that were not read and files attached that were left out. */
static void test_notes(void **state)
{
    struct arena a;
    (void)state;
    arena_init(&a, 4096);
    assert_null(job_notes(&a, NULL, NULL));
    assert_string_equal(job_notes(&a, NULL, ""), "");
    assert_string_equal(job_notes(&a, "", NULL), "");
    assert_string_equal(job_notes(&a, "page 2", NULL), "page 2");
    assert_string_equal(job_notes(&a, "", "left out"), "left out");
    assert_string_equal(job_notes(&a, "page 2", "left out"), "page 2; left out");
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notes),
        cmocka_unit_test(removals_that_cannot_be_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
