/* The plan beside what a model takes: everything that is allocated when it is opened for several
 * users, its packed weights and what of its file stays in use, within 3%. */
#include <malloc.h>

#include "model/backend.h"
#include "model/plan.h"
#include "tests/fixture/model_writer.h"
#include "tests/unit/test.h"

#define USERS 3U
#define CONTEXT 1024U
#define PASS 64U

#if defined(__SANITIZE_ADDRESS__)
size_t __sanitizer_get_current_allocated_bytes(void);

static uint64_t allocated(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
static uint64_t allocated(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}
#endif

static void write_model(const struct model_writer *w, const char *path)
{
    struct error err = {0};
    assert_int_equal(model_write_file(w, path, &err), STATUS_OK);
}

/* Weights that are neither packed nor looked up by rows lie in the file. */
static uint64_t unpacked(const struct model *m)
{
    const struct gguf *g = model_file(m);
    uint64_t bytes = 0;
    for (size_t n = 0; n < gguf_tensors(g); n++) {
        bytes += gguf_tensor_at(g, n)->n_dimensions < 2 ? gguf_tensor_at(g, n)->bytes : 0;
    }
    return bytes;
}

static void compare(const char *path, enum tensor_type kv, bool *less)
{
    struct error err = {0};
    struct model *m = NULL;
    struct backend *b = NULL;
    struct sampler *samplers[USERS] = {NULL};
    struct sampler_options options = {.top_p = 1, .repetition_penalty = 1, .window = 64};
    uint64_t before = allocated();
    assert_int_equal(model_open(path, &m, &err), STATUS_OK);
    struct backend_options where = {
        .tokens = PASS, .sequences = USERS, .context = CONTEXT, .kv_type = kv, .choices = USERS};
    assert_int_equal(backend_open_cpu(m, &where, &b, &err), STATUS_OK);
    for (uint32_t i = 0; i < USERS; i++) {
        assert_int_equal(sampler_new(&options, model_info(m)->vocabulary, &samplers[i], &err),
                         STATUS_OK);
    }
    uint64_t taken = allocated() - before + model_packed_bytes(m) + plan_header(m) + unpacked(m);
    struct plan_request r = {.info = model_info(m),
                             .kv_type = kv,
                             .context = CONTEXT,
                             .users = USERS,
                             .pass_tokens = PASS,
                             .weights = plan_packed_weights(m),
                             .vocabulary = plan_vocabulary(m)};
    struct plan p;
    assert_int_equal(plan_make(&r, &p, &err), STATUS_OK);
    double ratio = (double)taken / (double)p.total;
    print_message("%s, keys and values %s: %.1f MB taken, %.1f MB planned: %.4f\n",
                  model_info(m)->architecture, kv_type_name(kv), (double)taken * 1e-6,
                  (double)p.total * 1e-6, ratio);
    assert_true(ratio > 0.97 && ratio < 1.03);
    *less = p.window_pages_each > 0 && p.window_pages_each * 4 < p.pages_each;
    for (uint32_t i = 0; i < USERS; i++) {
        sampler_free(samplers[i]);
    }
    backend_close(b);
    model_close(m);
}

static void the_plan_is_what_is_taken(void **state)
{
    (void)state;
    static const struct {
        const char *architecture;
        enum tensor_type type, kv;
    } cases[] = {{"llama", TENSOR_Q8_0, TENSOR_F16},
                 {"qwen2", TENSOR_F16, TENSOR_Q8_0},
                 {"gemma3", TENSOR_Q8_0, TENSOR_F16}};
    char dir[64];
    char path[128];
    test_folder(dir);
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct model_writer w = {.architecture = cases[c].architecture,
                                 .type = cases[c].type,
                                 .layers = 7,
                                 .width = 256,
                                 .feed_forward = 1024,
                                 .heads = 8,
                                 .kv_heads = 4,
                                 .vocabulary = 2048,
                                 .context = 4096};
        bool less = false;
        write_model(&w, path);
        compare(path, cases[c].kv, &less);
        assert_int_equal(less, c == 2); /* gemma's windows are 9 tokens here */
    }
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_plan_is_what_is_taken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
