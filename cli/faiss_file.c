#include "cli/faiss_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INNER_PRODUCT 0
#define HEADER_BYTES 45U /* all before the rows */

static void put(unsigned char *p, size_t at, const void *v, size_t len)
{
    memcpy(p + at, v, len);
}

static void make_header(const struct faiss_file *f, unsigned char h[HEADER_BYTES])
{
    int32_t d = (int32_t)f->dimensions;
    int64_t n = (int64_t)f->n;
    int64_t unused = 1 << 20;
    int32_t metric = INNER_PRODUCT;
    uint64_t values = f->n * f->dimensions;
    memcpy(h, "IxFI", 4);
    put(h, 4, &d, sizeof d);
    put(h, 8, &n, sizeof n);
    put(h, 16, &unused, sizeof unused);
    put(h, 24, &unused, sizeof unused);
    h[32] = 1;
    put(h, 33, &metric, sizeof metric);
    put(h, 37, &values, sizeof values);
}

static void beside(const struct faiss_file *f, char out[4104])
{
    (void)snprintf(out, 4104, "%s.new", f->path);
}

static enum status io_failed(const struct faiss_file *f, struct error *err)
{
    return error_errno(err, errno == 0 ? EIO : errno, "%s", f->path);
}

enum status faiss_file_create(const char *path, uint32_t dimensions, struct faiss_file *out,
                              struct error *err)
{
    unsigned char h[HEADER_BYTES];
    char name[4104];
    *out = (struct faiss_file){.dimensions = dimensions, .writing = true};
    int len = snprintf(out->path, sizeof out->path, "%s", path);
    if (len < 0 || (size_t)len >= sizeof out->path) {
        return error_set(err, STATUS_TOO_LARGE, "the path is too long");
    }
    beside(out, name);
    out->stream = fopen(name, "wb");
    make_header(out, h);
    if (out->stream == NULL || fwrite(h, sizeof h, 1, out->stream) != 1) {
        enum status s = io_failed(out, err);
        faiss_file_close(out);
        return s;
    }
    return STATUS_OK;
}

enum status faiss_file_add(struct faiss_file *f, const void *rows, uint64_t n, struct error *err)
{
    size_t row = f->dimensions * sizeof(float);
    if (n > 0 && fwrite(rows, row, (size_t)n, f->stream) != (size_t)n) {
        return io_failed(f, err);
    }
    f->n += n;
    return STATUS_OK;
}

enum status faiss_file_finish(struct faiss_file *f, struct error *err)
{
    unsigned char h[HEADER_BYTES];
    char name[4104];
    FILE *stream = f->stream;
    make_header(f, h);
    beside(f, name);
    bool good = fseek(stream, 0, SEEK_SET) == 0 && fwrite(h, sizeof h, 1, stream) == 1 &&
                fflush(stream) == 0 && fsync(fileno(stream)) == 0;
    enum status s = good ? STATUS_OK : io_failed(f, err);
    if (s == STATUS_OK && rename(name, f->path) != 0) {
        s = io_failed(f, err);
    }
    if (s == STATUS_OK) {
        (void)fclose(stream); /* flushed and synced above */
        f->stream = NULL;
    }
    return s;
}

static enum status check_header(struct faiss_file *f, const unsigned char h[HEADER_BYTES],
                                struct error *err)
{
    int32_t d = 0;
    int64_t n = 0;
    uint64_t values = 0;
    memcpy(&d, h + 4, sizeof d);
    memcpy(&n, h + 8, sizeof n);
    memcpy(&values, h + 37, sizeof values);
    if (memcmp(h, "IxFI", 4) != 0 && memcmp(h, "IxF2", 4) != 0) {
        return error_set(err, STATUS_INVALID,
                         "%s: not a flat FAISS index (faiss.write_index of an IndexFlat)", f->path);
    }
    if (d <= 0 || d > (int32_t)FAISS_FILE_DIMENSIONS || n < 0 ||
        (uint64_t)n > UINT64_MAX / FAISS_FILE_DIMENSIONS || values != (uint64_t)n * (uint64_t)d) {
        return error_set(err, STATUS_CORRUPT, "%s: its numbers do not agree", f->path);
    }
    f->dimensions = (uint32_t)d;
    f->n = (uint64_t)n;
    return STATUS_OK;
}

enum status faiss_file_open(const char *path, struct faiss_file *out, struct error *err)
{
    unsigned char h[HEADER_BYTES];
    *out = (struct faiss_file){0};
    int len = snprintf(out->path, sizeof out->path, "%s", path);
    FILE *stream = len > 0 && (size_t)len < sizeof out->path ? fopen(path, "rb") : NULL;
    if (stream == NULL) {
        return io_failed(out, err);
    }
    enum status s = fread(h, sizeof h, 1, stream) == 1
                        ? check_header(out, h, err)
                        : error_set(err, STATUS_CORRUPT, "%s: ends too early", path);
    if (s != STATUS_OK) {
        (void)fclose(stream);
        return s;
    }
    out->stream = stream;
    return STATUS_OK;
}

enum status faiss_file_next(struct faiss_file *f, float *row, struct error *err)
{
    if (fread(row, sizeof *row, f->dimensions, f->stream) != f->dimensions) {
        return error_set(err, STATUS_CORRUPT, "%s: ends too early", f->path);
    }
    return STATUS_OK;
}

void faiss_file_close(struct faiss_file *f)
{
    char name[4104];
    if (f->stream != NULL) {
        (void)fclose(f->stream);
        f->stream = NULL;
        beside(f, name);
        if (f->writing) {
            (void)unlink(name);
        }
    }
}
