/* The texts and salts behind the chain's commitments: tenants/<id>/payload.db, one row a record.
 * Kept as they are, or sealed to an auditor's public key (X25519, XSalsa20-Poly1305: libsodium's
 * sealed boxes); then nobody here can read them. Blocks. */
#ifndef CARREL_BASE_AUDIT_PAYLOAD_H
#define CARREL_BASE_AUDIT_PAYLOAD_H

#include "base/audit/record.h"
#include "base/db.h"

#define AUDIT_TEXT_MAX ((size_t)6 << 20)
#define AUDIT_BOX_PUBLIC_BYTES 32
#define AUDIT_BOX_SECRET_BYTES 32

struct audit_box_key { /* the auditor's */
    uint8_t public[AUDIT_BOX_PUBLIC_BYTES], secret[AUDIT_BOX_SECRET_BYTES];
};
void audit_box_new(struct audit_box_key *out);
/* The public half of a secret. */
void audit_box_public(const uint8_t secret[AUDIT_BOX_SECRET_BYTES],
                      uint8_t out[AUDIT_BOX_PUBLIC_BYTES]);

/* flags: base/db.h. */
enum status audit_payload_open(const char *path, unsigned flags, sqlite3 **out,
                               struct error *err) MUST_CHECK;
/* seal_to NULL: as it is. documents: names ended by NUL, n_documents of them. */
enum status audit_payload_put(sqlite3 *db, int64_t seq, int64_t at_wall_ms,
                              const uint8_t salt[AUDIT_SALT_BYTES], struct str text,
                              const uint8_t *seal_to, const char *documents, size_t n_documents,
                              struct error *err) MUST_CHECK;
/* Is one of them erased? Then no text made from it is kept. */
enum status audit_payload_erased(sqlite3 *db, const char *documents, size_t n, bool *out,
                                 struct error *err) MUST_CHECK;

/* Lines of the chain that its own file may not have on the disk yet: in the transaction of their
 * texts, so that one sync makes both durable. By the number of the last record of a group. */
enum status audit_waiting_put(sqlite3 *db, int64_t last_seq, struct str lines,
                              struct error *err) MUST_CHECK;
enum status audit_waiting_drop(sqlite3 *db, int64_t from, int64_t to, struct error *err) MUST_CHECK;
/* Of all groups that end after that record; *last: of the last group, 0: there is none. */
enum status audit_waiting_get(sqlite3 *db, int64_t after, struct buf *lines, int64_t *last,
                              struct error *err) MUST_CHECK;

/* Texts of records after the chain's end. There are none but while a group is on its way into the
 * file: its lines wait here then. may_be: a version before may have left some behind. */
struct audit_beyond {
    int64_t texts, last;  /* how many, and the last one's record */
    int64_t waiting_from; /* the first of the lines after the end that wait; 0: none does */
    bool may_be;
};
enum status audit_payload_beyond(sqlite3 *db, int64_t end, struct audit_beyond *out,
                                 struct error *err) MUST_CHECK;
/* How many of the records after the one, up to the other. */
enum status audit_payload_between(sqlite3 *db, int64_t after, int64_t to, int64_t *n,
                                  struct error *err) MUST_CHECK;
/* Takes them and the lines after the end out, all or nothing. For what was never told to anybody.
 */
enum status audit_payload_cut(sqlite3 *db, int64_t end, struct error *err) MUST_CHECK;

enum audit_text_state { AUDIT_TEXT_ABSENT, AUDIT_TEXT_SEALED, AUDIT_TEXT_HERE, AUDIT_TEXT_BAD };
struct audit_payload {
    enum audit_text_state state; /* SEALED: no key was given; BAD: it does not open with it */
    uint8_t salt[AUDIT_SALT_BYTES];
};
/* text: initialised by the caller; filled when HERE. key: NULL, or the auditor's. */
enum status audit_payload_get(sqlite3 *db, int64_t seq, const struct audit_box_key *key,
                              struct audit_payload *out, struct buf *text,
                              struct error *err) MUST_CHECK;

#endif
