#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "ingest/disk_internal.h"
#include "ingest/paths.h"

enum status disk_new(struct disk **out, struct error *err)
{
    struct disk *d = calloc(1, sizeof *d);
    if (d == NULL || uv_mutex_init(&d->lock) != 0) {
        free(d);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    d->root = -1;
    map_init(&d->said);
    *out = d;
    return STATUS_OK;
}

void disk_free(struct disk *d)
{
    size_t pos = 0;
    void *value;
    struct str folder;
    if (d == NULL) {
        return;
    }
    while (map_next(&d->said, &pos, &folder, &value)) {
        disk_said_release(value);
    }
    map_deinit(&d->said);
    for (size_t i = 0; i < d->n_mounts; i++) {
        free(d->mounts[i].path);
    }
    uv_mutex_destroy(&d->lock);
    free(d);
}

void disk_set_root(struct disk *d, int root)
{
    uv_mutex_lock(&d->lock);
    d->root = root;
    d->network = false;
    uv_mutex_unlock(&d->lock);
}

int disk_root(const struct disk *d)
{
    return d->root;
}

bool disk_file_of_settings(struct str path)
{
    struct str name = path_name(path);
    return str_eq(name, STR(IGNORE_FILE)) || str_eq(name, STR(RULES_FOLDER_FILE));
}

static enum status look_error(int errnum, struct str path, struct error *err)
{
    char shown[160];
    path_show(path, shown, sizeof shown);
    if (errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP) {
        return error_set(err, STATUS_NOT_FOUND, "%s: there is no such folder", shown);
    }
    return error_errno(err, errnum, "%s", shown);
}

/* Looks at the folder open as fd; what it says goes into the view. */
static enum status look_at(struct disk *d, int fd, struct str folder, struct disk_view *v,
                           struct error *err)
{
    struct disk_said *said = NULL;
    enum status s = disk_check_mount(d, folder, fd, err);
    if (s == STATUS_OK) {
        s = disk_said_of(d, fd, folder, &said, err);
    }
    if (said != NULL && v->n == DISK_SAID_MAX) {
        uv_mutex_lock(&d->lock);
        disk_said_release(said);
        uv_mutex_unlock(&d->lock);
        s = error_set(err, STATUS_TOO_LARGE, "more than %d folders above it have settings",
                      DISK_SAID_MAX);
    } else if (said != NULL) {
        v->said[v->n++] = said;
    }
    return s;
}

/* Goes down to the folder, which is left open in *out. */
static enum status descend(struct disk *d, struct str folder, struct disk_view *v, int *out,
                           struct error *err)
{
    int fd = d->root < 0 ? -1 : openat(d->root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    enum status s = fd >= 0 ? look_at(d, fd, (struct str){folder.ptr, 0}, v, err)
                            : error_set(err, STATUS_UNAVAILABLE, "the watched folder is missing");
    for (size_t at = 0; s == STATUS_OK && at < folder.len;) {
        const char *slash = memchr(folder.ptr + at, '/', folder.len - at);
        size_t end = slash == NULL ? folder.len : (size_t)(slash - folder.ptr);
        struct str here = {folder.ptr, end};
        char name[256];
        if (end == at || end - at >= sizeof name) {
            s = look_error(ENOENT, here, err);
            break;
        }
        memcpy(name, folder.ptr + at, end - at);
        name[end - at] = '\0';
        bool up = strcmp(name, "..") == 0 || strcmp(name, ".") == 0;
        int next = up ? -1 : openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int failed = up ? ENOENT : errno;
        if (next < 0) {
            s = failed == ENOENT ? disk_check_mount(d, here, -1, err) : STATUS_OK;
            s = s == STATUS_OK ? look_error(failed, here, err) : s;
            break;
        }
        v->place = maildir_enter(fd, v->place, path_name(here));
        (void)close(fd);
        fd = next;
        s = look_at(d, fd, here, v, err);
        at = end + 1;
    }
    if (s == STATUS_OK && out != NULL) {
        *out = fd;
    } else if (fd >= 0) {
        (void)close(fd);
    }
    return s;
}

enum status disk_look(struct disk *d, struct str folder, struct disk_view *out, struct error *err)
{
    *out = (struct disk_view){.disk = d};
    enum status s = descend(d, folder, out, NULL, err);
    if (s != STATUS_OK) {
        disk_view_release(out);
    }
    return s;
}

static enum status stat_in(struct disk *d, int fd, const struct disk_view *v, struct str path,
                           enum tree_kind *kind, struct file_stamp *out, struct error *err)
{
    struct str name = path_name(path);
    char text[256];
    struct stat st;
    *kind = TREE_MISSING;
    if (name.len == 0 || name.len >= sizeof text) {
        return STATUS_OK;
    }
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    if (strcmp(text, "..") == 0 || strcmp(text, ".") == 0) {
        return STATUS_OK;
    }
    if (fstatat(fd, text, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? disk_check_mount(d, path, -1, err) : look_error(errno, path, err);
    }
    bool folder = S_ISDIR(st.st_mode);
    *out = file_stamp_of(&st);
    *kind = !folder && !S_ISREG(st.st_mode) ? TREE_OTHER
            : maildir_passes_over(fd, v->place, name, folder) ||
                    disk_view_ignores(v, path, folder, folder ? 0 : out->size)
                ? TREE_OTHER
            : folder ? TREE_FOLDER
                     : TREE_FILE;
    return STATUS_OK;
}

enum status disk_stat(struct disk *d, struct str path, enum tree_kind *kind, struct file_stamp *out,
                      struct error *err)
{
    struct disk_view v = {.disk = d};
    int fd = -1;
    enum status s = descend(d, path_folder(path), &v, &fd, err);
    if (s == STATUS_OK) {
        s = stat_in(d, fd, &v, path, kind, out, err);
        (void)close(fd);
    } else if (s == STATUS_NOT_FOUND) {
        *kind = TREE_MISSING;
        s = STATUS_OK;
    }
    disk_view_release(&v);
    return s;
}
