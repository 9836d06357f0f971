#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)
#define FILTER_BITS 16U
#define READ_BYTES ((size_t)1 << 20)
#define DISTINCT_MIN 6

struct wanted {
    struct trace trace;
    bool dropped, seen;
};

struct trace_set {
    uint8_t key[KEYED_KEY_BYTES];
    struct wanted *list; /* by roll */
    size_t n;
    uint64_t gone; /* MULTIPLIER to the power of TRACE_BYTES: what the byte that leaves weighs */
    uint8_t filter[(1U << FILTER_BITS) / 8];
};

static uint64_t roll_of(const uint8_t *p)
{
    uint64_t h = 0;
    for (size_t i = 0; i < TRACE_BYTES; i++) {
        h = h * MULTIPLIER + p[i] + 1;
    }
    return h;
}

static bool telling(const uint8_t *p)
{
    bool seen[256] = {false};
    int distinct = 0;
    for (size_t i = 0; i < TRACE_BYTES; i++) {
        distinct += seen[p[i]] ? 0 : 1;
        seen[p[i]] = true;
    }
    return distinct >= DISTINCT_MIN;
}

static void keyed_of(const uint8_t key[KEYED_KEY_BYTES], const uint8_t *p,
                     uint8_t out[TRACE_KEYED_BYTES])
{
    uint8_t whole[KEYED_BYTES];
    keyed_hash(key, p, TRACE_BYTES, whole);
    memcpy(out, whole, TRACE_KEYED_BYTES);
}

size_t traces_take(const uint8_t key[KEYED_KEY_BYTES], struct str bytes, size_t max,
                   struct trace *out)
{
    size_t n = 0;
    if (bytes.len < TRACE_BYTES || max == 0) {
        return 0;
    }
    size_t places = bytes.len - TRACE_BYTES + 1;
    size_t step = places / max;
    step = step == 0 ? 1 : step;
    for (size_t at = 0; at < places && n < max; at += step) {
        const uint8_t *p = (const uint8_t *)bytes.ptr + at;
        if (telling(p)) {
            out[n].roll = roll_of(p);
            keyed_of(key, p, out[n].keyed);
            n++;
        }
    }
    return n;
}

static int by_roll(const void *a, const void *b)
{
    const struct wanted *x = a;
    const struct wanted *y = b;
    return (x->trace.roll > y->trace.roll) - (x->trace.roll < y->trace.roll);
}

static size_t place(uint64_t roll)
{
    return (size_t)(roll >> (64U - FILTER_BITS));
}

struct trace_set *trace_set_new(const uint8_t key[KEYED_KEY_BYTES], const struct trace *list,
                                size_t n)
{
    struct trace_set *t = calloc(1, sizeof *t);
    struct wanted *w = calloc(n + 1, sizeof *w);
    if (t == NULL || w == NULL) {
        free(t);
        free(w);
        return NULL;
    }
    memcpy(t->key, key, sizeof t->key);
    t->list = w;
    t->n = n;
    t->gone = 1;
    for (size_t i = 0; i < TRACE_BYTES; i++) {
        t->gone *= MULTIPLIER;
    }
    for (size_t i = 0; i < n; i++) {
        w[i].trace = list[i];
        size_t bit = place(list[i].roll);
        t->filter[bit / 8] |= (uint8_t)(1U << (bit % 8));
    }
    qsort(w, n, sizeof *w, by_roll);
    return t;
}

void trace_set_free(struct trace_set *t)
{
    if (t != NULL) {
        free(t->list);
        free(t);
    }
}

size_t trace_set_count(const struct trace_set *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        n += t->list[i].dropped ? 0 : 1;
    }
    return n;
}

/* p: the run whose rolling hash may be a trace's. */
static void look(struct trace_set *t, uint64_t roll, const uint8_t *p)
{
    size_t low = 0;
    size_t high = t->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->list[mid].trace.roll < roll) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    uint8_t keyed[TRACE_KEYED_BYTES];
    bool made = false;
    for (; low < t->n && t->list[low].trace.roll == roll; low++) {
        if (!made) {
            keyed_of(t->key, p, keyed);
            made = true;
        }
        if (memcmp(keyed, t->list[low].trace.keyed, sizeof keyed) == 0) {
            t->list[low].seen = true;
        }
    }
}

