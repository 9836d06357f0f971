/* Posting lists read back from disk, and text analysis: any bytes at all. */
#include <stdlib.h>

#include "vectorstore/lexical_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    static struct lexical_length lengths[5000];
    struct lexical_reader r;
    struct lexical_postings p;
    size_t n = 0;
    struct lexical_list list = {.bytes = in,
                                .df = size > 0 ? 1 + data[0] * 7U : 1,
                                .base = 3,
                                .lengths = lengths,
                                .n_lengths = 5000};
    if (lexical_list_open(&list, &r, NULL) == STATUS_OK) {
        for (uint32_t i = 0; i < r.n_blocks; i++) {
            if (lexical_list_block(&r, i, &p, NULL) != STATUS_OK) {
                break;
            }
            for (uint32_t j = 0; j < p.n; j++) { /* ascending, within the part */
                if (p.chunk[j] >= 5000 || (j > 0 && p.chunk[j] <= p.chunk[j - 1])) {
                    abort();
                }
            }
        }
    }
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
