/* Fetching what is new or changed, and removing what has gone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/paths.h"
#include "ingest/sources/poll_internal.h"
#include "ingest/tree.h"

#define ROW_ARENA ((size_t)64 << 10)
#define TROUBLE_MAX 5 /* files in a row that cannot be had: then it is the source */

/* ---- one file ---- */

struct arriving {
    int dir, fd;
    char name[256], temp[64];
};

static void arriving_end(struct arriving *a, bool placed)
{
    if (a->fd >= 0) {
        (void)close(a->fd);
    }
    if (a->dir >= 0) {
        if (!placed && a->temp[0] != '\0') {
            (void)unlinkat(a->dir, a->temp, 0);
        }
        (void)close(a->dir);
    }
}

static enum status arriving_begin(const struct polling *p, const char *place, struct arriving *a,
                                  struct error *err)
{
    char id[ID_CAP];
    *a = (struct arriving){.dir = -1, .fd = -1};
    enum status s = tree_open_parent(p->folder, str_from(place), true, &a->dir, a->name, err);
    if (s != STATUS_OK) {
        return s;
    }
    id_new(id);
    (void)snprintf(a->temp, sizeof a->temp, INGEST_UPLOAD_TEMP "%s", id);
    a->fd = openat(a->dir, a->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    return a->fd >= 0 ? STATUS_OK : error_errno(err, errno, "the source's folder");
}

static enum status put_in_place(struct arriving *a, const struct fetch_reply *r, struct error *err)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = r->modified_s}};
    if (r->modified_s > 0) {
        (void)futimens(a->fd, times); /* when it was written there */
    }
    if (fsync(a->fd) != 0 || renameat(a->dir, a->temp, a->dir, a->name) != 0) {
        return error_errno(err, errno, "a file of the source");
    }
    a->temp[0] = '\0';
    return STATUS_OK;
}

/* A path of its own, also where a file system does not tell capitals from small letters. */
static enum status choose_place(struct polling *p, struct source_row *row, struct error *err)
{
    bool taken = false;
    for (int unlike = 0; unlike < 2; unlike++) {
        if (!source_place(row->key, row->id, unlike == 1, row->place)) {
            return error_set(err, STATUS_INVALID, "its name cannot be that of a document");
        }
        enum status s = source_state_taken(p->state, row, &taken, err);
        if (s != STATUS_OK || !taken) {
            return s;
        }
    }
    return error_set(err, STATUS_CONFLICT, "its place is taken by another file");
}

