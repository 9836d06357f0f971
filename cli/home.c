#include "cli/home.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/command.h"

#define PATH_CAP 4096
#define ALIVE_WAIT_MS 10000

enum status home_resolve(const char *given, char *out, size_t cap, struct error *err)
{
    const char *env = getenv("CARREL_HOME");
    const char *home = getenv("HOME");
    char cwd[4096] = "";
    int n;

    if (given == NULL && env != NULL && env[0] != '\0') {
        given = env;
    }
    if (given != NULL && given[0] == '\0') {
        return error_set(err, STATUS_INVALID, "--home: the name is empty");
    }
    if (given != NULL && given[0] == '/') {
        n = snprintf(out, cap, "%s", given);
    } else if (given != NULL) {
        if (getcwd(cwd, sizeof(cwd)) == NULL) {
            return error_errno(err, errno, "the current folder");
        }
        n = snprintf(out, cap, "%s/%s", cwd, given);
    } else {
        const struct passwd *pw = home == NULL || home[0] == '\0' ? getpwuid(getuid()) : NULL;
        home = pw != NULL ? pw->pw_dir : home;
        if (home == NULL || home[0] != '/') {
            return error_set(err, STATUS_INVALID, "HOME is not set: say --home DIR");
        }
        n = snprintf(out, cap, "%s/.local/share/carrel", home);
    }
    if (n <= 0 || (size_t)n >= cap || n > 900) {
        return error_set(
            err, STATUS_TOO_LARGE,
            "the data directory's name is longer than 900 bytes: choose a shorter one with --home");
    }
    while (n > 1 && out[n - 1] == '/') {
        out[--n] = '\0';
    }
    return STATUS_OK;
}

static enum status make(const char *home, const char *name, mode_t mode, struct error *err)
{
    char path[PATH_CAP];

    enum status s = file_join(path, sizeof(path), home, name, err);
    return s == STATUS_OK ? file_mkdirs(path, mode, err) : s;
}

/* A file made and taken away again says more than access(): quotas, full disks, read-only mounts.
 */
static enum status try_write(const char *home, struct error *err)
{
    char path[PATH_CAP];

    enum status s = file_join(path, sizeof(path), home, "run/.write-test", err);
    if (s == STATUS_OK) {
        s = file_write_atomic(path, "x\n", 2, 0600, err);
    }
    (void)unlink(path);
    return s;
}

static enum status write_config(const char *home, bool *wrote, struct error *err)
{
    char path[PATH_CAP];
    struct buf text;

    *wrote = false;
    enum status s = file_join(path, sizeof(path), home, "carrel.yaml", err);
    if (s != STATUS_OK || access(path, F_OK) == 0) {
        return s;
    }
    buf_init(&text, 1 << 20);
    settings_write_default(&text);
    s = buf_status(&text);
    if (s == STATUS_OK) {
        s = file_write_atomic(path, text.ptr, text.len, 0640, err);
    } else {
        s = error_set(err, s, "%s: out of memory", path);
    }
    *wrote = s == STATUS_OK;
    buf_deinit(&text);
    return s;
}

enum status home_prepare(const char *home, bool *wrote_config, struct error *err)
{
    enum status s = file_mkdirs(home, 0700, err);

    if (s == STATUS_OK) {
        s = make(home, "run", 0700, err);
    }
    if (s == STATUS_OK) { /* before the audit's signer, which stays root, and serve race for it */
        s = make(home, "system", 0700, err);
    }
    if (s == STATUS_OK) {
        s = try_write(home, err);
    }
    if (s == STATUS_OK) {
        s = write_config(home, wrote_config, err);
    }
    if (s != STATUS_OK) {
        return error_prefix(err, "the data directory %s cannot be used (--home chooses another)",
                            home);
    }
    return s;
}

enum status home_watch(const char *home, const struct settings *s, char *out, size_t cap,
                       bool *ours, struct error *err)
{
    char root[PATH_CAP];
    enum status st;

    if (s->ingest.watch_dir[0] == '\0') {
        st = file_join(root, sizeof(root), home, "watch", err);
    } else {
        int n = snprintf(root, sizeof(root), "%s", s->ingest.watch_dir);
        st = n > 0 && (size_t)n < sizeof(root)
                 ? STATUS_OK
                 : error_set(err, STATUS_TOO_LARGE, "ingest.watch_dir: the name is too long");
    }
    if (st == STATUS_OK) {
        st = file_join(out, cap, root, "main", err);
    }
    /* Where documents were read before, a missing folder is a disk that is not mounted: an empty
     * one in its place would look as if all of them had been deleted. */
    if (st == STATUS_OK) {
        st = file_join(root, sizeof(root), home, "tenants/main/ingest.db", err);
    }
    if (st == STATUS_OK && access(out, F_OK) != 0 && access(root, F_OK) == 0) {
        *ours = false;
    } else if (st == STATUS_OK) {
        *ours = s->ingest.watch_dir[0] == '\0' || access(out, F_OK) != 0;
        st = file_mkdirs(out, 0755, err);
    }
    return st == STATUS_OK ? st : error_prefix(err, "the watched folder");
}

static enum status open_lock(const char *home, const char *name, int *fd, struct error *err)
{
    char path[PATH_CAP];

    enum status s = file_join(path, sizeof(path), home, name, err);
    if (s != STATUS_OK) {
        return s;
    }
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    return *fd < 0 ? error_errno(err, errno, "%s", path) : STATUS_OK;
}

/* The services of a supervisor that was killed die with it, but not in the same instant: each holds
 * run/alive by inheritance, and only when all have let go is the home free for new ones. */
static enum status wait_alive(int fd, struct error *err)
{
    for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += 20) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return error_errno(err, errno, "run/alive");
        }
        if (waited >= ALIVE_WAIT_MS) {
            return error_set(
                err, STATUS_CONFLICT,
                "services of an earlier start still live in this home and do not end: stop the "
                "processes named carrel-* and start again");
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return STATUS_OK;
}

enum status home_lock(const char *home, int *lock_fd, int *alive_fd, struct error *err)
{
    *lock_fd = *alive_fd = -1;
    enum status s = open_lock(home, "run/lock", lock_fd, err);

    if (s == STATUS_OK && flock(*lock_fd, LOCK_EX | LOCK_NB) != 0) {
        s = errno == EWOULDBLOCK
                ? error_set(err, STATUS_CONFLICT,
                            "an appliance is already running on %s: `carrel status` shows it, "
                            "`carrel stop` stops it, --home starts another beside it",
                            home)
                : error_errno(err, errno, "%s/run/lock", home);
    }
    if (s == STATUS_OK) {
        s = open_lock(home, "run/alive", alive_fd, err);
    }
    if (s == STATUS_OK) {
        s = wait_alive(*alive_fd, err);
    }
    if (s != STATUS_OK) {
        if (*lock_fd >= 0) {
            (void)close(*lock_fd);
        }
        if (*alive_fd >= 0) {
            (void)close(*alive_fd);
        }
    }
    return s;
}

bool home_is_running(const char *home)
{
    char path[PATH_CAP];

    if (file_join(path, sizeof(path), home, "run/lock", NULL) != STATUS_OK) {
        return false;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == EACCES; /* another user's: whoever asks will be told so */
    }
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    (void)close(fd);
    return held;
}
