/* Giving a backup back. Everything is written beside (<home>.restoring, or
 * tenants/.restoring-<name>), made durable, and then gets its name by one rename; a tenant's
 * trash and watched files get theirs just before, because files without their tenant are ignored
 * and a tenant without its files would look emptied. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/settings/settings.h"
#include "base/tenant.h"
#include "cli/backup.h"
#include "cli/backup_models.h"
#include "cli/book.h"
#include "cli/home.h"
#include "cli/term.h"

#define SETTINGS_ARENA ((size_t)4 * 1024 * 1024)

struct giving {
    const struct restore_wish *w;
    struct restore_result *out;
    struct vault *vault;
    char tmp[PATH_MAX]; /* all of it is written below */
    char as[65];
    bool watch; /* the watched folder is the home's own */
    uint64_t total, done;
};

/* ---- which ---- */

static bool head_has(json_t *head, const char *tenant)
{
    size_t i;
    json_t *name;
    if (tenant == NULL) {
        return json_is_true(json_object_get(head, "whole"));
    }
    json_array_foreach(json_object_get(head, "tenants"), i, name)
    {
        if (strcmp(json_string_value(name) == NULL ? "" : json_string_value(name), tenant) == 0) {
            return true;
        }
    }
    return false;
}

static enum status find_book(struct giving *g, struct error *err)
{
    char **ids = NULL;
    size_t n = 0;
    bool found = false;
    enum status s = vault_books(g->vault, &ids, &n, err);
    for (size_t i = n; s == STATUS_OK && i > 0 && !found; i--) {
        struct book *b = NULL;
        if (g->w->id != NULL && strcmp(ids[i - 1], g->w->id) != 0) {
            continue;
        }
        s = book_open(g->vault, ids[i - 1], &b, err);
        if (s == STATUS_OK) {
            json_t *head = json_loads(book_head(b), 0, NULL);
            found = head_has(head, g->w->tenant);
            json_decref(head);
            (void)snprintf(g->out->id, sizeof g->out->id, "%s", ids[i - 1]);
        }
        book_close(b);
    }
    if (s == STATUS_OK && !found) {
        s = error_set(err, STATUS_NOT_FOUND, "%s has no backup%s%s of %s%s", g->w->source,
                      g->w->id == NULL ? "" : " ", g->w->id == NULL ? "" : g->w->id,
                      g->w->tenant == NULL ? "the whole appliance (name a --tenant?)" : "tenant ",
                      g->w->tenant == NULL ? "" : g->w->tenant);
    }
    vault_books_free(ids, n);
    return s;
}

/* ---- where ---- */

/* A chain goes on in one place: were it in two, the signer's memory of the one would make a forgery
 * of the other. Who comes under another name begins his own. */
static bool of_audit(const char *path)
{
    return strncmp(path, "audit/", 6) == 0 || strcmp(path, "payload.db") == 0;
}

/* Below tmp; false: not wanted. */
static bool place(const struct giving *g, const char *path, char *out, size_t cap)
{
    const char *tenant = g->w->tenant;
    const char *below = path;
    const char *to = "";
    if (!g->watch && strncmp(path, "watch/", 6) == 0) {
        g->out->files_skipped = true;
        return false;
    }
    if (tenant != NULL) {
        size_t n = strlen(tenant);
        if (strncmp(path, "tenants/", 8) == 0) {
            below = path + 8;
            to = "tenant/";
        } else if (strncmp(path, "watch/", 6) == 0) {
            below = path + 6;
            to = "watch/";
        } else if (strncmp(path, "trash/", 6) == 0) {
            below = path + 6;
            to = "trash/";
        } else if (strncmp(path, ERASURES, strlen(ERASURES)) == 0) {
            below = path + strlen(ERASURES);
            if (strncmp(below, tenant, n) != 0 ||
                (below[n] != '\0' && strcmp(below + n, ".key") != 0)) {
                return false;
            }
            int named = snprintf(out, cap, "%s/erasures/%s%s", g->tmp, g->as, below + n);
            return named > 0 && (size_t)named < cap;
        } else {
            return false;
        }
        if (strncmp(below, tenant, n) != 0 || below[n] != '/') {
            return false;
        }
        below += n + 1;
        if (strcmp(g->as, tenant) != 0 && strcmp(to, "tenant/") == 0 && of_audit(below)) {
            return false;
        }
    }
    int len = snprintf(out, cap, "%s/%s%s", g->tmp, to, below);
    return len > 0 && (size_t)len < cap;
}

