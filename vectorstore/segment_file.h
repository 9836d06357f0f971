/* The file of a segment: named sections of bytes under one header, written once, never changed.
 *
 *   header   4096 bytes: magic, the segment's kind and that kind's version, the sections, a random
 * salt, the hash of the table, and a hash of the header itself (keyed where the tenant has a key)
 *   body     the sections, each starting on SEGMENT_ALIGN bytes, cut into blocks of SEGMENT_BLOCK
 *   table    16 bytes a block: the first half of its SHA-256, or its tag
 *
 * All numbers are little endian. With a key each block is encrypted in place by XChaCha20-Poly1305
 * (libsodium, draft-irtf-cfrg-xchacha-03; nonce: salt and block number; the tag stands in the
 * table), so that offsets are the same with and without. Opening checks the header, the table and
 * the size, which takes well under a millisecond for a gigabyte; a block is checked when it is
 * touched first. What does not match is STATUS_CORRUPT, and the segment's owner makes it again from
 * the database.
 *
 * Threads: a writer belongs to one; an open file and a cache are used by any number at once. */
#ifndef CARREL_VECTORSTORE_SEGMENT_FILE_H
#define CARREL_VECTORSTORE_SEGMENT_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SEGMENT_BLOCK ((size_t)64 * 1024)
#define SEGMENT_ALIGN ((size_t)64)
#define SEGMENT_NAME 16     /* bytes of a section's or kind's name, its NUL included */
#define SEGMENT_SECTIONS 24 /* of one file, at most */
#define SEGMENT_KEY_BYTES 32

struct segment_key {
    uint8_t bytes[SEGMENT_KEY_BYTES];
};

/* Decrypted blocks of any number of files, at most max_bytes (at least 1 MiB) that nobody looks at.
 * Owned; freed after the files that use it are closed. */
struct segment_cache;
enum status segment_cache_new(size_t max_bytes, struct segment_cache **out,
                              struct error *err) MUST_CHECK;
void segment_cache_free(struct segment_cache *c); /* NULL is fine */

/* ---- writing ---- */

struct segment_writer;
/* Writes beside `path` (".new" is appended; one that a crash left is overwritten). key NULL: not
 * encrypted. */
enum status segment_writer_begin(const char *path, const char *kind, uint32_t version,
                                 const struct segment_key *key, struct segment_writer **out,
                                 struct error *err) MUST_CHECK;
/* What is added from here on belongs to the section of this name, which must be new. */
enum status segment_writer_section(struct segment_writer *w, const char *name,
                                   struct error *err) MUST_CHECK;
/* On failure the writer remembers it: finish fails too. */
enum status segment_writer_add(struct segment_writer *w, const void *p, size_t len,
                               struct error *err) MUST_CHECK;
/* Bytes in the section so far. */
uint64_t segment_writer_at(const struct segment_writer *w);
/* Synced, renamed to its path, the folder synced: it is there whole, or not at all. */
enum status segment_writer_finish(struct segment_writer *w, struct error *err) MUST_CHECK;
/* Frees; without a finish that succeeded nothing stays behind. NULL is fine. */
void segment_writer_end(struct segment_writer *w);

/* ---- reading ---- */

struct segment_file;
/* key and cache: borrowed until close, both or neither. With a key, a file that was written before
 * there was one opens too (segment_file_clear). CORRUPT: damaged, of another kind or version, or
 * written under another key; NOT_FOUND: no such file. */
enum status segment_file_open(const char *path, const char *kind, uint32_t version,
                              const struct segment_key *key, struct segment_cache *cache,
                              struct segment_file **out, struct error *err) MUST_CHECK;
/* No view may be held. NULL is fine. */
void segment_file_close(struct segment_file *f);
bool segment_file_clear(const struct segment_file *f); /* not encrypted */

struct segment_section {
    uint64_t offset, size;
};
/* CORRUPT when the file has no such section. */
enum status segment_file_section(const struct segment_file *f, const char *name,
                                 struct segment_section *out, struct error *err) MUST_CHECK;

/* Bytes that stay readable until the view is dropped. */
struct segment_view {
    const unsigned char *ptr; /* aligned as offset is, up to SEGMENT_ALIGN */
    size_t len;
    void *pin, *copy; /* private */
    struct segment_file *file;
};
/* `len` bytes of the section from `offset` on, checked. CORRUPT when they are damaged or outside
 * it. A mapped file gives a pointer into the map whatever the length; of an encrypted one a range
 * within a block is pinned in the cache and a longer one copied: there ask for what is needed, and
 * not for a whole large section. */
enum status segment_file_view(struct segment_file *f, const struct segment_section *section,
                              uint64_t offset, size_t len, struct segment_view *out,
                              struct error *err) MUST_CHECK;
/* Lets segment_file_read read a mapped file from here on; costs a descriptor. */
enum status segment_file_keep(struct segment_file *f, struct error *err) MUST_CHECK;
/* As segment_file_view, copied to out. After segment_file_keep the bytes come by a read and not
 * through the map, so that single rows of a large section never count as the process's memory. */
enum status segment_file_read(struct segment_file *f, const struct segment_section *section,
                              uint64_t offset, size_t len, void *out, struct error *err) MUST_CHECK;
void segment_view_drop(struct segment_view *v); /* a zeroed or dropped one is fine */
/* Reads and checks every block, whether it was checked before or not. */
enum status segment_file_check(struct segment_file *f, const _Atomic bool *cancelled,
                               struct error *err) MUST_CHECK;

#endif
