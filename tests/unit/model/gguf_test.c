#include "model/gguf.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/fixture/gguf_writer.h"
#include "tests/unit/test.h"

static const uint64_t square[] = {32, 4};

/* A file with a value of every kind and two tensors. */
static void write_sample(struct gguf_writer *w)
{
    const struct str words[] = {STR("one"), STR(""), STR("drei")};
    static const int32_t numbers[] = {-1, 2, 3};
    static char rows[4096];
    gguf_writer_init(w);
    gguf_write_string(w, "general.architecture", STR("llama"));
    gguf_write_u32(w, "llama.block_count", 2);
    gguf_write_f32(w, "llama.rope.freq_base", 10000.0F);
    gguf_write_bool(w, "tokenizer.ggml.add_bos_token", true);
    gguf_write_u16(w, "small", 7);
    gguf_write_strings(w, "tokenizer.ggml.tokens", words, 3);
    gguf_write_array(w, "tokenizer.ggml.token_type", GGUF_I32, numbers, 3, sizeof numbers[0]);
    memset(rows, 1, sizeof rows);
    gguf_write_tensor(w, "token_embd.weight", TENSOR_Q8_0, square, 2, rows);
    gguf_write_tensor(w, "output_norm.weight", TENSOR_F32, square, 1, rows);
}

static void sample_bytes(struct buf *out)
{
    struct gguf_writer w;
    write_sample(&w);
    gguf_writer_finish(&w, out);
    gguf_writer_deinit(&w);
}

static void everything_is_found(void **state)
{
    (void)state;
    struct buf file;
    struct error err;
    struct gguf *g = NULL;
    buf_init(&file, 1 << 20);
    sample_bytes(&file);
    assert_int_equal(gguf_read(file.ptr, file.len, "sample", &g, &err), STATUS_OK);
    struct str s;
    uint32_t n = 0;
    float f = 0;
    bool b = false;
    assert_true(gguf_string(g, "general.architecture", &s) && str_eq(s, STR("llama")));
    assert_true(gguf_u32(g, "llama.block_count", &n) && n == 2);
    assert_true(gguf_u32(g, "small", &n) && n == 7);
    assert_true(gguf_f32(g, "llama.rope.freq_base", &f) && f == 10000.0F);
    assert_true(gguf_bool(g, "tokenizer.ggml.add_bos_token", &b) && b);
    assert_false(gguf_u32(g, "general.architecture", &n)); /* another kind */
    assert_false(gguf_u32(g, "absent", &n));
    const struct gguf_value *v = gguf_find(g, STR("tokenizer.ggml.tokens"));
    size_t at = 0;
    assert_non_null(v);
    assert_int_equal(v->n, 3);
    assert_true(gguf_next_string(v, &at, &s) && str_eq(s, STR("one")));
    assert_true(gguf_next_string(v, &at, &s) && s.len == 0);
    assert_true(gguf_next_string(v, &at, &s) && str_eq(s, STR("drei")));
    assert_false(gguf_next_string(v, &at, &s));
    v = gguf_find(g, STR("tokenizer.ggml.token_type"));
    assert_non_null(v);
    assert_int_equal(gguf_int_at(v, 0), -1);
    assert_int_equal(gguf_int_at(v, 2), 3);
    const struct gguf_tensor *t = gguf_find_tensor(g, STR("token_embd.weight"));
    assert_non_null(t);
    assert_int_equal(t->type, TENSOR_Q8_0);
    assert_int_equal(t->bytes, 4 * 34);
    assert_int_equal(t->dimensions[1], 4);
    assert_int_equal(t->dimensions[3], 1);
    assert_memory_equal(t->data, "\1\1\1\1", 4);
    assert_int_equal(gguf_tensors(g), 2);
    assert_null(gguf_find_tensor(g, STR("output.weight")));
    gguf_close(g);
    buf_deinit(&file);
}

/* However short the file is cut, it is refused, and no byte past its end is read (sanitizers). */
static void every_cut_is_refused(void **state)
{
    (void)state;
    struct buf file;
    buf_init(&file, 1 << 20);
    sample_bytes(&file);
    for (size_t len = 0; len < file.len; len++) {
        struct error err;
        struct gguf *g = NULL;
        char *copy = malloc(len == 0 ? 1 : len);
        assert_non_null(copy);
        memcpy(copy, file.ptr, len);
        enum status s = gguf_read(copy, len, "cut", &g, &err);
        assert_true(s == STATUS_INVALID);
        assert_non_null(strstr(err.text, "cut: "));
        free(copy);
    }
    buf_deinit(&file);
}

struct damage {
    const char *what;
    void (*write)(struct gguf_writer *w);
    enum status status;
    const char *says;
};

static void twice(struct gguf_writer *w)
{
    gguf_write_u32(w, "a", 1);
    gguf_write_u32(w, "a", 2);
}

static void same_tensor(struct gguf_writer *w)
{
    static const char rows[512];
    gguf_write_tensor(w, "t", TENSOR_F32, square, 2, rows);
    gguf_write_tensor(w, "t", TENSOR_F32, square, 2, rows);
}

static void odd_alignment(struct gguf_writer *w)
{
    gguf_write_u32(w, "general.alignment", 24);
}

static void broken_rows(struct gguf_writer *w)
{
    static const uint64_t d[] = {33, 2};
    gguf_write_tensor(w, "t", TENSOR_Q8_0, d, 2, "");
}

static void huge(struct gguf_writer *w)
{
    static const uint64_t d[] = {UINT64_C(1) << 40, UINT64_C(1) << 40};
    gguf_write_tensor(w, "t", TENSOR_F32, d, 2, "");
}