static enum status open_new(const struct giving *g, const char *path, const char *name,
                            uint32_t mode, int *fd, struct error *err)
{
    char dir[PATH_MAX];
    bool watched = strstr(path + strlen(g->tmp), "/watch/") != NULL;
    (void)snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    struct stat st;
    enum status s = stat(dir, &st) == 0 ? STATUS_OK : file_mkdirs(dir, watched ? 0755 : 0700, err);
    if (s == STATUS_OK) {
        *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0777);
        if (*fd < 0) {
            s = error_errno(err, errno, "%s", name);
        }
    }
    return s;
}

static enum status close_new(int fd, const struct book_entry *e, struct error *err)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
    times[1].tv_sec = e->modified_ns / 1000000000;
    times[1].tv_nsec = e->modified_ns % 1000000000;
    (void)fchmod(fd, e->mode & 0777);
    (void)futimens(fd, times);
    return close(fd) == 0 ? STATUS_OK : error_errno(err, errno, "%s", e->path);
}

static enum status write_pieces(struct giving *g, struct book *b, const struct book_entry *e,
                                int fd, struct error *err)
{
    uint64_t size = 0;
    enum status s = STATUS_OK;
    for (uint32_t i = 0; i < e->pieces && s == STATUS_OK; i++) {
        struct piece_name n;
        const void *p = NULL;
        size_t len = 0;
        s = book_piece(b, &n, err);
        if (s == STATUS_OK) {
            s = vault_get(g->vault, &n, &p, &len, err);
        }
        if (s == STATUS_OK) {
            s = file_write_all(fd, p, len, err);
            size += len;
            g->done += len;
            if (g->w->progress) {
                term_progress(stderr, g->done < g->total ? g->done : g->total, g->total,
                              "restoring");
            }
        }
    }
    if (s == STATUS_OK && size != e->size) {
        s = error_set(err, STATUS_CORRUPT, "%s: its pieces do not add up", e->path);
    }
    return s;
}

static enum status copy_same(const struct giving *g, const struct book_entry *e, int fd,
                             struct error *err)
{
    char from[PATH_MAX];
    struct stat st;
    if (!place(g, e->as, from, sizeof from)) {
        return error_set(err, STATUS_CORRUPT, "%s: refers to what is not there", e->path);
    }
    int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    enum status s =
        in < 0 || fstat(in, &st) != 0 ? error_errno(err, errno, "%s", e->as) : STATUS_OK;
    for (off_t left = s == STATUS_OK ? st.st_size : 0; left > 0 && s == STATUS_OK;) {
        ssize_t n = sendfile(fd, in, NULL, (size_t)left);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            s = error_errno(err, n == 0 ? EIO : errno, "%s", e->path);
        }
        left -= n > 0 ? n : 0;
    }
    if (in >= 0) {
        (void)close(in);
    }
    return s;
}

static enum status give_one(struct giving *g, struct book *b, const struct book_entry *e,
                            struct error *err)
{
    char path[PATH_MAX];
    int fd = -1;
    if (!place(g, e->path, path, sizeof path)) {
        return STATUS_OK;
    }
    if (e->part > 0 && access(path, F_OK) == 0) {
        return STATUS_OK; /* the watched file itself, after the document's of the same name */
    }
    enum status s = open_new(g, path, e->path, e->mode, &fd, err);
    if (s == STATUS_OK) {
        s = e->kind == BOOK_SAME ? copy_same(g, e, fd, err) : write_pieces(g, b, e, fd, err);
    }
    if (fd >= 0 && s == STATUS_OK) {
        s = close_new(fd, e, err);
        g->out->files++;
        g->out->bytes += e->size;
    } else if (fd >= 0) {
        (void)close(fd);
    }
    return s == STATUS_OK ? s : error_prefix(err, "restoring %s", e->path);
}

