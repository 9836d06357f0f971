/* Posting blocks.
 *
 *   byte 0      format, 1
 *   bytes 1-2   count          little endian, as all numbers here
 *   bytes 3-6   first chunk
 *   bytes 7-10  last chunk
 *   bytes 11-12 largest tf (text + 4 title), clipped
 *   then for each posting: varint (chunk - previous chunk; the first one's is 0), a byte of tf_text
 * (low four bits, 15: a varint follows) and tf_title (next three bits, 7: a varint follows), u16
 * length (clipped), varint (length - plain_length). Numbers ascend strictly, so a delta of 0 after
 * the first posting is damage. */
#include "vectorstore/lexical_internal.h"

#define HEADER 13
#define FORMAT 1
/* delta 5, tf 1 + 5 + 5, length 2, difference 3 */
#define POSTING_MAX 21

static uint32_t clip16(uint32_t n)
{
    return n > UINT16_MAX ? UINT16_MAX : n;
}

static void put16(char *p, uint32_t n)
{
    p[0] = (char)(n & 0xFF);
    p[1] = (char)(n >> 8 & 0xFF);
}

static void put32(char *p, uint32_t n)
{
    put16(p, n & 0xFFFF);
    put16(p + 2, n >> 16);
}

static uint32_t get16(const char *p)
{
    return (uint32_t)(unsigned char)p[0] | (uint32_t)(unsigned char)p[1] << 8;
}

static uint32_t get32(const char *p)
{
    return get16(p) | get16(p + 2) << 16;
}

static size_t put_varint(char *p, uint32_t n)
{
    size_t i = 0;
    while (n >= 0x80) {
        p[i++] = (char)(n | 0x80);
        n >>= 7;
    }
    p[i++] = (char)n;
    return i;
}

static size_t encode(char *p, uint32_t delta, const struct lexical_add *add)
{
    size_t n = put_varint(p, delta);
    uint32_t text = add->tf_text < 15 ? add->tf_text : 15;
    uint32_t title = add->tf_title < 7 ? add->tf_title : 7;
    p[n++] = (char)(text | title << 4);
    if (text == 15) {
        n += put_varint(p + n, add->tf_text);
    }
    if (title == 7) {
        n += put_varint(p + n, add->tf_title);
    }
    uint32_t length = clip16(add->length);
    uint32_t plain = add->plain_length < length ? add->plain_length : length;
    put16(p + n, length);
    return n + 2 + put_varint(p + n + 2, length - plain);
}

enum status lexical_block_open(struct str block, struct lexical_block *out, struct error *err)
{
    if (block.len < HEADER || block.len > LEXICAL_BLOCK_MAX || block.ptr[0] != FORMAT) {
        return error_set(err, STATUS_CORRUPT, "posting block of %zu bytes: not a block", block.len);
    }
    *out = (struct lexical_block){.body = {block.ptr + HEADER, block.len - HEADER},
                                  .count = get16(block.ptr + 1),
                                  .first = get32(block.ptr + 3),
                                  .last = get32(block.ptr + 7),
                                  .max_tf = get16(block.ptr + 11)};
    if (out->count == 0 || out->last < out->first || out->last - out->first < out->count - 1) {
        return error_set(err, STATUS_CORRUPT, "posting block: %u postings from %u to %u cannot be",
                         out->count, out->first, out->last);
    }
    return STATUS_OK;
}

static uint32_t weighted_tf(const struct lexical_add *add)
{
    uint64_t tf = add->tf_text + (uint64_t)LEXICAL_TITLE_WEIGHT * add->tf_title;
    return tf > UINT16_MAX ? UINT16_MAX : (uint32_t)tf;
}

static enum status check_all(const struct lexical_block *b, struct error *err)
{
    struct lexical_cursor c;
    struct lexical_add add = {0};
    lexical_cursor_init(&c, b);
    while (lexical_cursor_next(&c, &add)) {
        continue;
    }
    if (c.bad || add.chunk != b->last) {
        return error_set(err, STATUS_CORRUPT, "posting block from %u to %u: damaged postings",
                         b->first, b->last);
    }
    return STATUS_OK;
}

