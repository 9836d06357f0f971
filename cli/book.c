#include "cli/book.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define MAGIC "CARRELB1"
#define MAGIC_BYTES 8
#define BLOCK ((size_t)65536)
#define A_BYTES crypto_secretstream_xchacha20poly1305_ABYTES
#define HEADER_BYTES crypto_secretstream_xchacha20poly1305_HEADERBYTES

/* A block on disk: length (4, little endian), 1 when it is the last, the bytes; after the last of
 * one that is not encrypted, BLAKE2b-256 of all bytes. */
struct book {
    struct vault *vault;
    int fd;
    bool writing, encrypted, last;
    char path[PATH_MAX], tmp[PATH_MAX];
    crypto_secretstream_xchacha20poly1305_state stream;
    crypto_generichash_state sum;
    size_t len, at;
    uint32_t pieces_left;
    char head[BOOK_HEAD_BYTES + 1];
    uint8_t block[BLOCK];
    uint8_t sealed[BLOCK + A_BYTES];
};

static enum status damaged(const struct book *b, struct error *err)
{
    return error_set(err, STATUS_CORRUPT, "%s: is damaged", b->path);
}

static enum status book_new(struct vault *v, const char *id, struct book **out, struct error *err)
{
    struct book *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    b->vault = v;
    b->fd = -1;
    b->encrypted = vault_book_key(v) != NULL;
    (void)crypto_generichash_init(&b->sum, NULL, 0, 32);
    enum status s = vault_book_path(v, id, b->path, sizeof b->path - 8, err);
    if (s != STATUS_OK) {
        free(b);
        return s;
    }
    (void)snprintf(b->tmp, sizeof b->tmp, "%.*s.new", (int)sizeof b->tmp - 8, b->path);
    *out = b;
    return STATUS_OK;
}

/* ---- writing ---- */

static enum status put(struct book *b, const void *p, size_t len, struct error *err)
{
    enum status s = file_write_all(b->fd, p, len, err);
    return s == STATUS_OK ? s : error_prefix(err, "%s", b->tmp);
}

static enum status flush(struct book *b, bool last, struct error *err)
{
    const uint8_t *p = b->block;
    size_t n = b->len;
    if (b->encrypted) {
        unsigned long long sealed = 0;
        (void)crypto_secretstream_xchacha20poly1305_push(
            &b->stream, b->sealed, &sealed, b->block, b->len, NULL, 0,
            last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0);
        p = b->sealed;
        n = (size_t)sealed;
    } else {
        (void)crypto_generichash_update(&b->sum, b->block, b->len);
    }
    const uint8_t front[5] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24),
                              last ? 1 : 0};
    enum status s = put(b, front, sizeof front, err);
    if (s == STATUS_OK) {
        s = put(b, p, n, err);
    }
    if (s == STATUS_OK && last && !b->encrypted) {
        uint8_t sum[32];
        (void)crypto_generichash_final(&b->sum, sum, sizeof sum);
        s = put(b, sum, sizeof sum, err);
    }
    b->len = 0;
    return s;
}

static enum status add(struct book *b, const void *p, size_t len, struct error *err)
{
    const uint8_t *from = p;
    enum status s = STATUS_OK;
    while (len > 0 && s == STATUS_OK) {
        size_t n = BLOCK - b->len < len ? BLOCK - b->len : len;
        memcpy(b->block + b->len, from, n);
        b->len += n;
        from += n;
        len -= n;
        if (b->len == BLOCK) {
            s = flush(b, false, err);
        }
    }
    return s;
}

static enum status add_number(struct book *b, uint64_t v, unsigned bytes, struct error *err)
{
    uint8_t le[8];
    for (unsigned i = 0; i < 8; i++) {
        le[i] = (uint8_t)(v >> (8 * i));
    }
    return add(b, le, bytes, err);
}

static enum status add_text(struct book *b, const char *z, struct error *err)
{
    size_t n = strlen(z);
    enum status s = add_number(b, n, 4, err);
    return s == STATUS_OK ? add(b, z, n, err) : s;
}

