#include "vectorstore/segment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "vectorstore/segment_cache.h"
#include "vectorstore/segment_format.h"

struct segment_file {
    char *path;    /* for errors */
    uint64_t name; /* in the cache: of the salt */
    int fd;        /* of an encrypted file; -1 */
    unsigned char *map;
    size_t size;
    struct segment_header h;
    const struct segment_key *key;
    struct segment_cache *cache;
    unsigned char *table;
    _Atomic uint64_t *checked; /* one bit a block */
};

/* ---- opening ---- */

static enum status damaged(const struct segment_file *f, const char *what, struct error *err)
{
    return error_set(err, STATUS_CORRUPT, "%s: %s", f->path, what);
}

static enum status read_at(const struct segment_file *f, void *p, size_t len, uint64_t at,
                           struct error *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(f->fd, (char *)p + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return error_errno(err, errno, "%s", f->path);
        }
        if (n == 0) {
            return damaged(f, "is shorter than it was", err);
        }
        done += (size_t)n;
    }
    return STATUS_OK;
}

static bool sections_fit(const struct segment_header *h)
{
    for (uint32_t i = 0; i < h->n_sections; i++) {
        const struct segment_entry *e = &h->sections[i];
        if (e->name[SEGMENT_NAME - 1] != '\0' || e->offset % SEGMENT_ALIGN != 0 ||
            e->offset > h->body || e->size > h->body - e->offset) {
            return false;
        }
    }
    return true;
}

