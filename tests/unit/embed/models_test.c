/* The models that embed has open. */
#include "embed/models.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "tests/fixture/model_writer.h"
#include "tests/unit/test.h"

struct opening {
    struct models *models;
    _Atomic bool begun;
    enum status status;
};

static void open_it(void *data)
{
    struct opening *o = data;
    struct open_model *m = NULL;
    struct error err;
    atomic_store(&o->begun, true);
    o->status = models_encoder(o->models, "model:small", &m, &err);
    models_let_go(o->models, m);
}

static void bring(const char *home, struct model_record *out)
{
    struct model_writer w = model_writer_small("bert", TENSOR_F32);
    struct error err;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/original.gguf", home);
    assert_int_equal(model_write_file(&w, path, &err), STATUS_OK);
    struct registry_import how = {
        .home = home, .path = path, .name = "small", .role = MODEL_ENCODER};
    if (registry_import(&how, out, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

static void one_is_opened_once_and_kept(void **state)
{
    (void)state;
    char home[64];
    struct model_record r;
    struct models *models;
    struct open_model *a = NULL;
    struct open_model *b = NULL;
    struct error err;
    test_folder(home);
    bring(home, &r);
    assert_int_equal(models_new(home, &models, &err), STATUS_OK);
    assert_int_equal(models_encoder(models, "model:small", &a, &err), STATUS_OK);
    assert_int_equal(models_encoder(models, r.encoder, &b, &err), STATUS_OK);
    assert_ptr_equal(a, b);
    assert_int_equal(models_open(models), 1);
    models_let_go(models, a);
    models_let_go(models, b);
    assert_int_equal(models_open(models), 1);
    assert_int_equal(models_reranker(models, "small", &a, &err), STATUS_UNSUPPORTED);
    models_free(models);
    test_folder_remove(home);
}

/* Health is asked on the loop: it does not wait while a file is opened, however long that takes.
 * Here it takes until somebody writes. */
static void counting_does_not_wait_for_an_opening(void **state)
{
    (void)state;
    char home[64];
    char path[REGISTRY_PATH_CAP];
    struct model_record r;
    struct opening o = {.status = STATUS_OK};
    struct error err;
    uv_thread_t thread;
    test_folder(home);
    bring(home, &r);
    assert_int_equal(registry_path(home, &r, path, &err), STATUS_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(models_new(home, &o.models, &err), STATUS_OK);
    assert_int_equal(uv_thread_create(&thread, open_it, &o), 0);
    while (!atomic_load(&o.begun)) {
        (void)usleep(1000);
    }
    (void)usleep(100000);
    (void)alarm(60);
    assert_int_equal(models_open(o.models), 0);
    (void)alarm(0);
    int writer = open(path, O_WRONLY | O_CLOEXEC); /* waits for the reader, and lets it go on */
    assert_true(writer >= 0);
    (void)close(writer);
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_int_not_equal(o.status, STATUS_OK);
    models_free(o.models);
    test_folder_remove(home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_opened_once_and_kept),
        cmocka_unit_test(counting_does_not_wait_for_an_opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
