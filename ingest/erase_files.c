#include "ingest/erase_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"

#define DEPTH_MAX 24
#define READ_BYTES ((size_t)1 << 18)
#define DATE_LEN 10
#define PLAIN_LOOK 8192U

/* ---- telling ---- */

static void shown(struct subject_set *subject, struct str path, char *out, size_t cap)
{
    char masked[PATH_MAX + 64];
    if (subject != NULL) {
        path.len = subject_masked(subject, path, masked, sizeof masked);
        path.ptr = masked;
    }
    path_show(path, out, cap);
}

/* An error about path that repeats it: said again with the path as it may be told. */
static void tell_masked(struct subject_set *subject, struct str path, struct error *err)
{
    char where[160];
    char why[sizeof err->text] = ": it cannot be read, or not be deleted";
    const char *last = NULL;
    for (const char *p = strstr(err->text, ": "); p != NULL; p = strstr(p + 1, ": ")) {
        last = p;
    }
    if (subject == NULL) {
        return;
    }
    if (last != NULL && strlen(err->text) < sizeof err->text - 1) { /* else it was cut off */
        memcpy(why, last, strlen(last) + 1);
    }
    shown(subject, path, where, sizeof where);
    (void)error_set(err, err->code, "%s%s", where, why);
}

/* ---- contents ---- */

/* Takes fd, which may be -1 with errno set. */
static enum status hash_fd(int fd, const char *path, uint8_t out[SHA256_BYTES], struct error *err)
{
    struct sha256 *h = fd < 0 ? NULL : sha256_new();
    uint8_t *b = h == NULL ? NULL : malloc(READ_BYTES);
    enum status s = STATUS_OK;
    if (fd < 0) {
        return error_errno(err, errno, "%s", path);
    }
    if (b == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    while (s == STATUS_OK) {
        ssize_t n = read(fd, b, READ_BYTES);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            s = error_errno(err, errno, "%s", path);
        } else if (n > 0) {
            sha256_add(h, b, (size_t)n);
        }
    }
    if (h != NULL) {
        sha256_end(h, out);
    }
    free(b);
    (void)close(fd);
    return s;
}

static enum status hash_file(const char *path, uint8_t out[SHA256_BYTES], struct error *err)
{
    return hash_fd(open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), path, out, err);
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, KEYED_BYTES);
}

static bool is_to_go(const struct erase_contents *c, const uint8_t hash[SHA256_BYTES])
{
    uint8_t keyed[KEYED_BYTES];
    keyed_hash(c->key, hash, SHA256_BYTES, keyed);
    return c->n > 0 && bsearch(keyed, c->keyed, c->n, KEYED_BYTES, by_bytes) != NULL;
}

/* ---- the watched folder ---- */

static void remove_cut_uploads(int parent)
{
    int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL && fd >= 0) {
        (void)close(fd);
    }
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        if (strncmp(e->d_name, INGEST_UPLOAD_TEMP, sizeof INGEST_UPLOAD_TEMP - 1) == 0) {
            (void)unlinkat(parent, e->d_name, 0);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

/* Is what lies there the item's file? */
static enum status is_its_own(int parent, const char *name, const struct stat *st,
                              const struct erasure_item *item, const struct erase_contents *c,
                              bool *own, struct error *err)
{
    struct file_stamp now = file_stamp_of(st);
    uint8_t hash[SHA256_BYTES];
    *own = item->has_stamp && file_stamp_equal(&item->stamp, &now);
    if (*own || item->taken) {
        return STATUS_OK;
    }
    int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EPERM || errno == ENOENT || errno == ELOOP)) {
        return STATUS_OK; /* what cannot be read cannot be told to be it */
    }
    enum status s = hash_fd(fd, "the file", hash, err);
    *own = s == STATUS_OK &&
           (is_to_go(c, hash) || (item->has_hash && memcmp(hash, item->hash, sizeof hash) == 0) ||
            (item->has_was && memcmp(hash, item->was, sizeof hash) == 0));
    return s;
}

static enum status remove_source(int parent, const char *name, struct erasure_item *item,
                                 const struct erase_contents *c, struct error *err)
{
    struct stat st;
    struct stat since;
    bool own = false;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) {
        return STATUS_OK;
    }
    enum status s = is_its_own(parent, name, &st, item, c, &own, err);
    if (s != STATUS_OK || fstatat(parent, name, &since, AT_SYMLINK_NOFOLLOW) != 0) {
        return s;
    }
    if (!own || since.st_ino != st.st_ino) { /* or put there while the other was read */
        item->source = SOURCE_REPLACED;
    } else if (unlinkat(parent, name, 0) == 0) {
        item->source = SOURCE_DELETED;
        (void)fsync(parent);
    } else if (errno == EROFS || errno == EACCES || errno == EPERM) {
        item->source = SOURCE_KEPT;
    } else if (errno != ENOENT) {
        s = error_errno(err, errno, "deleting the file");
    }
    return s;
}

