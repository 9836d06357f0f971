/* A backup. In this order:
 *
 *   1. each tenant's store, then its journal, answers and evaluations make a copy of themselves in
 *      run/backup/<id>/ (Snapshot); users and keys last. Store before journal: what the journal
 * knows and the store's copy lacks is put again by ingest when the copy comes to life, under
 * numbers above all of the store's. The other way round a removal in the store could be newer than
 *      anything the journal will ever say.
 *   2. files go into the vault piece by piece: a file that the backup before had with the same
 * inode, size and time is not read again, a piece that is there is not written again;
 *   3. pieces are made durable, then the book;
 *   4. older backups and what only they had may go. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/settings/settings.h"
#include "base/str.h"
#include "base/tenant.h"
#include "cli/backup.h"
#include "cli/backup_models.h"
#include "cli/book.h"
#include "cli/home.h"
#include "cli/rpc_once.h"
#include "cli/term.h"
#include "vectorstore/vectorstore_rpc.h"

#define TENANTS_MAX 4096
#define DEPTH_MAX 64
#define DB_PIECE_BYTES ((size_t)128 * 1024) /* pages change here and there */
#define SETTINGS_ARENA ((size_t)4 * 1024 * 1024)

enum part {
    PART_STAGED,
    PART_DOCUMENTS,
    PART_PLAIN,
    PART_WATCH,
    PART_TRASH,
    PART_MODELS
}; /* stored */

struct taking {
    const struct backup_wish *w;
    struct backup_result *out;
    struct vault *vault;
    struct book *book;
    struct book *before; /* the newest earlier backup, read along */
    struct book_entry before_entry;
    bool before_more;
    char staging[PATH_MAX];
    char *tenants[TENANTS_MAX];
    size_t n_tenants;
    uint8_t *piece;
    uint64_t total, done; /* bytes, for the progress bar */
    struct error list_err;
    enum status list_status;
    struct model_record models[REGISTRY_MAX]; /* that are needed */
    size_t n_models;
    const char *tenant; /* whose documents are being listed */
};

static void progress(const struct taking *t, const char *note)
{
    if (t->w->progress) {
        term_progress(stderr, t->done < t->total ? t->done : t->total, t->total, note);
    }
}

static bool ends_with(const char *z, const char *end)
{
    size_t n = strlen(z);
    size_t m = strlen(end);
    return n >= m && strcmp(z + n - m, end) == 0;
}

/* ---- one file ---- */

static enum status before_next(struct taking *t)
{
    struct error err;
    if (book_next(t->before, &t->before_entry, &t->before_more, &err) != STATUS_OK) {
        t->before_more = false; /* everything is read afresh then */
    }
    return STATUS_OK;
}

/* Brings the earlier book to this place; true when it has the file there, unchanged. */
static bool unchanged(struct taking *t, const struct book_entry *e)
{
    const struct book_entry *b = &t->before_entry;
    while (t->before_more &&
           (b->part < e->part || (b->part == e->part && book_compare(b->path, e->path) < 0))) {
        (void)before_next(t);
    }
    return t->before_more && b->part == e->part && strcmp(b->path, e->path) == 0 &&
           b->kind == BOOK_FILE && b->inode == e->inode && b->size == e->size &&
           b->modified_ns == e->modified_ns;
}

static enum status add_pieces(struct taking *t, struct book_entry *e,
                              const struct piece_name *names, struct error *err)
{
    enum status s = book_add(t->book, e, err);
    for (uint32_t i = 0; i < e->pieces && s == STATUS_OK; i++) {
        s = book_add_piece(t->book, &names[i], err);
    }
    t->out->files++;
    t->out->bytes += e->size;
    return s;
}

/* *done: the pieces of the backup before are there and were taken. */
static enum status take_over(struct taking *t, struct book_entry *e, bool *done, struct error *err)
{
    uint32_t n = t->before_entry.pieces;
    struct error ignored;
    struct piece_name *names = calloc((size_t)n + 1, sizeof *names);
    *done = names != NULL;
    for (uint32_t i = 0; i < n && *done; i++) {
        *done = book_piece(t->before, &names[i], &ignored) == STATUS_OK &&
                vault_has(t->vault, &names[i]);
    }
    e->pieces = n;
    enum status s = *done ? add_pieces(t, e, names, err) : STATUS_OK;
    t->done += *done ? e->size : 0;
    free(names);
    return s;
}

