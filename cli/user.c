/* Started as root, the services run as a system user of their own: it is made where it is missing,
 * given the data directory, and let through the folders above it and above the binaries. */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/home.h"

#define PATH_CAP 4096

extern char **environ;

/* Runs a program, its output going where ours goes; true when it ended with 0. */
static bool run_program(const char *const *argv, bool silent)
{
    posix_spawn_file_actions_t fa;
    char *args[12];
    size_t n = 0;
    pid_t pid = 0;
    int wstatus = 0;

    for (; argv[n] != NULL && n < 11; n++) {
        args[n] =
            (char *)(uintptr_t)argv[n]; /* posix_spawn takes char *const[] and changes nothing */
    }
    args[n] = NULL;
    (void)posix_spawn_file_actions_init(&fa);
    if (silent) {
        (void)posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
    }
    int rc = posix_spawnp(&pid, args[0], &fa, NULL, args, environ);
    (void)posix_spawn_file_actions_destroy(&fa);
    if (rc != 0) {
        return false;
    }
    while (waitpid(pid, &wstatus, 0) < 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return WIFEXITED(wstatus) && WEXITSTATUS(wstatus) == 0;
}

static enum status find_user(uid_t *uid, gid_t *gid, struct error *err)
{
    const struct passwd *pw = getpwnam(SERVICE_USER);

    if (pw == NULL) {
        (void)printf("making the system user %s for the services\n", SERVICE_USER);
        (void)fflush(stdout);
        const char *add[] = {
            "useradd",      "--system", "--user-group",      "--no-create-home", "--home-dir",
            "/nonexistent", "--shell",  "/usr/sbin/nologin", SERVICE_USER,       NULL};
        if (!run_program(add, false)) {
            return error_set(
                err, STATUS_FORBIDDEN,
                "the system user %s is missing and useradd could not make it: make it with "
                "`useradd --system %s`, or start as an ordinary user",
                SERVICE_USER, SERVICE_USER);
        }
        pw = getpwnam(SERVICE_USER);
    }
    if (pw == NULL || pw->pw_uid == 0) {
        return error_set(err, STATUS_FORBIDDEN, "the system user %s cannot be used", SERVICE_USER);
    }
    *uid = pw->pw_uid;
    *gid = pw->pw_gid;
    return STATUS_OK;
}

/* As the user: 0, or the length of the shortest ancestor of path that he may not search. Asked by a
 * child that becomes him, since ACLs, mounts and security modules all have a say. */
static int first_closed(const char *path, uid_t uid, gid_t gid)
{
    int pipe_fd[2];
    int answer = -1;

    if (pipe2(pipe_fd, O_CLOEXEC) != 0) {
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        char part[PATH_CAP];
        int closed = 0;
        if (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0) {
            _exit(1);
        }
        for (size_t i = 1; closed == 0 && i < sizeof(part) - 1; i++) {
            if (path[i] == '/' || path[i] == '\0') {
                memcpy(part, path, i);
                part[i] = '\0';
                if (access(part, X_OK) != 0 && errno == EACCES) {
                    closed = (int)i;
                }
            }
            if (path[i] == '\0') {
                break;
            }
        }
        _exit(write(pipe_fd[1], &closed, sizeof(closed)) == (ssize_t)sizeof(closed) ? 0 : 1);
    }
    (void)close(pipe_fd[1]);
    if (pid > 0) {
        if (read(pipe_fd[0], &answer, sizeof(answer)) != (ssize_t)sizeof(answer)) {
            answer = -1;
        }
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    (void)close(pipe_fd[0]);
    return answer;
}

static enum status open_way(const char *path, uid_t uid, gid_t gid, struct error *err)
{
    char part[PATH_CAP];
    int before = 0;

    for (;;) {
        int closed = first_closed(path, uid, gid);
        if (closed == 0) {
            return STATUS_OK;
        }
        if (closed < 0 || (size_t)closed >= sizeof(part)) {
            return error_set(err, STATUS_INTERNAL, "%.120s: could not be tried as the user %s",
                             path, SERVICE_USER);
        }
        memcpy(part, path, (size_t)closed);
        part[closed] = '\0';
        const char *acl[] = {"setfacl", "-m", "u:" SERVICE_USER ":--x", part, NULL};
        if (closed == before || !run_program(acl, true)) {
            return error_set(
                err, STATUS_FORBIDDEN,
                "the user %s, under whom the services run, may not pass through %.120s, and an "
                "ACL could not be set there: choose another place with --home (or put Carrel "
                "elsewhere)",
                SERVICE_USER, part);
        }
        (void)printf("let the user %s pass through %s (search only: setfacl -m u:%s:--x)\n",
                     SERVICE_USER, part, SERVICE_USER);
        before = closed;
    }
}

static enum status give(const char *path, uid_t uid, gid_t gid, struct error *err)
{
    struct stat st;

    if (lstat(path, &st) != 0) {
        return error_errno(err, errno, "%s", path);
    }
    if (st.st_uid == uid && st.st_gid == gid) {
        return STATUS_OK;
    }
    return lchown(path, uid, gid) == 0 ? STATUS_OK : error_errno(err, errno, "%s: chown", path);
}

/* What root puts into the watched folder must be the services' to move to the trash: a default ACL
 * makes new folders so, whoever makes them. Without ACLs on this filesystem it is root's business.
 */
static void share_watch(const char *watch)
{
    const char *acl[] = {"setfacl", "-m", "d:u:" SERVICE_USER ":rwX,u:" SERVICE_USER ":rwx", watch,
                         NULL};

    if (!run_program(acl, true)) {
        (void)printf("note: no ACLs on %s: folders root makes there stay root's, and documents in "
                     "them cannot "
                     "be moved to the trash\n",
                     watch);
    }
}

/* A home that root restored, or models it imported: all of it is root's. */
static enum status give_tree(const char *home, uid_t uid, gid_t gid, struct error *err)
{
    char root[PATH_CAP];
    (void)snprintf(root, sizeof(root), "%s", home);
    char *const roots[] = {root, NULL};
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    enum status s = tree == NULL ? error_errno(err, errno, "%s", home) : STATUS_OK;
    for (FTSENT *e = NULL; s == STATUS_OK && (e = fts_read(tree)) != NULL;) {
        if (e->fts_info != FTS_DP) {
            s = give(e->fts_accpath, uid, gid, err);
        }
    }
    if (tree != NULL) {
        (void)fts_close(tree);
    }
    return s;
}

enum status home_give_to_user(const char *home, const char *watch, bool watch_is_ours,
                              const char *const *paths, size_t n_paths, struct error *err)
{
    static const char *const owned[] = {"", "run", "system", "carrel.yaml", "watch"};
    char path[PATH_CAP];
    uid_t uid = 0;
    gid_t gid = 0;
    struct stat st;

    enum status s = find_user(&uid, &gid, err);
    if (s == STATUS_OK) {
        s = file_join(path, sizeof(path), home, "tenants", err);
    }
    bool restored = s == STATUS_OK && lstat(path, &st) == 0 && st.st_uid != uid;
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]) && s == STATUS_OK; i++) {
        s = file_join(path, sizeof(path), home, owned[i], err);
        if (s == STATUS_OK && lstat(path, &st) == 0) {
            s = give(path, uid, gid, err);
        }
    }
    if (s == STATUS_OK && watch_is_ours) {
        s = lstat(watch, &st) != 0 ? error_errno(err, errno, "%s", watch) : STATUS_OK;
        if (s == STATUS_OK && st.st_uid != uid) {
            s = give(watch, uid, gid, err);
            share_watch(watch);
        }
    }
    if (s == STATUS_OK && restored) {
        s = give_tree(home, uid, gid, err);
    }
    if (s == STATUS_OK) { /* imported before the first start: root's, like the folder then was */
        s = file_join(path, sizeof(path), home, "models", err);
    }
    if (s == STATUS_OK && lstat(path, &st) == 0 && st.st_uid != uid) {
        s = give_tree(path, uid, gid, err);
    }
    for (size_t i = 0; i < n_paths && s == STATUS_OK; i++) {
        s = open_way(paths[i], uid, gid, err);
    }
    return s;
}
