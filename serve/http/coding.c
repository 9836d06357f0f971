#include "serve/http/coding.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define GZIP_WINDOW (15 + 16) /* deflateInit2: 16 asks for gzip's frame */
#define GZIP_FAST 1
#define GZIP_BEST 9
#define ZSTD_FAST 1
#define ZSTD_BEST 15 /* above it, time and memory grow for a part of a percent */
#define Q_ONE 1000

static const char *const names[CODING_COUNT] = {
    [CODING_GZIP] = "gzip",
    [CODING_ZSTD] = "zstd",
};

const char *http_coding_name(enum http_coding c)
{
    return (unsigned)c < CODING_COUNT ? names[c] : NULL;
}

/* ---- Accept-Encoding ---- */

/* "0.5" in thousandths; a malformed weight counts as 0: it was not asked for clearly. */
static int read_q(struct str s)
{
    if (s.len == 0 || s.len > 5 || (s.ptr[0] != '0' && s.ptr[0] != '1') ||
        (s.len > 1 && s.ptr[1] != '.')) {
        return 0;
    }
    int q = (s.ptr[0] - '0') * Q_ONE;
    int unit = Q_ONE / 10;
    for (size_t i = 2; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return 0;
        }
        q += (s.ptr[i] - '0') * unit;
        unit /= 10;
    }
    return q > Q_ONE ? 0 : q;
}

static bool is(struct str s, const char *z)
{
    return s.len == strlen(z) && strncasecmp(s.ptr, z, s.len) == 0;
}

static void read_item(struct str item, int q_of[CODING_COUNT], int *q_rest)
{
    int q = Q_ONE;
    const char *semi = memchr(item.ptr, ';', item.len);
    struct str name = item;
    if (semi != NULL) {
        struct str more =
            str_trim((struct str){semi + 1, item.len - (size_t)(semi + 1 - item.ptr)});
        name.len = (size_t)(semi - item.ptr);
        q = more.len > 2 && (more.ptr[0] == 'q' || more.ptr[0] == 'Q') && more.ptr[1] == '='
                ? read_q((struct str){more.ptr + 2, more.len - 2})
                : 0;
    }
    name = str_trim(name);
    if (is(name, "*")) {
        *q_rest = q;
    } else if (is(name, "identity")) {
        q_of[CODING_IDENTITY] = q;
    } else if (is(name, "gzip") || is(name, "x-gzip")) {
        q_of[CODING_GZIP] = q;
    } else if (is(name, "zstd")) {
        q_of[CODING_ZSTD] = q;
    }
}

enum http_coding http_coding_choose(const struct http_head *h, unsigned have)
{
    int q_of[CODING_COUNT] = {-1, -1, -1};
    int q_rest = -1;
    for (size_t i = 0; i < h->n_headers; i++) {
        struct str list = h->headers[i].value;
        if (!str_eq(h->headers[i].name, STR("accept-encoding"))) {
            continue;
        }
        while (list.len > 0) {
            const char *comma = memchr(list.ptr, ',', list.len);
            size_t n = comma == NULL ? list.len : (size_t)(comma - list.ptr);
            read_item(str_trim((struct str){list.ptr, n}), q_of, &q_rest);
            n += comma != NULL;
            list.ptr += n;
            list.len -= n;
        }
    }
    enum http_coding best = CODING_IDENTITY;
    int best_q = q_of[CODING_IDENTITY] >= 0 ? q_of[CODING_IDENTITY] : q_rest >= 0 ? q_rest : 1;
    for (unsigned c = CODING_GZIP; c < CODING_COUNT; c++) {
        int q = q_of[c] >= 0 ? q_of[c] : q_rest;
        if ((have & 1U << c) != 0 && q > 0 && q >= best_q) {
            best = (enum http_coding)c;
            best_q = q;
        }
    }
    return best;
}

/* ---- making ---- */

static enum status gzip(struct str text, bool best, struct buf *out)
{
    z_stream z = {0};
    if (text.len > UINT_MAX / 2 || deflateInit2(&z, best ? GZIP_BEST : GZIP_FAST, Z_DEFLATED,
                                                GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return STATUS_NO_MEMORY;
    }
    size_t room = deflateBound(&z, (uLong)text.len);
    if (room > out->max - out->len) {
        room = out->max - out->len;
    }
    char *at = buf_reserve(out, room);
    enum status s = at == NULL ? STATUS_NO_MEMORY : STATUS_TOO_LARGE;
    z.next_in = (z_const Bytef *)(uintptr_t)text.ptr;
    z.avail_in = (uInt)text.len;
    z.next_out = (Bytef *)at;
    z.avail_out = (uInt)room;
    if (at != NULL && deflate(&z, Z_FINISH) == Z_STREAM_END) {
        out->len += room - z.avail_out;
        s = STATUS_OK;
    }
    (void)deflateEnd(&z);
    return s;
}

static enum status zstd(struct str text, bool best, struct buf *out)
{
    size_t room = ZSTD_compressBound(text.len);
    if (room > out->max - out->len) {
        room = out->max - out->len;
    }
    char *at = buf_reserve(out, room);
    if (at == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t n = ZSTD_compress(at, room, text.ptr, text.len, best ? ZSTD_BEST : ZSTD_FAST);
    if (ZSTD_isError(n) != 0) {
        return STATUS_TOO_LARGE;
    }
    out->len += n;
    return STATUS_OK;
}

enum status http_coding_make(enum http_coding c, struct str text, bool best, struct buf *out)
{
    switch (c) {
    case CODING_GZIP:
        return gzip(text, best, out);
    case CODING_ZSTD:
        return zstd(text, best, out);
    case CODING_IDENTITY:
    case CODING_COUNT:
        break;
    }
    return STATUS_INVALID;
}
