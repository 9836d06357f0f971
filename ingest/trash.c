#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/tenant.h"
#include "ingest/holds.h"
#include "ingest/ingest.h"

#define DAY_MS ((int64_t)86400000)
#define DATE_LEN 10
#define PURGE_DEPTH_MAX 64

static void date_of(int64_t wall_ms, char out[DATE_LEN + 1])
{
    char full[25];
    clock_format_utc(wall_ms, full);
    memcpy(out, full, DATE_LEN);
    out[DATE_LEN] = '\0';
}

/* The trash may lie on another file system than the watched folder. */
static enum status copy_away(int parent, const char *name, const char *to, struct error *err)
{
    int in = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0) {
        return error_errno(err, errno, "the file");
    }
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    enum status s = out < 0 ? error_errno(err, errno, "trash") : STATUS_OK;
    ssize_t n = 1;
    while (s == STATUS_OK && n > 0) {
        n = sendfile(out, in, NULL, (size_t)1 << 20);
        if (n < 0 && errno != EINTR) {
            s = error_errno(err, errno, "trash");
        }
        n = n < 0 ? 1 : n;
    }
    if (s == STATUS_OK && fsync(out) != 0) {
        s = error_errno(err, errno, "trash");
    }
    if (out >= 0) {
        (void)close(out);
    }
    (void)close(in);
    if (s == STATUS_OK && unlinkat(parent, name, 0) != 0) {
        s = error_errno(err, errno, "removing the file");
    }
    if (s != STATUS_OK && out >= 0) {
        (void)unlink(to);
    }
    return s;
}

static enum status move_to(int parent, const char *name, const char *to, struct error *err)
{
    if (renameat2(parent, name, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return STATUS_OK;
    }
    if (errno == EXDEV || errno == EINVAL) {
        return copy_away(parent, name, to, err);
    }
    return error_errno(err, errno, "moving to the trash");
}

enum status trash_move(int root, const char *home, const char *tenant, struct str path,
                       const char *document, uint64_t ino, struct error *err)
{
    int parent = -1;
    char name[256];
    char date[DATE_LEN + 1];
    char to[PATH_MAX];
    if (path.len == 0) {
        return STATUS_OK; /* displaced: no file is left */
    }
    enum status s = tree_open_parent(root, path, false, &parent, name, err);
    if (s != STATUS_OK) {
        return s;
    }
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        s = error_errno(err, errno, "the file");
    } else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_ino != ino) {
        s = error_set(err, STATUS_NOT_FOUND, "another file stands there now");
    }
    date_of(clock_wall_ms(), date);
    struct str file = path_name(path);
    int n = snprintf(to, sizeof to, "%s/trash/%s/%s/%.*s", home, tenant, date,
                     (int)(path.len - file.len), path.ptr);
    if (s == STATUS_OK && (n < 0 || (size_t)n + 300 >= sizeof to)) {
        s = error_set(err, STATUS_TOO_LARGE, "path too long");
    }
    if (s == STATUS_OK) {
        s = file_mkdirs(to, 0700, err);
    }
    if (s == STATUS_OK) {
        size_t left = sizeof to - (size_t)n;
        (void)snprintf(to + n, left, "/%s", name);
        s = move_to(parent, name, to, err);
        if (s == STATUS_CONFLICT) {
            (void)snprintf(to + n, left, "/%.200s.%s", name, document);
            s = move_to(parent, name, to, err);
        }
    }
    if (s == STATUS_OK) {
        (void)fsync(parent);
    }
    (void)close(parent);
    return s;
}

/* One day's folder of the trash. What cannot go stays until the next day. */
struct purge {
    const struct hold *holds;
    size_t n_holds, below; /* below: length of the day's folder with its slash */
};

static void purge_day(const struct purge *p, const char *dir, int depth)
{
    DIR *d = depth > PURGE_DEPTH_MAX ? NULL : opendir(dir);
    if (d == NULL) {
        return;
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        char path[PATH_MAX];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            file_join(path, sizeof path, dir, e->d_name, NULL) != STATUS_OK ||
            lstat(path, &st) != 0) {
            continue;
        }
        if (S_ISDIR(st.st_mode)) {
            purge_day(p, path, depth + 1);
        } else if (hold_over(p->holds, p->n_holds, "", str_from(path + p->below)) == NULL) {
            (void)unlink(path);
        }
    }
    (void)closedir(d);
    (void)rmdir(dir); /* not when something is held in it */
}

/* false when the holds cannot be told: then nothing goes. */
static bool holds_of(const char *home, const char *tenant, struct arena *a, struct hold **out,
                     size_t *n)
{
    char path[PATH_MAX];
    struct journal *j = NULL;
    struct error err;
    int len = snprintf(path, sizeof path, "%s/tenants/%s/ingest.db", home, tenant);
    *n = 0;
    if (len < 0 || (size_t)len >= sizeof path) {
        return false;
    }
    if (access(path, F_OK) != 0) {
        return true; /* the tenant is gone: its trash follows in time */
    }
    enum status s = journal_open_reader(path, &j, &err);
    if (s == STATUS_OK) {
        s = hold_list(j, a, out, n, &err);
    }
    journal_close(j);
    if (s != STATUS_OK) {
        LOG_WARN("the trash is not emptied: legal holds cannot be read", LOG_STR("tenant", tenant),
                 LOG_STR("err", err.text), LOG_END);
    }
    return s == STATUS_OK;
}

static void purge_tenant(const char *home, const char *tenant, const char *dir, const char *before)
{
    struct arena a;
    struct hold *holds = NULL;
    struct purge p = {0};
    arena_init(&a, (size_t)16 << 20);
    DIR *d = holds_of(home, tenant, &a, &holds, &p.n_holds) ? opendir(dir) : NULL;
    p.holds = holds;
    for (struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        char path[PATH_MAX];
        if (strlen(e->d_name) == DATE_LEN && e->d_name[4] == '-' && strcmp(e->d_name, before) < 0 &&
            file_join(path, sizeof path, dir, e->d_name, NULL) == STATUS_OK) {
            p.below = strlen(path) + 1;
            purge_day(&p, path, 0);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    arena_reset(&a);
}

void trash_purge(const char *home, int64_t days)
{
    char before[DATE_LEN + 1];
    char dir[PATH_MAX];
    date_of(clock_wall_ms() - days * DAY_MS, before);
    if (file_join(dir, sizeof dir, home, "trash", NULL) != STATUS_OK) {
        return;
    }
    DIR *d = opendir(dir);
    if (d == NULL) {
        return;
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        char path[PATH_MAX];
        if (tenant_name_valid(str_from(e->d_name)) &&
            file_join(path, sizeof path, dir, e->d_name, NULL) == STATUS_OK) {
            purge_tenant(home, e->d_name, path, before);
        }
    }
    (void)closedir(d);
}