/* pass 0 adds up, pass 1 writes */
static enum status give_all(struct giving *g, bool write, struct error *err)
{
    struct book *b = NULL;
    struct book_entry *e = calloc(1, sizeof *e);
    char *path = malloc(PATH_MAX);
    bool more = true;
    enum status s = e == NULL || path == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                              : book_open(g->vault, g->out->id, &b, err);
    while (s == STATUS_OK && more) {
        s = book_next(b, e, &more, err);
        if (s == STATUS_OK && more && write) {
            s = give_one(g, b, e, err);
        } else if (s == STATUS_OK && more && e->kind == BOOK_FILE &&
                   place(g, e->path, path, PATH_MAX)) {
            g->total += e->size;
        }
    }
    book_close(b);
    free(path);
    free(e);
    return s;
}

/* What was erased since that backup stays erased: the lists only ever grow, so the newest backup's
 * are taken, and the services apply them before they serve. */
static enum status give_erasures(struct giving *g, struct error *err)
{
    char **ids = NULL;
    size_t n = 0;
    struct book *b = NULL;
    char *path = malloc(PATH_MAX);
    struct book_entry *e = calloc(1, sizeof *e);
    bool more = true;
    enum status s = e == NULL || path == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                              : vault_books(g->vault, &ids, &n, err);
    if (s == STATUS_OK && n > 0 && strcmp(ids[n - 1], g->out->id) != 0) {
        s = book_open(g->vault, ids[n - 1], &b, err);
    }
    while (s == STATUS_OK && b != NULL && more) {
        s = book_next(b, e, &more, err);
        if (s == STATUS_OK && more && strncmp(e->path, ERASURES, strlen(ERASURES)) == 0 &&
            place(g, e->path, path, PATH_MAX)) {
            (void)unlink(path); /* the older one */
            s = give_one(g, b, e, err);
        }
    }
    book_close(b);
    vault_books_free(ids, n);
    free(path);
    free(e);
    return s;
}

/* ---- names ---- */

static bool empty_or_missing(const char *dir)
{
    DIR *d = opendir(dir);
    bool empty = d != NULL || errno == ENOENT;
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        empty = empty && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return empty;
}

