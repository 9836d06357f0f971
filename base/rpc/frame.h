/* Frames on the wire:  u32 header_len | u32 body_len | FrameHeader | body  (lengths little endian).
 * Decoding borrows from the buffer it is given; encoding makes one allocation a frame. */
#ifndef CARREL_BASE_RPC_FRAME_H
#define CARREL_BASE_RPC_FRAME_H

#include <protobuf-c/protobuf-c.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"
#include "frame.pb-c.h"

#define RPC_PROTOCOL 1
#define FRAME_PREFIX_BYTES ((size_t)8)
#define FRAME_HEADER_MAX ((uint32_t)8192)

/* Where a header is unpacked to; one a connection, used again for each frame. */
struct frame_scratch {
    size_t used;
    alignas(max_align_t) unsigned char memory[32 * 1024];
};

struct frame {
    const Rpc__FrameHeader *header; /* in the scratch memory, until the next decode */
    const uint8_t *body;            /* in the input */
    uint32_t body_len;
    size_t size; /* of the whole frame; 0: not all of it is there yet */
    size_t need; /* bytes that must be there before decoding is worth another try */
};

/* STATUS_PROTOCOL: a length over the limit, or a header that is not one; nothing can follow. */
enum status frame_decode(const uint8_t *p, size_t len, uint32_t body_max,
                         struct frame_scratch *scratch, struct frame *out,
                         struct error *err) MUST_CHECK;

/* A frame to be sent: header and body packed behind each other. */
struct out_frame {
    struct list link;
    size_t len;
    size_t sent;
    uint8_t data[];
};

/* body may be NULL; otherwise raw bytes or a message. NULL when out of memory. Owned: free(). */
struct out_frame *frame_encode(const Rpc__FrameHeader *h, const ProtobufCMessage *body) MUST_CHECK;
struct out_frame *frame_encode_bytes(const Rpc__FrameHeader *h, const void *body,
                                     size_t body_len) MUST_CHECK;

#endif