static ssize_t read_piece(int fd, uint8_t *p, size_t cap)
{
    size_t n = 0;
    while (n < cap) {
        ssize_t got = read(fd, p + n, cap - n);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        n += (size_t)got;
    }
    return (ssize_t)n;
}

static enum status read_pieces(struct taking *t, int fd, const char *path, struct book_entry *e,
                               struct error *err)
{
    size_t step = ends_with(e->path, ".db") ? DB_PIECE_BYTES : PIECE_BYTES;
    size_t cap = (size_t)(e->size / step) + 2;
    struct piece_name *names = calloc(cap, sizeof *names);
    enum status s =
        names == NULL ? error_set(err, STATUS_NO_MEMORY, "%s: out of memory", path) : STATUS_OK;
    e->size = 0;
    e->pieces = 0;
    while (s == STATUS_OK && e->pieces < cap) {
        bool added = false;
        size_t stored = 0;
        ssize_t n = read_piece(fd, t->piece, step);
        if (n < 0) {
            s = error_errno(err, errno, "%s", path);
        }
        if (n <= 0) {
            break;
        }
        s = vault_put(t->vault, t->piece, (size_t)n, &names[e->pieces], &added, &stored, err);
        e->pieces++;
        e->size += (uint64_t)n;
        t->done += (uint64_t)n;
        t->out->new_pieces += added ? 1 : 0;
        t->out->stored_bytes += stored;
        progress(t, "copying");
    }
    if (s == STATUS_OK) {
        s = add_pieces(t, e, names, err);
    }
    free(names);
    return s;
}

static enum status take_file(struct taking *t, enum part part, const char *path, const char *name,
                             struct error *err)
{
    struct stat st;
    struct book_entry e = {.kind = BOOK_FILE, .part = (uint8_t)part};
    int n = snprintf(e.path, sizeof e.path, "%s", name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || n < 0 || (size_t)n >= sizeof e.path) {
        bool gone = fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENXIO);
        if (fd >= 0) {
            (void)close(fd);
        }
        /* a file that a client uploaded may be deleted meanwhile, as may a document */
        bool may_go = part >= PART_WATCH || strstr(name, "/files/file-") != NULL;
        return gone && may_go ? STATUS_OK : error_errno(err, errno, "%s", path);
    }
    bool done = false;
    enum status s = fstat(fd, &st) != 0 ? error_errno(err, errno, "%s", path) : STATUS_OK;
    if (s == STATUS_OK && S_ISREG(st.st_mode)) {
        e.mode = (uint32_t)st.st_mode & 0777;
        e.size = (uint64_t)st.st_size;
        e.inode = (uint64_t)st.st_ino;
        e.modified_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        if (!ends_with(name, ".db") && unchanged(t, &e)) {
            s = take_over(t, &e, &done, err);
        }
        if (s == STATUS_OK && !done) {
            s = read_pieces(t, fd, path, &e, err);
        }
    }
    (void)close(fd);
    return s;
}

/* ---- folders ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int no_dots(const struct dirent *e)
{
    return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

typedef enum status (*walk_fn)(struct taking *t, enum part part, const char *path, const char *name,
                               struct error *err);

/* Regular files below dir, in order; name is the path in the backup. Links are passed over. */
static enum status walk(struct taking *t, enum part part, const char *dir, const char *name,
                        walk_fn visit, int depth, struct error *err)
{
    struct dirent **found = NULL;
    int n = scandir(dir, &found, no_dots, by_name);
    if (n < 0) {
        return errno == ENOENT ? STATUS_OK : error_errno(err, errno, "%s", dir);
    }
    enum status s = depth < DEPTH_MAX
                        ? STATUS_OK
                        : error_set(err, STATUS_TOO_LARGE, "%s: too many folders deep", dir);
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        char below[PATH_MAX];
        struct stat st;
        if (s == STATUS_OK) {
            s = file_join(path, sizeof path, dir, found[i]->d_name, err);
        }
        if (s == STATUS_OK) {
            s = file_join(below, sizeof below, name, found[i]->d_name, err);
        }
        if (s == STATUS_OK && lstat(path, &st) == 0) {
            s = S_ISDIR(st.st_mode)   ? walk(t, part, path, below, visit, depth + 1, err)
                : S_ISREG(st.st_mode) ? visit(t, part, path, below, err)
                                      : STATUS_OK;
        }
        free(found[i]);
    }
    free(found);
    return s;
}