static enum status same_content(const struct arriving *a, const struct fetch_reply *r, bool *out,
                                struct error *err)
{
    uint8_t sum[SHA256_BYTES];
    char piece[8192];
    ssize_t n = -1;
    *out = false;
    int fd = openat(a->dir, a->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct sha256 *h = fd < 0 ? NULL : sha256_new();
    if (fd < 0 || h == NULL) {
        enum status s = error_errno(err, fd < 0 ? errno : ENOMEM, "a file of the source's folder");
        if (fd >= 0) {
            (void)close(fd);
        }
        return s;
    }
    while ((n = read(fd, piece, sizeof piece)) > 0) {
        sha256_add(h, piece, (size_t)n);
    }
    int failed = n < 0 ? errno : 0;
    sha256_end(h, sum);
    (void)close(fd);
    *out = memcmp(sum, r->hash, sizeof sum) == 0;
    return failed == 0 ? STATUS_OK : error_errno(err, failed, "a file of the source's folder");
}

static size_t folder_len(const char *place)
{
    const char *slash = strrchr(place, '/');
    return slash == NULL ? 0 : (size_t)(slash - place);
}

/* What lies at a new file's place and is not known is somebody's, or a folder: the file gets
 * another name. It is ours when it is the same, or while nothing is known (sources.db was lost). */
static enum status keep_clear(struct polling *p, struct source_row *row, struct arriving *a,
                              const struct fetch_reply *r, struct error *err)
{
    for (int unlike = 0; unlike < 2; unlike++) {
        struct stat st;
        bool ours = false, taken = false;
        char place[PLACE_MAX];
        if (fstatat(a->dir, a->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            return errno == ENOENT ? STATUS_OK : error_errno(err, errno, "a file of the source");
        }
        enum status s = STATUS_OK;
        if (S_ISREG(st.st_mode)) {
            ours = p->j->poll.ok_ms == 0;
            if (!ours && (uint64_t)st.st_size == r->bytes) {
                s = same_content(a, r, &ours, err);
            }
        }
        if (s != STATUS_OK || ours) {
            return s;
        }
        (void)snprintf(place, sizeof place, "%s", row->place);
        if (!source_place(row->key, row->id, true, row->place) ||
            folder_len(place) != folder_len(row->place)) {
            break;
        }
        s = source_state_taken(p->state, row, &taken, err);
        if (s != STATUS_OK || taken) {
            return s != STATUS_OK ? s : error_set(err, STATUS_CONFLICT, "its place is taken");
        }
        (void)snprintf(a->name, sizeof a->name, "%s",
                       row->place + folder_len(row->place) + (strchr(row->place, '/') != NULL));
    }
    return error_set(err, STATUS_CONFLICT, "another file or folder lies at its place");
}

/* Of this file only, or of the whole poll? */
static bool of_the_file(enum status s)
{
    return s == STATUS_INVALID || s == STATUS_TOO_LARGE || s == STATUS_FORBIDDEN ||
           s == STATUS_NOT_FOUND || s == STATUS_CONFLICT;
}

static enum status take_reply(struct polling *p, struct source_row *row, struct arriving *a,
                              const struct fetch_reply *r, bool there, bool fresh,
                              struct error *err)
{
    bool whole = false;
    bool listed = row->wanted[0] != '\0';
    if (r->status == 304) {
        return there ? source_state_fine(p->state, row, err)
                     : source_state_gone(p->state, row, err);
    }
    if (r->status < 200 || r->status >= 300) {
        enum status s = poll_explain(p, r, &whole, err);
        return s == STATUS_FORBIDDEN && whole ? STATUS_UNAVAILABLE : s;
    }
    bool same = there && memcmp(row->hash, r->hash, sizeof row->hash) == 0;
    (void)snprintf(row->version, sizeof row->version, "%s", listed ? row->wanted : r->version);
    memcpy(row->hash, r->hash, sizeof row->hash);
    row->size = (int64_t)r->bytes;
    enum status s = fresh ? keep_clear(p, row, a, r, err) : STATUS_OK;
    s = s != STATUS_OK || same ? s : put_in_place(a, r, err);
    if (s == STATUS_OK) {
        s = source_state_fetched(p->state, row, err);
        p->j->progress.fetched += !same;
        p->j->room -= r->bytes < p->j->room ? r->bytes : p->j->room;
    }
    return s;
}

static enum status fetch_row(struct polling *p, struct source_row *row, bool there,
                             struct error *err)
{
    struct buf url;
    struct arriving a;
    struct fetch_reply r;
    uint64_t most = (uint64_t)p->s->max_file_bytes;
    if (row->size >= 0 && (uint64_t)row->size > most) {
        return error_set(err, STATUS_TOO_LARGE, "it is larger than %llu MiB (max_file_bytes)",
                         (unsigned long long)(most >> 20));
    }
    if (p->j->room == 0 || (row->size >= 0 && (uint64_t)row->size > p->j->room)) {
        return error_set(err, STATUS_TOO_LARGE, "the tenant's quota has no room for it");
    }
    bool fresh = row->place[0] == '\0';
    enum status s = fresh ? choose_place(p, row, err) : STATUS_OK;
    if (s != STATUS_OK) {
        return s;
    }
    s = arriving_begin(p, row->place, &a, err);
    if (s != STATUS_OK) {
        arriving_end(&a, false);
        return s;
    }
    buf_init(&url, 32768);
    origin_url(&p->origin, row->key, &url);
    buf_char(&url, '\0');
    struct fetch_request q = {.method = "GET",
                              .url = url.ptr,
                              .query = "",
                              .version = row->wanted[0] == '\0' && row->version[0] != '\0' &&
                                                 (there || row->gone)
                                             ? row->version
                                             : NULL,
                              .max_bytes = most < p->j->room ? most : p->j->room,
                              .fd = a.fd};
    s = buf_status(&url);
    s = s == STATUS_OK ? fetch_run(p->fetcher, &q, &r, err)
                       : error_set(err, STATUS_INVALID, "its address is too long");
    if (s == STATUS_OK) {
        s = take_reply(p, row, &a, &r, there, fresh, err);
    }
    arriving_end(&a, a.temp[0] == '\0');
    buf_deinit(&url);
    return s;
}

/* ---- all of them ---- */

static enum status look_at_row(struct polling *p, struct source_row *row, struct error *err)
{
    enum tree_kind kind = TREE_MISSING;
    struct file_stamp stamp;
    enum status s = STATUS_OK;
    bool same = row->version[0] != '\0' && strcmp(row->version, row->wanted) == 0;
    if (row->place[0] != '\0') {
        s = tree_stat(p->folder, str_from(row->place), &kind, &stamp, err);
    }
    bool there = s == STATUS_OK && kind == TREE_FILE;
    if (s == STATUS_OK && row->place[0] != '\0' && !there) {
        bool asked = row->wanted[0] == '\0'; /* the source must be: it may have changed */
        s = asked || same ? source_state_gone(p->state, row, err) : STATUS_OK;
        row->gone = true;
        row->place[0] = '\0';
    }
    if (s != STATUS_OK || same) {
        return s;
    }
    struct error one = {0};
    s = row->key.len == 0 ? STATUS_OK : fetch_row(p, row, there, &one);
    if (of_the_file(s)) {
        return source_state_failed(p->state, row, one.text, err);
    }
    if (s != STATUS_OK) {
        *err = one;
        err->code = s;
    }
    return s;
}

/* One file that cannot be had does not keep the others waiting; it is told in the end. */
static enum status pass_over(struct polling *p, const struct source_row *row, unsigned *in_a_row,
                             struct error *trouble, struct error *err)
{
    if (err->code != STATUS_UNAVAILABLE || p->retry_after_s > 0 || p->j->cancelled ||
        ++*in_a_row == TROUBLE_MAX) {
        return err->code;
    }
    if (trouble->code == STATUS_OK) {
        *trouble = *err;
    }
    return source_state_failed(p->state, row, trouble->text, err);
}

enum status poll_fetch(struct polling *p, struct error *err)
{
    uint8_t after[SHA256_BYTES] = {0};
    struct arena a;
    struct error trouble = {.code = STATUS_OK};
    unsigned in_a_row = 0;
    bool found = true;
    enum status s = STATUS_OK;
    arena_init(&a, ROW_ARENA);
    while (s == STATUS_OK && found) {
        struct source_row row;
        arena_reset(&a);
        s = source_state_next(p->state, p->j->poll.number, false, after, &a, &row, &found, err);
        if (s == STATUS_OK && found) {
            memcpy(after, row.id, sizeof after);
            uint64_t before = 0, requests = 0, bytes = 0;
            fetcher_totals(p->fetcher, &before, &bytes);
            s = look_at_row(p, &row, err);
            fetcher_totals(p->fetcher, &requests, &bytes);
            if (s != STATUS_OK) {
                err->code = s;
                s = pass_over(p, &row, &in_a_row, &trouble, err);
            } else if (requests > before) {
                in_a_row = 0;
            }
        }
        if (s == STATUS_OK && p->j->cancelled) {
            s = error_set(err, STATUS_CANCELLED, "broken off");
        }
    }
    arena_reset(&a);
    if (s == STATUS_OK && trouble.code != STATUS_OK) {
        *err = trouble;
        s = trouble.code;
    }
    return s;
}

/* ---- what has gone ---- */

static void remove_empty_folders(int root, const char *place)
{
    char path[PLACE_MAX];
    (void)snprintf(path, sizeof path, "%s", place);
    for (char *slash = strrchr(path, '/'); slash != NULL; slash = strrchr(path, '/')) {
        char name[256];
        int fd = -1;
        *slash = '\0';
        if (tree_open_parent(root, str_from(path), false, &fd, name, NULL) != STATUS_OK) {
            return;
        }
        bool removed = unlinkat(fd, name, AT_REMOVEDIR) == 0;
        (void)close(fd);
        if (!removed) {
            return;
        }
    }
}

static enum status delete_row(struct polling *p, const struct source_row *row, struct error *err)
{
    char name[256];
    int dir = -1;
    enum status s = STATUS_OK;
    if (row->place[0] != '\0') {
        s = tree_open_parent(p->folder, str_from(row->place), false, &dir, name, err);
        if (s == STATUS_OK && unlinkat(dir, name, 0) != 0 && errno != ENOENT) {
            s = error_errno(err, errno, "a file that the source has no longer");
        }
        if (dir >= 0) {
            (void)close(dir);
        }
        s = s == STATUS_NOT_FOUND ? STATUS_OK : s;
        if (s == STATUS_OK) {
            remove_empty_folders(p->folder, row->place);
            p->j->progress.deleted++;
        }
    }
    return s == STATUS_OK ? source_state_drop(p->state, row, err) : s;
}

enum status poll_delete(struct polling *p, struct error *err)
{
    uint8_t after[SHA256_BYTES] = {0};
    struct arena a;
    bool found = true;
    enum status s = STATUS_OK;
    arena_init(&a, ROW_ARENA);
    while (s == STATUS_OK && found && !p->j->cancelled) {
        struct source_row row;
        arena_reset(&a);
        s = source_state_next(p->state, p->j->poll.number, true, after, &a, &row, &found, err);
        if (s == STATUS_OK && found) {
            memcpy(after, row.id, sizeof after);
            s = delete_row(p, &row, err);
        }
    }
    arena_reset(&a);
    return s;
}