static enum status check_header(struct segment_file *f, const char *kind, uint32_t version,
                                struct error *err)
{
    const struct segment_header *h = &f->h;
    uint8_t hash[SHA256_BYTES];
    if (h->encrypted == 0) { /* of before the tenant had a key */
        f->key = NULL;
        f->cache = NULL;
    }
    if (f->size < SEGMENT_HEADER || memcmp(h->magic, SEGMENT_MAGIC, sizeof h->magic) != 0) {
        return damaged(f, "is not a segment", err);
    }
    segment_header_hash(h, f->key, hash);
    if ((h->encrypted != 0) != (f->key != NULL) || sodium_memcmp(hash, h->hash, sizeof hash) != 0) {
        return damaged(f, "its header is damaged, or it was written under another key", err);
    }
    if (strncmp(h->kind, kind, sizeof h->kind) != 0 || h->version != version) {
        return damaged(f, "holds something else, or was written by another version", err);
    }
    if (h->n_sections > SEGMENT_SECTIONS || h->body > UINT64_MAX / 2 ||
        h->blocks != (h->body + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK ||
        f->size != SEGMENT_HEADER + h->body + h->blocks * SEGMENT_TAG || !sections_fit(h)) {
        return damaged(f, "its sections do not fit into it", err);
    }
    return STATUS_OK;
}

static enum status read_table(struct segment_file *f, struct error *err)
{
    uint8_t hash[SHA256_BYTES];
    size_t len = (size_t)f->h.blocks * SEGMENT_TAG;
    f->table = malloc(len + 1);
    f->checked = calloc((size_t)f->h.blocks / 64 + 1, sizeof *f->checked);
    if (f->table == NULL || f->checked == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", f->path);
    }
    enum status s = read_at(f, f->table, len, SEGMENT_HEADER + f->h.body, err);
    if (s == STATUS_OK) {
        sha256_of(f->table, len, hash);
        if (memcmp(hash, f->h.table, sizeof hash) != 0) {
            s = damaged(f, "its table of checksums is damaged", err);
        }
    }
    return s;
}

static enum status map_body(struct segment_file *f, struct error *err)
{
    void *map = mmap(NULL, f->size, PROT_READ, MAP_SHARED, f->fd, 0);
    if (map == MAP_FAILED) {
        return error_errno(err, errno, "%s: mmap", f->path);
    }
    f->map = map;
    (void)close(f->fd);
    f->fd = -1;
    return STATUS_OK;
}

enum status segment_file_open(const char *path, const char *kind, uint32_t version,
                              const struct segment_key *key, struct segment_cache *cache,
                              struct segment_file **out, struct error *err)
{
    struct segment_file *f = calloc(1, sizeof *f);
    struct stat st;
    if (f == NULL || (f->path = strdup(path)) == NULL || sodium_init() < 0) {
        if (f != NULL) {
            free(f->path);
        }
        free(f);
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    f->key = key;
    f->cache = cache;
    enum status s = STATUS_OK;
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0 || fstat(f->fd, &st) != 0) {
        s = error_errno(err, errno, "%s", path);
    }
    if (s == STATUS_OK) {
        f->size = (size_t)st.st_size;
        s = f->size < SEGMENT_HEADER ? damaged(f, "is not a segment", err)
                                     : read_at(f, &f->h, sizeof f->h, 0, err);
    }
    if (s == STATUS_OK) {
        s = check_header(f, kind, version, err);
    }
    if (s == STATUS_OK) {
        memcpy(&f->name, f->h.salt, sizeof f->name);
        s = read_table(f, err);
    }
    if (s == STATUS_OK && f->key == NULL) {
        s = map_body(f, err);
    }
    if (s != STATUS_OK) {
        segment_file_close(f);
        return s;
    }
    *out = f;
    return STATUS_OK;
}

void segment_file_close(struct segment_file *f)
{
    if (f == NULL) {
        return;
    }
    if (f->cache != NULL) {
        segment_cache_forget(f->cache, f->name);
    }
    if (f->map != NULL) {
        (void)munmap(f->map, f->size);
    }
    if (f->fd >= 0) {
        (void)close(f->fd);
    }
    free(f->table);
    free(f->checked);
    free(f->path);
    free(f);
}

bool segment_file_clear(const struct segment_file *f)
{
    return f->key == NULL;
}

enum status segment_file_section(const struct segment_file *f, const char *name,
                                 struct segment_section *out, struct error *err)
{
    for (uint32_t i = 0; i < f->h.n_sections; i++) {
        if (strcmp(f->h.sections[i].name, name) == 0) {
            *out = (struct segment_section){f->h.sections[i].offset, f->h.sections[i].size};
            return STATUS_OK;
        }
    }
    return error_set(err, STATUS_CORRUPT, "%s: has no section %s", f->path, name);
}

/* ---- blocks ---- */

static size_t block_len(const struct segment_file *f, uint64_t block)
{
    uint64_t left = f->h.body - block * SEGMENT_BLOCK;
    return left < SEGMENT_BLOCK ? (size_t)left : SEGMENT_BLOCK;
}

static enum status block_damaged(const struct segment_file *f, uint64_t block, struct error *err)
{
    return error_set(
        err, STATUS_CORRUPT, "%s: bytes %llu to %llu do not match their checksum", f->path,
        (unsigned long long)(SEGMENT_HEADER + block * SEGMENT_BLOCK),
        (unsigned long long)(SEGMENT_HEADER + block * SEGMENT_BLOCK + block_len(f, block)));
}

/* p: its bytes */
static enum status check_bytes(struct segment_file *f, uint64_t block, const void *p,
                               struct error *err)
{
    uint8_t hash[SHA256_BYTES];
    sha256_of(p, block_len(f, block), hash);
    if (memcmp(hash, f->table + block * SEGMENT_TAG, SEGMENT_TAG) != 0) {
        return block_damaged(f, block, err);
    }
    (void)atomic_fetch_or_explicit(&f->checked[block / 64], (uint64_t)1 << (block % 64),
                                   memory_order_relaxed);
    return STATUS_OK;
}

static enum status check_mapped(struct segment_file *f, uint64_t block, struct error *err)
{
    return check_bytes(f, block, f->map + SEGMENT_HEADER + block * SEGMENT_BLOCK, err);
}

static bool is_checked(const struct segment_file *f, uint64_t block)
{
    uint64_t bits = atomic_load_explicit(&f->checked[block / 64], memory_order_relaxed);
    return (bits >> (block % 64) & 1U) != 0;
}

static enum status touch_mapped(struct segment_file *f, uint64_t first, uint64_t last,
                                struct error *err)
{
    enum status s = STATUS_OK;
    for (uint64_t b = first; b <= last && s == STATUS_OK; b++) {
        if (!is_checked(f, b)) {
            s = check_mapped(f, b, err);
        }
    }
    return s;
}

/* Decrypted into out (SEGMENT_BLOCK bytes of room). */
static enum status decrypt(struct segment_file *f, uint64_t block, unsigned char *out,
                           struct error *err)
{
    unsigned char nonce[SEGMENT_NONCE];
    size_t len = block_len(f, block);
    enum status s = read_at(f, out, len, SEGMENT_HEADER + block * SEGMENT_BLOCK, err);
    segment_nonce(&f->h, block, nonce);
    if (s == STATUS_OK && crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
                              out, NULL, out, len, f->table + block * SEGMENT_TAG, NULL, 0, nonce,
                              f->key->bytes) != 0) {
        s = block_damaged(f, block, err);
    }
    return s;
}

static enum status cached(struct segment_file *f, uint64_t block, struct segment_cached **out,
                          struct error *err)
{
    struct segment_cached *c = segment_cache_get(f->cache, f->name, block);
    if (c != NULL) {
        *out = c;
        return STATUS_OK;
    }
    c = segment_cached_new(f->name, block);
    if (c == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", f->path);
    }
    enum status s = decrypt(f, block, c->bytes, err);
    if (s != STATUS_OK) {
        segment_cached_free(c);
        return s;
    }
    *out = segment_cache_put(f->cache, c);
    return STATUS_OK;
}