/* Below an ordinary file, an archive: it has no file of its own, and goes with that one. */
static bool lies_in_file(int root, struct str path)
{
    for (size_t i = 1; i < path.len; i++) {
        enum tree_kind kind = TREE_MISSING;
        struct file_stamp stamp;
        if (path.ptr[i] == '/' &&
            tree_stat(root, (struct str){path.ptr, i}, &kind, &stamp, NULL) == STATUS_OK &&
            kind == TREE_FILE) {
            return true;
        }
    }
    return false;
}

enum status erase_source(int root, struct erasure_item *item, const struct erase_contents *contents,
                         bool uploads, struct error *err)
{
    int parent = -1;
    char name[256];
    if (item->source == SOURCE_TRASH) {
        return STATUS_OK;
    }
    item->source = SOURCE_NONE;
    if (item->path.len == 0) {
        return STATUS_OK;
    }
    enum status s = tree_open_parent(root, item->path, false, &parent, name, err);
    if (s == STATUS_NOT_FOUND || s == STATUS_INVALID) {
        return STATUS_OK; /* its folder is gone */
    }
    if (s == STATUS_FORBIDDEN && lies_in_file(root, item->path)) {
        return STATUS_OK;
    }
    if (s == STATUS_FORBIDDEN) { /* behind a link, or not ours to look into */
        item->source = SOURCE_KEPT;
        return STATUS_OK;
    }
    if (s == STATUS_OK) {
        s = remove_source(parent, name, item, contents, err);
    }
    if (s != STATUS_OK) {
        tell_masked(contents->subject, item->path, err);
    }
    if (parent >= 0 && !uploads) {
        remove_cut_uploads(parent);
    }
    if (parent >= 0) {
        (void)close(parent);
    }
    return s;
}

/* ---- walking ---- */

struct walk {
    enum status (*file)(struct walk *w, const char *path, const struct stat *st, struct error *err);
    void *data;
    const char *skip; /* a folder's whole path, or NULL */
    struct subject_set *subject;
};

/* Every regular file below dir; a folder that vanishes meanwhile is passed over. */
static enum status walk(struct walk *w, const char *dir, int depth, struct error *err)
{
    DIR *d = depth > DEPTH_MAX ? NULL : opendir(dir);
    enum status s = STATUS_OK;
    if (d == NULL) {
        if (depth <= DEPTH_MAX && (errno == ENOENT || errno == ENOTDIR)) {
            return STATUS_OK;
        }
        s = error_set(err, STATUS_IO, "%s: cannot be looked through", dir);
        tell_masked(w->subject, str_from(dir), err);
        return s;
    }
    for (const struct dirent *e = readdir(d); e != NULL && s == STATUS_OK; e = readdir(d)) {
        char path[PATH_MAX];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        s = file_join(path, sizeof path, dir, e->d_name, err);
        if (s != STATUS_OK || lstat(path, &st) != 0 ||
            (w->skip != NULL && strcmp(path, w->skip) == 0)) {
            continue;
        }
        if (S_ISDIR(st.st_mode)) {
            s = walk(w, path, depth + 1, err);
        } else if (S_ISREG(st.st_mode)) {
            s = w->file(w, path, &st, err);
            if (s != STATUS_OK) {
                tell_masked(w->subject, str_from(path), err);
            }
        }
    }
    (void)closedir(d);
    return s;
}

/* ---- the trash ---- */

struct trash_look {
    const struct erasure_item *items;
    size_t n_items, below; /* below: length of home/trash/<tenant>/ */
    const struct erase_contents *contents;
    bool unknown; /* some of which no item has the hash: every file is read */
    uint32_t n;
};

/* The trash keeps a file under its date and its path; where one lay already, with the id behind. */
static bool same_path(const struct erasure_item *it, struct str below)
{
    if (below.len < it->path.len || memcmp(below.ptr, it->path.ptr, it->path.len) != 0) {
        return false;
    }
    struct str rest = {.ptr = below.ptr + it->path.len, .len = below.len - it->path.len};
    return rest.len == 0 || (rest.len == ID_CAP && rest.ptr[0] == '.' &&
                             memcmp(rest.ptr + 1, it->document, ID_CAP - 1) == 0);
}

