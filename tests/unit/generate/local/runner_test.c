/* The batch by itself: the same words alone and among others, with a shared beginning and without,
 * after what was kept has been thrown out; nothing shared between scopes; pages given back. */
#include "generate/local/runner.h"

#include <unistd.h>

#include "base/clock.h"
#include "model/registry.h"
#include "tests/fixture/model_writer.h"
#include "tests/unit/test.h"

#define VOCABULARY 400U
#define WAIT_MS 60000

static char home[64];

static void ignore(void *data)
{
    (void)data;
}

static void bring(const char *name, const char *architecture)
{
    struct model_writer w = {.architecture = architecture,
                             .type = TENSOR_F32,
                             .layers = 7, /* of gemma3 the sixth sees all */
                             .width = 32,
                             .feed_forward = 64,
                             .heads = 4,
                             .kv_heads = 2,
                             .vocabulary = VOCABULARY,
                             .context = 2048,
                             .chat_template = "<|im_start|>"};
    struct error err;
    struct model_record record;
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%s.gguf", home, name);
    assert_int_equal(model_write_file(&w, path, &err), STATUS_OK);
    struct registry_import how = {.home = home, .path = path, .name = name, .role = MODEL_CHAT};
    if (registry_import(&how, &record, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

static int set_up(void **state)
{
    (void)state;
    test_folder(home);
    bring("m", "llama");
    bring("g", "gemma3");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_folder_remove(home);
    return 0;
}

static struct runner_status status_of(struct runner *r)
{
    struct runner_status s;
    runner_status(r, &s);
    return s;
}

static struct runner *make_of(const char *model, uint32_t users, uint32_t queue, uint32_t context)
{
    struct runner_config c = {.home = home,
                              .model = model,
                              .chat_template = "auto",
                              .context = context,
                              .users = users,
                              .queue = queue,
                              .notify = ignore};
    struct runner *r = NULL;
    struct error err;
    assert_int_equal(runner_new(&c, &r, &err), STATUS_OK);
    for (int i = 0; i < WAIT_MS && status_of(r).state == RUNNER_LOADING; i++) {
        (void)usleep(1000);
    }
    if (status_of(r).state != RUNNER_READY) {
        fail_msg("%s", status_of(r).detail);
    }
    return r;
}

static struct runner *make(uint32_t users, uint32_t queue, uint32_t context)
{
    return make_of("m", users, queue, context);
}

static void end(struct runner *r)
{
    runner_stop(r);
    for (int i = 0; i < WAIT_MS && status_of(r).state != RUNNER_OVER; i++) {
        (void)usleep(1000);
    }
    runner_free(r);
}

/* n tokens that `seed` decides; the first `common` of them are the same for every seed. */
static struct runner_task *task(uint32_t seed, uint32_t common, uint32_t n, uint32_t answer,
                                const char *scope)
{
    struct runner_task *t = calloc(1, sizeof *t);
    assert_non_null(t);
    token_list_init(&t->prompt, n);
    t->prompt.ids = calloc(n, sizeof *t->prompt.ids);
    assert_non_null(t->prompt.ids);
    t->prompt.n = t->prompt.cap = n;
    for (uint32_t i = 0; i < n; i++) {
        t->prompt.ids[i] =
            3 + (i * 7919U + (i < common ? 0 : (seed + 1) * 104729U)) % (VOCABULARY - 3);
    }
    t->max_tokens = answer;
    t->sampling = (struct sampler_options){.temperature = seed % 2 == 0 ? 0 : .8F,
                                           .top_p = 1,
                                           .repetition_penalty = 1,
                                           .window = 64,
                                           .seed = seed};
    t->deadline_ms = clock_monotonic_ms() + WAIT_MS;
    list_init(&t->link);
    (void)snprintf(t->scope, sizeof t->scope, "%s", scope);
    return t;
}

static void submit(struct runner *r, struct runner_task *t)
{
    struct error err;
    if (runner_submit(r, t, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

/* Waits; the answer. Owned: free(). */
static char *finish(struct runner *r, struct runner_task *t)
{
    struct buf out;
    buf_init(&out, RUNNER_TEXT_MAX);
    for (int i = 0; i < WAIT_MS && !runner_take(r, t, &out); i++) {
        (void)usleep(1000);
    }
    assert_true(t->done);
    if (t->error.code != STATUS_OK) {
        fail_msg("%s", t->error.text);
    }
    buf_char(&out, '\0');
    return buf_take(&out);
}

static void free_task(struct runner_task *t)
{
    token_list_deinit(&t->prompt);
    buf_deinit(&t->text);
    free(t);
}

/* A prompt and an answer past the pages that layers with a window have. */
static char *long_alone(struct runner *r, uint32_t seed, uint32_t common, uint32_t n,
                        const char *scope, uint32_t *shared)
{
    struct runner_task *t = task(seed, common, n, 90, scope);
    submit(r, t);
    char *text = finish(r, t);
    *shared = t->shared_tokens;
    free_task(t);
    return text;
}

static char *alone(struct runner *r, uint32_t seed, const char *scope)
{
    struct runner_task *t = task(seed, 40, 90 + seed * 3, 30, scope);
    submit(r, t);
    char *text = finish(r, t);
    free_task(t);
    return text;
}

static void the_same_alone_and_among_fifteen(void **state)
{
    (void)state;
    char *expected[16];
    struct runner_task *t[16];
    struct runner *single = make(1, 16, 512);
    for (uint32_t i = 0; i < 16; i++) {
        expected[i] = alone(single, i, "");
        assert_true(strlen(expected[i]) > 10);
    }
    end(single);
    for (int shared = 0; shared < 2; shared++) {
        struct runner *r = make(16, 16, 512);
        for (uint32_t i = 0; i < 16; i++) {
            t[i] = task(i, 40, 90 + i * 3, 30, shared == 1 ? "one" : "");
            submit(r, t[i]);
        }
        for (uint32_t i = 0; i < 16; i++) {
            char *text = finish(r, t[i]);
            assert_string_equal(text, expected[i]);
            free(text);
            free_task(t[i]);
        }
        end(r);
    }
    for (uint32_t i = 0; i < 16; i++) {
        free(expected[i]);
    }
}

/* Room for one: what was kept must go before the next can come in, and comes again computed anew.
 */
static void the_same_with_a_kept_beginning_and_after_it_went(void **state)
{
    (void)state;
    struct runner *r = make(1, 4, 256);
    char *first = alone(r, 3, "tenant");
    char *again = alone(r, 3, "tenant");
    assert_string_equal(first, again);
    assert_true(status_of(r).tokens_shared >= 90);
    struct runner_task *all = task(4, 0, 200, 56, ""); /* every page there is */
    submit(r, all);
    free(finish(r, all));
    free_task(all);
    uint64_t shared = status_of(r).tokens_shared;
    char *anew = alone(r, 3, "tenant");
    assert_string_equal(first, anew);
    assert_int_equal(status_of(r).tokens_shared, shared);
    free(first);
    free(again);
    free(anew);
    end(r);
}

static void beginnings_stay_within_their_scope(void **state)
{
    (void)state;
    struct runner *r = make(2, 4, 512);
    char *one = alone(r, 5, "one");
    char *other = alone(r, 5, "other");
    char *nobody = alone(r, 5, "");
    assert_int_equal(status_of(r).tokens_shared, 0);
    char *one_again = alone(r, 5, "one");
    assert_true(status_of(r).tokens_shared > 0);
    assert_string_equal(one, other);
    assert_string_equal(one, nobody);
    assert_string_equal(one, one_again);
    free(one);
    free(other);
    free(nobody);
    free(one_again);
    end(r);
}

/* Layers with a window keep a ring of pages. The second question finds that what it has in common
 * with the first is forgotten, so it keeps that place; the third shares it. */
static void windows_forget_and_answers_stay(void **state)
{
    (void)state;
    char *expected[4];
    uint32_t shared = 0;
    struct runner *r = make_of("g", 1, 4, 1024);
    for (uint32_t i = 0; i < 4; i++) {
        expected[i] = long_alone(r, i, 350, 700 + i, "", &shared);
        assert_true(strlen(expected[i]) > 10);
    }
    end(r);
    for (uint32_t users = 1; users <= 4; users += 3) {
        r = make_of("g", users, 4, 1024);
        for (uint32_t i = 0; i < 4; i++) {
            char *text = long_alone(r, i, 350, 700 + i, "one", &shared);
            assert_string_equal(text, expected[i]);
            assert_int_equal(shared, users == 1 || i < 2 ? 0 : 336);
            free(text);
        }
        char *again = long_alone(r, 3, 350, 703, "one", &shared);
        assert_string_equal(again, expected[3]);
        assert_int_equal(shared, users == 1 ? 0 : 688);
        free(again);
        end(r);
    }
    struct runner_task *t[4];
    r = make_of("g", 4, 4, 1024);
    for (uint32_t i = 0; i < 4; i++) { /* at once */
        t[i] = task(i, 350, 700 + i, 90, "one");
        submit(r, t[i]);
    }
    for (uint32_t i = 0; i < 4; i++) {
        char *text = finish(r, t[i]);
        assert_string_equal(text, expected[i]);
        free(text);
        free_task(t[i]);
        free(expected[i]);
    }
    end(r);
}

static void cancelled_tasks_give_their_pages_back(void **state)
{
    (void)state;
    struct runner *r = make(2, 1, 2048);
    struct runner_task *t[4];
    struct error err;
    uint32_t all = status_of(r).pages;
    struct buf out;
    buf_init(&out, RUNNER_TEXT_MAX);
    for (uint32_t i = 0; i < 4; i++) {
        t[i] = task(i * 2 + 1, 0, 48, 2000, "");
    }
    submit(r, t[0]);
    submit(r, t[1]);
    submit(r, t[2]);
    assert_int_equal(runner_submit(r, t[3], &err), STATUS_BUSY);
    t[3]->max_tokens = 4000;
    assert_int_equal(runner_submit(r, t[3], &err), STATUS_INVALID); /* never fits */
    for (uint32_t i = 0; i < 3; i++) {
        runner_cancel(r, t[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        for (int k = 0; k < WAIT_MS && !runner_take(r, t[i], &out); k++) {
            (void)usleep(1000);
        }
        assert_int_equal(t[i]->error.code, STATUS_CANCELLED);
    }
    for (int k = 0; k < WAIT_MS && status_of(r).pages_free != all; k++) {
        (void)usleep(1000);
    }
    assert_int_equal(status_of(r).pages_free, all);
    assert_int_equal(status_of(r).active, 0);
    assert_int_equal(status_of(r).waiting, 0);
    for (uint32_t i = 0; i < 4; i++) {
        free_task(t[i]);
    }
    buf_deinit(&out);
    end(r);
}

static void who_waits_too_long_is_told(void **state)
{
    (void)state;
    struct runner *r = make(1, 2, 2048);
    struct runner_task *busy = task(1, 0, 48, 2000, "");
    struct runner_task *late = task(2, 0, 48, 10, "");
    struct buf out;
    buf_init(&out, RUNNER_TEXT_MAX);
    late->deadline_ms = clock_monotonic_ms() + 20;
    submit(r, busy);
    submit(r, late);
    for (int k = 0; k < WAIT_MS && !runner_take(r, late, &out); k++) {
        (void)usleep(1000);
    }
    assert_int_equal(late->error.code, STATUS_DEADLINE);
    end(r); /* the other is cancelled by the end */
    assert_true(busy->done);
    buf_deinit(&out);
    free_task(busy);
    free_task(late);
}

/* The sanitizers' build has no plug-in for a GPU: the setting that demands one says what is
 * missing, the one that would like one goes on with the processor. */
static void a_device_that_is_not_there(void **state)
{
    struct runner_config c = {.home = home,
                              .model = "m",
                              .chat_template = "auto",
                              .context = 256,
                              .users = 1,
                              .device = BACKEND_CUDA,
                              .gpu_layers = BACKEND_LAYERS_FIT,
                              .notify = ignore};
    struct runner *r = NULL;
    struct error err;
    (void)state;
    assert_int_equal(runner_new(&c, &r, &err), STATUS_OK);
    for (int i = 0; i < WAIT_MS && status_of(r).state == RUNNER_LOADING; i++) {
        (void)usleep(1000);
    }
    assert_int_equal(status_of(r).state, RUNNER_FAILED);
    assert_non_null(strstr(status_of(r).detail, "carrel-cuda.so"));
    end(r);
    c.device = BACKEND_AUTO;
    assert_int_equal(runner_new(&c, &r, &err), STATUS_OK);
    for (int i = 0; i < WAIT_MS && status_of(r).state == RUNNER_LOADING; i++) {
        (void)usleep(1000);
    }
    assert_int_equal(status_of(r).state, RUNNER_READY);
    end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_alone_and_among_fifteen),
        cmocka_unit_test(the_same_with_a_kept_beginning_and_after_it_went),
        cmocka_unit_test(beginnings_stay_within_their_scope),
        cmocka_unit_test(windows_forget_and_answers_stay),
        cmocka_unit_test(cancelled_tasks_give_their_pages_back),
        cmocka_unit_test(who_waits_too_long_is_told),
        cmocka_unit_test(a_device_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
