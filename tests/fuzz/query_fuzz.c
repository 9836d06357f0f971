/* A typed query: any bytes are a query, and never an error. */
#include <stdlib.h>

#include "retrieve/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct text_analyzer *text;
    struct arena a;
    struct query q;
    struct str in = {(const char *)data, size};
    if (text == NULL && text_analyzer_new(&text, NULL) != STATUS_OK) {
        return 0;
    }
    arena_init(&a, (size_t)4 << 20);
    if (query_read(text, in, &a, &q, NULL) != STATUS_OK || (!q.composed && !str_eq(q.text, in))) {
        abort();
    }
    const struct query_list *lists[] = {&q.phrases, &q.excluded, &q.in_title, &q.collections,
                                        &q.labels,  &q.tags,     &q.formats,  &q.shown};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (size_t k = 0; k < lists[i]->n; k++) {
            if (!text_utf8_valid(str_from(lists[i]->items[k]))) {
                abort(); /* shown to people, as protobuf strings */
            }
        }
    }
    arena_reset(&a);
    return 0;
}
