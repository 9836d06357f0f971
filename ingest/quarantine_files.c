#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/quarantine.h"
#include "ingest/tree.h"

/* Between file systems. Its rights and times go along, so that it can come back as it was. */
static enum status copy(int from_dir, const char *from, int to_dir, const char *to,
                        struct error *err)
{
    struct stat st;
    enum status s = STATUS_OK;
    int out = -1;
    int in = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) != 0) {
        s = error_errno(err, errno, "the file");
    }
    if (s == STATUS_OK) {
        out = openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        s = out < 0 ? error_errno(err, errno, "quarantine") : STATUS_OK;
    }
    for (ssize_t n = 1; s == STATUS_OK && n > 0;) {
        n = sendfile(out, in, NULL, (size_t)1 << 20);
        if (n < 0 && errno != EINTR) {
            s = error_errno(err, errno, "quarantine");
        }
        n = n < 0 ? 1 : n;
    }
    if (s == STATUS_OK) {
        const struct timespec times[2] = {st.st_atim, st.st_mtim};
        (void)!fchown(out, st.st_uid, st.st_gid);
        (void)fchmod(out, st.st_mode & 07777);
        (void)futimens(out, times);
        s = fsync(out) != 0 ? error_errno(err, errno, "quarantine") : STATUS_OK;
    }
    if (s == STATUS_OK && unlinkat(from_dir, from, 0) != 0) {
        s = error_errno(err, errno, "removing the file");
    }
    if (s != STATUS_OK && out >= 0) {
        (void)unlinkat(to_dir, to, 0);
    }
    if (out >= 0) {
        (void)close(out);
    }
    if (in >= 0) {
        (void)close(in);
    }
    return s;
}

static enum status move(int from_dir, const char *from, int to_dir, const char *to,
                        struct error *err)
{
    enum status s = STATUS_OK;
    if (renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE) != 0) {
        s = errno == EXDEV || errno == EINVAL ? copy(from_dir, from, to_dir, to, err)
                                              : error_errno(err, errno, "moving the file");
    }
    if (s == STATUS_OK) {
        (void)fsync(to_dir);
        (void)fsync(from_dir);
    }
    return s;
}

/* quarantine/<tenant>/<id>/, open; made where it is missing and `make`. */
static enum status open_place(const char *home, const char *tenant, const char *id, bool make,
                              int *out, struct error *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/quarantine/%s/%s", home, tenant, id);
    if (n < 0 || (size_t)n >= sizeof path) {
        return error_set(err, STATUS_TOO_LARGE, "path too long");
    }
    enum status s = make ? file_mkdirs(path, 0700, err) : STATUS_OK;
    if (s == STATUS_OK) {
        *out = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        s = *out < 0 ? error_errno(err, errno, "quarantine") : STATUS_OK;
    }
    return s;
}

enum status quarantine_take(int root, const char *home, const char *tenant, const char *id,
                            struct str path, uint64_t ino, struct error *err)
{
    char name[256];
    struct stat st;
    int parent = -1;
    int place = -1;
    enum status s = tree_open_parent(root, path, false, &parent, name, err);
    if (s == STATUS_OK && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        s = error_errno(err, errno, "the file");
    } else if (s == STATUS_OK && (!S_ISREG(st.st_mode) || (uint64_t)st.st_ino != ino)) {
        s = error_set(err, STATUS_NOT_FOUND, "another file stands there now");
    }
    if (s == STATUS_OK) {
        s = open_place(home, tenant, id, true, &place, err);
    }
    if (s == STATUS_OK) {
        s = move(parent, name, place, name, err);
    }
    if (place >= 0) {
        (void)close(place);
    }
    if (parent >= 0) {
        (void)close(parent);
    }
    return s;
}

enum status quarantine_put_back(int root, const char *home, const char *tenant, const char *id,
                                struct str path, struct error *err)
{
    char name[256];
    char folder[PATH_MAX];
    int parent = -1;
    int place = -1;
    enum status s = open_place(home, tenant, id, false, &place, err);
    if (s == STATUS_OK) {
        s = tree_open_parent(root, path, true, &parent, name, err);
    }
    if (s == STATUS_OK) {
        s = move(place, name, parent, name, err);
    }
    if (place >= 0) {
        (void)close(place);
    }
    if (parent >= 0) {
        (void)close(parent);
    }
    int n = snprintf(folder, sizeof folder, "%s/quarantine/%s/%s", home, tenant, id);
    if (s == STATUS_OK && n > 0 && (size_t)n < sizeof folder) {
        (void)rmdir(folder);
    }
    return s;
}
