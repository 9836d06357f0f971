#include "base/rpc/message.h"

#include <inttypes.h>
#include <string.h>

/* protobuf-c keeps about 50 bytes a field while it reads a message, and pointers and headers after
 * it. */
#define MEMORY_FACTOR 64
#define MEMORY_LEAST ((size_t)64 * 1024)
#define MEMORY_MOST ((size_t)128 * 1024 * 1024)

size_t message_memory_max(size_t wire_len)
{
    size_t most = MEMORY_LEAST;
    if (wire_len < MEMORY_MOST / MEMORY_FACTOR) {
        most += wire_len * MEMORY_FACTOR;
    } else {
        most = MEMORY_MOST;
    }
    return most;
}

/* Eight bytes at once: no high bit, no zero byte. */
static bool plain_word(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    const uint64_t high = 0x8080808080808080U;
    return (w & high) == 0 && (((w - 0x0101010101010101U) & ~w) & high) == 0;
}

bool message_text_valid(const uint8_t *p, size_t len)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t i = 0;
    while (i < len) {
        if (len - i >= 8 && plain_word(p + i)) {
            i += 8;
            continue;
        }
        uint8_t c = p[i];
        if (c == 0) {
            return false;
        }
        if (c < 0x80) {
            i++;
            continue;
        }
        size_t n = c >= 0xC2 && c < 0xE0   ? 2
                   : c >= 0xE0 && c < 0xF0 ? 3
                   : c >= 0xF0 && c < 0xF5 ? 4
                                           : 0;
        if (n == 0 || len - i < n) {
            return false;
        }
        uint32_t cp = c & (0xFFU >> (n + 1));
        for (size_t k = 1; k < n; k++) {
            if ((p[i + k] & 0xC0) != 0x80) {
                return false;
            }
            cp = cp << 6 | (p[i + k] & 0x3FU);
        }
        if (cp < least[n] || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) {
            return false;
        }
        i += n;
    }
    return true;
}

static bool read_varint(const uint8_t *p, size_t len, size_t *pos, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (*pos >= len) {
            return false;
        }
        uint8_t c = p[(*pos)++];
        v |= (uint64_t)(c & 0x7F) << (shift < 64 ? shift : 63);
        if ((c & 0x80) == 0) {
            *out = v;
            return true;
        }
    }
    return false;
}

static enum status malformed(struct error *err, const ProtobufCMessageDescriptor *d, size_t pos)
{
    return error_set(err, STATUS_PROTOCOL, "%s: malformed at byte %zu", d->name, pos);
}

static enum status check_at(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t len,
                            int depth, struct error *err)
{
    if (depth > MESSAGE_DEPTH_MAX) {
        return error_set(err, STATUS_PROTOCOL, "%s: nested deeper than %d", d->name,
                         MESSAGE_DEPTH_MAX);
    }
    size_t pos = 0;
    while (pos < len) {
        uint64_t tag, n = 0;
        if (!read_varint(p, len, &pos, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) {
            return malformed(err, d, pos);
        }
        switch (tag & 7) {
        case 0:
            if (!read_varint(p, len, &pos, &n)) {
                return malformed(err, d, pos);
            }
            continue;
        case 1:
            n = 8;
            break;
        case 5:
            n = 4;
            break;
        case 2:
            if (!read_varint(p, len, &pos, &n)) {
                return malformed(err, d, pos);
            }
            break;
        default:
            return malformed(err, d, pos);
        }
        if (n > len - pos) {
            return malformed(err, d, pos);
        }
        const ProtobufCFieldDescriptor *f =
            (tag & 7) == 2 ? protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3))
                           : NULL;
        if (f != NULL && f->type == PROTOBUF_C_TYPE_STRING &&
            !message_text_valid(p + pos, (size_t)n)) {
            return error_set(err, STATUS_INVALID, "%s.%s: a string must be UTF-8 without NUL",
                             d->name, f->name);
        }
        if (f != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE) {
            enum status s = check_at(f->descriptor, p + pos, (size_t)n, depth + 1, err);
            if (s != STATUS_OK) {
                return s;
            }
        }
        pos += (size_t)n;
    }
    return STATUS_OK;
}

enum status message_check(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t len,
                          struct error *err)
{
    return check_at(d, p, len, 0, err);
}

struct counted_arena {
    struct arena *arena;
    bool failed;
};

static void *counted_alloc(void *data, size_t len)
{
    struct counted_arena *c = data;
    void *p = arena_alloc(c->arena, len);
    c->failed = c->failed || p == NULL;
    return p;
}

static void counted_free(void *data, void *p)
{
    (void)data; /* the arena goes as a whole */
    (void)p;
}

enum status message_unpack(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t len,
                           struct arena *a, ProtobufCMessage **out, struct error *err)
{
    static const uint8_t nothing[1];
    enum status s = message_check(d, p, len, err);
    if (s != STATUS_OK) {
        return s;
    }
    struct counted_arena counted = {.arena = a};
    ProtobufCAllocator allocator = {
        .alloc = counted_alloc, .free = counted_free, .allocator_data = &counted};
    ProtobufCMessage *m = protobuf_c_message_unpack(d, &allocator, len, len == 0 ? nothing : p);
    if (m == NULL && counted.failed) {
        return error_set(err, STATUS_TOO_LARGE, "%s: does not fit %zu bytes of memory", d->name,
                         a->max);
    }
    if (m == NULL) {
        return error_set(err, STATUS_PROTOCOL, "%s: malformed, or a required field is missing",
                         d->name);
    }
    *out = m;
    return STATUS_OK;
}