static enum status trash_file(struct walk *w, const char *path, const struct stat *st,
                              struct error *err)
{
    struct trash_look *l = w->data;
    uint8_t hash[SHA256_BYTES];
    bool hashed = false;
    bool match = false;
    enum status s = STATUS_OK;
    const char *below = path + l->below;
    struct str inside = str_from(strlen(below) > DATE_LEN + 1 ? below + DATE_LEN + 1 : "");
    for (size_t i = 0; i < l->n_items && !match && s == STATUS_OK; i++) {
        const struct erasure_item *it = &l->items[i];
        bool trash = it->source == SOURCE_TRASH;
        bool there = trash ? str_eq(it->path, inside) : it->path.len > 0 && same_path(it, inside);
        match = there && !trash;
        if (!match && it->has_hash && (there || !it->content_stays) &&
            it->size == (uint64_t)st->st_size) {
            s = hashed ? STATUS_OK : hash_file(path, hash, err);
            hashed = true;
            match = s == STATUS_OK && memcmp(hash, it->hash, sizeof hash) == 0;
        }
    }
    if (!match && s == STATUS_OK && l->unknown) {
        s = hashed ? STATUS_OK : hash_file(path, hash, err);
        match = s == STATUS_OK && is_to_go(l->contents, hash);
    }
    if (match && unlink(path) != 0 && errno != ENOENT) {
        s = error_errno(err, errno, "%s", path);
    }
    l->n += match && s == STATUS_OK ? 1 : 0;
    return s;
}

/* Does an item have the hash of every content that goes? */
static enum status all_known(const struct erase_contents *c, const struct erasure_item *items,
                             size_t n_items, bool *all, struct error *err)
{
    uint8_t(*of_items)[KEYED_BYTES] = calloc(n_items + 1, sizeof *of_items);
    size_t n = 0;
    if (of_items == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n_items; i++) {
        if (items[i].has_hash && !items[i].content_stays) {
            keyed_hash(c->key, items[i].hash, SHA256_BYTES, of_items[n++]);
        }
    }
    qsort(of_items, n, KEYED_BYTES, by_bytes);
    *all = true;
    for (size_t i = 0; i < c->n && *all; i++) {
        *all = bsearch(c->keyed[i], of_items, n, KEYED_BYTES, by_bytes) != NULL;
    }
    free(of_items);
    return STATUS_OK;
}

enum status erase_trash(const char *home, const char *tenant, const struct erasure_item *items,
                        size_t n_items, const struct erase_contents *contents, uint32_t *n,
                        struct error *err)
{
    char dir[PATH_MAX];
    bool all = false;
    int len = snprintf(dir, sizeof dir, "%s/trash/%s", home, tenant);
    if (len < 0 || (size_t)len >= sizeof dir) {
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", home);
    }
    enum status s = all_known(contents, items, n_items, &all, err);
    struct trash_look l = {.items = items,
                           .n_items = n_items,
                           .below = (size_t)len + 1,
                           .contents = contents,
                           .unknown = !all};
    struct walk w = {.file = trash_file, .data = &l, .subject = contents->subject};
    if (s == STATUS_OK) {
        s = walk(&w, dir, 0, err);
    }
    *n = l.n;
    return s;
}

struct trash_search {
    struct subject_set *set;
    struct arena *a;
    size_t below, n, cap;
    struct erase_trash_file *list;
};

static enum status search_bytes(const char *path, const struct stat *st, struct subject_set *set,
                                struct erase_trash_file *t, struct error *err)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? STATUS_OK : error_errno(err, errno, "%s", path);
    }
    size_t len = (size_t)st->st_size;
    void *p = len == 0 ? MAP_FAILED : mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    t->plain = len == 0;
    if (p != MAP_FAILED) {
        t->plain = memchr(p, '\0', len < PLAIN_LOOK ? len : PLAIN_LOOK) == NULL;
        t->named = t->plain && subject_in(set, (struct str){.ptr = p, .len = len});
        (void)munmap(p, len);
    }
    return hash_file(path, t->hash, err);
}

static enum status search_trash_file(struct walk *w, const char *path, const struct stat *st,
                                     struct error *err)
{
    struct trash_search *f = w->data;
    const char *below = path + f->below;
    struct str inside = str_from(strlen(below) > DATE_LEN + 1 ? below + DATE_LEN + 1 : "");
    if (f->n == f->cap) {
        size_t cap = f->cap == 0 ? 64 : 2 * f->cap;
        struct erase_trash_file *more = arena_array(f->a, cap, sizeof *more);
        if (f->n == ERASE_TRASH_MAX || more == NULL) {
            return error_set(err, STATUS_TOO_LARGE,
                             "more than %zu files are in the trash: empty it "
                             "first (ingest.trash_days)",
                             f->n);
        }
        if (f->n > 0) {
            memcpy(more, f->list, f->n * sizeof *more);
        }
        f->list = more;
        f->cap = cap;
    }
    struct erase_trash_file *t = &f->list[f->n++];
    *t = (struct erase_trash_file){.size = (uint64_t)st->st_size};
    t->path = (struct str){.ptr = arena_strndup(f->a, inside.ptr, inside.len), .len = inside.len};
    enum status s = t->path.ptr == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                        : search_bytes(path, st, f->set, t, err);
    t->named = t->named || subject_in(f->set, inside);
    return s;
}

