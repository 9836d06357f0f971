/* Packed weights as a file: the same bits as packed in memory; what is damaged, stale or of another
 * model is refused and made anew; no room for it is no obstacle. */
#include "model/pack_file.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "model/model.h"
#include "tests/fixture/model_writer.h"
#include "tests/unit/test.h"

static const uint8_t sum_of_model[SHA256_BYTES] = {1, 2, 3};

struct place {
    char dir[64];
    char packed[128];
    char model[128];
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    assert_non_null(p);
    test_folder(p->dir);
    (void)snprintf(p->packed, sizeof p->packed, "%s/m.packed", p->dir);
    (void)snprintf(p->model, sizeof p->model, "%s/m.gguf", p->dir);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    test_folder_remove(p->dir);
    free(p);
    return 0;
}

static size_t files(const struct place *p)
{
    size_t n = 0;
    DIR *dir = opendir(p->dir);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    (void)closedir(dir);
    return n;
}

/* ---- matrices by themselves ---- */

static const enum tensor_type types[] = {TENSOR_F32,  TENSOR_F16,    TENSOR_BF16,  TENSOR_Q8_0,
                                         TENSOR_Q4_0, TENSOR_Q4_1,   TENSOR_Q5_0,  TENSOR_Q5_1,
                                         TENSOR_Q4_K, TENSOR_Q5_K,   TENSOR_Q6_K,  TENSOR_Q3_K,
                                         TENSOR_Q2_K, TENSOR_IQ4_NL, TENSOR_IQ4_XS};
#define TYPES COUNT_OF(types)

struct matrices {
    struct matrix one[TYPES];
    struct matrix *list[TYPES + 1]; /* the last is absent */
};

static void make_matrices(struct matrices *m)
{
    uint64_t random = 11;
    *m = (struct matrices){0};
    for (size_t i = 0; i < TYPES; i++) {
        const struct tensor_type_info *info = tensor_type_info(types[i]);
        struct matrix *w = &m->one[i];
        *w = (struct matrix){.type = types[i], .columns = 512, .rows = 37};
        w->row_bytes = (size_t)512 / info->block_values * info->block_bytes;
        unsigned char *data = malloc(w->row_bytes * w->rows);
        assert_non_null(data);
        for (size_t k = 0; k < w->row_bytes * w->rows; k++) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            data[k] = (unsigned char)(random >> 40);
        }
        w->data = data;
        m->list[i] = w;
    }
}

static void free_matrices(struct matrices *m)
{
    for (size_t i = 0; i < TYPES; i++) {
        union {
            const void *from;
            void *to;
        } data = {.from = m->one[i].data};
        free(data.to);
    }
}