static enum status count_file(struct taking *t, enum part part, const char *path, const char *name,
                              struct error *err)
{
    struct stat st;
    (void)part;
    (void)name;
    (void)err;
    t->total += lstat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    return STATUS_OK;
}

/* ---- 1: copies ---- */

static enum status find_tenants(struct taking *t, struct error *err)
{
    char dir[PATH_MAX];
    struct dirent **found = NULL;
    enum status s = file_join(dir, sizeof dir, t->w->home, "tenants", err);
    int n = s == STATUS_OK ? scandir(dir, &found, no_dots, by_name) : 0;
    if (n < 0) {
        return error_errno(err, errno, "%s", dir);
    }
    for (int i = 0; i < n; i++) {
        const char *name = found[i]->d_name;
        if (s == STATUS_OK && tenant_name_valid(str_from(name)) && t->n_tenants < TENANTS_MAX &&
            (t->w->tenant == NULL || strcmp(t->w->tenant, name) == 0)) {
            t->tenants[t->n_tenants] = strdup(name);
            t->n_tenants += t->tenants[t->n_tenants] != NULL ? 1 : 0;
        }
        free(found[i]);
    }
    free(found);
    if (s == STATUS_OK && t->n_tenants == 0) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no tenant %s in %s",
                      t->w->tenant == NULL ? "" : t->w->tenant, t->w->home);
    }
    return s;
}

static enum status stage(struct taking *t, struct error *err)
{
    enum status s = find_tenants(t, err);
    for (size_t i = 0; i < t->n_tenants && s == STATUS_OK; i++) {
        if (t->w->progress) {
            term_progress(stderr, i, t->n_tenants, "asking for copies");
        }
        s = backup_stage_tenant(t->w->home, t->out->id, t->tenants[i], err);
    }
    if (s == STATUS_OK && t->w->tenant == NULL) {
        s = backup_stage_system(t->w->home, t->out->id, err);
    }
    return s;
}

/* ---- 2: into the vault ---- */

/* Documents' files, in the words of the store: restored, the watched folder has them again. */
static void take_documents(const ProtobufCMessage *m, void *data)
{
    struct taking *t = data;
    const Vs__ListReply *r = vs_list_reply(m);
    for (size_t i = 0; r != NULL && i < r->n_documents && t->list_status == STATUS_OK; i++) {
        const Vs__DocumentInfo *d = r->documents[i];
        const Vs__Location *l = d->location;
        struct book_entry e = {.kind = BOOK_SAME, .part = PART_DOCUMENTS, .mode = 0644};
        char hex[SHA256_HEX_CAP];
        char staged[PATH_MAX];
        if (strcmp(l->source, "watch") != 0 || (l->has_excluded && l->excluded) ||
            d->hash.len != SHA256_BYTES || memchr(l->path.data, '\0', l->path.len) != NULL) {
            continue;
        }
        sha256_hex(d->hash.data, hex);
        e.size = d->size;
        e.modified_ns = l->modified_wall_ms * 1000000;
        int n = snprintf(e.path, sizeof e.path, "watch/%s/%.*s", t->tenant, (int)l->path.len,
                         (const char *)l->path.data);
        (void)snprintf(e.as, sizeof e.as, "tenants/%s/blobs/%s", t->tenant, hex);
        if (n < 0 || (size_t)n >= sizeof e.path || !book_path_ok(e.path) ||
            file_join(staged, sizeof staged, t->staging, e.as, NULL) != STATUS_OK ||
            access(staged, F_OK) != 0) {
            continue; /* put since the copy was made */
        }
        t->list_status = book_add(t->book, &e, &t->list_err);
        t->out->files++;
    }
}

static enum status documents(struct taking *t, struct error *err)
{
    Vs__ListRequest m = VS__LIST_REQUEST__INIT;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < t->n_tenants && s == STATUS_OK; i++) {
        t->tenant = t->tenants[i];
        s = rpc_once(t->w->home, PEER_VECTORSTORE, &vs_list_method, t->tenant, 3600000, &m.base,
                     take_documents, t, err);
        if (s == STATUS_OK && t->list_status != STATUS_OK) {
            *err = t->list_err;
            s = t->list_status;
        }
    }
    return s;
}

