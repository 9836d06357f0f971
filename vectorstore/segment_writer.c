#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "vectorstore/segment_format.h"

struct segment_writer {
    char *path, *beside;
    int fd;
    bool finished;
    enum status failed;
    struct segment_header h;
    struct segment_key key;
    bool keyed;
    unsigned char *table;
    size_t cap; /* blocks the table has room for */
    size_t n;   /* bytes in block */
    unsigned char block[SEGMENT_BLOCK];
};

enum status segment_writer_begin(const char *path, const char *kind, uint32_t version,
                                 const struct segment_key *key, struct segment_writer **out,
                                 struct error *err)
{
    struct segment_writer *w = calloc(1, sizeof *w);
    size_t len = strlen(path);
    if (w == NULL || sodium_init() < 0 || strlen(kind) >= SEGMENT_NAME) {
        free(w);
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    w->fd = -1;
    w->path = strdup(path);
    w->beside = malloc(len + sizeof ".new");
    if (w->path == NULL || w->beside == NULL) {
        segment_writer_end(w);
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    (void)snprintf(w->beside, len + sizeof ".new", "%s.new", path);
    memcpy(w->h.magic, SEGMENT_MAGIC, sizeof w->h.magic);
    memcpy(w->h.kind, kind, strlen(kind));
    w->h.version = version;
    random_bytes(w->h.salt, sizeof w->h.salt);
    if (key != NULL) {
        w->keyed = true;
        w->key = *key;
        w->h.encrypted = 1;
    }
    w->fd = open(w->beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (w->fd < 0 || lseek(w->fd, (off_t)SEGMENT_HEADER, SEEK_SET) < 0) {
        enum status s = error_errno(err, errno, "%s", w->beside);
        segment_writer_end(w);
        return s;
    }
    *out = w;
    return STATUS_OK;
}

static enum status fail(struct segment_writer *w, enum status s)
{
    w->failed = s;
    return s;
}

static bool table_room(struct segment_writer *w)
{
    if (w->h.blocks < w->cap) {
        return true;
    }
    size_t cap = w->cap == 0 ? 64 : w->cap * 2;
    unsigned char *table = realloc(w->table, cap * SEGMENT_TAG);
    if (table == NULL) {
        return false;
    }
    w->table = table;
    w->cap = cap;
    return true;
}

static enum status flush(struct segment_writer *w, struct error *err)
{
    if (w->n == 0) {
        return STATUS_OK;
    }
    if (!table_room(w)) {
        return fail(w, error_set(err, STATUS_NO_MEMORY, "%s: out of memory", w->path));
    }
    unsigned char *tag = w->table + w->h.blocks * SEGMENT_TAG;
    if (w->keyed) {
        unsigned char nonce[SEGMENT_NONCE];
        segment_nonce(&w->h, w->h.blocks, nonce);
        (void)crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
            w->block, tag, NULL, w->block, w->n, NULL, 0, NULL, nonce, w->key.bytes);
    } else {
        uint8_t hash[SHA256_BYTES];
        sha256_of(w->block, w->n, hash);
        memcpy(tag, hash, SEGMENT_TAG);
    }
    enum status s = file_write_all(w->fd, w->block, w->n, err);
    if (s != STATUS_OK) {
        (void)error_prefix(err, "%s", w->beside);
        return fail(w, s);
    }
    w->h.blocks++;
    w->n = 0;
    return STATUS_OK;
}

static enum status append(struct segment_writer *w, const void *p, size_t len, struct error *err)
{
    const unsigned char *from = p;
    enum status s = STATUS_OK;
    w->h.body += len;
    while (len > 0 && s == STATUS_OK) {
        size_t n = SEGMENT_BLOCK - w->n < len ? SEGMENT_BLOCK - w->n : len;
        memcpy(w->block + w->n, from, n);
        w->n += n;
        from += n;
        len -= n;
        if (w->n == SEGMENT_BLOCK) {
            s = flush(w, err);
        }
    }
    return s;
}

static enum status failed_before(const struct segment_writer *w, struct error *err)
{
    return error_set(err, w->failed, "%s: writing it failed before", w->path);
}

enum status segment_writer_section(struct segment_writer *w, const char *name, struct error *err)
{
    static const unsigned char zeros[SEGMENT_ALIGN];
    struct segment_header *h = &w->h;
    if (w->failed != STATUS_OK) {
        return failed_before(w, err);
    }
    bool there = h->n_sections == SEGMENT_SECTIONS || strlen(name) >= SEGMENT_NAME;
    for (uint32_t i = 0; i < h->n_sections && !there; i++) {
        there = strcmp(h->sections[i].name, name) == 0;
    }
    if (there) {
        return fail(w,
                    error_set(err, STATUS_INTERNAL, "%s: no room for a section %s", w->path, name));
    }
    enum status s = append(w, zeros, (size_t)(-h->body % SEGMENT_ALIGN), err);
    if (s == STATUS_OK) {
        struct segment_entry *e = &h->sections[h->n_sections++];
        memcpy(e->name, name, strlen(name));
        e->offset = h->body;
    }
    return s;
}

enum status segment_writer_add(struct segment_writer *w, const void *p, size_t len,
                               struct error *err)
{
    if (w->failed != STATUS_OK) {
        return failed_before(w, err);
    }
    if (w->h.n_sections == 0) {
        return fail(w, error_set(err, STATUS_INTERNAL, "%s: bytes without a section", w->path));
    }
    w->h.sections[w->h.n_sections - 1].size += len;
    return append(w, p, len, err);
}

uint64_t segment_writer_at(const struct segment_writer *w)
{
    return w->h.n_sections == 0 ? 0 : w->h.sections[w->h.n_sections - 1].size;
}

static enum status write_header(struct segment_writer *w, struct error *err)
{
    unsigned char page[SEGMENT_HEADER] = {0};
    memcpy(page, &w->h, sizeof w->h);
    enum status s = STATUS_OK;
    if (lseek(w->fd, 0, SEEK_SET) < 0) {
        s = error_errno(err, errno, "%s", w->beside);
    }
    return s == STATUS_OK ? file_write_all(w->fd, page, sizeof page, err) : s;
}

enum status segment_writer_finish(struct segment_writer *w, struct error *err)
{
    if (w->failed != STATUS_OK) {
        return failed_before(w, err);
    }
    enum status s = flush(w, err);
    size_t len = (size_t)w->h.blocks * SEGMENT_TAG;
    if (s == STATUS_OK) {
        s = file_write_all(w->fd, w->table, len, err);
    }
    if (s == STATUS_OK) {
        sha256_of(w->table, len, w->h.table);
        segment_header_hash(&w->h, w->keyed ? &w->key : NULL, w->h.hash);
        s = write_header(w, err);
    }
    if (s == STATUS_OK && fsync(w->fd) != 0) {
        s = error_errno(err, errno, "%s: fsync", w->beside);
    }
    if (s == STATUS_OK && rename(w->beside, w->path) != 0) {
        s = error_errno(err, errno, "%s: rename", w->beside);
    }
    w->finished = s == STATUS_OK;
    return s == STATUS_OK ? file_sync_parent(w->path, err) : fail(w, s);
}

void segment_writer_end(struct segment_writer *w)
{
    if (w == NULL) {
        return;
    }
    if (w->fd >= 0) {
        (void)close(w->fd);
        if (!w->finished) {
            (void)unlink(w->beside);
        }
    }
    sodium_memzero(&w->key, sizeof w->key);
    sodium_memzero(w->block, sizeof w->block);
    free(w->table);
    free(w->path);
    free(w->beside);
    free(w);
}
