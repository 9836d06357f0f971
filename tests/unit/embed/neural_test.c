#include "embed/neural.h"

#include <math.h>

#include "tests/fixture/model_writer.h"
#include "tests/unit/test.h"

static const struct model_writer small = {.architecture = "bert",
                                          .type = TENSOR_F32,
                                          .layers = 2,
                                          .width = 64,
                                          .feed_forward = 96,
                                          .heads = 4,
                                          .kv_heads = 4,
                                          .vocabulary = 320,
                                          .context = 48};

struct place {
    char home[64];
    struct model_record record;
    struct model *model;
    struct neural_scratch scratch;
};

static void begin(struct place *p, const struct model_writer *w, enum model_role role,
                  const char *query_prefix, const char *passage_prefix)
{
    char path[128];
    struct error err = {0};
    test_folder(p->home);
    (void)snprintf(path, sizeof path, "%s/original.gguf", p->home);
    assert_int_equal(model_write_file(w, path, &err), STATUS_OK);
    struct registry_import how = {.home = p->home,
                                  .path = path,
                                  .role = role,
                                  .query_prefix = query_prefix,
                                  .passage_prefix = passage_prefix};
    if (registry_import(&how, &p->record, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(registry_open(p->home, &p->record, &p->model, &err), STATUS_OK);
    neural_scratch_init(&p->scratch);
}

static void end(struct place *p)
{
    neural_scratch_deinit(&p->scratch);
    model_close(p->model);
    test_folder_remove(p->home);
}

static struct neural_count encode(struct place *p, const char *title, const char *text, bool query,
                                  float out[64])
{
    struct neural_count count = {0};
    struct error err = {0};
    struct encode_text t = {.text = str_from(text), .title = str_from(title)};
    if (neural_encode(&p->scratch, p->model, &p->record, &t, query, out, &count, &err) !=
        STATUS_OK) {
        fail_msg("%s", err.text);
    }
    return count;
}

static float dot(const float *a, const float *b)
{
    float sum = 0;
    for (size_t i = 0; i < 64; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* The same vector as by the model's own functions over the text that the prefix makes. */
static void prefixes_stand_before_the_text(void **state)
{
    (void)state;
    struct place p;
    float ours[64];
    float expected[64];
    uint32_t ids[8] = {0};
    struct error err;
    begin(&p, &small, MODEL_ENCODER, "w5 ", "w6 ");
    const struct tokenizer *t = model_tokenizer(p.model);
    static const char *const words[] = {"\xE2\x96\x81w5", "\xE2\x96\x81w6", "\xE2\x96\x81w9",
                                        "\xE2\x96\x81w77"};
    for (int query = 0; query < 2; query++) {
        struct workspace *w = NULL;
        ids[0] = tokenizer_bos(t);
        ids[1] = tokenizer_find(t, str_from(words[query == 1 ? 0 : 1]));
        ids[2] = tokenizer_find(t, str_from(words[2]));
        ids[3] = tokenizer_find(t, str_from(words[3]));
        ids[4] = tokenizer_separator(t);
        assert_int_equal(workspace_new(p.model, 16, &w, &err), STATUS_OK);
        assert_int_equal(model_embed(p.model, w, ids, 5, expected, &err), STATUS_OK);
        workspace_free(w);
        assert_int_equal(encode(&p, "w9", "w77", query == 1, ours).tokens, 5);
        assert_memory_equal(ours, expected, sizeof ours);
        assert_true(fabsf(dot(ours, ours) - 1) < 1e-5F);
    }
    end(&p);
}

/* What is over the context is cut, counted, and the end token stays. */
static void long_texts_are_cut_and_counted(void **state)
{
    (void)state;
    struct place p;
    char text[4096] = "";
    float cut[64];
    float whole[64];
    size_t n = 0;
    begin(&p, &small, MODEL_ENCODER, "", "");
    for (int i = 0; i < 46; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "w%d ", 10 + i);
    }
    struct neural_count count = encode(&p, "", text, false, whole);
    assert_int_equal(count.tokens, 48);
    assert_int_equal(count.cut, 0);
    (void)snprintf(text + n, sizeof text - n, "w200 w201 w202");
    count = encode(&p, "", text, false, cut);
    assert_int_equal(count.tokens, 48);
    assert_int_equal(count.cut, 1);
    assert_memory_equal(cut, whole, sizeof cut);
    end(&p);
}

/* A text that is longer is read in windows, to its end: what stands there turns the vector its way.
 */
static void long_texts_are_read_in_windows(void **state)
{
    (void)state;
    struct place p;
    char text[4096] = "";
    float cut[64], windows[64], other[64], end_alone[64], group[2 * 64];
    size_t n = 0;
    struct error err = {0};
    struct neural_count count = {0};
    begin(&p, &small, MODEL_ENCODER, "", "");
    for (int i = 0; i < 120; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "w%d ", i < 60 ? 10 + i % 7 : 200 + i % 5);
    }
    struct neural_count one = encode(&p, "w5 w6", text, false, cut);
    assert_int_equal(one.cut, 1);
    p.scratch.windows = true;
    one = encode(&p, "w5 w6", text, false, windows);
    assert_int_equal(one.cut, 0);
    assert_true(one.tokens > 122); /* title, ends and overlaps count each time */
    assert_true(fabsf(dot(windows, windows) - 1) < 1e-5f);
    (void)encode(&p, "w5 w6", "w200 w201 w202 w203 w204 w200 w201 w202 w203 w204", false,
                 end_alone);
    assert_true(dot(windows, end_alone) > dot(cut, end_alone));
    (void)snprintf(text + n - 5, sizeof text - n + 5, "w99 ");
    (void)encode(&p, "w5 w6", text, false, other);
    assert_true(memcmp(other, windows, sizeof other) != 0);
    /* beside others in a group, and shorter ones as ever */
    struct encode_text texts[2] = {{.text = str_from(text), .title = STR("w5 w6")},
                                   {.text = STR("w9 w10"), .title = STR("")}};
    assert_int_equal(
        neural_encode_group(&p.scratch, p.model, &p.record, texts, 2, false, group, &count, &err),
        STATUS_OK);
    assert_memory_equal(group, other, sizeof other);
    (void)encode(&p, "", "w9 w10", false, other);
    assert_memory_equal(group + 64, other, sizeof other);
    /* a title that is longer than a window leaves room for the text */
    one = encode(&p, text, text, false, other);
    assert_true(fabsf(dot(other, other) - 1) < 1e-5f);
    assert_int_equal(one.cut, 0);
    end(&p);
}

/* One scratch for models of different shapes, longer and shorter texts: always the same bits. */
static void a_scratch_serves_all(void **state)
{
    (void)state;
    struct place p;
    char text[4096] = "";
    float first[64];
    float again[64];
    struct model_writer w = small;
    size_t n = 0;
    w.context = 600;
    begin(&p, &w, MODEL_ENCODER, "", "");
    (void)encode(&p, "", "w9 w10 w11", true, first);
    for (int i = 0; i < 500; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "w%d ", 10 + i % 200);
    }
    assert_int_equal(encode(&p, "", text, false, again).tokens, 502);
    (void)encode(&p, "", "w9 w10 w11", true, again);
    assert_memory_equal(first, again, sizeof first);
    end(&p);
}

/* Groups of every size, with long and empty texts among them, and threads: the bits of one by one.
 */
static void groups_and_threads_change_no_bit(void **state)
{
    (void)state;
    struct place p;
    static char long_one[2048];
    struct encode_text texts[NEURAL_GROUP];
    static const char *const short_ones[] = {"w9", "", "w10 w11 w12", "w200 w201", "w7 w7 w7 w7"};
    float alone[NEURAL_GROUP * 64];
    float group[NEURAL_GROUP * 64];
    struct neural_count count = {0};
    struct error err = {0};
    struct model_writer w = small;
    size_t at = 0;
    w.context = 600;
    for (int i = 0; i < 300; i++) {
        at += (size_t)snprintf(long_one + at, sizeof long_one - at, "w%d ", 10 + i % 200);
    }
    begin(&p, &w, MODEL_ENCODER, "", "");
    for (size_t i = 0; i < NEURAL_GROUP; i++) {
        texts[i] = (struct encode_text){
            .text = str_from(i % 3 == 2 ? long_one : short_ones[i % COUNT_OF(short_ones)])};
        assert_int_equal(neural_encode(&p.scratch, p.model, &p.record, &texts[i], false,
                                       alone + i * 64, &count, &err),
                         STATUS_OK);
    }
    for (uint32_t n = 1; n <= NEURAL_GROUP; n++) {
        neural_scratch_deinit(&p.scratch);
        neural_scratch_init(&p.scratch);
        p.scratch.threads = n % 2 == 0 ? 2 : 0;
        struct neural_count again = {0};
        assert_int_equal(neural_encode_group(&p.scratch, p.model, &p.record, texts, n, false, group,
                                             &again, &err),
                         STATUS_OK);
        assert_memory_equal(group, alone, n * 64 * sizeof *group);
        assert_true(n < NEURAL_GROUP || again.tokens == count.tokens);
    }
    end(&p);
}

static void pairs_are_scored_by_the_head(void **state)
{
    (void)state;
    struct place p;
    struct model_writer w = small;
    struct neural_count count = {0};
    struct error err = {0};
    struct workspace *room = NULL;
    float score = 0;
    float expected = 0;
    w.head = true;
    begin(&p, &w, MODEL_RERANKER, NULL, NULL);
    const struct tokenizer *t = model_tokenizer(p.model);
    const uint32_t ids[] = {tokenizer_bos(t),
                            tokenizer_find(t, STR("\xE2\x96\x81w7")),
                            tokenizer_separator(t),
                            tokenizer_find(t, STR("\xE2\x96\x81w8")),
                            tokenizer_find(t, STR("\xE2\x96\x81w9")),
                            tokenizer_separator(t)};
    assert_int_equal(workspace_new(p.model, 16, &room, &err), STATUS_OK);
    assert_int_equal(model_rank(p.model, room, ids, 6, 3, &expected, &err), STATUS_OK);
    workspace_free(room);
    assert_int_equal(
        neural_score(&p.scratch, p.model, STR("w7"), STR("w8 w9"), &score, &count, &err),
        STATUS_OK);
    assert_memory_equal(&score, &expected, sizeof score);
    assert_int_equal(count.tokens, 6);
    /* a question longer than the context leaves room for the passage */
    char text[1024] = "";
    size_t n = 0;
    for (int i = 0; i < 90; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "w%d ", 10 + i);
    }
    count = (struct neural_count){0};
    assert_int_equal(
        neural_score(&p.scratch, p.model, str_from(text), str_from(text), &score, &count, &err),
        STATUS_OK);
    assert_int_equal(count.tokens, 48);
    assert_int_equal(count.cut, 1);
    end(&p);
}