/* What no service keeps in a database: settings, the administrator's key, records and keys in
 * files. */
static enum status plain_file(struct taking *t, enum part part, const char *path, const char *name,
                              struct error *err)
{
    if (ends_with(name, ".db") || ends_with(name, "-wal") || ends_with(name, "-shm") ||
        ends_with(name, ".tmp") || ends_with(name, ".part") || ends_with(name, "/open")) {
        return STATUS_OK;
    }
    return take_file(t, part, path, name, err);
}

static enum status plain_files(struct taking *t, const char *dir, const char *below,
                               struct error *err)
{
    struct dirent **found = NULL;
    int n = scandir(dir, &found, no_dots, by_name);
    enum status s = STATUS_OK;
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        char name[PATH_MAX];
        struct stat st;
        if (s == STATUS_OK &&
            file_join(path, sizeof path, dir, found[i]->d_name, err) == STATUS_OK &&
            file_join(name, sizeof name, below, found[i]->d_name, err) == STATUS_OK &&
            lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            s = plain_file(t, PART_PLAIN, path, name, err);
        }
        free(found[i]);
    }
    free(found);
    return s;
}

static enum status plain(struct taking *t, struct error *err)
{
    static const char *const names[] = {"admin.key", "carrel.yaml", "access.yaml"};
    char path[PATH_MAX];
    char name[PATH_MAX];
    enum status s = STATUS_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && s == STATUS_OK && t->w->tenant == NULL;
         i++) {
        s = file_join(path, sizeof path, t->w->home, names[i], err);
        if (s == STATUS_OK && access(path, F_OK) == 0) {
            s = take_file(t, PART_PLAIN, path, names[i], err);
        }
    }
    if (s == STATUS_OK && t->w->tenant == NULL) {
        s = file_join(path, sizeof path, t->w->home, "system", err);
        s = s == STATUS_OK ? walk(t, PART_PLAIN, path, "system", plain_file, 0, err) : s;
    }
    static const char *const endings[] = {"", ".key"};
    for (size_t i = 0; i < 2 && s == STATUS_OK && t->w->tenant != NULL; i++) {
        (void)snprintf(name, sizeof name, ERASURES "%s%s", t->w->tenant, endings[i]);
        s = file_join(path, sizeof path, t->w->home, name, err);
        if (s == STATUS_OK && access(path, F_OK) == 0) {
            s = take_file(t, PART_PLAIN, path, name, err);
        }
    }
    for (size_t i = 0; i < t->n_tenants && s == STATUS_OK; i++) {
        (void)snprintf(name, sizeof name, "tenants/%s", t->tenants[i]);
        s = file_join(path, sizeof path, t->w->home, name, err);
        s = s == STATUS_OK ? plain_files(t, path, name, err) : s;
        /* what clients uploaded and is no document yet */
        (void)snprintf(name, sizeof name, "tenants/%s/files", t->tenants[i]);
        s = s == STATUS_OK ? file_join(path, sizeof path, t->w->home, name, err) : s;
        s = s == STATUS_OK ? plain_files(t, path, name, err) : s;
    }
    return s;
}

static enum status watch_root(const struct taking *t, char *out, size_t cap, struct error *err)
{
    struct arena a;
    struct settings cfg;
    arena_init(&a, SETTINGS_ARENA);
    enum status s = settings_load(t->w->home, &a, &cfg, err);
    if (s == STATUS_OK) {
        const char *set = cfg.ingest.watch_dir;
        int n = set[0] == '\0'  ? snprintf(out, cap, "%s/watch", t->w->home)
                : set[0] == '/' ? snprintf(out, cap, "%s", set)
                                : snprintf(out, cap, "%s/%s", t->w->home, set);
        if (n < 0 || (size_t)n >= cap) {
            s = error_set(err, STATUS_TOO_LARGE, "ingest.watch_dir: path too long");
        }
    }
    arena_reset(&a);
    return s;
}