enum status book_begin(struct vault *v, const char *id, const char *head, struct book **out,
                       struct error *err)
{
    struct book *b = NULL;
    enum status s = strlen(head) > BOOK_HEAD_BYTES
                        ? error_set(err, STATUS_TOO_LARGE, "the header of the backup is too long")
                        : book_new(v, id, &b, err);
    if (s != STATUS_OK) {
        return s;
    }
    b->writing = true;
    b->fd = open(b->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (b->fd < 0) {
        s = error_errno(err, errno, "%s", b->tmp);
    } else {
        s = put(b, MAGIC, MAGIC_BYTES, err);
    }
    if (s == STATUS_OK && b->encrypted) {
        uint8_t header[HEADER_BYTES];
        (void)crypto_secretstream_xchacha20poly1305_init_push(&b->stream, header,
                                                              vault_book_key(v));
        s = put(b, header, sizeof header, err);
    }
    if (s == STATUS_OK) {
        s = add_text(b, head, err);
    }
    if (s != STATUS_OK) {
        book_close(b);
        return s;
    }
    *out = b;
    return STATUS_OK;
}

enum status book_add(struct book *b, const struct book_entry *e, struct error *err)
{
    const struct {
        uint64_t value;
        unsigned bytes;
    } numbers[] = {{(uint64_t)e->kind, 1},        {e->part, 1},  {e->mode, 4},  {e->size, 8},
                   {(uint64_t)e->modified_ns, 8}, {e->inode, 8}, {e->pieces, 4}};
    enum status s = STATUS_OK;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && s == STATUS_OK; i++) {
        s = add_number(b, numbers[i].value, numbers[i].bytes, err);
    }
    if (s == STATUS_OK) {
        s = add_text(b, e->path, err);
    }
    return s == STATUS_OK ? add_text(b, e->kind == BOOK_SAME ? e->as : "", err) : s;
}

enum status book_add_piece(struct book *b, const struct piece_name *n, struct error *err)
{
    return add(b, n->bytes, sizeof n->bytes, err);
}

enum status book_finish(struct book *b, struct error *err)
{
    enum status s = add_number(b, 'E', 1, err);
    if (s == STATUS_OK) {
        s = flush(b, true, err);
    }
    if (s == STATUS_OK && fsync(b->fd) != 0) {
        s = error_errno(err, errno, "%s", b->tmp);
    }
    if (s == STATUS_OK && rename(b->tmp, b->path) != 0) {
        s = error_errno(err, errno, "%s", b->path);
    }
    if (s != STATUS_OK) {
        return s;
    }
    b->writing = false;
    return file_sync_parent(b->path, err);
}

/* ---- reading ---- */

static enum status get(struct book *b, void *p, size_t len, struct error *err)
{
    uint8_t *to = p;
    while (len > 0) {
        ssize_t n = read(b->fd, to, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? error_errno(err, errno, "%s", b->path) : damaged(b, err);
        }
        to += n;
        len -= (size_t)n;
    }
    return STATUS_OK;
}

static enum status fill(struct book *b, struct error *err)
{
    uint8_t front[5];
    if (b->last) {
        return damaged(b, err);
    }
    enum status s = get(b, front, sizeof front, err);
    size_t n = s != STATUS_OK ? 0
                              : (size_t)front[0] | (size_t)front[1] << 8 | (size_t)front[2] << 16 |
                                    (size_t)front[3] << 24;
    size_t extra = b->encrypted ? A_BYTES : 0;
    if (s == STATUS_OK && (n < extra || n > BLOCK + extra || front[4] > 1)) {
        s = damaged(b, err);
    }
    if (s == STATUS_OK) {
        s = get(b, b->encrypted ? b->sealed : b->block, n, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    b->last = front[4] == 1;
    b->len = n - extra;
    b->at = 0;
    if (b->encrypted) {
        unsigned char tag = 0;
        if (crypto_secretstream_xchacha20poly1305_pull(&b->stream, b->block, NULL, &tag, b->sealed,
                                                       n, NULL, 0) != 0 ||
            (tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL) != b->last) {
            s = damaged(b, err);
        }
    } else {
        (void)crypto_generichash_update(&b->sum, b->block, b->len);
    }
    return s;
}

static enum status take(struct book *b, void *p, size_t len, struct error *err)
{
    uint8_t *to = p;
    enum status s = STATUS_OK;
    while (len > 0 && s == STATUS_OK) {
        if (b->at == b->len) {
            s = fill(b, err);
            continue;
        }
        size_t n = b->len - b->at < len ? b->len - b->at : len;
        memcpy(to, b->block + b->at, n);
        b->at += n;
        to += n;
        len -= n;
    }
    return s;
}

static enum status take_number(struct book *b, uint64_t *v, unsigned bytes, struct error *err)
{
    uint8_t le[8] = {0};
    enum status s = take(b, le, bytes, err);
    *v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        *v |= (uint64_t)le[i] << (8 * i);
    }
    return s;
}

static enum status take_text(struct book *b, char *out, size_t cap, struct error *err)
{
    uint64_t n = 0;
    enum status s = take_number(b, &n, 4, err);
    if (s == STATUS_OK && n >= cap) {
        s = damaged(b, err);
    }
    if (s == STATUS_OK) {
        s = take(b, out, (size_t)n, err);
    }
    if (s == STATUS_OK) {
        out[n] = '\0';
        s = strlen(out) == n ? s : damaged(b, err);
    }
    return s;
}

/* Nothing that leads out of the folder that it is restored to. */
bool book_path_ok(const char *path)
{
    if (path[0] == '/' || path[0] == '\0') {
        return false;
    }
    for (const char *p = path; *p != '\0';) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.')) {
            return false;
        }
        p += n;
        p += *p == '/' ? 1 : 0;
        if (*p == '\0' && p[-1] == '/') {
            return false;
        }
    }
    return true;
}