/* XLM-R's pair has two ends between its texts. */
static void a_unigram_pair_has_two_ends_between(void **state)
{
    (void)state;
    struct place p;
    struct model_writer w = small;
    struct neural_count count = {0};
    struct error err = {0};
    struct workspace *room = NULL;
    float score = 0;
    float expected = 0;
    w.head = w.unigram = true;
    begin(&p, &w, MODEL_RERANKER, NULL, NULL);
    const struct tokenizer *t = model_tokenizer(p.model);
    const uint32_t ids[] = {tokenizer_bos(t),
                            tokenizer_find(t, STR("\xE2\x96\x81w7")),
                            tokenizer_eos(t),
                            tokenizer_eos(t),
                            tokenizer_find(t, STR("\xE2\x96\x81w8")),
                            tokenizer_find(t, STR("\xE2\x96\x81w9")),
                            tokenizer_eos(t)};
    assert_int_equal(workspace_new(p.model, 16, &room, &err), STATUS_OK);
    assert_int_equal(model_rank(p.model, room, ids, 7, 4, &expected, &err), STATUS_OK);
    workspace_free(room);
    assert_int_equal(
        neural_score(&p.scratch, p.model, STR("w7"), STR("w8 w9"), &score, &count, &err),
        STATUS_OK);
    assert_int_equal(count.tokens, 7);
    assert_memory_equal(&score, &expected, sizeof score);
    end(&p);
}