static enum status each_watch(struct taking *t, walk_fn visit, struct error *err)
{
    char root[PATH_MAX];
    enum status s = t->w->with_watch ? watch_root(t, root, sizeof root, err) : STATUS_OK;
    for (size_t i = 0; i < t->n_tenants && s == STATUS_OK && t->w->with_watch; i++) {
        char dir[PATH_MAX];
        char name[80];
        (void)snprintf(name, sizeof name, "watch/%s", t->tenants[i]);
        s = file_join(dir, sizeof dir, root, t->tenants[i], err);
        if (s == STATUS_OK) {
            s = walk(t, PART_WATCH, dir, name, visit, 0, err);
        }
    }
    return s;
}

/* What lies in the trash comes there by rename and changes no more; it goes after its days, or by
 * an erasure. */
static enum status each_trash(struct taking *t, walk_fn visit, struct error *err)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < t->n_tenants && s == STATUS_OK; i++) {
        char dir[PATH_MAX];
        char name[80];
        (void)snprintf(name, sizeof name, "trash/%s", t->tenants[i]);
        s = file_join(dir, sizeof dir, t->w->home, name, err);
        if (s == STATUS_OK) {
            s = walk(t, PART_TRASH, dir, name, visit, 0, err);
        }
    }
    return s;
}

static enum status each_model_file(struct taking *t, walk_fn visit, struct error *err)
{
    char(*names)[REGISTRY_PATH_CAP] = calloc(BACKUP_MODEL_FILES_MAX, sizeof *names);
    char path[PATH_MAX];
    size_t n = 0;
    enum status s = names == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    if (s == STATUS_OK && t->w->with_models) {
        s = backup_models_files(t->w->home, t->models, t->n_models, names, &n, err);
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = file_join(path, sizeof path, t->w->home, names[i], err);
        s = s == STATUS_OK ? visit(t, PART_MODELS, path, names[i], err) : s;
    }
    free(names);
    return s;
}

static enum status each_staged(struct taking *t, walk_fn visit, struct error *err)
{
    static const char *const names[] = {"system", "tenants"};
    enum status s = STATUS_OK;
    for (size_t i = 0; i < 2 && s == STATUS_OK; i++) {
        char dir[PATH_MAX];
        s = file_join(dir, sizeof dir, t->staging, names[i], err);
        if (s == STATUS_OK) {
            s = walk(t, PART_STAGED, dir, names[i], visit, 0, err);
        }
    }
    return s;
}

static char *head_of(const struct taking *t, int64_t now)
{
    json_t *tenants = json_array();
    for (size_t i = 0; i < t->n_tenants && i < 900; i++) {
        (void)json_array_append_new(tenants, json_string(t->tenants[i]));
    }
    json_t *j = json_pack("{s:I,s:s,s:b,s:b,s:I,s:o}", "taken_wall_ms", (json_int_t)now, "carrel",
                          CARREL_VERSION, "whole", t->w->tenant == NULL ? 1 : 0, "with_watch",
                          t->w->with_watch ? 1 : 0, "n_tenants", (json_int_t)t->n_tenants,
                          "tenants", tenants);
    bool told = j != NULL && backup_models_describe(j, t->models, t->n_models) == 0;
    char *text = !told ? NULL : json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text;
}

static void open_before(struct taking *t)
{
    char **ids = NULL;
    size_t n = 0;
    struct error err;
    if (vault_books(t->vault, &ids, &n, &err) == STATUS_OK && n > 0 &&
        book_open(t->vault, ids[n - 1], &t->before, &err) == STATUS_OK) {
        t->before_more = true;
        (void)before_next(t);
    }
    vault_books_free(ids, n);
}

static enum status store_all(struct taking *t, int64_t now, struct error *err)
{
    static enum status (*const each[])(struct taking *, walk_fn, struct error *) = {
        each_staged, each_watch, each_trash, each_model_file};
    char *head = head_of(t, now);
    open_before(t);
    enum status s = head == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                 : book_begin(t->vault, t->out->id, head, &t->book, err);
    free(head);
    for (size_t i = 0; i < sizeof each / sizeof each[0] && s == STATUS_OK; i++) {
        s = each[i](t, count_file, err);
    }
    if (s == STATUS_OK) {
        s = each_staged(t, take_file, err);
    }
    if (s == STATUS_OK) {
        s = documents(t, err);
    }
    if (s == STATUS_OK) {
        s = plain(t, err);
    }
    if (s == STATUS_OK) {
        s = each_watch(t, take_file, err);
    }
    if (s == STATUS_OK) {
        s = each_trash(t, take_file, err);
    }
    if (s == STATUS_OK) {
        s = each_model_file(t, take_file, err);
    }
    if (s == STATUS_OK) {
        progress(t, "making it durable");
        s = vault_settle(t->vault, err);
    }
    return s == STATUS_OK ? book_finish(t->book, err) : s;
}

