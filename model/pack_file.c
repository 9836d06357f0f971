/* Making: lock <path>.making -> pack a piece, sum it, write it -> header -> sync -> rename. */
#include "model/pack_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define MAGIC "CARRELPK"
#define PATH_CAP 1400
#define PIECE ((size_t)32 << 20)
#define TRIES 8

enum {
    AT_LAYOUT = 8,
    AT_MATRICES = 12,
    AT_BYTES = 16,
    AT_MODEL = 24,
    AT_SHAPES = 56,
    AT_DATA = 88
};
enum { AT_HEADER = 120, HEADER_END = 152 };

struct header {
    uint32_t layout, matrices;
    uint64_t bytes;
    uint8_t model[SHA256_BYTES], shapes[SHA256_BYTES], data[SHA256_BYTES];
};

static void put_number(unsigned char *p, uint64_t x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (unsigned char)(x >> 8 * i);
    }
}

static uint64_t get_number(const unsigned char *p, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++) {
        x |= (uint64_t)p[i] << 8 * i;
    }
    return x;
}

static void write_header(const struct header *h, unsigned char out[PACK_FILE_START])
{
    memset(out, 0, PACK_FILE_START);
    memcpy(out, MAGIC, 8);
    put_number(out + AT_LAYOUT, h->layout, 4);
    put_number(out + AT_MATRICES, h->matrices, 4);
    put_number(out + AT_BYTES, h->bytes, 8);
    memcpy(out + AT_MODEL, h->model, SHA256_BYTES);
    memcpy(out + AT_SHAPES, h->shapes, SHA256_BYTES);
    memcpy(out + AT_DATA, h->data, SHA256_BYTES);
    sha256_of(out, AT_HEADER, out + AT_HEADER);
}

static bool read_header(const unsigned char *p, struct header *h)
{
    uint8_t sum[SHA256_BYTES];
    sha256_of(p, AT_HEADER, sum);
    h->layout = (uint32_t)get_number(p + AT_LAYOUT, 4);
    h->matrices = (uint32_t)get_number(p + AT_MATRICES, 4);
    h->bytes = get_number(p + AT_BYTES, 8);
    memcpy(h->model, p + AT_MODEL, SHA256_BYTES);
    memcpy(h->shapes, p + AT_SHAPES, SHA256_BYTES);
    memcpy(h->data, p + AT_DATA, SHA256_BYTES);
    return memcmp(p, MAGIC, 8) == 0 && memcmp(sum, p + AT_HEADER, SHA256_BYTES) == 0;
}

/* What a file of these matrices must say, but for the sum of its bytes. */
static enum status header_of(const uint8_t sha256[SHA256_BYTES], struct matrix *const *matrices,
                             size_t n, struct header *out, struct error *err)
{
    *out = (struct header){.layout = PACK_LAYOUT};
    memcpy(out->model, sha256, SHA256_BYTES);
    struct sha256 *sum = sha256_new();
    if (sum == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        size_t bytes = pack_matrix_bytes(matrices[i]);
        if (bytes > 0) {
            unsigned char shape[12];
            put_number(shape, (uint64_t)matrices[i]->type, 4);
            put_number(shape + 4, matrices[i]->rows, 4);
            put_number(shape + 8, matrices[i]->columns, 4);
            sha256_add(sum, shape, sizeof shape);
            out->matrices++;
            out->bytes += bytes;
        }
    }
    sha256_end(sum, out->shapes);
    return STATUS_OK;
}

/* ---- opening ---- */