enum status erase_trash_look(const char *home, const char *tenant, struct subject_set *set,
                             struct arena *a, struct erase_trash_file **out, size_t *n,
                             struct error *err)
{
    char dir[PATH_MAX];
    int len = snprintf(dir, sizeof dir, "%s/trash/%s", home, tenant);
    if (len < 0 || (size_t)len >= sizeof dir) {
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", home);
    }
    struct trash_search f = {.set = set, .a = a, .below = (size_t)len + 1};
    struct walk w = {.file = search_trash_file, .data = &f, .subject = set};
    enum status s = walk(&w, dir, 0, err);
    *out = f.list;
    *n = f.n;
    return s;
}

/* ---- verification ---- */

struct verifying {
    struct trace_set *set;
    const struct erasure_item *items;
    size_t n_items, home_len;
    bool blobs;
    struct subject_set *subject;
    struct erase_scan *out;
};

static void residue(struct verifying *v, const char *path)
{
    struct erase_scan *o = v->out;
    if (o->n_residue < ERASE_RESIDUE_MAX) {
        shown(v->subject, str_from(path + v->home_len + 1), o->residue[o->n_residue++],
              sizeof o->residue[0]);
    }
}

/* A blob's name begins with the hash of its content. */
static bool erased_blob(const struct verifying *v, const char *name)
{
    char hex[SHA256_HEX_CAP];
    for (size_t i = 0; i < v->n_items; i++) {
        if (v->items[i].has_hash && !v->items[i].content_stays) {
            sha256_hex(v->items[i].hash, hex);
            if (strncmp(name, hex, sizeof hex - 1) == 0) {
                return true;
            }
        }
    }
    return false;
}

static enum status verify_file(struct walk *w, const char *path, const struct stat *st,
                               struct error *err)
{
    struct verifying *v = w->data;
    size_t found = 0;
    v->out->files++;
    v->out->bytes += (uint64_t)st->st_size;
    if (v->blobs && erased_blob(v, strrchr(path, '/') + 1)) {
        residue(v, path);
        return STATUS_OK;
    }
    enum status s = trace_set_scan(v->set, path, v->blobs, &found, err);
    if (s == STATUS_OK && found > 0 && !v->blobs) {
        residue(v, path);
    }
    return s;
}

/* The blobs of the documents that stay come first: what they share with the erased ones is theirs,
 * and is looked for no more. */
enum status erase_verify(const char *home, const char *tenant, const struct erasure_item *items,
                         size_t n_items, const struct erase_contents *contents,
                         const struct trace *traces, size_t n_traces, struct erase_scan *out,
                         struct error *err)
{
    static const char *const places[] = {"tenants", "trash"};
    char dir[PATH_MAX];
    char blobs[PATH_MAX];
    *out = (struct erase_scan){0};
    struct verifying v = {.items = items,
                          .n_items = n_items,
                          .home_len = strlen(home),
                          .blobs = true,
                          .out = out,
                          .subject = contents->subject,
                          .set = trace_set_new(contents->key, traces, n_traces)};
    struct walk w = {.file = verify_file, .data = &v, .subject = contents->subject};
    int n = snprintf(blobs, sizeof blobs, "%s/tenants/%s/blobs", home, tenant);
    enum status s = v.set == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    if (s == STATUS_OK && (n < 0 || (size_t)n >= sizeof blobs)) {
        s = error_set(err, STATUS_TOO_LARGE, "%s: path too long", home);
    }
    if (s == STATUS_OK) {
        s = walk(&w, blobs, 0, err);
    }
    if (s == STATUS_OK) {
        out->traces = trace_set_count(v.set);
        out->shared = n_traces - out->traces;
    }
    v.blobs = false;
    w.skip = blobs;
    for (size_t i = 0; i < sizeof places / sizeof places[0] && s == STATUS_OK; i++) {
        (void)snprintf(dir, sizeof dir, "%.3900s/%s/%.64s", home, places[i], tenant);
        s = walk(&w, dir, 0, err);
    }
    trace_set_free(v.set);
    return s;
}
