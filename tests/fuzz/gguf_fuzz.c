/* GGUF heads from any bytes: refused or read, every value and tensor then touched. */
#include <stdlib.h>

#include "model/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first and the last byte are read, so that a view past the file is found. */
static void touch(const void *bytes, size_t len)
{
    const volatile unsigned char *p = bytes;
    if (len > 0) {
        (void)p[0];
        (void)p[len - 1];
    }
}

static void touch_all(const struct gguf *g)
{
    for (size_t i = 0; i < gguf_values(g); i++) {
        const struct gguf_value *v = gguf_value_at(g, i);
        struct str s;
        for (size_t at = 0; gguf_next_string(v, &at, &s);) {
            touch(s.ptr, s.len);
        }
        if (v->element != GGUF_STRING && v->n > 0) {
            (void)gguf_int_at(v, v->n - 1);
            (void)gguf_float_at(v, v->n - 1);
        }
        if (gguf_find(g, v->key) != v) {
            abort();
        }
    }
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        touch(t->data, (size_t)t->bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g = NULL;
    struct error err;
    if (gguf_read(data, size, "fuzz", &g, &err) == STATUS_OK) {
        touch_all(g);
        gguf_close(g);
    }
    return 0;
}