static enum status map_whole(const char *path, void **map, size_t *bytes, struct error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would wait for its writer */
    enum status s = STATUS_OK;
    if (fd < 0) {
        return errno == ENOENT ? error_set(err, STATUS_NOT_FOUND, "%s is not there", path)
                               : error_errno(err, errno, "%s", path);
    }
    if (fstat(fd, &st) != 0) {
        s = error_errno(err, errno, "%s", path);
    } else if (!S_ISREG(st.st_mode) || st.st_size < (off_t)PACK_FILE_START) {
        s = error_set(err, STATUS_CORRUPT, "%s is too short", path);
    } else {
        *bytes = (size_t)st.st_size;
        *map = mmap(NULL, *bytes, PROT_READ, MAP_SHARED, fd, 0);
        s = *map == MAP_FAILED ? error_errno(err, errno, "%s", path) : STATUS_OK;
    }
    (void)close(fd);
    return s;
}

static enum status check_whole(const char *path, const unsigned char *map, size_t bytes,
                               const uint8_t sha256[SHA256_BYTES], struct header *h,
                               struct error *err)
{
    if (!read_header(map, h)) {
        return error_set(err, STATUS_CORRUPT, "%s: its header is damaged", path);
    }
    if (h->layout != PACK_LAYOUT || memcmp(h->model, sha256, SHA256_BYTES) != 0) {
        return error_set(err, STATUS_CORRUPT, "%s is of another %s", path,
                         h->layout != PACK_LAYOUT ? "layout" : "model");
    }
    return h->bytes == bytes - PACK_FILE_START
               ? STATUS_OK
               : error_set(err, STATUS_CORRUPT, "%s has %zu bytes, not the %llu it was made with",
                           path, bytes, (unsigned long long)h->bytes + PACK_FILE_START);
}

/* Is it what `wanted` says? The mapping is the caller's then. */
static enum status map_checked(const char *path, const struct header *wanted, void **map,
                               size_t *bytes, struct error *err)
{
    struct header h;
    enum status s = map_whole(path, map, bytes, err);
    if (s != STATUS_OK) {
        return s;
    }
    s = check_whole(path, *map, *bytes, wanted->model, &h, err);
    if (s == STATUS_OK && (h.matrices != wanted->matrices || h.bytes != wanted->bytes ||
                           memcmp(h.shapes, wanted->shapes, SHA256_BYTES) != 0)) {
        s = error_set(err, STATUS_CORRUPT, "%s is of other matrices", path);
    }
    if (s != STATUS_OK) {
        (void)munmap(*map, *bytes);
    }
    return s;
}

enum status pack_file_open(const char *path, const uint8_t sha256[SHA256_BYTES],
                           struct matrix *const *matrices, size_t n, struct pack **out,
                           struct error *err)
{
    struct header wanted;
    void *map = NULL;
    size_t bytes = 0;
    enum status s = header_of(sha256, matrices, n, &wanted, err);
    s = s == STATUS_OK ? map_checked(path, &wanted, &map, &bytes, err) : s;
    if (s != STATUS_OK) {
        return s;
    }
    (void)madvise(map, bytes,
                  MADV_HUGEPAGE); /* read in large pages, where file systems have them */
    s = pack_over(matrices, n, map, bytes, PACK_FILE_START, out, err);
    if (s != STATUS_OK) {
        (void)munmap(map, bytes);
    }
    return s;
}

enum status pack_file_verify(const char *path, const uint8_t sha256[SHA256_BYTES],
                             struct error *err)
{
    struct header h;
    uint8_t sum[SHA256_BYTES];
    void *map = NULL;
    size_t bytes = 0;
    enum status s = map_whole(path, &map, &bytes, err);
    if (s != STATUS_OK) {
        return s;
    }
    s = check_whole(path, map, bytes, sha256, &h, err);
    if (s == STATUS_OK) {
        (void)madvise(map, bytes, MADV_SEQUENTIAL);
        sha256_of((const unsigned char *)map + PACK_FILE_START, bytes - PACK_FILE_START, sum);
        s = memcmp(sum, h.data, SHA256_BYTES) == 0
                ? STATUS_OK
                : error_set(err, STATUS_CORRUPT, "%s: its bytes are not those that were made",
                            path);
    }
    (void)munmap(map, bytes);
    return s;
}

/* ---- making ---- */

