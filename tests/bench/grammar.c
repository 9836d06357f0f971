/* bench-grammar VOCABULARY.gguf
 *
 * What holding an answer to a JSON schema costs a step: a sample answer of 60 products is taken
 * token by token; before each the allowed tokens are asked for. Prints the time of the vocabulary's
 * trie, of the schema, and of a step: mean, 99th of 100, worst. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "model/grammar.h"
#include "model/json_schema.h"

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"products\":{\"type\":\"array\",\"items\":{\"type\":"
    "\"object\","
    "\"properties\":{\"name\":{\"type\":\"string\"},\"price\":{\"type\":\"number\",\"minimum\":0},"
    "\"colour\":{\"enum\":[\"red\",\"green\",\"blue\"]},\"tags\":{\"type\":\"array\",\"items\":{"
    "\"type\":"
    "\"string\",\"maxLength\":40}},\"stock\":{\"type\":[\"integer\",\"null\"]}},\"required\":["
    "\"name\",\"price\","
    "\"colour\"],\"additionalProperties\":false}}},\"required\":[\"products\"]}";

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void sample(struct buf *b)
{
    static const char *const names[] = {"Torque wrench 3/8\\\"",
                                        "Gew\xC3\xBCrzm\xC3\xBChle, gro\xC3\x9F", "Valve AB-1234/7",
                                        "\xE6\x89\x8B\xE5\xB7\xBE"};
    static const char *const colours[] = {"red", "green", "blue"};
    buf_z(b, "{\"products\": [");
    for (unsigned i = 0; i < 60; i++) {
        buf_printf(b, "%s\n {\"name\": \"%s\", \"price\": %u.%02u, \"colour\": \"%s\"",
                   i > 0 ? "," : "", names[i % 4], i * 37 % 500, i * 7 % 100, colours[i % 3]);
        if (i % 2 == 0) {
            buf_printf(b, ", \"tags\": [\"spare part\", \"made to order\"], \"stock\": %u", i);
        }
        buf_char(b, '}');
    }
    buf_z(b, "]}");
}

static int measure(struct grammar_run *r, const struct token_list *ids)
{
    int64_t *took = calloc(ids->n, sizeof *took);
    int64_t sum = 0;
    struct error err;
    for (size_t i = 0; took != NULL && i < ids->n; i++) {
        const uint64_t *mask;
        int64_t from = clock_monotonic_us();
        enum status s = grammar_run_allowed(r, &mask, &err);
        bool in = s == STATUS_OK && (mask[ids->ids[i] >> 6] >> (ids->ids[i] & 63) & 1) != 0;
        if (s == STATUS_OK) {
            s = grammar_run_accept(r, ids->ids[i], &err);
        }
        took[i] = clock_monotonic_us() - from;
        sum += took[i];
        if (!in || s != STATUS_OK) {
            (void)fprintf(stderr, "token %zu is refused: %s\n", i, s == STATUS_OK ? "" : err.text);
            free(took);
            return 1;
        }
    }
    if (took == NULL) {
        return 1;
    }
    qsort(took, ids->n, sizeof *took, by_size);
    printf("steps        %zu\nmean         %.3f ms\np99          %.3f ms\nworst        %.3f ms\n",
           ids->n, (double)sum / (double)ids->n / 1e3, (double)took[ids->n * 99 / 100] / 1e3,
           (double)took[ids->n - 1] / 1e3);
    free(took);
    return 0;
}

static int run(const struct tokenizer *t)
{
    struct grammar_vocabulary *v = NULL;
    struct grammar *g = NULL;
    struct grammar_run *r = NULL;
    struct token_list ids;
    struct buf text;
    struct error err;
    int rc = 1;
    token_list_init(&ids, 1U << 20);
    buf_init(&text, 1U << 20);
    sample(&text);
    int64_t from = clock_monotonic_us();
    enum status s = grammar_vocabulary_new(t, &v, &err);
    int64_t trie = clock_monotonic_us();
    if (s == STATUS_OK) {
        s = json_schema_grammar(str_from(schema), &g, &err);
    }
    if (s == STATUS_OK) {
        s = grammar_run_new(g, v, &r, &err);
    }
    int64_t made = clock_monotonic_us();
    if (s == STATUS_OK) {
        s = tokenizer_encode(t, buf_view(&text), 0, &ids, &err);
    }
    if (s == STATUS_OK) {
        printf("vocabulary   %u tokens\ntrie         %.1f ms, once a model\nschema       %.2f ms\n",
               tokenizer_size(t), (double)(trie - from) / 1e3, (double)(made - trie) / 1e3);
        rc = measure(r, &ids);
    } else {
        (void)fprintf(stderr, "%s\n", err.text);
    }
    grammar_run_free(r);
    grammar_free(g);
    grammar_vocabulary_free(v);
    token_list_deinit(&ids);
    buf_deinit(&text);
    return rc;
}

int main(int argc, char **argv)
{
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct error err;
    int rc = 1;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench-grammar VOCABULARY.gguf\n");
        return 2;
    }
    if (gguf_open(argv[1], &g, &err) != STATUS_OK || tokenizer_new(g, &t, &err) != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
    } else {
        rc = run(t);
    }
    tokenizer_free(t);
    gguf_close(g);
    return rc;
}
