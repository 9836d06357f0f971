/* A consistent copy of a store beside it, for backups: the database page for page, everything that
 * never changes once it has its name (originals, texts, fits, segments) as a second name.
 *
 * In three steps, so that the writer waits for little: (1) names for all that is there, while it
 * goes on writing; (2) on the writer's lane, where nothing changes: a reader's snapshot of the
 * database begins and the names are brought up to date; (3) the pages are copied out of that
 * snapshot.
 *
 * Sealing runs beside all three. Segments come and go by rename and unlink, so a folder whose
 * listing (names and inodes) was the same before and after is a state it had; otherwise it is read
 * again. A segment sealed during (2) covers rows of the snapshot, because nothing is written then.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/db.h"
#include "base/file.h"
#include "vectorstore/store_internal.h"

#define LISTINGS_MAX 20
#define FOLDERS (sizeof folders / sizeof folders[0])

static const char *const folders[] = {"blobs", "encoder", "segments", "text"};

struct store_snapshot {
    sqlite3 *db;
    char to[1200];
};

static bool temporary(const char *name)
{
    size_t n = strlen(name);
    return name[0] == '.' || strncmp(name, "tmp-", 4) == 0 ||
           (n > 4 && strcmp(name + n - 4, ".tmp") == 0);
}

/* A sum over names and inodes, whatever their order. */
static enum status listing_of(const char *dir, uint64_t *sum, struct error *err)
{
    DIR *d = opendir(dir);
    *sum = 0;
    if (d == NULL) {
        return errno == ENOENT ? STATUS_OK : error_errno(err, errno, "%s", dir);
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        uint8_t hash[SHA256_BYTES];
        uint64_t part;
        char line[300];
        if (temporary(e->d_name)) {
            continue;
        }
        int n = snprintf(line, sizeof line, "%llu %s", (unsigned long long)e->d_ino, e->d_name);
        sha256_of(line, n > 0 && (size_t)n < sizeof line ? (size_t)n : 0, hash);
        memcpy(&part, hash, sizeof part);
        *sum += part;
    }
    (void)closedir(d);
    return STATUS_OK;
}

/* Is the name in `from` the file that `to` has? A replaced one must not stay. */
static bool same_file(int from, int to, const char *name)
{
    struct stat a;
    struct stat b;
    return fstatat(from, name, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(to, name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino == b.st_ino;
}

static enum status link_new(const char *from, const char *to, struct error *err)
{
    DIR *d = opendir(from);
    enum status s = STATUS_OK;
    if (d == NULL) {
        return errno == ENOENT ? STATUS_OK : error_errno(err, errno, "%s", from);
    }
    for (const struct dirent *e = readdir(d); e != NULL && s == STATUS_OK; e = readdir(d)) {
        char path[1600];
        char name[1600];
        if (temporary(e->d_name)) {
            continue;
        }
        s = file_join(path, sizeof path, from, e->d_name, err);
        if (s == STATUS_OK) {
            s = file_join(name, sizeof name, to, e->d_name, err);
        }
        if (s == STATUS_OK) {
            s = file_link(path, name, err);
            s = s == STATUS_NOT_FOUND ? STATUS_OK : s; /* gone meanwhile */
        }
    }
    (void)closedir(d);
    return s;
}

/* What the folder has no more, or under another inode, goes. Copies (of another file system) have
 * other inodes: they are made again. */
static enum status unlink_old(const char *from, const char *to, struct error *err)
{
    DIR *d = opendir(to);
    int source = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum status s = d == NULL ? error_errno(err, errno, "%s", to) : STATUS_OK;
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL && s == STATUS_OK;
         e = readdir(d)) {
        if (e->d_name[0] != '.' && (source < 0 || !same_file(source, dirfd(d), e->d_name)) &&
            unlinkat(dirfd(d), e->d_name, 0) != 0) {
            s = error_errno(err, errno, "%s/%s", to, e->d_name);
        }
    }
    if (source >= 0) {
        (void)close(source);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return s;
}

static enum status link_folder(const char *dir, const char *to, const char *name, bool settle,
                               struct error *err)
{
    char from[1200];
    char dest[1300];
    enum status s = file_join(from, sizeof from, dir, name, err);
    if (s == STATUS_OK) {
        s = file_join(dest, sizeof dest, to, name, err);
    }
    if (s == STATUS_OK) {
        s = file_mkdirs(dest, 0700, err);
    }
    if (s == STATUS_OK && !settle) {
        return link_new(from, dest, err);
    }
    for (int i = 0; s == STATUS_OK; i++) {
        uint64_t before = 0;
        uint64_t after = 0;
        s = listing_of(from, &before, err);
        if (s == STATUS_OK) {
            s = unlink_old(from, dest, err);
        }
        if (s == STATUS_OK) {
            s = link_new(from, dest, err);
        }
        if (s == STATUS_OK) {
            s = listing_of(from, &after, err);
        }
        if (s == STATUS_OK && before == after) {
            break;
        }
        if (s == STATUS_OK && i == LISTINGS_MAX) {
            s = error_set(err, STATUS_BUSY, "%s: changes all the time; try again shortly", from);
        }
    }
    return s;
}

enum status store_snapshot_prepare(struct store *s, const char *to, struct error *err)
{
    enum status st = file_mkdirs(to, 0700, err);
    for (size_t i = 0; i < FOLDERS && st == STATUS_OK; i++) {
        st = link_folder(s->dir, to, folders[i], false, err);
    }
    return st;
}

enum status store_snapshot_take(struct store *s, const char *to, struct store_snapshot **out,
                                Vs__SnapshotReply *reply, struct error *err)
{
    char path[1200];
    struct catalogue_state state;
    struct store_snapshot *k = calloc(1, sizeof *k);
    if (k == NULL || strlen(to) + 16 > sizeof k->to) {
        free(k);
        return error_set(err, STATUS_NO_MEMORY, "out of memory, or the path is too long");
    }
    (void)snprintf(k->to, sizeof k->to, "%s/store.db", to);
    enum status st = file_join(path, sizeof path, s->dir, "store.db", err);
    if (st == STATUS_OK) {
        st = db_freeze(path, &k->db, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_begin_read(s->writer, &state, err);
    }
    catalogue_end(s->writer);
    for (size_t i = 0; i < FOLDERS && st == STATUS_OK; i++) {
        st = link_folder(s->dir, to, folders[i], true, err);
    }
    if (st != STATUS_OK) {
        store_snapshot_end(k);
        return st;
    }
    reply->generation = (uint64_t)state.generation;
    reply->documents = (uint32_t)state.documents;
    reply->chunks = (uint32_t)state.visible;
    *out = k;
    return STATUS_OK;
}

enum status store_snapshot_copy(struct store_snapshot *k, const _Atomic bool *cancelled,
                                struct error *err)
{
    struct catalogue *copy = NULL;
    enum status st = db_copy(k->db, k->to, cancelled, err);
    /* the journal that will stand beside it may know of holds that came after: it tells them first
     */
    if (st == STATUS_OK) {
        st = catalogue_open(k->to, true, &copy, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_holds_known(copy, false, err);
    }
    catalogue_close(copy);
    return st;
}

void store_snapshot_end(struct store_snapshot *k)
{
    if (k != NULL) {
        db_close(k->db);
        free(k);
    }
}