struct making {
    const char *path;
    int fd;
    struct header header;
    struct sha256 *sum;
    unsigned char *room;
    unsigned char *out; /* what is written next, PIECE bytes at a time: files get large pages */
    size_t n_out;
    uint64_t done;
    const struct pack_progress *progress;
    struct pool *pool;
    struct error *err;
    /* the piece at hand */
    const struct matrix *w;
    uint32_t first; /* group */
};

static void pack_piece(void *data, uint32_t chunk, uint32_t worker)
{
    const struct making *m = data;
    uint32_t row = (m->first + chunk) * KERNEL_ROWS;
    uint32_t left = m->w->rows - row;
    (void)worker;
    pack_group(m->w, row, left < KERNEL_ROWS ? left : KERNEL_ROWS,
               m->room + chunk * pack_group_bytes(pack_kind_of(m->w->type), m->w->columns));
}

static enum status flush(struct making *m)
{
    enum status s = file_write_all(m->fd, m->out, m->n_out, m->err);
    m->n_out = 0;
    return s;
}

static enum status put(struct making *m, size_t bytes)
{
    const struct pack_progress *p = m->progress;
    enum status s = STATUS_OK;
    sha256_add(m->sum, m->room, bytes);
    m->done += bytes;
    for (size_t at = 0; s == STATUS_OK && at < bytes;) {
        size_t n = bytes - at < PIECE - m->n_out ? bytes - at : PIECE - m->n_out;
        memcpy(m->out + m->n_out, m->room + at, n);
        m->n_out += n;
        at += n;
        s = m->n_out == PIECE ? flush(m) : s;
    }
    if (s == STATUS_OK && p != NULL && p->on_progress != NULL &&
        !p->on_progress(m->done, m->header.bytes, p->data)) {
        s = error_set(m->err, STATUS_CANCELLED, "packing was stopped; nothing is left of it");
    }
    return s;
}

static enum status put_matrix(struct making *m, const struct matrix *w)
{
    size_t all = pack_matrix_bytes(w);
    size_t group = all == 0 ? 1 : pack_group_bytes(pack_kind_of(w->type), w->columns);
    uint32_t groups = all == 0 ? 0 : (w->rows + KERNEL_ROWS - 1) / KERNEL_ROWS;
    uint32_t most = (uint32_t)(PIECE / group);
    size_t written = 0;
    enum status s = STATUS_OK;
    if (most == 0) {
        return error_set(m->err, STATUS_TOO_LARGE, "a matrix of %u columns is too wide to pack",
                         w->columns);
    }
    m->w = w;
    for (m->first = 0; s == STATUS_OK && m->first < groups; m->first += most) {
        uint32_t n = groups - m->first < most ? groups - m->first : most;
        pool_run(m->pool, n, pack_piece, m);
        s = put(m, n * group);
        written += n * group;
    }
    if (s == STATUS_OK && written < all) {
        memset(m->room, 0, all - written);
        s = put(m, all - written);
    }
    return s;
}

static enum status put_header(struct making *m)
{
    unsigned char bytes[PACK_FILE_START];
    write_header(&m->header, bytes);
    if (lseek(m->fd, 0, SEEK_SET) != 0) {
        return error_errno(m->err, errno, "%s", m->path);
    }
    return file_write_all(m->fd, bytes, sizeof bytes, m->err);
}