/* b[0..len): the last TRACE_BYTES - 1 bytes looked at before, and new ones. */
static void scan_bytes(struct trace_set *t, const uint8_t *b, size_t len)
{
    if (len < TRACE_BYTES) {
        return;
    }
    uint64_t h = roll_of(b);
    for (size_t at = 0;; at++) {
        size_t bit = place(h);
        if (((unsigned)t->filter[bit / 8] >> (bit % 8) & 1U) != 0) {
            look(t, h, b + at);
        }
        if (at + TRACE_BYTES >= len) {
            break;
        }
        h = h * MULTIPLIER + b[at + TRACE_BYTES] + 1 - t->gone * ((uint64_t)b[at] + 1);
    }
}

/* ---- reading ---- */

/* A file read from front to back. A database is read through SQLite's own VFS: closing a descriptor
 * of ours would take this process's locks off it (POSIX locks belong to process and file). */
struct reading {
    const char *path;
    int fd;
    sqlite3_file *db; /* NULL: fd */
    const char *name;       /* with the end that SQLite wants */
    sqlite3_int64 at, size;
};

static enum status open_database(struct reading *r, struct error *err)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    r->name = sqlite3_create_filename(r->path, "", "", 0, NULL);
    r->db = vfs == NULL || r->name == NULL ? NULL : calloc(1, (size_t)vfs->szOsFile);
    if (r->db == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    int rc = vfs->xOpen(vfs, r->name, r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB, NULL);
    if (rc == SQLITE_OK) {
        rc = r->db->pMethods->xFileSize(r->db, &r->size);
    }
    return rc == SQLITE_OK ? STATUS_OK : error_set(err, STATUS_IO, "%s: cannot be read", r->path);
}

static void close_reading(struct reading *r)
{
    if (r->db != NULL && r->db->pMethods != NULL) {
        (void)r->db->pMethods->xClose(r->db);
    }
    free(r->db);
    union { /* it was made for us, without the const */
        const char *in;
        char *out;
    } name = {r->name};
    sqlite3_free_filename(name.out);
    if (r->fd >= 0) {
        (void)close(r->fd);
    }
}

/* *n 0 at the end. */
static enum status read_some(struct reading *r, uint8_t *to, size_t *n, struct error *err)
{
    *n = 0;
    if (r->db != NULL) {
        sqlite3_int64 left = r->size - r->at;
        int len = left > (sqlite3_int64)READ_BYTES ? (int)READ_BYTES : (int)left;
        if (len > 0 && r->db->pMethods->xRead(r->db, to, len, r->at) != SQLITE_OK) {
            return error_set(err, STATUS_IO, "%s: cannot be read", r->path);
        }
        r->at += len;
        *n = (size_t)len;
        return STATUS_OK;
    }
    for (;;) {
        ssize_t got = read(r->fd, to, READ_BYTES);
        if (got >= 0) {
            *n = (size_t)got;
            return STATUS_OK;
        }
        if (errno != EINTR) {
            return error_errno(err, errno, "%s", r->path);
        }
    }
}

static enum status scan_all(struct trace_set *t, struct reading *r, struct error *err)
{
    uint8_t *b = malloc(READ_BYTES + TRACE_BYTES);
    if (b == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    size_t kept = 0;
    size_t n = 0;
    enum status s = read_some(r, b, &n, err);
    while (s == STATUS_OK && n > 0) {
        size_t len = kept + n;
        scan_bytes(t, b, len);
        kept = len < TRACE_BYTES - 1 ? len : TRACE_BYTES - 1;
        memmove(b, b + len - kept, kept);
        s = read_some(r, b + kept, &n, err);
    }
    free(b);
    return s;
}

enum status trace_set_scan(struct trace_set *t, const char *path, bool drop, size_t *found,
                           struct error *err)
{
    struct reading r = {.path = path, .fd = -1};
    struct stat st;
    enum status s = STATUS_OK;
    *found = 0;
    if (str_ends(str_from(path), STR("-shm"))) {
        return STATUS_OK; /* locks and page numbers, no text */
    }
    if (lstat(path, &st) != 0 || S_ISLNK(st.st_mode)) {
        return STATUS_OK; /* gone, or nothing of ours */
    }
    if (str_ends(str_from(path), STR(".db")) && S_ISREG(st.st_mode)) {
        s = open_database(&r, err);
    } else {
        r.fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        s = r.fd >= 0 || errno == ENOENT ? STATUS_OK : error_errno(err, errno, "%s", path);
    }
    for (size_t i = 0; i < t->n; i++) {
        t->list[i].seen = false;
    }
    if (s == STATUS_OK && (r.fd >= 0 || r.db != NULL)) {
        s = scan_all(t, &r, err);
    }
    close_reading(&r);
    for (size_t i = 0; i < t->n; i++) {
        struct wanted *w = &t->list[i];
        *found += w->seen && !w->dropped ? 1 : 0;
        w->dropped = w->dropped || (drop && w->seen);
    }
    return s;
}