/* ---- 4: pruning ---- */

static enum status prune(struct taking *t, struct error *err)
{
    char **ids = NULL;
    size_t n = 0;
    enum status s = t->w->keep > 0 ? vault_books(t->vault, &ids, &n, err) : STATUS_OK;
    size_t keep = (size_t)t->w->keep;
    for (size_t i = 0; s == STATUS_OK && i + keep < n; i++) {
        s = vault_book_remove(t->vault, ids[i], err);
        t->out->removed_backups++;
    }
    vault_books_free(ids, n);
    if (s == STATUS_OK && t->w->keep > 0) {
        s = vault_collect(t->vault, &t->out->removed_pieces, &t->out->freed_bytes, err);
    }
    return s;
}

/* ---- the whole ---- */

static void new_id(int64_t now, char out[BOOK_ID_CAP])
{
    char utc[25]; /* 2026-01-31T08:09:10.123Z */
    uint8_t r[3];
    clock_format_utc(now, utc);
    random_bytes(r, sizeof r);
    (void)snprintf(out, BOOK_ID_CAP, "%.4s%.2s%.2sT%.2s%.2s%.2s%.3s-%02x%02x%02x", utc, utc + 5,
                   utc + 8, utc + 11, utc + 14, utc + 17, utc + 20, r[0], r[1], r[2]);
}

enum status backup_take(const struct backup_wish *w, struct backup_result *out, struct error *err)
{
    int lock = -1;
    int64_t now = clock_wall_ms();
    char old[PATH_MAX];
    struct error ignored;
    struct taking *t = calloc(1, sizeof *t);
    *out = (struct backup_result){.files = 0};
    if (t == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    t->w = w;
    t->out = out;
    new_id(now, out->id);
    t->piece = malloc(PIECE_BYTES);
    enum status s =
        t->piece == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
        : home_is_running(w->home)
            ? STATUS_OK
            : error_set(err, STATUS_UNAVAILABLE,
                        "no appliance is running on %s (`carrel up` starts it)", w->home);
    if (s == STATUS_OK) {
        s = backup_check_target(w, err);
    }
    if (s == STATUS_OK) {
        s = backup_lock(w->home, &lock, err);
    }
    if (s == STATUS_OK) {
        s = vault_open(w->target, w->key_file, true, true, &t->vault, err);
    }
    if (s == STATUS_OK) {
        s = file_join(old, sizeof old, w->home, "run/backup", err);
    }
    if (s == STATUS_OK) {
        s = file_remove_tree(old, err); /* of one that was killed */
    }
    if (s == STATUS_OK) {
        s = file_join(t->staging, sizeof t->staging, old, out->id, err);
    }
    if (s == STATUS_OK) {
        s = stage(t, err);
        if (s == STATUS_OK) {
            s = backup_models_find(w->home, t->tenants, t->n_tenants, t->models, &t->n_models, err);
        }
        out->models = (unsigned)t->n_models;
        if (s == STATUS_OK) {
            s = store_all(t, now, err);
        }
        if (file_remove_tree(old, &ignored) != STATUS_OK) {
            term_complain("carrel: %s stays behind until the next backup: %s", old, ignored.text);
        }
    }
    book_close(t->book);
    book_close(t->before);
    if (s == STATUS_OK) {
        s = prune(t, err);
    }
    if (w->progress) {
        term_progress_end(stderr);
    }
    out->tenants = (unsigned)t->n_tenants;
    for (size_t i = 0; i < t->n_tenants; i++) {
        free(t->tenants[i]);
    }
    vault_close(t->vault);
    if (lock >= 0) {
        (void)close(lock);
    }
    free(t->piece);
    free(t);
    return s;
}
