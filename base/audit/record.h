/* One record of the audit chain: a line of JSON in canonical form (docs/decisions/audit.md). Pure.
 *
 *   {"v":1,"seq":7,"at":1790000000000,"prev":"<64 hex>","type":"open", ... ,"hash":"<64 hex>"}
 *
 * Flat; no spaces, no escapes: a text is printable ASCII without quote and backslash, a number is
 * whole and written without leading zeros. hash is the SHA-256 of the line's bytes before
 * `,"hash":`; prev is the hash of the record before, zeros in the first. What a person wrote never
 * stands in it, only its commitment: "payload", the SHA-256 of "carrel-audit-1\n", a salt of
 * AUDIT_SALT_BYTES and the text. */
#ifndef CARREL_BASE_AUDIT_RECORD_H
#define CARREL_BASE_AUDIT_RECORD_H

#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/sign.h"
#include "base/status.h"
#include "base/str.h"

#define AUDIT_LINE_MAX ((size_t)8192)
#define AUDIT_FIELDS_MAX 40
#define AUDIT_SALT_BYTES 32
#define AUDIT_SEGMENT_FORMAT "%08u.log"

/* ---- writing: the fields between type and hash are gathered first, without seq and prev ---- */

/* What the alphabet does not have becomes '_'; NULL and "" are left out. At most 256 bytes. */
void audit_field_z(struct buf *fields, const char *key, const char *value);
void audit_field_int(struct buf *fields, const char *key, int64_t value);
/* The line with its newline, and its hash. */
void audit_line(struct buf *out, int64_t seq, int64_t at_wall_ms, const uint8_t prev[SHA256_BYTES],
                const char *type, struct str fields, uint8_t hash[SHA256_BYTES]);
void audit_commitment(const uint8_t salt[AUDIT_SALT_BYTES], struct str text,
                      uint8_t out[SHA256_BYTES]);
/* What a checkpoint's signature is over: the head before it, and what the signer signed of this
 * chain the last time (was_seq 0: nothing). */
void audit_statement(struct buf *out, const char *chain, int64_t seq, int64_t at_wall_ms,
                     const uint8_t head[SHA256_BYTES], int64_t was_seq,
                     const uint8_t was_head[SHA256_BYTES]);

/* ---- reading ---- */

struct audit_field {
    struct str key, text; /* of a number: its digits */
    bool is_number;
    int64_t number;
};

/* Views into the line. */
struct audit_record {
    int64_t seq, at_wall_ms;
    uint8_t prev[SHA256_BYTES], hash[SHA256_BYTES];
    struct str type;
    struct audit_field fields[AUDIT_FIELDS_MAX]; /* all of them, those above too */
    size_t n_fields;
};

/* line: without its newline. CORRUPT: it is none, or its hash is not that of its bytes. */
enum status audit_read(struct str line, struct audit_record *out, struct error *err) MUST_CHECK;
/* ptr NULL: it has none, or of the other kind. */
struct str audit_text(const struct audit_record *r, const char *key);
/* 0 where there is none. */
int64_t audit_number(const struct audit_record *r, const char *key);
/* A text of exactly 64 hex digits. */
bool audit_hash(const struct audit_record *r, const char *key, uint8_t out[SHA256_BYTES]);

/* The next range of "3,7-12,15", as erase records list what they erased; false: none is left or it
 * is no such list. */
bool audit_range(struct str *rest, int64_t *from, int64_t *to);

#endif
