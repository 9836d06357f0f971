/* Posting blocks read back from disk, and text analysis: any bytes at all. */
#include <stdlib.h>

#include "vectorstore/lexical_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool odd(chunk_no n, void *data)
{
    (void)data;
    return (n & 1) != 0;
}

static bool on_token(const struct text_token *t, void *data)
{
    if (t->end < t->start || t->norm.len == 0 || t->stem.len == 0) {
        abort();
    }
    (*(size_t *)data)++;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct text_analyzer *text;
    static const char *const languages[] = {"", "en", "tr", "hi", "ar", "zh", "ja", "de"};
    struct str in = {(const char *)data, size};
    struct buf out;
    size_t n = 0;
    buf_init(&out, LEXICAL_BLOCK_MAX);
    if (lexical_block_purge(in, odd, NULL, &out, &n, NULL) == STATUS_OK && out.len > 0) {
        struct lexical_block b; /* what a purge writes can be read */
        if (out.len > size || lexical_block_open(buf_view(&out), &b, NULL) != STATUS_OK) {
            abort();
        }
    }
    buf_deinit(&out);
    if (text == NULL && text_analyzer_new(&text, NULL) != STATUS_OK) {
        return 0;
    }
    if (size > 0) {
        struct str rest = {in.ptr + 1, size - 1};
        text_analyze(text, rest, languages[data[0] & 7], on_token, &n);
        (void)text_detect_language(text, rest);
        if (text_utf8_valid(rest) && text_byte_offset(rest, text_code_points(rest)) != rest.len) {
            abort();
        }
    }
    return 0;
}