enum status book_open(struct vault *v, const char *id, struct book **out, struct error *err)
{
    struct book *b = NULL;
    uint8_t magic[MAGIC_BYTES];
    uint8_t header[HEADER_BYTES];
    enum status s = book_new(v, id, &b, err);
    if (s != STATUS_OK) {
        return s;
    }
    b->fd = open(b->path, O_RDONLY | O_CLOEXEC);
    if (b->fd < 0) {
        s = errno == ENOENT
                ? error_set(err, STATUS_NOT_FOUND, "there is no backup %s in %s", id, vault_dir(v))
                : error_errno(err, errno, "%s", b->path);
    } else {
        s = get(b, magic, sizeof magic, err);
    }
    if (s == STATUS_OK && memcmp(magic, MAGIC, sizeof magic) != 0) {
        s = damaged(b, err);
    }
    if (s == STATUS_OK && b->encrypted) {
        s = get(b, header, sizeof header, err);
        if (s == STATUS_OK && crypto_secretstream_xchacha20poly1305_init_pull(
                                  &b->stream, header, vault_book_key(v)) != 0) {
            s = damaged(b, err);
        }
    }
    if (s == STATUS_OK) {
        s = take_text(b, b->head, sizeof b->head, err);
    }
    if (s != STATUS_OK) {
        book_close(b);
        return s;
    }
    *out = b;
    return STATUS_OK;
}

const char *book_head(const struct book *b)
{
    return b->head;
}

static enum status check_end(struct book *b, struct error *err)
{
    uint8_t stored[32];
    uint8_t sum[32];
    uint8_t more;
    enum status s = b->last && b->at == b->len ? STATUS_OK : damaged(b, err);
    if (s == STATUS_OK && !b->encrypted) {
        s = get(b, stored, sizeof stored, err);
        (void)crypto_generichash_final(&b->sum, sum, sizeof sum);
        if (s == STATUS_OK && memcmp(sum, stored, sizeof sum) != 0) {
            s = damaged(b, err);
        }
    }
    if (s == STATUS_OK && read(b->fd, &more, 1) != 0) {
        s = damaged(b, err);
    }
    return s;
}

enum status book_next(struct book *b, struct book_entry *e, bool *more, struct error *err)
{
    struct piece_name skipped;
    enum status s = STATUS_OK;
    while (s == STATUS_OK && b->pieces_left > 0) {
        s = book_piece(b, &skipped, err);
    }
    uint64_t v[7] = {0};
    static const unsigned bytes[7] = {1, 1, 4, 8, 8, 8, 4};
    if (s == STATUS_OK) {
        s = take_number(b, &v[0], 1, err);
    }
    if (s == STATUS_OK && v[0] == 'E') {
        *more = false;
        return check_end(b, err);
    }
    for (size_t i = 1; i < 7 && s == STATUS_OK; i++) {
        s = take_number(b, &v[i], bytes[i], err);
    }
    if (s == STATUS_OK) {
        s = take_text(b, e->path, sizeof e->path, err);
    }
    if (s == STATUS_OK) {
        s = take_text(b, e->as, sizeof e->as, err);
    }
    if (s == STATUS_OK && ((v[0] != BOOK_FILE && v[0] != BOOK_SAME) || !book_path_ok(e->path) ||
                           (v[0] == BOOK_SAME && !book_path_ok(e->as)))) {
        s = damaged(b, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    e->kind = (enum book_kind)v[0];
    e->part = (uint8_t)v[1];
    e->mode = (uint32_t)v[2];
    e->size = v[3];
    e->modified_ns = (int64_t)v[4];
    e->inode = v[5];
    e->pieces = (uint32_t)v[6];
    b->pieces_left = e->pieces;
    *more = true;
    return STATUS_OK;
}

enum status book_piece(struct book *b, struct piece_name *out, struct error *err)
{
    if (b->pieces_left == 0) {
        return error_set(err, STATUS_INTERNAL, "%s: no piece is left", b->path);
    }
    b->pieces_left--;
    return take(b, out->bytes, sizeof out->bytes, err);
}

void book_close(struct book *b)
{
    if (b == NULL) {
        return;
    }
    if (b->fd >= 0) {
        (void)close(b->fd);
    }
    if (b->writing) {
        (void)unlink(b->tmp);
    }
    sodium_memzero(&b->stream, sizeof b->stream);
    free(b);
}

int book_compare(const char *a, const char *b)
{
    size_t i = 0;
    while (a[i] != '\0' && a[i] == b[i]) {
        i++;
    }
    int x = a[i] == '/' ? 1 : (unsigned char)a[i] + (a[i] != '\0' ? 1 : 0);
    int y = b[i] == '/' ? 1 : (unsigned char)b[i] + (b[i] != '\0' ? 1 : 0);
    return x - y;
}