/* Rotary positions and last tokens too: a text's vector does not depend on what it is encoded with.
 */
static void vectors_are_the_same_bits_in_any_company(void **state)
{
    (void)state;
    static const struct {
        const char *architecture;
        uint32_t pooling;
    } rows[] = {{"bert", 1}, {"nomic-bert", 1}, {"qwen3", 3}};
    static const uint32_t ids[] = {1, 270, 301, 277, 266, 290, 2};
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        struct place p;
        struct model_writer w = small;
        struct workspace *room = NULL;
        struct error err = {0};
        float alone[64];
        float many[4 * 64];
        w.architecture = rows[r].architecture;
        w.pooling = rows[r].pooling;
        begin(&p, &w, MODEL_ENCODER, "", "");
        const struct model_tokens texts[] = {{ids + 1, 5}, {ids, 7}, {ids, 3}, {ids, 7}};
        assert_int_equal(workspace_new(p.model, 32, &room, &err), STATUS_OK);
        assert_int_equal(model_embed(p.model, room, ids, 7, alone, &err), STATUS_OK);
        assert_int_equal(model_embed_many(p.model, room, texts, 4, many, &err), STATUS_OK);
        assert_memory_equal(alone, many + 64, sizeof alone);
        assert_memory_equal(alone, many + 192, sizeof alone);
        assert_true(fabsf(dot(alone, alone) - 1) < 1e-5F);
        workspace_free(room);
        end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_stand_before_the_text),
        cmocka_unit_test(long_texts_are_cut_and_counted),
        cmocka_unit_test(long_texts_are_read_in_windows),
        cmocka_unit_test(a_scratch_serves_all),
        cmocka_unit_test(groups_and_threads_change_no_bit),
        cmocka_unit_test(pairs_are_scored_by_the_head),
        cmocka_unit_test(a_unigram_pair_has_two_ends_between),
        cmocka_unit_test(vectors_are_the_same_bits_in_any_company),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
