#include "tests/fault/powerloss.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fault/store_model.h"

#define BLOCK ((size_t)4096)
#define DEPTH 16

static struct {
    pthread_mutex_t lock;
    bool armed;
    char root[512], kept[512];
} power = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- keeping ---- */

/* fd may be for writing only */
static int reopen(int fd)
{
    char self[64];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    return open(self, O_RDONLY | O_CLOEXEC);
}

static bool copy_to(int fd, const char *path)
{
    char tmp[PATH_MAX + 8];
    char piece[16384];
    (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
    int to = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int from = reopen(fd);
    bool ok = to >= 0 && from >= 0;
    off_t at = 0;
    for (ssize_t n = 1; ok && n > 0; at += n) {
        n = pread(from, piece, sizeof piece, at);
        ok = n >= 0 && write(to, piece, (size_t)n) == n;
    }
    if (to >= 0) {
        (void)close(to);
    }
    if (from >= 0) {
        (void)close(from);
    }
    return ok && rename(tmp, path) == 0; /* a kill leaves the copy before */
}

static bool list_to(int dir, const char *path)
{
    char tmp[PATH_MAX + 8];
    (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    FILE *f = d == NULL ? NULL : fopen(tmp, "we");
    bool ok = f != NULL;
    for (const struct dirent *e = ok ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            ok = fprintf(f, "%" PRIu64 " %s\n", (uint64_t)e->d_ino, e->d_name) > 0 && ok;
        }
    }
    if (f != NULL) {
        ok = fclose(f) == 0 && ok;
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return ok && rename(tmp, path) == 0;
}

static bool keep(int fd, const char *kept)
{
    struct stat st;
    char path[PATH_MAX];
    if (fstat(fd, &st) != 0) {
        return false;
    }
    (void)snprintf(path, sizeof path, "%s/%c%" PRIu64, kept, S_ISDIR(st.st_mode) ? 'd' : 'f',
                   (uint64_t)st.st_ino);
    return S_ISDIR(st.st_mode) ? list_to(fd, path) : copy_to(fd, path);
}

static void synced(int fd)
{
    char link[64];
    char path[PATH_MAX];
    if (!power.armed) {
        return;
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) {
        return;
    }
    path[n] = '\0';
    if (strncmp(path, power.root, strlen(power.root)) == 0) {
        (void)pthread_mutex_lock(&power.lock);
        if (!keep(fd, power.kept)) {
            abort(); /* the test would accuse the store of what the test lost */
        }
        (void)pthread_mutex_unlock(&power.lock);
    }
}

int fsync(int fd)
{
    int rc = (int)syscall(SYS_fsync, fd);
    if (rc == 0) {
        synced(fd);
    }
    return rc;
}

int fdatasync(int fd)
{
    int rc = (int)syscall(SYS_fdatasync, fd);
    if (rc == 0) {
        synced(fd);
    }
    return rc;
}

void powerloss_arm(const char *root, const char *kept)
{
    (void)snprintf(power.root, sizeof power.root, "%s", root);
    (void)snprintf(power.kept, sizeof power.kept, "%s", kept);
    power.armed = true;
}

/* ---- folders ---- */

static bool begin_below(int dir, const char *kept, int depth)
{
    bool ok = keep(dir, kept);
    int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL && ok; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        int fd = openat(dir, e->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        ok = fd >= 0 && fstat(fd, &st) == 0;
        if (ok) {
            ok = S_ISDIR(st.st_mode) ? depth < DEPTH && begin_below(fd, kept, depth + 1)
                                     : keep(fd, kept);
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return ok;
}

bool powerloss_begin(const char *root, const char *kept)
{
    char command[1200];
    (void)snprintf(command, sizeof command, "rm -rf '%s' && mkdir -p '%s'", kept, kept);
    int fd = system(command) == 0 ? open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool ok = fd >= 0 && begin_below(fd, kept, 0);
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok;
}

/* ---- the image ---- */

struct making {
    const char *kept;
    bool torn;
    uint64_t *rnd;
};

static char *slurp(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *p = NULL;
    *size = 0;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        p = malloc((size_t)st.st_size + 1);
        if (p != NULL && read(fd, p, (size_t)st.st_size) == st.st_size) {
            *size = (size_t)st.st_size;
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return p;
}

static bool make_file(const struct making *k, uint64_t ino, const char *live, const char *to)
{
    char path[PATH_MAX];
    struct stat st;
    size_t n_old = 0;
    size_t n_new = 0;
    (void)snprintf(path, sizeof path, "%s/f%" PRIu64, k->kept, ino);
    char *old = slurp(path, &n_old);
    bool same = lstat(live, &st) == 0 && (uint64_t)st.st_ino == ino;
    char *now = same && k->torn ? slurp(live, &n_new) : NULL;
    size_t n = now != NULL && model_random(k->rnd, 2) == 0 ? n_new : n_old;
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0;
    uint32_t share = model_random(k->rnd, 5); /* of the blocks: none, some, most, all arrived */
    for (size_t at = 0; at < n && ok; at += BLOCK) {
        char block[BLOCK] = {0};
        size_t len = n - at < BLOCK ? n - at : BLOCK;
        bool arrived = now != NULL && model_random(k->rnd, 4) < share;
        const char *from = arrived ? now : old;
        size_t have = arrived ? n_new : n_old;
        if (from != NULL && at < have) {
            memcpy(block, from + at, have - at < len ? have - at : len);
        }
        ok = write(fd, block, len) == (ssize_t)len;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    free(old);
    free(now);
    return ok;
}

static bool make_dir(const struct making *k, uint64_t ino, const char *live, const char *to,
                     int depth);

static bool make_entry(const struct making *k, uint64_t ino, const char *name, const char *live,
                       const char *to, int depth)
{
    char from[PATH_MAX];
    char path[PATH_MAX];
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, "-shm") == 0) {
        return true; /* not for a disk */
    }
    if (snprintf(from, sizeof from, "%s/%s", live, name) >= (int)sizeof from ||
        snprintf(path, sizeof path, "%s/%s", to, name) >= (int)sizeof path) {
        return false;
    }
    char list[PATH_MAX];
    struct stat st;
    (void)snprintf(list, sizeof list, "%s/d%" PRIu64, k->kept, ino);
    bool live_dir = lstat(from, &st) == 0 && (uint64_t)st.st_ino == ino && S_ISDIR(st.st_mode);
    if (live_dir || access(list, F_OK) == 0) {
        return depth < DEPTH && make_dir(k, ino, from, path, depth + 1);
    }
    return make_file(k, ino, from, path);
}

/* Names that the folder has now and the synced list has not, or with another inode. */
static bool make_unsynced(const struct making *k, char *list, const char *live, const char *to,
                          int depth)
{
    DIR *d = opendir(live);
    bool ok = true;
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL && ok; e = readdir(d)) {
        char line[320];
        (void)snprintf(line, sizeof line, "%" PRIu64 " %s\n", (uint64_t)e->d_ino, e->d_name);
        if (e->d_name[0] == '.' || strstr(list, line) != NULL || model_random(k->rnd, 2) == 0) {
            continue;
        }
        ok = make_entry(k, (uint64_t)e->d_ino, e->d_name, live, to, depth);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return ok;
}

static bool make_dir(const struct making *k, uint64_t ino, const char *live, const char *to,
                     int depth)
{
    char path[PATH_MAX];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "%s/d%" PRIu64, k->kept, ino);
    char *list = slurp(path, &size);
    bool ok = mkdir(to, 0700) == 0;
    if (list == NULL) {
        list = calloc(1, 1);
    } else {
        list[size] = '\0';
    }
    char *copy = list == NULL ? NULL : strdup(list);
    char *rest = NULL;
    for (char *line = copy == NULL ? NULL : strtok_r(copy, "\n", &rest); line != NULL && ok;
         line = strtok_r(NULL, "\n", &rest)) {
        char *name = strchr(line, ' ');
        char live_path[PATH_MAX];
        struct stat st;
        uint64_t was = strtoull(line, NULL, 10);
        if (name == NULL) {
            continue;
        }
        (void)snprintf(live_path, sizeof live_path, "%s/%s", live, name + 1);
        bool gone = lstat(live_path, &st) != 0 || (uint64_t)st.st_ino != was;
        if (k->torn && gone && model_random(k->rnd, 2) == 0) {
            continue; /* the unlink has arrived */
        }
        ok = make_entry(k, was, name + 1, live, to, depth);
    }
    ok = ok && list != NULL && (!k->torn || make_unsynced(k, list, live, to, depth));
    free(copy);
    free(list);
    return ok;
}

bool powerloss_image(const char *root, const char *kept, const char *out, bool torn, uint64_t *rnd)
{
    struct stat st;
    struct making k = {.kept = kept, .torn = torn, .rnd = rnd};
    return stat(root, &st) == 0 && make_dir(&k, (uint64_t)st.st_ino, root, out, 0);
}
