/* Damaged models all the way: opened, their vocabulary used in both directions, their template
 * rendered, a pass or an embedding run. What is refused is refused by name; nothing else happens.
 *
 * Inputs begin as files that the tests' writer makes, one for each architecture and kind of
 * vocabulary; the mutator damages those. The first byte says how to use the model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/model.h"
#include "model/template.h"
#include "tests/fixture/model_writer.h"

#define TOKENS 24U
#define PAGES 4U
#define LARGE_BYTES ((size_t)64 << 20) /* more than any model of 64 KiB should want */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

static void use_vocabulary(const struct tokenizer *t, struct str text)
{
    struct token_list ids;
    struct error err;
    struct buf back;
    token_list_init(&ids, 4096);
    buf_init(&back, (size_t)1 << 20);
    if (tokenizer_encode(t, text, TOKENIZER_AFFIX | TOKENIZER_SPECIALS, &ids, &err) == STATUS_OK) {
        for (size_t i = 0; i < ids.n; i++) {
            if (ids.ids[i] >= tokenizer_size(t)) {
                abort();
            }
        }
        tokenizer_decode(t, ids.ids, ids.n, 0, &back);
    }
    for (uint32_t id = 0; id < tokenizer_size(t) && id < 1000; id++) {
        tokenizer_piece(t, id, id % 2 == 0, id % 3 == 0 ? TOKENIZER_SPECIALS : 0, &back);
        (void)tokenizer_is_end(t, id);
    }
    token_list_deinit(&ids);
    buf_deinit(&back);
}

static void use_template(const struct model *m, struct str text)
{
    enum template_family f;
    struct error err;
    struct template_pieces pieces = {0};
    struct token_list ids;
    const struct template_message talk[] = {{.role = TEMPLATE_SYSTEM, .content = STR("Be brief.")},
                                            {.role = TEMPLATE_USER, .content = text}};
    token_list_init(&ids, 65536);
    if (template_of_file(model_file(m), &f, &err) == STATUS_OK &&
        template_render(f, talk, 2, false, &pieces, &err) == STATUS_OK) {
        (void)template_encode(f, model_tokenizer(m), &pieces, &ids, &err);
    }
    template_pieces_deinit(&pieces);
    token_list_deinit(&ids);
}

static void run_decoder(const struct model *m, struct workspace *w, const uint32_t *tokens,
                        enum tensor_type kept, float *logits)
{
    struct kv_shape shape = model_kv_shape(m, kept);
    struct kv_sequence s = {0};
    struct kv_pool *kv = NULL;
    struct error err;
    struct kv_room room = kv_room_for(&shape, 1, PAGES * KV_PAGE);
    if (kv_room_bytes(&shape, &room) > LARGE_BYTES ||
        kv_pool_new(&shape, PAGES, &kv, &err) != STATUS_OK) {
        return;
    }
    for (uint32_t at = 0; at < TOKENS; at += TOKENS / 2) {
        struct model_piece p = {&s, tokens + at, TOKENS / 2, false};
        if (kv_reserve(kv, &s, TOKENS / 2, &err) == STATUS_OK) {
            (void)model_forward(m, w, kv, &p, 1, logits, &err);
        }
    }
    kv_release(kv, &s);
    kv_pool_free(kv);
}

static void run(const struct model *m, uint8_t how)
{
    const struct model_info *i = model_info(m);
    struct workspace *w = NULL;
    struct error err;
    uint32_t tokens[TOKENS];
    float score;
    for (uint32_t k = 0; k < TOKENS; k++) {
        tokens[k] = i->vocabulary == 0 ? 0 : (k * 7 + 1) % i->vocabulary;
    }
    size_t values = (size_t)i->vocabulary + i->width + 64;
    float *out = malloc(values * sizeof *out);
    if (out != NULL && workspace_new_with(m, TOKENS, NULL, &w, &err) == STATUS_OK) {
        static const enum tensor_type kept[] = {TENSOR_F32, TENSOR_F16, TENSOR_Q8_0};
        if (!i->encoder) {
            run_decoder(m, w, tokens, kept[how % 3], out);
        }
        if (model_embed(m, w, tokens, TOKENS, out, &err) == STATUS_OK && i->width > 0) {
            (void)isnan(out[i->width - 1]);
        }
        (void)model_rank(m, w, tokens, TOKENS, TOKENS / 2, &score, &err);
    }
    workspace_free(w);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model *m = NULL;
    struct error err = {0};
    char path[64];
    if (size < 2) {
        return 0;
    }
    int fd = memfd_create("model", MFD_CLOEXEC);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, data + 1, size - 1) != (ssize_t)(size - 1)) {
        abort();
    }
    if (model_open(path, &m, &err) == STATUS_OK) {
        struct str text = STR("w40 w41 \xC3\xA4\xFF\xE6\x97\xA5</s> <|im_end|>w50");
        use_vocabulary(model_tokenizer(m), text);
        use_vocabulary(model_tokenizer(m),
                       (struct str){(const char *)data + size / 2, size / 2 > 64 ? 64 : size / 2});
        use_template(m, text);
        run(m, data[0]);
        model_close(m);
    } else if (err.text[0] == '\0') {
        abort(); /* refused without a word */
    }
    (void)close(fd);
    return 0;
}

