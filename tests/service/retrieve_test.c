/* carrel-retrieve as a process: what it asks of those below it and what it makes of their answers.
 */
#include "tests/service/retrieve_world.h"

#define DEFAULT RT__SEARCH_REQUEST__MODE__DEFAULT

static void test_everything_up(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    struct answer a = ask(w, "notice period", DEFAULT, false, 3);
    assert_int_equal(a.error.code, STATUS_OK);
    /* text a 1, c .5 (folded into a), b 0; dense d 1, b 0: halves of each */
    assert_string_equal(a.order, "adb");
    assert_string_equal(a.folded, "c.md p.3");
    assert_true(a.first > .49F && a.first < .51F);
    assert_int_equal(a.text_rank, 1);
    assert_string_equal(a.encoder, "carrel-lsa-1");
    assert_string_equal(a.note, "");
    assert_true(a.share > .49F);
    assert_string_equal(w->last_tenant, "main");
    assert_int_equal(w->last_limit, 100);
    assert_int_equal(w->last_earlier, 1);
    assert_int_equal(w->last_collections, 1);
    assert_int_equal(w->encodes, 1);
    a = ask(w, "notice period", DEFAULT, true, 4);
    assert_string_equal(a.order, "adcb");
    assert_string_equal(a.folded, "");
    assert_int_equal(w->encodes, 2);
    a = ask(w, "notice period", DEFAULT, true, 2);
    assert_string_equal(a.order, "ad");
    assert_int_equal(w->last_fetched, 2);
    a = ask(w, "nothing in text", DEFAULT, false, 5);
    assert_string_equal(a.order, "db");
    assert_int_equal(a.dense_rank, 1);
    finish(w);
}

static void test_reranker(void **state)
{
    (void)state;
    struct world *w = begin_with(
        true, true, "retrieve:\n  lsa_weight: 1\nreranker:\n  model: judge\n  budget: 1500ms\n");
    struct answer a = ask(w, "notice period", DEFAULT, true, 2);
    assert_int_equal(a.error.code, STATUS_OK);
    assert_string_equal(a.order, "db"); /* b stood last of the four, and was not fetched for two */
    assert_string_equal(a.reranker, "judge");
    assert_int_equal(a.reranked, 4);
    assert_int_equal(a.rank_before, 2);
    assert_true(a.rerank_score > 3.9F && a.first > .98F && a.fused < .6F);
    assert_string_equal(a.note, "");
    assert_string_equal(w->rerank_query, "notice period");
    assert_string_equal(w->rerank_first, "The notice");
    assert_true(w->rerank_budget > 1000 && w->rerank_budget <= 1500);
    a = ask(w, "notice period", DEFAULT, false, 4);
    assert_string_equal(a.order, "dba"); /* c folds into a still */
    w->rerank_time = 2;                  /* a and d only */
    a = ask(w, "notice period", DEFAULT, true, 4);
    assert_string_equal(a.order, "dacb");
    assert_int_equal(a.reranked, 2);
    assert_non_null(strstr(a.note, "time for 2 of the best 4"));
    w->rerank_fails = STATUS_UNAVAILABLE;
    a = ask(w, "notice period", DEFAULT, true, 4);
    assert_string_equal(a.order, "adcb");
    assert_string_equal(a.reranker, "");
    assert_non_null(strstr(a.note, "the reranker does not answer"));
    w->rerank_fails = STATUS_NOT_FOUND;
    a = ask(w, "notice period", DEFAULT, true, 4);
    assert_string_equal(a.order, "adcb");
    assert_non_null(strstr(a.note, "no such model"));
    unsigned asked = w->reranks;
    a = ask(w, "notice period", RT__SEARCH_REQUEST__MODE__TEXT, true, 4);
    w->no_rerank = true;
    a = ask(w, "notice period", DEFAULT, true, 4);
    assert_string_equal(a.order, "adcb");
    assert_string_equal(a.note, "");
    assert_int_equal(w->reranks, asked);
    finish(w);
}

