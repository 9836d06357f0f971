/* The bytes of files that wait to become documents. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "serve/files.h"
#include "serve/uploads.h"

#define SWEEP_ROWS 256
#define SWEEP_ENTRIES 20000
#define STRAY_S 86400

static enum status folder(const char *home, const char *tenant, char out[PATH_MAX],
                          struct error *err)
{
    int n = snprintf(out, PATH_MAX, "%s/tenants/%s/files", home, tenant);
    return n < 0 || n >= PATH_MAX - FILE_ID_CAP - 16
               ? error_set(err, STATUS_TOO_LARGE, "%s: path too long", home)
               : STATUS_OK;
}

enum status files_path(const char *home, const char *tenant, const char *id, char out[PATH_MAX],
                       struct error *err)
{
    enum status s = folder(home, tenant, out, err);
    if (s == STATUS_OK) {
        s = file_mkdirs(out, 0700, err);
    }
    if (s == STATUS_OK) {
        size_t n = strlen(out);
        (void)snprintf(out + n, PATH_MAX - n, "/%s", id);
    }
    return s;
}

void files_unlink(const char *home, const char *tenant, const char *id)
{
    char path[PATH_MAX];
    struct error err;
    if (files_path(home, tenant, id, path, &err) == STATUS_OK) {
        (void)unlink(path); /* one that is not there is as good */
    }
}

/* What an upload that broke off left behind, or a row that was not written. */
static enum status sweep_strays(sqlite3 *db, const char *home, const char *tenant, int64_t now_ms,
                                struct arena *a, struct error *err)
{
    char path[PATH_MAX];
    enum status s = folder(home, tenant, path, err);
    DIR *d = s == STATUS_OK ? opendir(path) : NULL;
    size_t seen = 0, n = strlen(path);
    for (const struct dirent *e = d == NULL ? NULL : readdir(d);
         e != NULL && seen < SWEEP_ENTRIES && s == STATUS_OK; e = readdir(d)) {
        struct staged_file f;
        struct stat st;
        struct error missing;
        seen++;
        if (e->d_name[0] == '.' || strlen(e->d_name) >= FILE_ID_CAP + 8) {
            continue;
        }
        (void)snprintf(path + n, PATH_MAX - n, "/%s", e->d_name);
        if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
            now_ms / 1000 - (int64_t)st.st_mtime > STRAY_S) {
            s = files_get(db, NULL, e->d_name, a, &f, &missing);
            if (s == STATUS_NOT_FOUND) {
                (void)unlink(path);
                s = STATUS_OK;
            } else if (s != STATUS_OK) {
                *err = missing;
            }
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return s;
}

enum status files_sweep(sqlite3 *db, const char *home, const char *tenant, int64_t now_ms,
                        struct error *err)
{
    struct arena a;
    char **ids = NULL;
    size_t n = 0;
    arena_init(&a, (size_t)16 << 20);
    enum status s = uploads_expire(db, home, tenant, now_ms, err);
    s = s == STATUS_OK ? files_expired(db, now_ms, SWEEP_ROWS, &a, &ids, &n, err) : s;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        files_unlink(home, tenant, ids[i]);
        s = files_remove(db, ids[i], err);
    }
    if (s == STATUS_OK) {
        s = sweep_strays(db, home, tenant, now_ms, &a, err);
    }
    arena_reset(&a);
    return s;
}
