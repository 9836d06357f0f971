/* A growable byte buffer born with a ceiling. The first failed append (no memory, over the ceiling)
 * is remembered: later appends do nothing, and buf_status tells at the end, so that a writer of many
 * pieces checks once. The content stays NUL-terminated. */
#ifndef CARREL_BASE_BUF_H
#define CARREL_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "base/status.h"
#include "base/str.h"

struct buf {
    char *ptr; /* NULL while empty and never grown */
    size_t len;
    size_t cap;
    size_t max;
    enum status failed; /* STATUS_OK, STATUS_NO_MEMORY or STATUS_TOO_LARGE */
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_deinit(struct buf *b);
/* Forgets content and failure, keeps the memory. */
void buf_reset(struct buf *b);
void buf_append(struct buf *b, const void *p, size_t len);
void buf_str(struct buf *b, struct str s);
void buf_z(struct buf *b, const char *z);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* Room for len more bytes to be written at ptr+len by the caller, who then adds to b->len; NULL on
 * failure. */
char *buf_reserve(struct buf *b, size_t len);
/* Drop the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);
enum status buf_status(const struct buf *b) MUST_CHECK;
static inline struct str buf_view(const struct buf *b)
{
    return (struct str){.ptr = b->ptr == NULL ? "" : b->ptr, .len = b->len};
}
/* Returns owned (free()); the buffer is empty afterwards. NULL when nothing was written or failed. */
char *buf_take(struct buf *b);

#endif
