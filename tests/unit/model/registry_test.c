#include "model/registry.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "model/prefixes.h"
#include "tests/fixture/model_writer.h"
#include "tests/unit/test.h"

static const struct model_writer small = {.architecture = "bert",
                                          .type = TENSOR_F32,
                                          .layers = 1,
                                          .width = 32,
                                          .feed_forward = 64,
                                          .heads = 2,
                                          .kv_heads = 2,
                                          .vocabulary = 300,
                                          .context = 64};

struct place {
    char home[64];
    char file[128];
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    assert_non_null(p);
    test_folder(p->home);
    (void)snprintf(p->file, sizeof p->file, "%s/original.gguf", p->home);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    test_folder_remove(p->home);
    free(p);
    return 0;
}

static void write_model(const struct place *p, const struct model_writer *w)
{
    struct error err;
    assert_int_equal(model_write_file(w, p->file, &err), STATUS_OK);
}

static enum status import(const struct place *p, enum model_role role, const char *name,
                          struct model_record *out, struct error *err)
{
    struct registry_import how = {.home = p->home, .path = p->file, .name = name, .role = role};
    return registry_import(&how, out, err);
}

/* Names and files, the lock left out. */
static size_t count_files(const struct place *p)
{
    char path[96];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/models", p->home);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
             strcmp(e->d_name, ".lock") != 0;
    }
    (void)closedir(dir);
    return n;
}

