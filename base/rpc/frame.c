#include "base/rpc/frame.h"

#include <stdlib.h>
#include <string.h>

#include "base/rpc/message.h"

static void *scratch_alloc(void *data, size_t len)
{
    struct frame_scratch *s = data;
    size_t room = sizeof s->memory - s->used;
    size_t need = (len + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (len > room || need > room) {
        return NULL;
    }
    void *p = s->memory + s->used;
    s->used += need;
    return p;
}

static void scratch_free(void *data, void *p)
{
    (void)data; /* all at once, by the next decode */
    (void)p;
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

enum status frame_decode(const uint8_t *p, size_t len, uint32_t body_max,
                         struct frame_scratch *scratch, struct frame *out, struct error *err)
{
    *out = (struct frame){.need = FRAME_PREFIX_BYTES};
    if (len < FRAME_PREFIX_BYTES) {
        return STATUS_OK;
    }
    uint32_t header_len = get_u32(p);
    uint32_t body_len = get_u32(p + 4);
    if (header_len == 0 || header_len > FRAME_HEADER_MAX) {
        return error_set(err, STATUS_PROTOCOL, "frame: a header of %u bytes (1 to %u are allowed)",
                         header_len, FRAME_HEADER_MAX);
    }
    if (body_len > body_max) {
        return error_set(err, STATUS_PROTOCOL, "frame: a body of %u bytes is over the limit of %u",
                         body_len, body_max);
    }
    size_t size = FRAME_PREFIX_BYTES + header_len + body_len;
    out->need = size;
    if (len < size) {
        return STATUS_OK;
    }
    const uint8_t *header = p + FRAME_PREFIX_BYTES;
    enum status s = message_check(&rpc__frame_header__descriptor, header, header_len, err);
    if (s != STATUS_OK) {
        error_prefix(err, "frame");
        return STATUS_PROTOCOL;
    }
    scratch->used = 0;
    ProtobufCAllocator allocator = {
        .alloc = scratch_alloc, .free = scratch_free, .allocator_data = scratch};
    const Rpc__FrameHeader *h = rpc__frame_header__unpack(&allocator, header_len, header);
    if (h == NULL) {
        return error_set(err, STATUS_PROTOCOL, "frame: the header cannot be read");
    }
    out->header = h;
    out->body = header + header_len;
    out->body_len = body_len;
    out->size = size;
    return STATUS_OK;
}

static struct out_frame *frame_new(const Rpc__FrameHeader *h, size_t body_len, uint8_t **body)
{
    size_t header_len = rpc__frame_header__get_packed_size(h);
    if (body_len > UINT32_MAX || header_len > FRAME_HEADER_MAX) {
        return NULL;
    }
    size_t len = FRAME_PREFIX_BYTES + header_len + body_len;
    struct out_frame *f = malloc(sizeof *f + len);
    if (f == NULL) {
        return NULL;
    }
    f->len = len;
    f->sent = 0;
    list_init(&f->link);
    put_u32(f->data, (uint32_t)header_len);
    put_u32(f->data + 4, (uint32_t)body_len);
    rpc__frame_header__pack(h, f->data + FRAME_PREFIX_BYTES);
    *body = f->data + FRAME_PREFIX_BYTES + header_len;
    return f;
}

struct out_frame *frame_encode(const Rpc__FrameHeader *h, const ProtobufCMessage *body)
{
    uint8_t *at;
    size_t len = body == NULL ? 0 : protobuf_c_message_get_packed_size(body);
    struct out_frame *f = frame_new(h, len, &at);
    if (f != NULL && body != NULL) {
        protobuf_c_message_pack(body, at);
    }
    return f;
}

struct out_frame *frame_encode_bytes(const Rpc__FrameHeader *h, const void *body, size_t body_len)
{
    uint8_t *at;
    struct out_frame *f = frame_new(h, body_len, &at);
    if (f != NULL && body_len > 0) {
        memcpy(at, body, body_len);
    }
    return f;
}
