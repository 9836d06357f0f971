#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_deinit(struct buf *b)
{
    free(b->ptr);
    *b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = STATUS_OK;
    if (b->ptr != NULL) {
        b->ptr[0] = '\0';
    }
}

char *buf_reserve(struct buf *b, size_t len)
{
    if (b->failed != STATUS_OK) {
        return NULL;
    }
    if (len > b->max - b->len) {
        b->failed = STATUS_TOO_LARGE;
        return NULL;
    }
    size_t need = b->len + len + 1;
    if (need > b->cap) {
        size_t cap = b->cap;
        if (cap == 0) { /* what is given whole is often all that there will be */
            cap = need < 64 ? 64 : need;
        }
        while (cap < need) {
            cap += cap / 2 + 64;
        }
        if (cap > b->max + 1) {
            cap = b->max + 1;
        }
        char *p = realloc(b->ptr, cap);
        if (p == NULL) {
            b->failed = STATUS_NO_MEMORY;
            return NULL;
        }
        b->ptr = p;
        b->cap = cap;
    }
    b->ptr[b->len + len] = '\0';
    return b->ptr + b->len;
}

void buf_append(struct buf *b, const void *p, size_t len)
{
    char *dst = buf_reserve(b, len);
    if (dst != NULL && len > 0) {
        memcpy(dst, p, len);
        b->len += len;
    }
}

void buf_str(struct buf *b, struct str s)
{
    buf_append(b, s.ptr, s.len);
}

void buf_z(struct buf *b, const char *z)
{
    buf_append(b, z, strlen(z));
}

void buf_char(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0) {
        b->failed = STATUS_NO_MEMORY;
        return;
    }
    char *dst = buf_reserve(b, (size_t)n);
    if (dst != NULL) {
        (void)vsnprintf(dst, (size_t)n + 1, fmt, ap);
        b->len += (size_t)n;
    }
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
    } else {
        memmove(b->ptr, b->ptr + n, b->len - n);
        b->len -= n;
    }
    if (b->ptr != NULL) {
        b->ptr[b->len] = '\0';
    }
}

enum status buf_status(const struct buf *b)
{
    return b->failed;
}

char *buf_take(struct buf *b)
{
    char *p = b->failed == STATUS_OK ? b->ptr : NULL;
    if (p == NULL) {
        free(b->ptr);
    }
    *b = (struct buf){.max = b->max};
    return p;
}