static enum status copy_range(struct segment_file *f, uint64_t at, size_t len, unsigned char *to,
                              struct error *err)
{
    enum status s = STATUS_OK;
    while (len > 0 && s == STATUS_OK) {
        struct segment_cached *c = NULL;
        size_t from = (size_t)(at % SEGMENT_BLOCK);
        size_t n = SEGMENT_BLOCK - from < len ? SEGMENT_BLOCK - from : len;
        s = cached(f, at / SEGMENT_BLOCK, &c, err);
        if (s == STATUS_OK) {
            memcpy(to, c->bytes + from, n);
            segment_cache_give(f->cache, c);
            to += n;
            at += n;
            len -= n;
        }
    }
    return s;
}

enum status segment_file_view(struct segment_file *f, const struct segment_section *section,
                              uint64_t offset, size_t len, struct segment_view *out,
                              struct error *err)
{
    struct segment_view v = {.ptr = (const unsigned char *)"", .len = len, .file = f};
    enum status s = STATUS_OK;
    if (offset > section->size || len > section->size - offset) {
        return damaged(f, "points outside a section", err);
    }
    uint64_t at = section->offset + offset;
    if (len > 0) {
        uint64_t first = at / SEGMENT_BLOCK;
        uint64_t last = (at + len - 1) / SEGMENT_BLOCK;
        if (f->key == NULL) {
            s = touch_mapped(f, first, last, err);
            v.ptr = f->map + SEGMENT_HEADER + at;
        } else if (first == last) {
            struct segment_cached *c = NULL;
            s = cached(f, first, &c, err);
            v.pin = c;
            v.ptr = s == STATUS_OK ? c->bytes + at % SEGMENT_BLOCK : v.ptr;
        } else {
            v.copy =
                aligned_alloc(SEGMENT_ALIGN, (len + SEGMENT_ALIGN) / SEGMENT_ALIGN * SEGMENT_ALIGN +
                                                 SEGMENT_ALIGN);
            if (v.copy == NULL) {
                return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", f->path);
            }
            unsigned char *to = (unsigned char *)v.copy + at % SEGMENT_ALIGN;
            s = copy_range(f, at, len, to, err);
            v.ptr = to;
        }
    }
    if (s != STATUS_OK) {
        free(v.copy);
        return s;
    }
    *out = v;
    return STATUS_OK;
}

/* ---- reading without the map ---- */

enum status segment_file_keep(struct segment_file *f, struct error *err)
{
    if (f->fd < 0) {
        f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
    }
    return f->fd < 0 ? error_errno(err, errno, "%s", f->path) : STATUS_OK;
}

static enum status touch_read(struct segment_file *f, uint64_t block, struct error *err)
{
    unsigned char *room = malloc(SEGMENT_BLOCK);
    if (room == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", f->path);
    }
    enum status s =
        read_at(f, room, block_len(f, block), SEGMENT_HEADER + block * SEGMENT_BLOCK, err);
    if (s == STATUS_OK) {
        s = check_bytes(f, block, room, err);
    }
    free(room);
    return s;
}

enum status segment_file_read(struct segment_file *f, const struct segment_section *section,
                              uint64_t offset, size_t len, void *out, struct error *err)
{
    struct segment_view v = {0};
    enum status s = STATUS_OK;
    if (f->map == NULL || f->fd < 0 || len == 0) {
        s = segment_file_view(f, section, offset, len, &v, err);
        if (s == STATUS_OK) {
            memcpy(out, v.ptr, len);
            segment_view_drop(&v);
        }
        return s;
    }
    if (offset > section->size || len > section->size - offset) {
        return damaged(f, "points outside a section", err);
    }
    uint64_t at = section->offset + offset;
    for (uint64_t b = at / SEGMENT_BLOCK; b <= (at + len - 1) / SEGMENT_BLOCK && s == STATUS_OK;
         b++) {
        s = is_checked(f, b) ? STATUS_OK : touch_read(f, b, err);
    }
    return s == STATUS_OK ? read_at(f, out, len, SEGMENT_HEADER + at, err) : s;
}

void segment_view_drop(struct segment_view *v)
{
    if (v->pin != NULL) {
        segment_cache_give(v->file->cache, v->pin);
    }
    free(v->copy);
    *v = (struct segment_view){0};
}

enum status segment_file_check(struct segment_file *f, const _Atomic bool *cancelled,
                               struct error *err)
{
    unsigned char *room = f->key == NULL ? NULL : malloc(SEGMENT_BLOCK);
    enum status s = STATUS_OK;
    if (f->key != NULL && room == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", f->path);
    }
    for (uint64_t b = 0; b < f->h.blocks && s == STATUS_OK; b++) {
        if (cancelled != NULL && atomic_load(cancelled)) {
            s = error_set(err, STATUS_CANCELLED, "%s: checking it was cancelled", f->path);
        } else {
            s = f->key == NULL ? check_mapped(f, b, err) : decrypt(f, b, room, err);
        }
    }
    if (room != NULL) {
        sodium_memzero(room, SEGMENT_BLOCK);
    }
    free(room);
    return s;
}
