#include "ingest/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "ingest/paths.h"

struct file_stamp file_stamp_of(const struct stat *st)
{
    return (struct file_stamp){
        .ino = (uint64_t)st->st_ino,
        .size = (uint64_t)st->st_size,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
    };
}

bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

static enum status path_error(struct error *err, int errnum, struct str path)
{
    char shown[160];
    path_show(path, shown, sizeof shown);
    if (errnum == ELOOP || errnum == ENOTDIR) {
        return error_set(err, STATUS_FORBIDDEN, "%s: leads through a link or a file", shown);
    }
    return error_errno(err, errnum, "%s", shown);
}

/* Opens the folder that holds path; 0 or an errno value. */
static int walk(int root, struct str path, bool make, int *out, char name[256])
{
    int fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        return errno;
    }
    int failed = 0;
    struct str rest = path;
    for (;;) {
        const char *slash = rest.len == 0 ? NULL : memchr(rest.ptr, '/', rest.len);
        size_t len = slash == NULL ? rest.len : (size_t)(slash - rest.ptr);
        if (len == 0 || len > NAME_MAX || path.len > INGEST_PATH_MAX) {
            failed = EINVAL;
            break;
        }
        memcpy(name, rest.ptr, len);
        name[len] = '\0';
        if (strcmp(name, "..") == 0 || strcmp(name, ".") == 0) {
            failed = EINVAL;
            break;
        }
        if (slash == NULL) {
            *out = fd;
            return 0;
        }
        int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        int next = openat(fd, name, make ? flags : flags | O_PATH);
        if (next < 0 && errno == ENOENT && make) {
            if (mkdirat(fd, name, 0755) == 0 || errno == EEXIST) {
                next = openat(fd, name, flags);
            }
        }
        if (next < 0) {
            failed = errno;
            break;
        }
        (void)close(fd);
        fd = next;
        rest.ptr += len + 1;
        rest.len -= len + 1;
    }
    (void)close(fd);
    return failed;
}

enum status tree_open_parent(int root, struct str path, bool make, int *fd, char name[256],
                             struct error *err)
{
    int failed = walk(root, path, make, fd, name);
    return failed == 0 ? STATUS_OK : path_error(err, failed, path);
}

enum status tree_open(int root, struct str path, int flags, int *fd, struct error *err)
{
    int parent = -1;
    char name[256];
    if (path.len == 0) {
        *fd = openat(root, ".", flags | O_CLOEXEC);
        return *fd < 0 ? error_errno(err, errno, "watched folder") : STATUS_OK;
    }
    enum status s = tree_open_parent(root, path, false, &parent, name, err);
    if (s != STATUS_OK) {
        return s;
    }
    int got = openat(parent, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (got < 0) {
        s = path_error(err, errno, path);
    } else {
        *fd = got;
    }
    (void)close(parent);
    return s;
}

enum status tree_stat(int root, struct str path, enum tree_kind *kind, struct file_stamp *out,
                      struct error *err)
{
    int parent = -1;
    char name[256];
    enum status s = STATUS_OK;
    int failed = walk(root, path, false, &parent, name);
    if (failed == ENOENT || failed == ENOTDIR || failed == ELOOP || failed == EINVAL) {
        *kind = TREE_MISSING;
        return STATUS_OK;
    }
    if (failed != 0) {
        return path_error(err, failed, path);
    }
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) {
            *kind = TREE_MISSING;
        } else {
            s = path_error(err, errno, path);
        }
    } else {
        *kind = S_ISREG(st.st_mode) ? TREE_FILE : S_ISDIR(st.st_mode) ? TREE_FOLDER : TREE_OTHER;
        *out = file_stamp_of(&st);
    }
    (void)close(parent);
    return s;
}