static void imported_is_found_and_opens(void **state)
{
    const struct place *p = *state;
    struct model_writer w = small;
    struct model_record r;
    struct model_record again;
    struct model_record list[REGISTRY_MAX];
    struct error err = {0};
    size_t n = 9;
    assert_int_equal(registry_list(p->home, list, &n, &err), STATUS_OK);
    assert_int_equal(n, 0);
    w.title = "Multilingual E5 Base";
    write_model(p, &w);
    if (import(p, MODEL_ENCODER, NULL, &r, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(r.name, "multilingual-e5-base");
    assert_string_equal(r.query_prefix, "query: ");
    assert_string_equal(r.passage_prefix, "passage: ");
    assert_int_equal(r.width, 32);
    assert_int_equal(strlen(r.encoder), 5 + 16);
    assert_int_equal(registry_find(p->home, r.name, &again, &err), STATUS_OK);
    assert_memory_equal(&again, &r, sizeof r);
    assert_int_equal(registry_find_encoder(p->home, r.encoder, &again, &err), STATUS_OK);
    assert_string_equal(again.name, r.name);
    struct model *m;
    assert_int_equal(registry_open(p->home, &r, &m, &err), STATUS_OK);
    model_close(m);
    again.width = 16; /* room for half a vector */
    assert_int_equal(registry_open(p->home, &again, &m, &err), STATUS_CORRUPT);
    assert_non_null(strstr(err.text, "the file makes 32"));
    assert_int_equal(registry_verify(p->home, &r, &err), STATUS_OK);
    assert_int_equal(count_files(p), 2);
    char path[REGISTRY_PATH_CAP];
    struct stat st;
    assert_int_equal(registry_path(p->home, &r, path, &err), STATUS_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0400);
}

static void prefixes_make_other_vectors(void **state)
{
    const struct place *p = *state;
    struct model_record plain;
    struct model_record other;
    struct error err = {0};
    write_model(p, &small);
    assert_int_equal(import(p, MODEL_ENCODER, "a", &plain, &err), STATUS_OK);
    struct registry_import how = {.home = p->home,
                                  .path = p->file,
                                  .name = "b",
                                  .role = MODEL_ENCODER,
                                  .query_prefix = "ask\n\\: ",
                                  .passage_prefix = ""};
    assert_int_equal(registry_import(&how, &other, &err), STATUS_OK);
    assert_string_equal(plain.sha256, other.sha256);
    assert_string_not_equal(plain.encoder, other.encoder);
    assert_int_equal(registry_find(p->home, "b", &other, &err), STATUS_OK);
    assert_string_equal(other.query_prefix, "ask\n\\: ");
    assert_int_equal(count_files(p), 3); /* one file, two records */
    assert_int_equal(registry_remove(p->home, "a", &err), STATUS_OK);
    assert_int_equal(count_files(p), 2);
    assert_int_equal(registry_remove(p->home, "b", &err), STATUS_OK);
    assert_int_equal(count_files(p), 0);
    assert_int_equal(registry_remove(p->home, "b", &err), STATUS_NOT_FOUND);
}

static void roles_are_held(void **state)
{
    const struct place *p = *state;
    static const struct {
        const char *architecture;
        bool head;
        uint32_t pooling;
        enum model_role fits;
    } cases[] = {{"bert", false, 0, MODEL_ENCODER},
                 {"bert", true, 0, MODEL_RERANKER},
                 {"llama", false, 0, MODEL_CHAT},
                 {"qwen3", false, 3, MODEL_ENCODER}};
    struct model_record r;
    struct error err = {0};
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct model_writer w = small;
        w.architecture = cases[c].architecture;
        w.head = cases[c].head;
        w.pooling = cases[c].pooling;
        w.layers = (uint32_t)c + 1;
        write_model(p, &w);
        for (int role = MODEL_CHAT; role <= MODEL_RERANKER; role++) {
            enum status s = import(p, (enum model_role)role, "m", &r, &err);
            assert_int_equal(s, role == (int)cases[c].fits ? STATUS_OK : STATUS_UNSUPPORTED);
            assert_true(s == STATUS_OK || strstr(err.text, model_role_name(cases[c].fits)) != NULL);
        }
        assert_int_equal(registry_remove(p->home, "m", &err), STATUS_OK);
        assert_int_equal(count_files(p), 0);
    }
}

static void a_name_stands_for_one_file(void **state)
{
    const struct place *p = *state;
    struct model_writer w = small;
    struct model_record r;
    struct error err = {0};
    write_model(p, &w);
    assert_int_equal(import(p, MODEL_ENCODER, NULL, &r, &err), STATUS_OK);
    assert_string_equal(r.name, "seeded");
    assert_int_equal(import(p, MODEL_ENCODER, NULL, &r, &err), STATUS_OK);
    w.layers = 2;
    write_model(p, &w);
    assert_int_equal(import(p, MODEL_ENCODER, NULL, &r, &err), STATUS_CONFLICT);
    assert_non_null(strstr(err.text, "--name"));
    assert_int_equal(count_files(p), 2); /* and of the refused one nothing */
    assert_int_equal(import(p, MODEL_ENCODER, "../up", &r, &err), STATUS_INVALID);
}

static bool stop_at_once(uint64_t done, uint64_t total, void *data)
{
    (void)data;
    assert_true(done <= total);
    return false;
}

static void what_is_wrong_leaves_nothing(void **state)
{
    const struct place *p = *state;
    struct model_record r;
    struct error err = {0};
    write_model(p, &small);
    struct registry_import how = {
        .home = p->home, .path = p->file, .role = MODEL_ENCODER, .on_progress = stop_at_once};
    assert_int_equal(registry_import(&how, &r, &err), STATUS_CANCELLED);
    assert_int_equal(count_files(p), 0);
    assert_int_equal(truncate(p->file, 4000), 0);
    how.on_progress = NULL;
    assert_int_equal(registry_import(&how, &r, &err), STATUS_INVALID);
    how.path = "/nowhere.gguf";
    assert_int_equal(registry_import(&how, &r, &err), STATUS_NOT_FOUND);
    assert_int_equal(count_files(p), 0);
}

static void damage_is_seen(void **state)
{
    const struct place *p = *state;
    struct model_record r;
    struct model_record list[REGISTRY_MAX];
    struct error err = {0};
    size_t n = 0;
    char path[REGISTRY_PATH_CAP];
    write_model(p, &small);
    assert_int_equal(import(p, MODEL_ENCODER, "m", &r, &err), STATUS_OK);
    assert_int_equal(registry_path(p->home, &r, path, &err), STATUS_OK);
    assert_int_equal(chmod(path, 0600), 0);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, -9, SEEK_END), 0);
    (void)fputc(0x5a, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(registry_verify(p->home, &r, &err), STATUS_CORRUPT);
    (void)snprintf(path, sizeof path, "%s/models/m.model", p->home);
    assert_int_equal(file_write_atomic(path, "role encoder\nbytes x\n", 21, 0600, &err), STATUS_OK);
    assert_int_equal(registry_list(p->home, list, &n, &err), STATUS_CORRUPT);
    assert_non_null(strstr(err.text, "m.model: line 2"));
}

