/* The packed weights of an imported model as a file beside it, so that loading maps them instead of
 * making them: ready at once, and in memory once however many processes use the model.
 *
 *   0     "CARRELPK"
 *   8     uint32 PACK_LAYOUT, uint32 matrices
 *   16    uint64 bytes of the packed weights
 *   24    the model's sha256
 *   56    sha256 of the shapes: type, rows and columns of each matrix, as uint32
 *   88    sha256 of the packed weights
 *   120   sha256 of what is before
 *   4096  the packed weights, matrix behind matrix, as pack.h lays them; the file's end
 *
 * All numbers little-endian. The layout is one for all sets of kernels. Written beside, synced and
 * renamed: it is there whole or not at all, and may be deleted at any time. One process makes it,
 * others wait for it. */
#ifndef CARREL_MODEL_PACK_FILE_H
#define CARREL_MODEL_PACK_FILE_H

#include "base/hash.h"
#include "model/pack.h"

/* Raise it whenever packed weights of some type look different from before. */
#define PACK_LAYOUT 1U
#define PACK_FILE_START 4096U

struct pack_progress {
    bool (*on_progress)(uint64_t done, uint64_t total, void *data); /* false: stop; may be NULL */
    void *data;
};

/* Maps it read-only and points the matrices into it. Looks at the header and the size, not at every
 * byte. NOT_FOUND: there is none; CORRUPT: it is damaged, or of another model, layout or shape. */
enum status pack_file_open(const char *path, const uint8_t sha256[SHA256_BYTES],
                           struct matrix *const *matrices, size_t n, struct pack **out,
                           struct error *err) MUST_CHECK;
/* Packs into a new file at path, in place of what is there; piece by piece, in little memory. The
 * file's owner, as root, is `like`'s. DISK_FULL, CANCELLED and other failures
 * leave nothing behind. If another process makes it meanwhile: waits, and that one's is kept. */
enum status pack_file_make(const char *path, const char *like, const uint8_t sha256[SHA256_BYTES],
                           struct matrix *const *matrices, size_t n, struct pool *pool,
                           const struct pack_progress *progress, struct error *err) MUST_CHECK;
/* Reads every byte. As pack_file_open; no model is needed. */
enum status pack_file_verify(const char *path, const uint8_t sha256[SHA256_BYTES],
                             struct error *err) MUST_CHECK;

#endif