static void test_typed_queries(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    struct answer a = ask(w, "\"notice period\" months -draft type:PDF", DEFAULT, false, 3);
    assert_int_equal(a.error.code, STATUS_OK);
    assert_string_equal(w->last_query, "notice period months");
    assert_string_equal(w->last_demands, "p[notice period]e[draft]f[pdf]");
    assert_string_equal(a.interpreted, "notice period months|notice period|draft|type: PDF");
    assert_string_equal(a.order, "ab"); /* d, which vectors alone found, may lack the phrase */
    assert_string_equal(a.note, "");
    /* what nothing has side by side is searched as words, and the reader is told */
    unsigned before = w->texts;
    a = ask(w, "\"unheard words\" leave", DEFAULT, false, 3);
    assert_string_equal(a.order, "adb");
    assert_int_equal(w->texts, before + 2);
    assert_string_equal(w->last_query, "unheard words leave");
    assert_string_equal(w->last_demands, "");
    assert_string_equal(a.interpreted, "unheard words leave|||");
    assert_non_null(strstr(a.note, "side by side"));
    /* the request is for one collection, the query for another */
    before = w->texts;
    a = ask(w, "leave collection:hr", DEFAULT, false, 3);
    assert_int_equal(a.error.code, STATUS_OK);
    assert_string_equal(a.order, "");
    assert_int_equal(w->texts, before);
    assert_non_null(strstr(a.note, "exclude each other"));
    a = ask(w, "leave collection:default", DEFAULT, false, 3);
    assert_string_equal(a.order, "adb");
    assert_int_equal(w->last_collections, 1);
    /* text is text */
    a = ask(w, "at 12:30 \"open", DEFAULT, false, 3);
    assert_string_equal(w->last_query, "at 12:30 \"open");
    assert_string_equal(a.interpreted, "");
    a = ask(w, "\"notice period\"", RT__SEARCH_REQUEST__MODE__PLAIN_BM25, false, 3);
    assert_string_equal(w->last_query, "\"notice period\"");
    finish(w);
}

static void test_neighbours(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    w->widen = 1;
    struct answer a = ask(w, "notice", DEFAULT, false, 3);
    assert_int_equal(a.error.code, STATUS_OK);
    assert_int_equal(w->fetches, 2);
    assert_int_equal(w->last_widen, 1);
    assert_int_equal(w->last_fetched, 3);
    assert_string_equal(a.order, "ad"); /* b is read within a */
    assert_string_equal(a.folded, "b.md p.3");
    w->widen = 4;
    assert_int_equal(ask(w, "notice", DEFAULT, false, 3).error.code, STATUS_INVALID);
    w->widen = 1;
    w->fail_widened = true;
    a = ask(w, "notice", DEFAULT, false, 3);
    assert_int_equal(a.error.code, STATUS_OK);
    assert_string_equal(a.order, "adb");
    assert_non_null(strstr(a.note, "without their neighbours"));
    finish(w);
}

static void test_rewritten(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    w->rewritten = "How long is leave for part-time staff?";
    struct answer a = ask(w, "and for part-time staff", RT__SEARCH_REQUEST__MODE__TEXT, false, 4);
    assert_int_equal(a.error.code, STATUS_OK);
    /* a and d are first in one list each; c repeats a */
    assert_string_equal(a.order, "adb");
    assert_int_equal(w->rewrites, 1);
    assert_int_equal(w->texts, 2);
    assert_true(a.share > .74F && a.share < .76F);
    w->rewritten = "fails"; /* then the earlier turns do */
    a = ask(w, "and for part-time staff", RT__SEARCH_REQUEST__MODE__TEXT, false, 4);
    assert_int_equal(a.error.code, STATUS_OK);
    assert_string_equal(a.order, "ab");
    assert_int_equal(w->rewrites, 2);
    finish(w);
}

static void test_modes(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    struct answer a = ask(w, "notice", RT__SEARCH_REQUEST__MODE__TEXT, true, 5);
    assert_string_equal(a.order, "acb");
    assert_false(w->last_plain);
    a = ask(w, "notice", RT__SEARCH_REQUEST__MODE__PLAIN_BM25, true, 5);
    assert_string_equal(a.order, "acb");
    assert_true(w->last_plain);
    assert_int_equal(w->encodes, 0);
    unsigned before = w->texts;
    a = ask(w, "notice", RT__SEARCH_REQUEST__MODE__DENSE, true, 5);
    assert_string_equal(a.order, "db");
    assert_int_equal(w->texts, before);
    w->encoder = "";
    a = ask(w, "notice", RT__SEARCH_REQUEST__MODE__DENSE, true, 5);
    assert_int_equal(a.error.code, STATUS_OK);
    assert_string_equal(a.order, "");
    assert_non_null(strstr(a.note, "no encoder"));
    finish(w);
}