static void use(const struct place *p, const struct model_record *r, bool mapped)
{
    struct model *m = NULL;
    struct workspace *w = NULL;
    struct error err = {0};
    assert_int_equal(registry_open(p->home, r, &m, &err), STATUS_OK);
    assert_int_equal(workspace_new(m, 16, &w, &err), STATUS_OK);
    assert_int_equal(model_packed_mapped(m), mapped);
    workspace_free(w);
    model_close(m);
}

/* Written at import by who asks for it, else on first use; goes with the last name; a damaged one
 * goes when it is seen. */
static void packed_weights_lie_beside(void **state)
{
    const struct place *p = *state;
    struct model_record r;
    struct model_record again;
    struct error err = {0};
    char path[256];
    char old[256];
    write_model(p, &small);
    assert_int_equal(import(p, MODEL_ENCODER, "m", &r, &err), STATUS_OK);
    assert_int_equal(registry_packed_bytes(p->home, &r), 0);
    assert_int_equal(registry_verify_packed(p->home, &r, &err), STATUS_OK);
    (void)snprintf(old, sizeof old, "%s/models/%s.v0.packed", p->home, r.sha256);
    assert_int_equal(file_write_atomic(old, "old", 3, 0600, &err), STATUS_OK);
    assert_int_equal(registry_pack(p->home, &r, NULL, NULL, &err), STATUS_OK);
    assert_int_not_equal(access(old, F_OK), 0);
    uint64_t bytes = registry_packed_bytes(p->home, &r);
    assert_true(bytes > 4096);
    use(p, &r, true);
    assert_int_equal(registry_verify_packed(p->home, &r, &err), STATUS_OK);
    (void)snprintf(path, sizeof path, "%s/models/%s.v1.packed", p->home, r.sha256);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -50, SEEK_END), 0);
    assert_int_equal(fwrite("damage", 1, 6, f), 6);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(registry_verify_packed(p->home, &r, &err), STATUS_CORRUPT);
    assert_non_null(strstr(err.text, "made anew"));
    assert_int_equal(registry_packed_bytes(p->home, &r), 0);
    use(p, &r, true);
    assert_int_equal(registry_packed_bytes(p->home, &r), bytes);
    assert_int_equal(registry_verify_packed(p->home, &r, &err), STATUS_OK);
    assert_int_equal(import(p, MODEL_ENCODER, "again", &again, &err), STATUS_OK);
    assert_int_equal(registry_remove(p->home, "m", &err), STATUS_OK);
    assert_int_equal(registry_packed_bytes(p->home, &again), bytes);
    assert_int_equal(registry_remove(p->home, "again", &err), STATUS_OK);
    assert_int_equal(count_files(p), 0);
}

static void families_are_told_by_their_titles(void **state)
{
    (void)state;
    static const struct {
        const char *architecture, *title, *family;
    } cases[] = {{"nomic-bert", "", "nomic"},
                 {"bert", "Multilingual E5 Large Instruct", "e5-instruct"},
                 {"bert", "e5-small-v2-q8_0.gguf", "e5"},
                 {"bert", "Bge M3", "bge-m3"},
                 {"bert", "bge-base-en-v1.5", "bge"},
                 {"bert", "bge-large-zh-v1.5", "bge-zh"},
                 {"bert", "snowflake-arctic-embed-l-v2.0", "arctic-v2"},
                 {"bert", "snowflake-arctic-embed-m-v1.5", "arctic"},
                 {"qwen3", "Qwen3 Embedding 0.6b", "qwen3-embedding"},
                 {"qwen3", "Qwen3 0.6b", ""},
                 {"bert", "All MiniLM L6 v2", ""}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_string_equal(prefixes_of(cases[i].architecture, cases[i].title).family,
                            cases[i].family);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(imported_is_found_and_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(prefixes_make_other_vectors, setup, teardown),
        cmocka_unit_test_setup_teardown(roles_are_held, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_stands_for_one_file, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(packed_weights_lie_beside, setup, teardown),
        cmocka_unit_test(families_are_told_by_their_titles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
