#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Blocks grow with what is used: thousands of requests may be open that need little. */
#define BLOCK_FIRST ((size_t)512)
#define BLOCK_BYTES ((size_t)16 * 1024)
#define ALIGN (sizeof(max_align_t))

struct arena_block {
    struct arena_block *next;
    size_t cap;
    size_t len;
    _Alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){.max = max_bytes};
}

void *arena_alloc(struct arena *a, size_t len)
{
    if (len > a->max) {
        return NULL;
    }
    size_t need = (len + ALIGN - 1) / ALIGN * ALIGN;
    if (need == 0) {
        need = ALIGN;
    }
    if (need > a->max - a->used) {
        return NULL;
    }
    if (a->head == NULL || a->head->cap - a->head->len < need) {
        size_t block = a->used / 4 < BLOCK_FIRST   ? BLOCK_FIRST
                       : a->used / 4 < BLOCK_BYTES ? a->used / 4
                                                   : BLOCK_BYTES;
        size_t cap = need > block ? need : block;
        struct arena_block *b = calloc(1, sizeof *b + cap);
        if (b == NULL) {
            return NULL;
        }
        b->cap = cap;
        b->next = a->head;
        /* A large one-off block goes behind the head, so that the head's free space is not lost. */
        if (a->head != NULL && need > block / 4 && a->head->cap > a->head->len) {
            b->next = a->head->next;
            a->head->next = b;
            b->len = need;
            a->used += need;
            return b->data;
        }
        a->head = b;
    }
    void *p = a->head->data + a->head->len;
    a->head->len += need;
    a->used += need;
    return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
    size_t len;
    if (__builtin_mul_overflow(n, size, &len)) {
        return NULL;
    }
    return arena_alloc(a, len);
}

char *arena_strndup(struct arena *a, const char *p, size_t len)
{
    if (len == SIZE_MAX) {
        return NULL;
    }
    char *copy = arena_alloc(a, len + 1);
    if (copy != NULL && len > 0) {
        memcpy(copy, p, len);
    }
    return copy;
}

char *arena_strdup(struct arena *a, const char *z)
{
    return arena_strndup(a, z, strlen(z));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        return NULL;
    }
    char *text = arena_alloc(a, (size_t)n + 1);
    if (text != NULL) {
        va_start(ap, fmt);
        (void)vsnprintf(text, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    return text;
}

void arena_reset(struct arena *a)
{
    while (a->head != NULL) {
        struct arena_block *next = a->head->next;
        free(a->head);
        a->head = next;
    }
    a->used = 0;
}

static void *pb_alloc(void *data, size_t len)
{
    return arena_alloc(data, len);
}

static void pb_free(void *data, void *p)
{
    (void)data;
    (void)p;
}

void arena_protobuf(struct arena *a, ProtobufCAllocator *out)
{
    *out = (ProtobufCAllocator){.alloc = pb_alloc, .free = pb_free, .allocator_data = a};
}