static void test_encoder_changes(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    struct answer a = ask(w, "notice", DEFAULT, false, 3);
    w->encoder = "carrel-lsa-2";
    a = ask(w, "notice", DEFAULT, false, 3); /* begins with what it knew, ends with what is there */
    assert_string_equal(a.order, "adb");
    assert_string_equal(a.encoder, "carrel-lsa-2");
    assert_string_equal(w->last_vector, "carrel-lsa-2");
    assert_string_equal(a.note, "");
    w->encoder = "";
    a = ask(w, "notice", DEFAULT, false, 3);
    assert_string_equal(a.order, "ab");
    w->encoder = "carrel-lsa-3";
    w->reject_vectors = true;
    a = ask(w, "notice", DEFAULT, false, 3);
    assert_int_equal(a.error.code, STATUS_OK);
    assert_string_equal(a.order, "ab");
    assert_non_null(strstr(a.note, "no such encoder"));
    finish(w);
}

static void test_embed_down(void **state)
{
    (void)state;
    struct world *w = begin(true, false);
    struct answer a = ask(w, "notice", DEFAULT, false, 3);
    assert_int_equal(a.error.code, STATUS_OK);
    assert_string_equal(a.order, "ab");
    assert_string_equal(a.note, "embed is down: full-text only");
    a = ask(w, "notice", RT__SEARCH_REQUEST__MODE__DENSE, false, 3);
    assert_int_equal(a.error.code, STATUS_UNAVAILABLE);
    finish(w);
}

static void test_store_down(void **state)
{
    (void)state;
    struct world *w = begin(false, true);
    struct answer a = ask(w, "notice", DEFAULT, false, 3);
    assert_int_equal(a.error.code, STATUS_UNAVAILABLE);
    finish(w);
}

static void test_bad_requests(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    assert_int_equal(ask(w, "", DEFAULT, false, 3).error.code, STATUS_INVALID);
    assert_int_equal(ask(w, "x", DEFAULT, false, 201).error.code, STATUS_INVALID);
    char *huge = malloc(70000);
    assert_non_null(huge);
    memset(huge, 'x', 69999);
    huge[69999] = '\0';
    assert_int_equal(ask(w, huge, DEFAULT, false, 3).error.code, STATUS_TOO_LARGE);
    free(huge);
    struct answer a = {.finished = false};
    Rt__SearchRequest q = RT__SEARCH_REQUEST__INIT;
    q.query = bytes("x");
    struct rpc_options o = {.wait_for_ready = true};
    assert_non_null(rt_search(w->serve, &o, &q, &callbacks, &a));
    one_service_until(&w->loop, &a.finished);
    assert_int_equal(a.error.code, STATUS_INVALID); /* no tenant */
    assert_int_equal(w->texts, 0);
    finish(w);
}

static void on_tick(uv_timer_t *t)
{
    (void)t;
}

static void test_cancel_goes_down(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    struct answer a = {.finished = false};
    uv_timer_t tick;
    (void)uv_timer_init(&w->loop, &tick);
    (void)uv_timer_start(&tick, on_tick, 10, 10);
    w->hold_text = true;
    Rt__SearchRequest q = RT__SEARCH_REQUEST__INIT;
    q.query = bytes("x");
    struct rpc_options o = {.tenant = "main", .wait_for_ready = true, .timeout_ms = 60000};
    struct rpc_request *r = rt_search(w->serve, &o, &q, &callbacks, &a);
    assert_non_null(r);
    for (int i = 0; i < 1000 && w->held == NULL; i++) {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    }
    assert_non_null(w->held);
    rpc_request_cancel(r);
    for (int i = 0; i < 1000 && !w->text_cancelled; i++) {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    }
    assert_true(w->text_cancelled);
    assert_false(a.finished);
    w->hold_text = false; /* and it still works */
    assert_string_equal(ask(w, "notice", DEFAULT, false, 3).order, "adb");
    uv_close((uv_handle_t *)&tick, NULL);
    finish(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_up),    cmocka_unit_test(test_reranker),
        cmocka_unit_test(test_typed_queries),    cmocka_unit_test(test_rewritten),
        cmocka_unit_test(test_neighbours),       cmocka_unit_test(test_modes),
        cmocka_unit_test(test_encoder_changes),  cmocka_unit_test(test_embed_down),
        cmocka_unit_test(test_store_down),       cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_cancel_goes_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
