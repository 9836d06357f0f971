/* The book of one backup: a header in JSON, then files in order, each with its pieces. Written and
 * read in one pass through a buffer of 64 KiB; sealed block by block (secretstream) or closed by a
 * checksum. */
#ifndef CARREL_CLI_BOOK_H
#define CARREL_CLI_BOOK_H

#include <limits.h>

#include "cli/vault.h"

#define BOOK_HEAD_BYTES 65536

struct book;

enum book_kind {
    BOOK_FILE = 'F', /* its pieces follow */
    BOOK_SAME = 'S', /* a document's file: the bytes of the file at `as`, which came before */
};

struct book_entry {
    enum book_kind kind;
    uint8_t part;        /* files of a part ascend by path (book_compare) */
    char path[PATH_MAX]; /* below the home; no ".." */
    char as[256];
    uint32_t mode;
    uint64_t size, inode;
    int64_t modified_ns;
    uint32_t pieces;
};

/* Begins a new book; it is not there until book_finish. head: JSON, at most BOOK_HEAD_BYTES. */
enum status book_begin(struct vault *v, const char *id, const char *head, struct book **out,
                       struct error *err) MUST_CHECK;
/* A file; then exactly e->pieces calls of book_add_piece. */
enum status book_add(struct book *b, const struct book_entry *e, struct error *err) MUST_CHECK;
enum status book_add_piece(struct book *b, const struct piece_name *n,
                           struct error *err) MUST_CHECK;
/* Durable and there. The pieces must be (vault_settle). */
enum status book_finish(struct book *b, struct error *err) MUST_CHECK;

enum status book_open(struct vault *v, const char *id, struct book **out,
                      struct error *err) MUST_CHECK;
const char *book_head(const struct book *b);
/* The next file; its pieces that were not asked for are passed over. *more false: that was all, and
 * the whole book has proven sound. */
enum status book_next(struct book *b, struct book_entry *e, bool *more,
                      struct error *err) MUST_CHECK;
enum status book_piece(struct book *b, struct piece_name *out, struct error *err) MUST_CHECK;
void book_close(struct book *b); /* NULL is fine; an unfinished one goes */

/* Relative, and leads nowhere else. */
bool book_path_ok(const char *path);
/* The order of a walk through folders whose names are sorted. */
int book_compare(const char *a, const char *b);

#endif
