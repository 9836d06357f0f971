/* Where backups lie: a folder of pieces, each stored once under the hash of what it holds, and of
 * books, one a backup, which say what files it has and of which pieces.
 *
 *   carrel-backup      what this folder is; whether it is encrypted; salt and check of the key
 *   pieces/<2>/<62>    a piece: BLAKE2b-256 of the bytes (with a key: keyed), in hexadecimal
 *   books/<id>         a backup; ids ascend with time
 *   new/               pieces of a backup that is not finished; emptied by the next one
 *   lock
 *
 * With a key every piece is sealed by XChaCha20-Poly1305 under a random nonce, with its name as
 * associated data, and every book by libsodium's secretstream; the keys come from the file's
 * content by Argon2id. Names are keyed hashes: what remains visible is how many pieces there are,
 * how long they are, and when they came.
 *
 * A piece gets its name under pieces/ only when it is durable, and a book only after its pieces: a
 * backup that is killed leaves the others whole. One thread. */
#ifndef CARREL_CLI_VAULT_H
#define CARREL_CLI_VAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define PIECE_BYTES ((size_t)1024 * 1024) /* a piece, at most */
#define PIECE_NAME 32
#define BOOK_ID_CAP 64

struct vault;
struct piece_name {
    uint8_t bytes[PIECE_NAME];
};

/* Of an existing folder of backups; with make, an empty or missing one becomes one. key_file NULL:
 * not encrypted. alone: nobody else may use it meanwhile (BUSY when someone does); otherwise others
 * may read beside. FORBIDDEN: the key is missing, wrong, or one too many. */
enum status vault_open(const char *dir, const char *key_file, bool make, bool alone,
                       struct vault **out, struct error *err) MUST_CHECK;
void vault_close(struct vault *v); /* NULL is fine */
const char *vault_dir(const struct vault *v);

/* ---- pieces ---- */
/* Stores len <= PIECE_BYTES bytes unless they are there; *added tells, *stored is the length on
 * disk. */
enum status vault_put(struct vault *v, const void *p, size_t len, struct piece_name *out,
                      bool *added, size_t *stored, struct error *err) MUST_CHECK;
bool vault_has(const struct vault *v, const struct piece_name *n);
/* Reads and verifies; *p is valid until the next call. CORRUPT names the file. */
enum status vault_get(struct vault *v, const struct piece_name *n, const void **p, size_t *len,
                      struct error *err) MUST_CHECK;
/* What vault_put added becomes durable and stays. */
enum status vault_settle(struct vault *v, struct error *err) MUST_CHECK;
/* Removes every piece that is in no book. */
enum status vault_collect(struct vault *v, uint64_t *removed, uint64_t *bytes,
                          struct error *err) MUST_CHECK;

/* ---- books ---- */
enum status vault_book_path(const struct vault *v, const char *id, char *out, size_t cap,
                            struct error *err) MUST_CHECK;
/* Ids, oldest first; free each and the array. */
enum status vault_books(const struct vault *v, char ***out, size_t *n,
                        struct error *err) MUST_CHECK;
void vault_books_free(char **ids, size_t n);
enum status vault_book_remove(struct vault *v, const char *id, struct error *err) MUST_CHECK;

/* For books (book.c): NULL when the vault is not encrypted. */
const uint8_t *vault_book_key(const struct vault *v);

#endif