/* All but the rename; the file is the lock's. */
static enum status fill(struct making *m, struct matrix *const *matrices, size_t n)
{
    enum status s = STATUS_OK;
    m->sum = sha256_new();
    m->room = malloc(PIECE);
    m->out = calloc(1, PIECE);
    m->n_out = PACK_FILE_START; /* the header comes last */
    if (m->sum == NULL || m->room == NULL || m->out == NULL) {
        s = error_set(m->err, STATUS_NO_MEMORY, "out of memory");
    } else if (ftruncate(m->fd, 0) != 0 || lseek(m->fd, 0, SEEK_SET) < 0) {
        s = error_errno(m->err, errno, "%s", m->path);
    } else {
        /* no room is known at once; where a file system cannot say, writing will */
        int e = posix_fallocate(m->fd, 0, (off_t)(m->header.bytes + PACK_FILE_START));
        s = e == ENOSPC || e == EDQUOT || e == EFBIG ? error_errno(m->err, e, "%s", m->path) : s;
    }
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        s = put_matrix(m, matrices[i]);
    }
    s = s == STATUS_OK ? flush(m) : s;
    if (m->sum != NULL) {
        sha256_end(m->sum, m->header.data);
    }
    free(m->room);
    free(m->out);
    s = s == STATUS_OK ? put_header(m) : s;
    if (s == STATUS_OK && fsync(m->fd) != 0) {
        s = error_errno(m->err, errno, "%s", m->path);
    }
    return s;
}

/* Opens the file that is being made and waits for whoever else makes it. *again: it became the
 * finished one, or went, while we waited. */
static enum status lock_stage(const char *stage, int *out, bool *again, struct error *err)
{
    struct stat there;
    struct stat ours;
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(stage, flags, 0600);
    if (fd < 0 && errno == EACCES && unlink(stage) == 0) { /* left by another user's import */
        fd = open(stage, flags, 0600);
    }
    if (fd < 0) {
        return error_errno(err, errno, "%s", stage);
    }
    int rc = 0;
    do {
        rc = flock(fd, LOCK_EX);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0 || fstat(fd, &ours) != 0) {
        enum status s = error_errno(err, errno, "%s", stage);
        (void)close(fd);
        return s;
    }
    *again = stat(stage, &there) != 0 || there.st_ino != ours.st_ino;
    if (*again) {
        (void)close(fd);
    } else {
        *out = fd;
    }
    return STATUS_OK;
}

static enum status own_like(int fd, const char *like, struct error *err)
{
    struct stat st;
    if (geteuid() != 0) {
        return STATUS_OK;
    }
    return stat(like, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) == 0
               ? STATUS_OK
               : error_errno(err, errno, "%s", like);
}

static enum status make_locked(struct making *m, const char *stage, const char *like,
                               struct matrix *const *matrices, size_t n)
{
    enum status s = own_like(m->fd, like, m->err);
    s = s == STATUS_OK ? fill(m, matrices, n) : s;
    if (s == STATUS_OK && rename(stage, m->path) != 0) {
        s = error_errno(m->err, errno, "%s", m->path);
    }
    if (s != STATUS_OK) {
        (void)unlink(stage);
        return s;
    }
    return file_sync_parent(m->path, m->err);
}

enum status pack_file_make(const char *path, const char *like, const uint8_t sha256[SHA256_BYTES],
                           struct matrix *const *matrices, size_t n, struct pool *pool,
                           const struct pack_progress *progress, struct error *err)
{
    char stage[PATH_CAP];
    struct making m = {.path = path, .fd = -1, .progress = progress, .pool = pool, .err = err};
    if (snprintf(stage, sizeof stage, "%s.making", path) >= (int)sizeof stage) {
        return error_set(err, STATUS_TOO_LARGE, "%s: the name is too long", path);
    }
    enum status s = header_of(sha256, matrices, n, &m.header, err);
    bool again = true;
    for (int i = 0; s == STATUS_OK && again && i < TRIES; i++) {
        s = lock_stage(stage, &m.fd, &again, err);
        if (s == STATUS_OK && again) { /* somebody else's may serve */
            struct error ignored;
            void *map = NULL;
            size_t bytes = 0;
            if (map_checked(path, &m.header, &map, &bytes, &ignored) == STATUS_OK) {
                (void)munmap(map, bytes);
                return STATUS_OK;
            }
        }
    }
    if (s == STATUS_OK && again) {
        s = error_set(err, STATUS_CONFLICT, "%s: others make it again and again", path);
    }
    if (s == STATUS_OK) {
        s = make_locked(&m, stage, like, matrices, n);
        (void)close(m.fd);
    }
    return s;
}