static enum status sync_tmp(const struct giving *g, struct error *err)
{
    int fd = open(g->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum status s =
        fd < 0 || syncfs(fd) != 0 ? error_errno(err, errno, "%s: sync", g->tmp) : STATUS_OK;
    if (fd >= 0) {
        (void)close(fd);
    }
    return s;
}

static enum status name_it(const char *from, const char *to, struct error *err)
{
    (void)rmdir(to); /* an empty one */
    if (rename(from, to) != 0) {
        return error_errno(err, errno, "%s", to);
    }
    return file_sync_parent(to, err);
}

/* As root into the home of the system user: what is restored is his. */
static enum status own_like(const char *path, const char *home, struct error *err)
{
    struct stat st;
    if (geteuid() != 0 || stat(home, &st) != 0 || st.st_uid == 0) {
        return STATUS_OK;
    }
    char root[PATH_MAX];
    (void)snprintf(root, sizeof root, "%s", path);
    char *const roots[] = {root, NULL};
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    enum status s = tree == NULL ? error_errno(err, errno, "%s", path) : STATUS_OK;
    for (FTSENT *e = NULL; s == STATUS_OK && (e = fts_read(tree)) != NULL;) {
        if (e->fts_info != FTS_DP && lchown(e->fts_accpath, st.st_uid, st.st_gid) != 0) {
            s = error_errno(err, errno, "%s: its owner", e->fts_path);
        }
    }
    if (tree != NULL) {
        (void)fts_close(tree);
    }
    return s;
}

/* The lists of a home that has them are the newer ones. */
static enum status name_erasures(const struct giving *g, struct error *err)
{
    static const char *const endings[] = {"", ".key"};
    char from[PATH_MAX];
    char to[PATH_MAX];
    enum status s = STATUS_OK;
    int n = snprintf(to, sizeof to, "%s/" ERASURES "%s", g->w->home, g->as);
    bool has = n > 0 && access(to, F_OK) == 0;
    for (size_t i = 0; i < 2 && s == STATUS_OK && !has; i++) {
        n = snprintf(from, sizeof from, "%s/erasures/%s%s", g->tmp, g->as, endings[i]);
        int m = snprintf(to, sizeof to, "%s/" ERASURES, g->w->home);
        if (n < 0 || (size_t)n >= sizeof from || m < 0 || (size_t)m + 80 >= sizeof to) {
            s = error_set(err, STATUS_TOO_LARGE, "%s: path too long", g->w->home);
        } else if (access(from, F_OK) == 0) {
            s = file_mkdirs(to, 0700, err);
            s = s == STATUS_OK ? own_like(to, g->w->home, err) : s;
            (void)snprintf(to + m, sizeof to - (size_t)m, "%s%s", g->as, endings[i]);
            s = s == STATUS_OK ? name_it(from, to, err) : s;
        }
    }
    return s;
}

/* The tenant's part of home/<which>, where the backup has one. */
static enum status name_folder(const struct giving *g, const char *which, mode_t mode,
                               struct error *err)
{
    char from[PATH_MAX];
    char to[PATH_MAX];
    enum status s = file_join(from, sizeof from, g->tmp, which, err);
    if (s != STATUS_OK || access(from, F_OK) != 0) {
        return s;
    }
    int n = snprintf(to, sizeof to, "%s/%s", g->w->home, which);
    bool there = n > 0 && access(to, F_OK) == 0;
    s = n > 0 && (size_t)n < sizeof to - 80 ? file_mkdirs(to, mode, err)
                                            : error_set(err, STATUS_TOO_LARGE, "path too long");
    if (s == STATUS_OK && !there) {
        s = own_like(to, g->w->home, err);
    }
    if (s == STATUS_OK) {
        (void)snprintf(to + n, sizeof to - (size_t)n, "/%s", g->as);
        (void)chmod(from, mode);
        s = name_it(from, to, err);
    }
    return s;
}

static enum status name_tenant(const struct giving *g, struct error *err)
{
    char from[PATH_MAX];
    char to[PATH_MAX];
    enum status s = own_like(g->tmp, g->w->home, err);
    if (s == STATUS_OK) {
        s = name_erasures(g, err);
    }
    if (s == STATUS_OK) {
        s = name_folder(g, "trash", 0700, err);
    }
    if (s == STATUS_OK) {
        s = name_folder(g, "watch", 0755, err);
    }
    if (s == STATUS_OK) {
        s = file_join(from, sizeof from, g->tmp, "tenant", err);
    }
    if (s == STATUS_OK) {
        int n = snprintf(to, sizeof to, "%s/tenants/%s", g->w->home, g->as);
        s = n > 0 && (size_t)n < sizeof to ? name_it(from, to, err)
                                           : error_set(err, STATUS_TOO_LARGE, "path too long");
    }
    return s == STATUS_OK ? file_remove_tree(g->tmp, err) : s;
}

static enum status own_watch(struct giving *g, struct error *err)
{
    struct arena a;
    struct settings cfg;
    arena_init(&a, SETTINGS_ARENA);
    enum status s = settings_load(g->w->home, &a, &cfg, err);
    g->watch = s == STATUS_OK && cfg.ingest.watch_dir[0] == '\0';
    arena_reset(&a);
    return s;
}

static enum status check_tenant(struct giving *g, struct error *err)
{
    char path[PATH_MAX];
    struct stat st;
    const char *as = g->w->as == NULL ? g->w->tenant : g->w->as;
    if (!tenant_name_valid(str_from(g->w->tenant)) || !tenant_name_valid(str_from(as))) {
        return error_set(err, STATUS_INVALID,
                         "a tenant's name has 1 to 64 of the characters a-z, 0-9 and -");
    }
    (void)snprintf(g->as, sizeof g->as, "%s", as);
    int n = snprintf(path, sizeof path, "%s/tenants/%s", g->w->home, as);
    if (n < 0 || (size_t)n >= sizeof path) {
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", g->w->home);
    }
    if (stat(path, &st) == 0) {
        return error_set(err, STATUS_CONFLICT,
                         "there is a tenant %s in %s: choose another name with --as", as,
                         g->w->home);
    }
    (void)snprintf(path, sizeof path, "%s/watch/%s", g->w->home, as);
    enum status s = own_watch(g, err);
    if (s == STATUS_OK && g->watch && !empty_or_missing(path)) {
        return error_set(err, STATUS_CONFLICT, "%s holds files: move them away first", path);
    }
    (void)snprintf(path, sizeof path, "%s/trash/%s", g->w->home, as);
    if (s == STATUS_OK && !empty_or_missing(path)) {
        return error_set(err, STATUS_CONFLICT, "%s holds files: move them away first", path);
    }
    n = snprintf(g->tmp, sizeof g->tmp, "%s/tenants/.restoring-%s", g->w->home, as);
    return s;
}

static enum status check_whole(struct giving *g, struct error *err)
{
    if (home_is_running(g->w->home)) {
        return error_set(err, STATUS_CONFLICT,
                         "the appliance on %s is running: restore into an empty folder (--into)",
                         g->w->home);
    }
    if (!empty_or_missing(g->w->home)) {
        return error_set(err, STATUS_CONFLICT,
                         "%s is not empty: restore into an empty or missing folder (--into)",
                         g->w->home);
    }
    g->watch = true;
    int n = snprintf(g->tmp, sizeof g->tmp, "%s.restoring", g->w->home);
    return n < 0 || (size_t)n >= sizeof g->tmp
               ? error_set(err, STATUS_TOO_LARGE, "%s: path too long", g->w->home)
               : STATUS_OK;
}

/* carrel.yaml comes late in the book: whether documents' files have a place is known when all is
 * there. */
static enum status finish_whole(struct giving *g, struct error *err)
{
    struct arena a;
    struct settings cfg;
    char watch[PATH_MAX];
    arena_init(&a, SETTINGS_ARENA);
    enum status s = settings_load(g->tmp, &a, &cfg, err);
    if (s == STATUS_OK && cfg.ingest.watch_dir[0] != '\0') {
        s = file_join(watch, sizeof watch, g->tmp, "watch", err);
        s = s == STATUS_OK ? file_remove_tree(watch, err) : s;
        g->out->files_skipped = true;
    }
    arena_reset(&a);
    if (s == STATUS_OK) {
        s = sync_tmp(g, err);
    }
    return s == STATUS_OK ? name_it(g->tmp, g->w->home, err) : s;
}

/* What is restored answers without them, but not as it did. */
static enum status tell_missing(struct giving *g, struct error *err)
{
    struct book *b = NULL;
    enum status s = book_open(g->vault, g->out->id, &b, err);
    json_t *head = s == STATUS_OK ? json_loads(book_head(b), 0, NULL) : NULL;
    g->out->missing = head == NULL ? NULL : backup_models_missing(head, g->w->home);
    json_decref(head);
    book_close(b);
    return s;
}

enum status backup_give(const struct restore_wish *w, struct restore_result *out, struct error *err)
{
    struct error ignored;
    struct giving *g = calloc(1, sizeof *g);
    bool begun = false;
    *out = (struct restore_result){.files = 0};
    if (g == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    g->w = w;
    g->out = out;
    enum status s = vault_open(w->source, w->key_file, false, false, &g->vault, err);
    if (s == STATUS_OK) {
        s = w->tenant == NULL ? check_whole(g, err) : check_tenant(g, err);
    }
    if (s == STATUS_OK) {
        s = find_book(g, err);
    }
    if (s == STATUS_OK) {
        s = file_remove_tree(g->tmp, err); /* of one that was killed */
    }
    if (s == STATUS_OK) {
        begun = true;
        s = file_mkdirs(g->tmp, 0700, err);
    }
    if (s == STATUS_OK) {
        s = give_all(g, false, err);
    }
    if (s == STATUS_OK) {
        s = give_all(g, true, err);
    }
    if (s == STATUS_OK) {
        s = give_erasures(g, err);
    }
    if (s == STATUS_OK && w->tenant == NULL) {
        s = finish_whole(g, err);
    } else if (s == STATUS_OK) {
        s = sync_tmp(g, err);
        s = s == STATUS_OK ? name_tenant(g, err) : s;
    }
    if (s == STATUS_OK) {
        s = tell_missing(g, err);
    } else if (begun) {
        if (file_remove_tree(g->tmp, &ignored) != STATUS_OK) {
            term_complain("carrel: %s stays behind: %s", g->tmp, ignored.text);
        }
    }
    if (w->progress) {
        term_progress_end(stderr);
    }
    vault_close(g->vault);
    free(g);
    return s;
}

/* ---- looking ---- */

enum status backup_describe(struct vault *v, const char *id, struct backup_summary *out,
                            struct error *err)
{
    struct book *b = NULL;
    struct book_entry *e = calloc(1, sizeof *e);
    bool more = true;
    *out = (struct backup_summary){.files = 0};
    (void)snprintf(out->id, sizeof out->id, "%s", id);
    enum status s =
        e == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : book_open(v, id, &b, err);
    if (s == STATUS_OK) {
        json_t *head = json_loads(book_head(b), 0, NULL);
        size_t i;
        json_t *name;
        out->taken_wall_ms = json_integer_value(json_object_get(head, "taken_wall_ms"));
        out->whole = json_is_true(json_object_get(head, "whole"));
        json_array_foreach(json_object_get(head, "tenants"), i, name)
        {
            size_t at = strlen(out->tenants);
            const char *z = json_string_value(name);
            if (at + 80 < sizeof out->tenants) {
                (void)snprintf(out->tenants + at, sizeof out->tenants - at, "%s%s",
                               at > 0 ? " " : "", z == NULL ? "" : z);
            } else if (at + 4 < sizeof out->tenants) {
                (void)snprintf(out->tenants + at, sizeof out->tenants - at, "...");
                break;
            }
        }
        json_decref(head);
    }
    while (s == STATUS_OK && more) {
        s = book_next(b, e, &more, err);
        if (s == STATUS_OK && more) {
            out->files++;
            out->bytes += e->kind == BOOK_FILE ? e->size : 0;
        }
    }
    book_close(b);
    free(e);
    return s;
}

struct checking {
    struct vault *v;
    bool progress;
    uint64_t pieces, total, found;
    void (*say)(const char *what, void *data);
    void *data;
};

static enum status check_book(struct checking *c, const char *id, bool count, struct error *err)
{
    struct book *b = NULL;
    struct book_entry *e = calloc(1, sizeof *e);
    bool more = true;
    enum status s = e == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                              : book_open(c->v, id, &b, err);
    while (s == STATUS_OK && more) {
        s = book_next(b, e, &more, err);
        if (count) {
            c->total += s == STATUS_OK && more ? e->pieces : 0;
            continue;
        }
        for (uint32_t i = 0; s == STATUS_OK && more && i < e->pieces; i++) {
            struct piece_name n;
            const void *p;
            size_t len;
            struct error bad;
            s = book_piece(b, &n, err);
            c->pieces++;
            if (s == STATUS_OK && vault_get(c->v, &n, &p, &len, &bad) != STATUS_OK) {
                char text[600];
                (void)snprintf(text, sizeof text, "%s: %.200s: %s", id, e->path, bad.text);
                c->found++;
                c->say(text, c->data);
            }
            if (c->progress && c->pieces % 64 == 0) {
                term_progress(stderr, c->pieces, c->total, "checking");
            }
        }
    }
    if (s == STATUS_CORRUPT && !count && err != NULL) {
        c->found++;
        c->say(err->text, c->data);
        s = STATUS_OK; /* the other backups are looked at all the same */
    }
    book_close(b);
    free(e);
    return s;
}

enum status backup_check(struct vault *v, bool progress, void (*say)(const char *what, void *data),
                         void *data, uint64_t *pieces, uint64_t *found, struct error *err)
{
    struct checking c = {.v = v, .progress = progress, .say = say, .data = data};
    char **ids = NULL;
    size_t n = 0;
    struct error ignored;
    enum status s = vault_books(v, &ids, &n, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        (void)check_book(&c, ids[i], true, &ignored);
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = check_book(&c, ids[i], false, err);
    }
    if (progress) {
        term_progress_end(stderr);
    }
    vault_books_free(ids, n);
    *pieces = c.pieces;
    *found = c.found;
    return s;
}