static void make(const struct place *p, struct matrices *m)
{
    struct error err = {0};
    if (pack_file_make(p->packed, p->dir, sum_of_model, m->list, TYPES + 1, NULL, NULL, &err) !=
        STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

static void a_file_holds_what_memory_would(void **state)
{
    const struct place *p = *state;
    struct matrices memory;
    struct matrices mapped;
    struct pack *one = NULL;
    struct pack *other = NULL;
    struct error err = {0};
    make_matrices(&memory);
    make_matrices(&mapped);
    assert_int_equal(pack_file_open(p->packed, sum_of_model, mapped.list, TYPES, &other, &err),
                     STATUS_NOT_FOUND);
    make(p, &mapped);
    assert_int_equal(files(p), 1);
    assert_int_equal(pack_new(memory.list, TYPES + 1, NULL, &one, &err), STATUS_OK);
    assert_int_equal(pack_file_open(p->packed, sum_of_model, mapped.list, TYPES + 1, &other, &err),
                     STATUS_OK);
    assert_true(pack_mapped(other) && !pack_mapped(one));
    assert_int_equal(pack_bytes(one), pack_bytes(other));
    for (size_t i = 0; i < TYPES; i++) {
        const struct matrix *a = &memory.one[i];
        const struct matrix *b = &mapped.one[i];
        assert_int_equal(a->kind, b->kind);
        assert_int_equal(a->group_bytes, b->group_bytes);
        if (a->kind != PACK_NONE) {
            assert_memory_equal(a->packed, b->packed, pack_matrix_bytes(a));
        }
    }
    assert_int_equal(pack_file_verify(p->packed, sum_of_model, &err), STATUS_OK);
    pack_free(one);
    pack_free(other);
    free_matrices(&memory);
    free_matrices(&mapped);
}

/* Whoever changes how packed weights look raises PACK_LAYOUT, and changes this sum with it. */
static void the_layout_is_the_one_its_number_says(void **state)
{
    (void)state;
    struct matrices m;
    struct pack *pack = NULL;
    struct error err = {0};
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_CAP];
    make_matrices(&m);
    assert_int_equal(pack_new(m.list, TYPES + 1, NULL, &pack, &err), STATUS_OK);
    struct sha256 *sum = sha256_new();
    for (size_t i = 0; i < TYPES; i++) {
        if (m.one[i].kind != PACK_NONE) {
            sha256_add(sum, m.one[i].packed, pack_matrix_bytes(&m.one[i]));
        }
    }
    sha256_end(sum, digest);
    sha256_hex(digest, hex);
    assert_int_equal(PACK_LAYOUT, 1);
    assert_string_equal(hex, "65437c72f396e6df8625d06e5fbc157048f1ce8415506eb654d8bdbb18e6d8a5");
    pack_free(pack);
    free_matrices(&m);
}

/* ---- refused ---- */

static void change(const struct place *p, long at, int whence)
{
    FILE *f = fopen(p->packed, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, whence), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    assert_int_not_equal(fputc(c ^ 4, f), EOF);
    assert_int_equal(fclose(f), 0);
}

static void refused(const struct place *p, struct matrices *m, const uint8_t *sum, const char *why)
{
    struct pack *pack = NULL;
    struct error err = {0};
    assert_int_equal(pack_file_open(p->packed, sum, m->list, TYPES + 1, &pack, &err),
                     STATUS_CORRUPT);
    assert_non_null(strstr(err.text, why));
}

static void what_is_wrong_is_refused(void **state)
{
    const struct place *p = *state;
    struct matrices m;
    struct error err = {0};
    struct pack *pack = NULL;
    uint8_t other[SHA256_BYTES] = {9};
    make_matrices(&m);
    make(p, &m);
    refused(p, &m, other, "another model");
    for (long at = 0; at < 152; at += 13) { /* the header, field by field */
        change(p, at, SEEK_SET);
        refused(p, &m, sum_of_model, "header is damaged");
        change(p, at, SEEK_SET);
    }
    m.one[3].rows--; /* as many groups, another shape */
    refused(p, &m, sum_of_model, "other matrices");
    m.one[3].rows++;
    change(p, -1000, SEEK_END);
    assert_int_equal(pack_file_open(p->packed, sum_of_model, m.list, TYPES + 1, &pack, &err),
                     STATUS_OK); /* only verifying reads every byte */
    pack_free(pack);
    assert_int_equal(pack_file_verify(p->packed, sum_of_model, &err), STATUS_CORRUPT);
    make(p, &m); /* over it */
    assert_int_equal(pack_file_verify(p->packed, sum_of_model, &err), STATUS_OK);
    assert_int_equal(truncate(p->packed, 5000), 0);
    refused(p, &m, sum_of_model, "bytes");
    assert_int_equal(truncate(p->packed, 100), 0);
    refused(p, &m, sum_of_model, "too short");
    free_matrices(&m);
}

/* Nobody writes into it: whoever opened it would wait for ever. */
static void a_pipe_in_its_place_is_refused_and_replaced(void **state)
{
    const struct place *p = *state;
    struct matrices m;
    struct error err = {0};
    make_matrices(&m);
    assert_int_equal(mkfifo(p->packed, 0600), 0);
    refused(p, &m, sum_of_model, "too short");
    make(p, &m);
    assert_int_equal(pack_file_verify(p->packed, sum_of_model, &err), STATUS_OK);
    free_matrices(&m);
}

static bool stop(uint64_t done, uint64_t total, void *data)
{
    uint64_t *most = data;
    *most = total;
    return done == 0;
}

static void a_stopped_one_leaves_nothing(void **state)
{
    const struct place *p = *state;
    struct matrices m;
    struct error err = {0};
    uint64_t total = 0;
    struct pack_progress progress = {.on_progress = stop, .data = &total};
    make_matrices(&m);
    assert_int_equal(
        pack_file_make(p->packed, p->dir, sum_of_model, m.list, TYPES, NULL, &progress, &err),
        STATUS_CANCELLED);
    assert_true(total > 0);
    assert_int_equal(files(p), 0);
    free_matrices(&m);
}

static void several_make_it_once(void **state)
{
    const struct place *p = *state;
    struct matrices m;
    struct error err = {0};
    make_matrices(&m);
    pid_t pids[4];
    for (size_t i = 0; i < COUNT_OF(pids); i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            _exit(pack_file_make(p->packed, p->dir, sum_of_model, m.list, TYPES, NULL, NULL,
                                 &err) == STATUS_OK
                      ? 0
                      : 1);
        }
    }
    for (size_t i = 0; i < COUNT_OF(pids); i++) {
        int status = 0;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_int_equal(files(p), 1);
    assert_int_equal(pack_file_verify(p->packed, sum_of_model, &err), STATUS_OK);
    free_matrices(&m);
}

/* ---- a model ---- */

#define TOKENS 9U

static void write_model(const struct place *p)
{
    struct model_writer w = {.architecture = "llama",
                             .type = TENSOR_Q8_0,
                             .layers = 2,
                             .width = 64,
                             .feed_forward = 96,
                             .heads = 4,
                             .kv_heads = 2,
                             .vocabulary = 320,
                             .context = 64};
    struct error err = {0};
    assert_int_equal(model_write_file(&w, p->model, &err), STATUS_OK);
}

/* The last logits, with the packed weights kept at `packed` (NULL: nowhere); mapped or not, and
 * what is said about it. */
static void answer(const struct place *p, const char *packed, bool mapped, const char *note,
                   float *logits)
{
    struct model *m = NULL;
    struct workspace *w = NULL;
    struct kv_pool *pool = NULL;
    struct kv_sequence s = {0};
    struct error err = {0};
    uint32_t tokens[TOKENS];
    for (uint32_t i = 0; i < TOKENS; i++) {
        tokens[i] = 260 + i;
    }
    assert_int_equal(model_open(p->model, &m, &err), STATUS_OK);
    if (packed != NULL) {
        assert_int_equal(model_keep_packed(m, packed, p->model, sum_of_model, &err), STATUS_OK);
    }
    assert_int_equal(workspace_new(m, TOKENS, &w, &err), STATUS_OK);
    assert_int_equal(model_packed_mapped(m), mapped);
    assert_non_null(strstr(model_packed_note(m), note));
    assert_int_equal(model_packed_note(m)[0] == '\0', note[0] == '\0');
    struct kv_shape shape = model_kv_shape(m, TENSOR_F16);
    struct model_piece piece = {&s, tokens, TOKENS, false};
    assert_int_equal(kv_pool_new(&shape, 1, &pool, &err), STATUS_OK);
    assert_int_equal(kv_reserve(pool, &s, TOKENS, &err), STATUS_OK);
    assert_int_equal(model_forward(m, w, pool, &piece, 1, logits, &err), STATUS_OK);
    kv_release(pool, &s);
    kv_pool_free(pool);
    workspace_free(w);
    model_close(m);
}

static void a_model_answers_the_same_from_it(void **state)
{
    const struct place *p = *state;
    struct error err = {0};
    float expected[320];
    float got[320];
    write_model(p);
    answer(p, NULL, false, "", expected);
    answer(p, p->packed, true, "", got); /* made */
    assert_memory_equal(got, expected, sizeof got);
    answer(p, p->packed, true, "", got); /* found */
    assert_memory_equal(got, expected, sizeof got);
    change(p, 20, SEEK_SET);
    answer(p, p->packed, true, "", got); /* refused, and made anew */
    assert_memory_equal(got, expected, sizeof got);
    assert_int_equal(pack_file_verify(p->packed, sum_of_model, &err), STATUS_OK);
    answer(p, "/nowhere/at/all.packed", false, "/nowhere/at/all.packed", got);
    assert_memory_equal(got, expected, sizeof got);
}

/* No file may be larger than 20 kB here, as if the disk were full. */
static void without_room_it_is_packed_in_memory(void **state)
{
    const struct place *p = *state;
    struct rlimit before;
    float expected[320];
    float got[320];
    write_model(p);
    answer(p, NULL, false, "", expected);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit little = {.rlim_cur = 20000, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    answer(p, p->packed, false, "weights are packed in memory", got);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    assert_memory_equal(got, expected, sizeof got);
    assert_int_equal(files(p), 1); /* the model */
    answer(p, p->packed, true, "", got);
    assert_memory_equal(got, expected, sizeof got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_holds_what_memory_would, setup, teardown),
        cmocka_unit_test_setup_teardown(the_layout_is_the_one_its_number_says, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pipe_in_its_place_is_refused_and_replaced, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_stopped_one_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(several_make_it_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_model_answers_the_same_from_it, setup, teardown),
        cmocka_unit_test_setup_teardown(without_room_it_is_packed_in_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
