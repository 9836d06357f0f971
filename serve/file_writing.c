#include "serve/file_writing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "serve/files.h"

bool file_writing_init(struct file_writing *f)
{
    *f = (struct file_writing){.fd = -1, .sha = sha256_new()};
    return f->sha != NULL;
}

static enum status begin(struct file_writing *f, const char *home, const char *tenant,
                         const char *id, struct error *err)
{
    enum status s = files_path(home, tenant, id, f->path, err);
    if (s != STATUS_OK) {
        return s;
    }
    (void)snprintf(f->temp, sizeof f->temp, "%s.part", f->path);
    f->fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return f->fd < 0 ? error_errno(err, errno, "the file cannot be written") : STATUS_OK;
}

enum status file_writing_add(struct file_writing *f, const char *home, const char *tenant,
                             const char *id, struct str bytes, struct error *err)
{
    enum status s = f->fd < 0 ? begin(f, home, tenant, id, err) : STATUS_OK;
    if (s == STATUS_OK && bytes.len > 0) {
        sha256_add(f->sha, bytes.ptr, bytes.len);
        s = file_write_all(f->fd, bytes.ptr, bytes.len, err);
    }
    return s;
}

void file_writing_hash(struct file_writing *f, char out[SHA256_HEX_CAP])
{
    uint8_t digest[SHA256_BYTES];
    sha256_end(f->sha, digest);
    f->sha = NULL;
    sha256_hex(digest, out);
}

enum status file_writing_place(struct file_writing *f, struct error *err)
{
    if (fsync(f->fd) != 0 || rename(f->temp, f->path) != 0) {
        return error_errno(err, errno, "the file cannot be written");
    }
    f->placed = true;
    return file_sync_parent(f->path, err);
}

void file_writing_keep(struct file_writing *f)
{
    (void)close(f->fd); /* synced */
    f->fd = -1;
}

void file_writing_end(struct file_writing *f)
{
    if (f->fd >= 0) {
        (void)close(f->fd);
        f->fd = -1;
        (void)unlink(f->placed ? f->path : f->temp);
    }
    if (f->sha != NULL) {
        char hash[SHA256_HEX_CAP];
        file_writing_hash(f, hash); /* the one way to let go of it */
    }
}
