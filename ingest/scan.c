#include "ingest/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "ingest/paths.h"

#define STEP_ENTRIES 4096 /* of a folder of other things */
#define FOLDERS_WAITING_MAX 1000000
#define STALE_UPLOAD_S 86400

struct folder {
    struct list link;
    size_t len;
    char path[];
};

struct scan {
    struct disk *disk;
    struct watch *watch;
    struct list folders; /* to be read; depth first */
    size_t n_folders;
    struct folder *now;
    struct disk_view said; /* of what is in it */
    DIR *dir;
};

static bool push_folder(struct scan *s, struct str base, struct str name)
{
    size_t len = base.len + (base.len > 0 && name.len > 0 ? 1 : 0) + name.len;
    if (len > INGEST_PATH_MAX || s->n_folders >= FOLDERS_WAITING_MAX) {
        return false;
    }
    struct folder *f = malloc(sizeof *f + len + 1);
    if (f == NULL) {
        return false;
    }
    f->len = len;
    memcpy(f->path, base.ptr, base.len);
    if (base.len > 0 && name.len > 0) {
        f->path[base.len] = '/';
    }
    memcpy(f->path + len - name.len, name.ptr, name.len);
    f->path[len] = '\0';
    list_push_front(&s->folders, &f->link);
    s->n_folders++;
    return true;
}

struct scan *scan_new(struct disk *disk, struct watch *watch, struct str prefix)
{
    struct scan *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->disk = disk;
    s->watch = watch;
    list_init(&s->folders);
    if (!push_folder(s, prefix, (struct str){.ptr = "", .len = 0})) {
        free(s);
        return NULL;
    }
    return s;
}

static void close_folder(struct scan *s)
{
    if (s->dir != NULL) {
        (void)closedir(s->dir);
        s->dir = NULL;
    }
    disk_view_release(&s->said);
    free(s->now);
    s->now = NULL;
}

void scan_free(struct scan *s)
{
    if (s == NULL) {
        return;
    }
    close_folder(s);
    while (!list_empty(&s->folders)) {
        struct folder *f = list_entry(s->folders.next, struct folder, link);
        list_remove(&f->link);
        free(f);
    }
    free(s);
}

/* An upload that was cut off leaves a hidden file; nobody else removes it. Its age is by the kernel's
 * time: what comes from elsewhere may bring one of its own along. */
static void remove_stale_upload(int dir, const char *name, const struct stat *st)
{
    if (strncmp(name, INGEST_UPLOAD_TEMP, strlen(INGEST_UPLOAD_TEMP)) == 0 &&
        S_ISREG(st->st_mode) && st->st_ctim.tv_sec + STALE_UPLOAD_S < time(NULL)) {
        (void)unlinkat(dir, name, 0);
    }
}

static bool open_next(struct scan *s, struct scan_step *out)
{
    if (list_empty(&s->folders)) {
        out->end = true;
        return false;
    }
    s->now = list_entry(s->folders.next, struct folder, link);
    list_remove(&s->now->link);
    s->n_folders--;
    struct str path = {.ptr = s->now->path, .len = s->now->len};
    struct error err;
    int fd = -1;
    enum status opened = disk_look(s->disk, path, &s->said, &err);
    if (opened == STATUS_OK && s->said.place == MAILDIR_PASSED) { /* an event named it */
        close_folder(s);
        return true;
    }
    if (s->watch != NULL) {
        enum status w = watch_add(s->watch, path, &err);
        out->watch_limit = out->watch_limit || w == STATUS_BUSY;
    }
    if (opened == STATUS_OK) {
        opened = tree_open(disk_root(s->disk), path, O_RDONLY | O_DIRECTORY, &fd, &err);
    }
    if (opened == STATUS_OK) {
        s->dir = fdopendir(fd);
        if (s->dir == NULL) {
            (void)close(fd);
        }
    }
    if (s->dir == NULL) {
        out->away = out->away || opened == STATUS_UNAVAILABLE;
        out->unreadable =
            out->unreadable || (opened != STATUS_NOT_FOUND && opened != STATUS_UNAVAILABLE);
        close_folder(s);
    }
    return true;
}

static void look_at(struct scan *s, const char *name, struct scan_step *out)
{
    struct str n = str_from(name);
    struct str base = {.ptr = s->now->path, .len = s->now->len};
    struct stat st;
    if (fstatat(dirfd(s->dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return; /* gone again */
    }
    bool folder = S_ISDIR(st.st_mode);
    if (maildir_passes_over(dirfd(s->dir), s->said.place, n, folder)) {
        remove_stale_upload(dirfd(s->dir), name, &st);
        return;
    }
    if (!folder && !S_ISREG(st.st_mode)) {
        out->passed_over++;
        return;
    }
    size_t len = base.len + (base.len > 0 ? 1 : 0) + n.len;
    char *path = len > INGEST_PATH_MAX ? NULL : arena_alloc(&out->arena, len + 1);
    if (path == NULL) {
        out->unreadable = true;
        return;
    }
    memcpy(path, base.ptr, base.len);
    path[base.len] = '/';
    memcpy(path + len - n.len, n.ptr, n.len);
    struct str whole = {.ptr = path, .len = len};
    if (disk_view_ignores(&s->said, whole, folder, folder ? 0 : (uint64_t)st.st_size)) {
        out->ignored++;
        return;
    }
    if (folder) {
        out->unreadable = !push_folder(s, base, n) || out->unreadable;
        return;
    }
    out->files[out->n++] = (struct scan_file){.path = whole, .stamp = file_stamp_of(&st)};
}

void scan_run_step(struct scan *s, struct scan_step *out)
{
    out->n = 0;
    for (int entries = 0; entries < STEP_ENTRIES && out->n < SCAN_STEP_FILES; entries++) {
        if (s->dir == NULL) {
            if (!open_next(s, out)) {
                return;
            }
            continue;
        }
        errno = 0;
        struct dirent *e = readdir(s->dir);
        if (e == NULL) {
            out->unreadable = out->unreadable || errno != 0;
            close_folder(s);
        } else if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            look_at(s, e->d_name, out);
        }
    }
}
