#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/job.h"

#define MEMORY_MAX ((uint64_t)8 << 20)
#define COPY_BYTES 16384

enum status snapshot_file(uint64_t size, const char *home, int *fd, bool *in_memory,
                          struct error *err)
{
    *in_memory = size <= MEMORY_MAX;
    if (*in_memory) {
        *fd = memfd_create("carrel-original", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        return *fd < 0 ? error_errno(err, errno, "memory for the file") : STATUS_OK;
    }
    char dir[PATH_MAX];
    enum status s = file_join(dir, sizeof dir, home, "tmp", err);
    if (s == STATUS_OK) {
        s = file_mkdirs(dir, 0700, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    *fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        char path[PATH_MAX];
        s = file_join(path, sizeof path, dir, "original-XXXXXX", err);
        if (s != STATUS_OK) {
            return s;
        }
        *fd = mkostemp(path, O_CLOEXEC);
        if (*fd >= 0) {
            (void)unlink(path);
        }
    }
    return *fd < 0 ? error_errno(err, errno, "%s", dir) : STATUS_OK;
}

enum status snapshot_reopen(int fd, int *out, struct error *err)
{
    char self[64];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    *out = open(self, O_RDONLY | O_CLOEXEC);
    return *out < 0 ? error_errno(err, errno, "copy of the file") : STATUS_OK;
}

enum status snapshot_seal(int fd, struct snapshot *out, struct error *err)
{
    if (out->in_memory) {
        (void)fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    }
    return snapshot_reopen(fd, &out->fd, err);
}

static enum status copy_and_hash(int from, int to, uint64_t size, struct snapshot *out,
                                 struct error *err)
{
    struct sha256 *h = sha256_new();
    if (h == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = STATUS_OK;
    uint64_t total = 0;
    char piece[COPY_BYTES];
    for (;;) {
        ssize_t n = read(from, piece, sizeof piece);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            s = error_errno(err, errno, "reading the file");
        }
        if (n <= 0) {
            break;
        }
        if (total + (uint64_t)n > size) {
            s = error_set(err, STATUS_CONFLICT, "the file is growing");
            break;
        }
        if (out->head_len < sizeof out->head) {
            size_t add = sizeof out->head - out->head_len;
            add = add < (size_t)n ? add : (size_t)n;
            memcpy(out->head + out->head_len, piece, add);
            out->head_len += add;
        }
        sha256_add(h, piece, (size_t)n);
        s = file_write_all(to, piece, (size_t)n, err);
        if (s != STATUS_OK) {
            break;
        }
        total += (uint64_t)n;
    }
    sha256_end(h, out->hash);
    if (s == STATUS_OK && total != size) {
        s = error_set(err, STATUS_CONFLICT, "the file is shrinking");
    }
    return s;
}

static enum status same_as(int fd, const struct file_stamp *stamp, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return error_errno(err, errno, "the file");
    }
    struct file_stamp now = file_stamp_of(&st);
    if (!S_ISREG(st.st_mode) || !file_stamp_equal(&now, stamp)) {
        return error_set(err, STATUS_CONFLICT, "the file is changing");
    }
    return STATUS_OK;
}

enum status snapshot_take(int root, struct str path, const struct file_stamp *stamp,
                          uint64_t max_bytes, const char *home, struct snapshot *out,
                          struct error *err)
{
    int from = -1;
    int copy = -1;
    *out = (struct snapshot){.fd = -1};
    enum status s = tree_open(root, path, O_RDONLY, &from, err);
    if (s == STATUS_OK) {
        s = same_as(from, stamp, err);
    }
    if (s == STATUS_OK && stamp->size == 0) {
        s = error_set(err, STATUS_INVALID, "the file is empty");
    }
    if (s == STATUS_OK && stamp->size > max_bytes) {
        s = error_set(err, STATUS_TOO_LARGE,
                      "the file has %llu MB, more than the limit of %llu MB "
                      "(ingest.max_file_bytes in carrel.yaml)",
                      (unsigned long long)(stamp->size >> 20),
                      (unsigned long long)(max_bytes >> 20));
    }
    if (s == STATUS_OK) {
        s = snapshot_file(stamp->size, home, &copy, &out->in_memory, err);
    }
    if (s == STATUS_OK) {
        s = copy_and_hash(from, copy, stamp->size, out, err);
    }
    if (s == STATUS_OK) {
        s = same_as(from, stamp, err);
    }
    if (s == STATUS_OK) {
        s = snapshot_seal(copy, out, err);
    }
    if (copy >= 0) {
        (void)close(copy);
    }
    if (from >= 0) {
        (void)close(from);
    }
    return s;
}