enum status lexical_block_append(struct str block, const struct lexical_add *adds, size_t n,
                                 struct buf *out, size_t *taken, struct error *err)
{
    char bytes[LEXICAL_BLOCK_MAX];
    struct lexical_block b = {0};
    size_t len = HEADER, done = 0;
    if (block.len > 0) {
        enum status s = lexical_block_open(block, &b, err);
        if (s == STATUS_OK) {
            s = check_all(&b, err);
        }
        if (s != STATUS_OK) {
            return s;
        }
        memcpy(bytes, block.ptr, block.len);
        len = block.len;
    }
    for (; done < n && len + POSTING_MAX <= LEXICAL_BLOCK_MAX && b.count < UINT16_MAX; done++) {
        const struct lexical_add *add = &adds[done];
        if (b.count > 0 && add->chunk <= b.last) {
            return error_set(err, STATUS_INVALID, "posting of chunk %u after chunk %u", add->chunk,
                             b.last);
        }
        if (b.count == 0) {
            b.first = add->chunk;
        }
        len += encode(bytes + len, b.count == 0 ? 0 : add->chunk - b.last, add);
        b.last = add->chunk;
        b.count++;
        uint32_t tf = weighted_tf(add);
        b.max_tf = tf > b.max_tf ? tf : b.max_tf;
    }
    buf_reset(out);
    if (b.count > 0) {
        bytes[0] = FORMAT;
        put16(bytes + 1, b.count);
        put32(bytes + 3, b.first);
        put32(bytes + 7, b.last);
        put16(bytes + 11, b.max_tf);
        buf_append(out, bytes, len);
    }
    if (buf_status(out) != STATUS_OK) {
        return error_set(err, buf_status(out), "posting block of %zu bytes", len);
    }
    *taken = done;
    return STATUS_OK;
}

enum status lexical_block_purge(struct str block, bool (*gone)(chunk_no, void *), void *data,
                                struct buf *out, size_t *removed, struct error *err)
{
    struct lexical_block b, kept = {0};
    struct lexical_cursor c;
    struct lexical_add add = {0};
    /* deltas add up, so what is kept never takes more room than it did: one delta of the sum of two
     * takes at most the bytes of both */
    char bytes[LEXICAL_BLOCK_MAX + POSTING_MAX];
    size_t len = HEADER;
    enum status s = lexical_block_open(block, &b, err);
    if (s != STATUS_OK) {
        return s;
    }
    lexical_cursor_init(&c, &b);
    while (lexical_cursor_next(&c, &add)) {
        if (gone(add.chunk, data)) {
            continue;
        }
        if (len + POSTING_MAX > sizeof(bytes)) {
            return error_set(err, STATUS_CORRUPT, "posting block grows while purged");
        }
        if (kept.count == 0) {
            kept.first = add.chunk;
        }
        len += encode(bytes + len, kept.count == 0 ? 0 : add.chunk - kept.last, &add);
        kept.last = add.chunk;
        kept.count++;
        uint32_t tf = weighted_tf(&add);
        kept.max_tf = tf > kept.max_tf ? tf : kept.max_tf;
    }
    if (c.bad || add.chunk != b.last) {
        return error_set(err, STATUS_CORRUPT, "posting block from %u to %u: damaged postings",
                         b.first, b.last);
    }
    buf_reset(out);
    if (kept.count > 0) {
        bytes[0] = FORMAT;
        put16(bytes + 1, kept.count);
        put32(bytes + 3, kept.first);
        put32(bytes + 7, kept.last);
        put16(bytes + 11, kept.max_tf);
        buf_append(out, bytes, len);
    }
    if (buf_status(out) != STATUS_OK) {
        return error_set(err, buf_status(out), "posting block of %zu bytes", len);
    }
    *removed = b.count - kept.count;
    return STATUS_OK;
}
