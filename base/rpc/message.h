/* Reading messages that came from another process: form, strings and memory are checked before
 * anybody sees a field. Private to base/rpc (and its tests). */
#ifndef CARREL_BASE_RPC_MESSAGE_H
#define CARREL_BASE_RPC_MESSAGE_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* Nested messages; no type of ours is recursive, so this is only a belt. */
#define MESSAGE_DEPTH_MAX 16

/* Valid UTF-8 without NUL. */
bool message_text_valid(const uint8_t *p, size_t len);
/* Walks the wire form of a message of type d. STATUS_PROTOCOL: malformed. STATUS_INVALID: a string
 * field holds NUL or bytes that are not UTF-8 (the text names the field). */
enum status message_check(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t len,
                          struct error *err) MUST_CHECK;
/* message_check, then unpack into a, which is reset by its owner: *out needs no free of its own.
 * STATUS_TOO_LARGE: over a's ceiling (or out of memory). */
enum status message_unpack(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t len,
                           struct arena *a, ProtobufCMessage **out, struct error *err) MUST_CHECK;
/* The ceiling of an arena that a message of wire_len bytes may be unpacked into. */
size_t message_memory_max(size_t wire_len);

#endif
