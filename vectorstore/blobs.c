#include "vectorstore/blobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define GATHER ((size_t)256 * 1024)

bool blobs_name_ok(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 64 && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

enum status blobs_open(struct blobs *b, const char *tenant_dir, struct error *err)
{
    enum status s = file_join(b->dir, sizeof b->dir, tenant_dir, "blobs", err);
    return s == STATUS_OK ? file_mkdirs(b->dir, 0700, err) : s;
}

enum status blobs_path(const struct blobs *b, const uint8_t hash[SHA256_BYTES],
                       const char *pipeline, enum blob_kind kind, char *out, size_t cap,
                       struct error *err)
{
    char hex[SHA256_HEX_CAP];
    char name[SHA256_HEX_CAP + 80];
    sha256_hex(hash, hex);
    if (kind == BLOB_ORIGINAL) {
        return file_join(out, cap, b->dir, hex, err);
    }
    (void)snprintf(name, sizeof name, "%s.%.64s.%s", hex, pipeline,
                   kind == BLOB_TEXT    ? "text"
                   : kind == BLOB_BOXES ? "boxes"
                                        : "blocks");
    return file_join(out, cap, b->dir, name, err);
}

enum status blob_begin(const struct blobs *b, struct blob_writer *w, struct error *err)
{
    char id[ID_CAP];
    id_new(id);
    *w = (struct blob_writer){.fd = -1};
    buf_init(&w->pending, GATHER);
    int n = snprintf(w->path, sizeof w->path, "%s/tmp-%s", b->dir, id);
    if (n < 0 || (size_t)n >= sizeof w->path) {
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", b->dir);
    }
    w->fd = open(w->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (w->fd < 0) {
        return error_errno(err, errno, "%s", w->path);
    }
    w->open = true;
    return STATUS_OK;
}

enum status blob_flush(struct blob_writer *w, struct error *err)
{
    if (w->pending.len == 0) {
        return STATUS_OK;
    }
    enum status s = file_write_all(w->fd, w->pending.ptr, w->pending.len, err);
    if (s != STATUS_OK) {
        return error_prefix(err, "%s", w->path);
    }
    buf_reset(&w->pending);
    return STATUS_OK;
}

enum status blob_add(struct blob_writer *w, const void *p, size_t len, struct error *err)
{
    enum status s = STATUS_OK;
    w->synced = false;
    if (len > GATHER - w->pending.len) {
        s = blob_flush(w, err);
    }
    if (s == STATUS_OK && len > GATHER) {
        s = file_write_all(w->fd, p, len, err);
    } else if (s == STATUS_OK) {
        buf_append(&w->pending, p, len);
        if (buf_status(&w->pending) != STATUS_OK) {
            s = error_set(err, STATUS_NO_MEMORY, "%s: out of memory", w->path);
        }
    }
    w->size += s == STATUS_OK ? len : 0;
    return s;
}

enum status blob_sync(struct blob_writer *w, struct error *err)
{
    enum status s = blob_flush(w, err);
    if (s == STATUS_OK && !w->synced && fsync(w->fd) != 0) {
        s = error_errno(err, errno, "%s: fsync", w->path);
    }
    w->synced = s == STATUS_OK;
    return s;
}

enum status blob_finish(struct blob_writer *w, const char *path, struct error *err)
{
    enum status s = blob_sync(w, err);
    if (s == STATUS_OK && rename(w->path, path) != 0) {
        s = error_errno(err, errno, "%s", path);
    }
    if (s != STATUS_OK) {
        return s;
    }
    w->named = true;
    return STATUS_OK;
}

void blob_end(struct blob_writer *w)
{
    if (w->open) {
        (void)close(w->fd); /* a named one was synced: nothing is left to fail */
        if (!w->named) {
            (void)unlink(w->path); /* what stays is swept at the next open */
        }
        w->open = false;
    }
    buf_deinit(&w->pending);
}

enum status blob_look(const struct blobs *b, const uint8_t hash[SHA256_BYTES], const char *pipeline,
                      enum blob_kind kind, struct blob_view *out, struct error *err)
{
    char path[1300];
    struct stat there;
    *out = (struct blob_view){.data = STR("")};
    enum status s = blobs_path(b, hash, pipeline, kind, path, sizeof path, err);
    int fd = s == STATUS_OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0 && fstat(fd, &there) == 0) {
        size_t len = (size_t)there.st_size;
        void *p = len == 0 ? NULL : mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
        out->there = p != MAP_FAILED;
        if (out->there && len > 0) {
            out->data = (struct str){.ptr = p, .len = len};
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return s;
}

void blob_looked(struct blob_view *v)
{
    if (v->data.len > 0) {
        (void)munmap((void *)(uintptr_t)v->data.ptr, v->data.len);
    }
    *v = (struct blob_view){.data = STR("")};
}

enum status blobs_sync(const struct blobs *b, struct error *err)
{
    char inside[1100];
    enum status s = file_join(inside, sizeof inside, b->dir, "x", err);
    return s == STATUS_OK ? file_sync_parent(inside, err) : s;
}

void blob_remove(const char *path)
{
    (void)unlink(path); /* what stays is swept at the next open */
}

enum status blobs_sweep(const char *dir, bool (*wanted)(const char *name, void *data), void *data,
                        struct error *err)
{
    DIR *d = opendir(dir);
    if (d == NULL) {
        return error_errno(err, errno, "%s", dir);
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] != '.' && !wanted(e->d_name, data)) {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    (void)closedir(d);
    return STATUS_OK;
}
