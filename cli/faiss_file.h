/* The file of a flat FAISS index (faiss/impl/index_write.cpp, write_index of IndexFlat): fourcc
 * "IxFI" (inner product) or "IxF2" (squared distance), then in native little-endian
 *
 *   int32 d; int64 n; int64 1 << 20, twice; uint8 trained; int32 metric; uint64 n x d; float rows
 *
 * written and read row by row, so that a million vectors need no memory. */
#ifndef CARREL_CLI_FAISS_FILE_H
#define CARREL_CLI_FAISS_FILE_H

#include <stdint.h>

#include "base/status.h"

#define FAISS_FILE_DIMENSIONS 65536U

struct faiss_file {
    void *stream; /* FILE */
    char path[4096];
    uint32_t dimensions;
    bool writing;
    uint64_t n; /* reading: in all; writing: so far */
};

/* Beside path; in place at faiss_file_finish. */
enum status faiss_file_create(const char *path, uint32_t dimensions, struct faiss_file *out,
                              struct error *err) MUST_CHECK;
/* rows: n x dimensions floats */
enum status faiss_file_add(struct faiss_file *f, const void *rows, uint64_t n,
                           struct error *err) MUST_CHECK;
enum status faiss_file_finish(struct faiss_file *f, struct error *err) MUST_CHECK;
enum status faiss_file_open(const char *path, struct faiss_file *out, struct error *err) MUST_CHECK;
/* The next row; CORRUPT at an early end. */
enum status faiss_file_next(struct faiss_file *f, float *row, struct error *err) MUST_CHECK;
/* What was created and not finished is removed. Zeroed is fine. */
void faiss_file_close(struct faiss_file *f);

#endif