static void past_the_end(struct gguf_writer *w)
{
    static const uint64_t d[] = {1024};
    static const char rows[4096];
    gguf_write_tensor(w, "t", TENSOR_F32, d, 1, rows);
    w->data.len = 100;
}

static void unknown_type(struct gguf_writer *w)
{
    static const uint64_t d[] = {32};
    gguf_write_tensor(w, "t", (enum tensor_type)16, d, 1, ""); /* IQ2_XXS */
}

static void version_one(struct gguf_writer *w)
{
    w->version = 1;
}

static void big_endian(struct gguf_writer *w)
{
    w->version = 0x03000000;
}

static void array_past_the_end(struct gguf_writer *w)
{
    gguf_write_array(w, "a", GGUF_F64, "", 0, 8);
    memset(w->values.ptr + w->values.len - 8, 0x7F, 8);
}

static void damage_is_named(void **state)
{
    (void)state;
    static const struct damage cases[] = {
        {"a key twice", twice, STATUS_INVALID, "twice"},
        {"a tensor twice", same_tensor, STATUS_INVALID, "twice"},
        {"alignment", odd_alignment, STATUS_INVALID, "power of two"},
        {"rows", broken_rows, STATUS_INVALID, "whole number of blocks"},
        {"dimensions", huge, STATUS_INVALID, "make no sense"},
        {"cut", past_the_end, STATUS_INVALID, "cut off"},
        {"type", unknown_type, STATUS_UNSUPPORTED, "type 16"},
        {"version", version_one, STATUS_UNSUPPORTED, "version 1"},
        {"endian", big_endian, STATUS_UNSUPPORTED, "big-endian"},
        {"array", array_past_the_end, STATUS_INVALID, "larger than any file"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct gguf_writer w;
        struct buf file;
        struct error err = {0};
        struct gguf *g = NULL;
        buf_init(&file, 1 << 20);
        gguf_writer_init(&w);
        cases[i].write(&w);
        gguf_writer_finish(&w, &file);
        assert_int_equal(gguf_read(file.ptr, file.len, cases[i].what, &g, &err), cases[i].status);
        if (strstr(err.text, cases[i].says) == NULL) {
            fail_msg("%s: %s", cases[i].what, err.text);
        }
        gguf_writer_deinit(&w);
        buf_deinit(&file);
    }
}

static void write_part(const char *dir, int no, int of, const char *tensor)
{
    static const char rows[512];
    char name[64];
    char path[256];
    struct gguf_writer w;
    struct buf file;
    struct error err;
    gguf_writer_init(&w);
    gguf_write_u16(&w, "split.no", (uint16_t)(no - 1));
    gguf_write_u16(&w, "split.count", (uint16_t)of);
    gguf_write_u32(&w, "split.tensors.count", (uint32_t)of);
    gguf_write_tensor(&w, tensor, TENSOR_F32, square, 2, rows);
    buf_init(&file, 1 << 20);
    gguf_writer_finish(&w, &file);
    (void)snprintf(name, sizeof name, "m-%05d-of-%05d.gguf", no, of);
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(file_write_atomic(path, file.ptr, file.len, 0600, &err), STATUS_OK);
    gguf_writer_deinit(&w);
    buf_deinit(&file);
}

static void parts_open_as_one(void **state)
{
    (void)state;
    char dir[64];
    char path[256];
    struct error err;
    struct gguf *g = NULL;
    test_folder(dir);
    write_part(dir, 1, 3, "a");
    write_part(dir, 2, 3, "b");
    (void)snprintf(path, sizeof path, "%s/m-00001-of-00003.gguf", dir);
    assert_int_equal(gguf_open(path, &g, &err), STATUS_NOT_FOUND);
    assert_non_null(strstr(err.text, "part 3 of 3"));
    write_part(dir, 3, 3, "c");
    assert_int_equal(gguf_open(path, &g, &err), STATUS_OK);
    assert_int_equal(gguf_parts(g), 3);
    assert_non_null(gguf_find_tensor(g, STR("c")));
    gguf_close(g);
    (void)snprintf(path, sizeof path, "%s/m-00002-of-00003.gguf", dir);
    assert_int_equal(gguf_open(path, &g, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "give the first part"));
    write_part(dir, 3, 3, "a"); /* the same tensor in two parts */
    (void)snprintf(path, sizeof path, "%s/m-00001-of-00003.gguf", dir);
    assert_int_equal(gguf_open(path, &g, &err), STATUS_INVALID);
    (void)snprintf(path, sizeof path, "%s/none.gguf", dir);
    assert_int_equal(gguf_open(path, &g, &err), STATUS_NOT_FOUND);
    assert_int_equal(gguf_open(dir, &g, &err), STATUS_INVALID);
    test_folder_remove(dir);
}

static void sizes_of_types(void **state)
{
    (void)state;
    uint64_t n = 0;
    assert_true(tensor_bytes(TENSOR_Q4_K, 512, &n) && n == 288);
    assert_true(tensor_bytes(TENSOR_F32, 3, &n) && n == 12);
    assert_false(tensor_bytes(TENSOR_Q4_K, 255, &n));
    assert_false(tensor_bytes(TENSOR_F32, UINT64_MAX / 2, &n));
    assert_false(tensor_bytes(15, 256, &n)); /* Q8_K: never in files */
    assert_null(tensor_type_info(UINT32_MAX));
    assert_string_equal(tensor_type_info(TENSOR_IQ4_XS)->name, "IQ4_XS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_found), cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(damage_is_named),     cmocka_unit_test(parts_open_as_one),
        cmocka_unit_test(sizes_of_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