/* ---- what is damaged ---- */

static size_t write_seed(uint8_t *data, size_t max, unsigned seed)
{
    static const char *const names[] = {"llama",    "mixtral",    "qwen2",  "qwen3",
                                        "qwen3moe", "gemma2",     "gemma3", "phi3",
                                        "bert",     "nomic-bert", "xlm-r"};
    static const char *const templates[] = {"<|im_start|>", "[INST] <<SYS>>", "<|start_header_id|>",
                                            "<start_of_turn>"};
    static const enum tensor_type types[] = {TENSOR_F32, TENSOR_F16, TENSOR_Q8_0, TENSOR_Q4_0};
    struct model_writer w = model_writer_small(names[seed % 11], types[seed / 11 % 4]);
    struct buf out;
    w.layers = w.layers > 2 ? 6 : 1;
    w.width = 32;
    w.feed_forward = 64;
    w.heads = 2;
    w.kv_heads = w.kv_heads == 4 ? 2 : 1;
    w.vocabulary = seed / 44 % 2 == 0 ? 64 : 270;
    w.context = 64;
    w.head = seed / 88 % 4 == 0;
    w.pooling = seed / 352 % 5;
    w.chat_template = templates[seed / 1760 % 4];
    buf_init(&out, (size_t)1 << 20);
    model_write(&w, &out);
    size_t n = out.len + 1;
    if (buf_status(&out) != STATUS_OK || n > max) {
        n = 0;
    } else {
        data[0] = (uint8_t)seed;
        memcpy(data + 1, out.ptr, out.len);
    }
    buf_deinit(&out);
    return n;
}

static const uint64_t numbers[] = {
    0,        1,       2,          3,          31,         33,         63,         65,
    257,      4096,    65535,      65536,      0x7FFFFFFF, 0x80000000, UINT32_MAX, 0x7FC00000,
    1U << 28, 1000000, 0x7F800000, 0xFF800000, UINT64_MAX, INT64_MAX};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

/* The value of one of the model's own numbers becomes one that a check may forget. */
static void put_own_number(uint8_t *data, size_t size, unsigned seed)
{
    static const char *const names[] = {"block_count",         "embedding_length",
                                        "feed_forward_length", "attention.head_count",
                                        "head_count_kv",       "key_length",
                                        "value_length",        "dimension_count",
                                        "context_length",      "expert_count",
                                        "expert_used_count",   "expert_feed_forward_length",
                                        "pooling_type",        "bos_token_id",
                                        "eos_token_id",        "unknown_token_id",
                                        "seperator_token_id",  "sliding_window",
                                        "token_type_count",    "epsilon",
                                        "scaling.factor",      "freq_base",
                                        "logit_softcapping",   "original_context_length",
                                        "attn_factor"};
    const char *name = names[seed % (sizeof names / sizeof names[0])];
    uint8_t *at = memmem(data, size, name, strlen(name));
    size_t from = at == NULL ? size : (size_t)(at - data) + strlen(name) + 4;
    uint32_t v = (uint32_t)numbers[seed / 32 % NUMBERS];
    if (from + sizeof v <= size) {
        memcpy(data + from, &v, sizeof v);
    }
}

/* Any number of the head: counts, lengths, types, dimensions, offsets. */
static void put_number(uint8_t *data, size_t size, unsigned seed)
{
    size_t width = seed % 3 == 0 ? 8 : seed % 3 == 1 ? 4 : 1;
    size_t head = size > 6000 && seed / 3 % 4 != 0 ? 6000 : size;
    uint64_t v = numbers[seed / 12 % NUMBERS];
    if (head > width + 1) {
        memcpy(data + 1 + (seed / 384) % (head - width - 1), &v, width);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    if (size < 100 || seed % 8 == 0) {
        size_t n = write_seed(data, max, seed / 8);
        size = n > 0 ? n : size;
    }
    unsigned times = seed / 64 % 3;
    for (unsigned i = 0; i < times; i++) {
        seed = seed * 1664525U + 1013904223U;
        (seed >> 30 == 0 ? put_number : put_own_number)(data, size, seed >> 8 & 0x3FFFFF);
    }
    return times == 0 && seed % 16 != 0 ? LLVMFuzzerMutate(data, size, max) : size;
}
