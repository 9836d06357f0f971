/* bench-tokenizer VOCABULARY.gguf TEXTS [IDS]
 *
 * Tokenizes the texts of a file (separated by lines "__ggml_vocab_test__", as the vectors that
 * llama.cpp publishes with its vocabularies are) and compares with a file of expected ids, one text
 * a line; without one it prints the ids. Exit code 1 when any text differs. */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "model/tokenizer.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"
#define FILE_MAX ((size_t)256 << 20)

static bool encode(const struct tokenizer *t, struct str text, struct buf *line)
{
    struct token_list ids;
    struct error err;
    token_list_init(&ids, 1U << 24);
    enum status s = tokenizer_encode(t, text, 0, &ids, &err);
    if (s != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
    }
    buf_reset(line);
    for (size_t i = 0; i < ids.n; i++) {
        buf_printf(line, "%s%u", i == 0 ? "" : " ", ids.ids[i]);
    }
    token_list_deinit(&ids);
    return s == STATUS_OK && buf_status(line) == STATUS_OK;
}

static struct str next_line(struct str *rest)
{
    const char *end = memchr(rest->ptr, '\n', rest->len);
    struct str line = {rest->ptr, end == NULL ? rest->len : (size_t)(end - rest->ptr)};
    size_t used = line.len + (end == NULL ? 0 : 1);
    rest->ptr += used;
    rest->len -= used;
    while (line.len > 0 && line.ptr[0] == ' ') {
        line.ptr++;
        line.len--;
    }
    return line;
}

static int run(const struct tokenizer *t, struct str texts, struct str *expected)
{
    size_t n = 0;
    size_t wrong = 0;
    struct buf line;
    buf_init(&line, FILE_MAX);
    while (texts.len > 0) {
        const char *end = memmem(texts.ptr, texts.len, SEPARATOR, sizeof SEPARATOR - 1);
        struct str text = {texts.ptr, end == NULL ? texts.len : (size_t)(end - texts.ptr)};
        size_t used = end == NULL ? texts.len : text.len + sizeof SEPARATOR - 1;
        texts.ptr += used;
        texts.len -= used;
        if (!encode(t, text, &line)) {
            wrong++;
        } else if (expected == NULL) {
            (void)printf("%.*s\n", STR_ARG(buf_view(&line)));
        } else {
            struct str want = next_line(expected);
            if (!str_eq(want, buf_view(&line))) {
                wrong++;
                (void)printf("text %zu: %.*s\n  wanted %.*s\n  got    %.*s\n", n,
                             (int)(text.len > 60 ? 60 : text.len), text.ptr, STR_ARG(want),
                             STR_ARG(buf_view(&line)));
            }
        }
        n++;
    }
    buf_deinit(&line);
    (void)fprintf(stderr, "%s: %zu texts, %zu differ\n", tokenizer_name(t), n, wrong);
    return wrong == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct buf texts;
    struct buf ids;
    if (argc < 3) {
        (void)fprintf(stderr, "usage: bench-tokenizer VOCABULARY.gguf TEXTS [IDS]\n");
        return 2;
    }
    buf_init(&texts, FILE_MAX);
    buf_init(&ids, FILE_MAX);
    enum status s = gguf_open(argv[1], &g, &err);
    if (s == STATUS_OK) {
        s = tokenizer_new(g, &t, &err);
    }
    if (s == STATUS_OK) {
        s = file_read(argv[2], &texts, &err);
    }
    if (s == STATUS_OK && argc > 3) {
        s = file_read(argv[3], &ids, &err);
    }
    int rc = 1;
    if (s == STATUS_OK) {
        struct str expected = buf_view(&ids);
        rc = run(t, buf_view(&texts), argc > 3 ? &expected : NULL);
    } else {
        (void)fprintf(stderr, "%s\n", err.text);
    }
    tokenizer_free(t);
    gguf_close(g);
    buf_deinit(&texts);
    buf_deinit(&ids);
    return rc;
}
