#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum status file_read(const char *path, struct buf *out, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_errno(err, errno, "%s", path);
    }
    enum status s = STATUS_OK;
    char chunk[16384];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            s = error_errno(err, errno, "%s", path);
        }
        if (n <= 0) {
            break;
        }
        buf_append(out, chunk, (size_t)n);
        s = buf_status(out);
        if (s != STATUS_OK) {
            s = error_set(err, s, "%s: larger than %zu bytes", path, out->max);
            break;
        }
    }
    (void)close(fd);
    return s;
}

enum status file_write_all(int fd, const void *data, size_t len, struct error *err)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return error_errno(err, errno, "write");
        }
        p += n;
        len -= (size_t)n;
    }
    return STATUS_OK;
}

enum status file_sync_parent(const char *path, struct error *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (len >= sizeof dir) {
        return error_set(err, STATUS_TOO_LARGE, "path too long");
    }
    if (len == 0) {
        dir[0] = slash == NULL ? '.' : '/';
        len = 1;
    } else {
        memcpy(dir, path, len);
    }
    dir[len] = '\0';
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return error_errno(err, errno, "%s", dir);
    }
    enum status s = STATUS_OK;
    if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS) {
        s = error_errno(err, errno, "%s: fsync", dir);
    }
    (void)close(fd);
    return s;
}

/* Written whole and synced under a name of its own, *tmp. */
static enum status write_beside(const char *path, const void *data, size_t len, mode_t mode,
                                const struct stat *like, char tmp[PATH_MAX], struct error *err)
{
    int n = snprintf(tmp, PATH_MAX, "%s.%d.tmp", path, (int)getpid());
    if (n < 0 || n >= PATH_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", path);
    }
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return error_errno(err, errno, "%s", tmp);
    }
    enum status s = file_write_all(fd, data, len, err);
    if (s != STATUS_OK) {
        (void)error_prefix(err, "%s", tmp);
    } else if (fchmod(fd, mode) != 0 ||
               (like != NULL && geteuid() == 0 && fchown(fd, like->st_uid, like->st_gid) != 0) ||
               fsync(fd) != 0) {
        s = error_errno(err, errno, "%s", tmp);
    }
    if (close(fd) != 0 && s == STATUS_OK) {
        s = error_errno(err, errno, "%s", tmp);
    }
    if (s != STATUS_OK) {
        (void)unlink(tmp);
    }
    return s;
}

enum status file_write_atomic(const char *path, const void *data, size_t len, mode_t mode,
                              struct error *err)
{
    char tmp[PATH_MAX];
    enum status s = write_beside(path, data, len, mode, NULL, tmp, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (rename(tmp, path) != 0) {
        s = error_errno(err, errno, "%s", path);
        (void)unlink(tmp);
        return s;
    }
    return file_sync_parent(path, err);
}

enum status file_write_new(const char *path, const void *data, size_t len, mode_t mode,
                           const struct stat *like, struct error *err)
{
    char tmp[PATH_MAX];
    enum status s = write_beside(path, data, len, mode, like, tmp, err);
    if (s != STATUS_OK) {
        return s;
    }
    bool moved = renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) == 0;
    if (!moved && (errno == EINVAL || errno == ENOSYS)) { /* a file system without it */
        moved = link(tmp, path) == 0;
        int why = errno;
        (void)unlink(tmp);
        errno = why;
    }
    if (!moved) {
        s = errno == EEXIST ? error_set(err, STATUS_CONFLICT, "%s: is there already", path)
                            : error_errno(err, errno, "%s", path);
        (void)unlink(tmp);
        return s;
    }
    return file_sync_parent(path, err);
}

enum status file_mkdirs(const char *path, mode_t mode, struct error *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part) {
        return error_set(err, STATUS_INVALID, "path empty or too long");
    }
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, mode) == 0) {
            enum status s = file_sync_parent(part, err); /* or what is put there goes with it */
            if (s != STATUS_OK) {
                return s;
            }
        } else if (errno != EEXIST) {
            return error_errno(err, errno, "%s", part);
        }
    }
    struct stat st;
    if (stat(path, &st) != 0) {
        return error_errno(err, errno, "%s", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return error_set(err, STATUS_CONFLICT, "%s: is not a folder", path);
    }
    return STATUS_OK;
}

static enum status copy_file(const char *from, const char *to, struct error *err)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) {
        return error_errno(err, errno, "%s", from);
    }
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    enum status s = out < 0 ? error_errno(err, errno, "%s", to) : STATUS_OK;
    char piece[16384];
    for (ssize_t n = 1; s == STATUS_OK && n != 0;) {
        n = read(in, piece, sizeof piece);
        if (n < 0 && errno != EINTR) {
            s = error_errno(err, errno, "%s", from);
        } else if (n > 0) {
            s = file_write_all(out, piece, (size_t)n, err);
        }
    }
    if (out >= 0 && close(out) != 0 && s == STATUS_OK) {
        s = error_errno(err, errno, "%s", to);
    }
    (void)close(in);
    if (s != STATUS_OK && out >= 0) {
        (void)unlink(to);
    }
    return s;
}

enum status file_link(const char *from, const char *to, struct error *err)
{
    if (link(from, to) == 0 || errno == EEXIST) {
        return STATUS_OK;
    }
    if (errno == EXDEV || errno == EMLINK || errno == EPERM || errno == EOPNOTSUPP) {
        return copy_file(from, to, err);
    }
    return error_errno(err, errno, "%s", to);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

enum status file_remove_tree(const char *path, struct error *err)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
        return error_errno(err, errno, "%s: removing", path);
    }
    return STATUS_OK;
}

enum status file_join(char *out, size_t cap, const char *dir, const char *name, struct error *err)
{
    int n = snprintf(out, cap, "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= cap) {
        return error_set(err, STATUS_TOO_LARGE, "%s/%s: path too long", dir, name);
    }
    return STATUS_OK;
}
