/* GGUF heads from any bytes: refused or read, every value and tensor then touched. */
#include <stdlib.h>

#include "model/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t touch(const struct gguf *g)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < gguf_values(g); i++) {
        const struct gguf_value *v = gguf_value_at(g, i);
        struct str s;
        for (size_t at = 0; gguf_next_string(v, &at, &s);) {
            sum += s.len + (s.len > 0 ? (unsigned char)s.ptr[s.len - 1] : 0);
        }
        if (v->element != GGUF_STRING && v->n > 0) {
            sum += (uint64_t)gguf_int_at(v, v->n - 1);
        }
    }
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        const unsigned char *p = t->data;
        sum += t->bytes > 0 ? (uint64_t)p[0] + p[t->bytes - 1] : 0;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g = NULL;
    struct error err;
    if (gguf_read(data, size, "fuzz", &g, &err) == STATUS_OK) {
        if (touch(g) == UINT64_MAX) { /* so that the reading is not left out */
            abort();
        }
        gguf_close(g);
    }
    return 0;
}
