/* A file beside the documents that is being written: under a name of its own until it is whole,
 * hashed on the way. Blocks: of one lane at a time. {0} with fd -1 is one that has not begun. */
#ifndef CARREL_SERVE_FILE_WRITING_H
#define CARREL_SERVE_FILE_WRITING_H

#include <limits.h>

#include "base/hash.h"
#include "base/status.h"
#include "base/str.h"

struct file_writing {
    char path[PATH_MAX], temp[PATH_MAX + 8];
    int fd; /* -1: not begun, or over */
    struct sha256 *sha;
    bool placed;
};

/* False: out of memory. */
bool file_writing_init(struct file_writing *f);
/* The next bytes, which may be none; the first call makes the file of this id (files_path). */
enum status file_writing_add(struct file_writing *f, const char *home, const char *tenant,
                             const char *id, struct str bytes, struct error *err) MUST_CHECK;
/* Of all bytes; no more may come. */
void file_writing_hash(struct file_writing *f, char out[SHA256_HEX_CAP]);
/* Synced and in its place, where it stays only after file_writing_keep. */
enum status file_writing_place(struct file_writing *f, struct error *err) MUST_CHECK;
/* Its row decides from here on whether it stays (files_unlink). */
void file_writing_keep(struct file_writing *f);
/* The end: what was not kept goes. */
void file_writing_end(struct file_writing *f);

#endif
