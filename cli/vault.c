#include "cli/vault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/book.h"

#define MAGIC "CARRELP1"
#define MAGIC_BYTES 8
#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define SEALED_MAX (MAGIC_BYTES + NONCE + PIECE_BYTES + TAG)
#define KEY_FILE_MAX 65536
#define KEY_FILE_MIN 16
#define NAMES_AT_ONCE ((size_t)1 << 20) /* 32 MiB while collecting */

struct keys {
    uint8_t name[crypto_generichash_KEYBYTES];
    uint8_t piece[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
    uint8_t book[crypto_secretstream_xchacha20poly1305_KEYBYTES];
    uint8_t check[32];
};

struct vault {
    char dir[PATH_MAX - 200];
    int lock;
    bool encrypted;
    struct keys *keys; /* guarded memory; NULL: not encrypted */
    uint8_t *sealed;   /* SEALED_MAX */
    uint8_t *plain;    /* PIECE_BYTES */
};

const char *vault_dir(const struct vault *v)
{
    return v->dir;
}

const uint8_t *vault_book_key(const struct vault *v)
{
    return v->encrypted ? v->keys->book : NULL;
}

/* ---- keys ---- */

static enum status read_key(const char *file, struct buf *out, struct error *err)
{
    enum status s = file_read(file, out, err);
    while (s == STATUS_OK && out->len > 0 &&
           (out->ptr[out->len - 1] == '\n' || out->ptr[out->len - 1] == '\r')) {
        out->len--;
    }
    if (s == STATUS_OK && out->len < KEY_FILE_MIN) {
        s = error_set(err, STATUS_INVALID,
                      "%s: a key needs at least %d bytes (make one: head -c 32 /dev/urandom | "
                      "base64 > FILE)",
                      file, KEY_FILE_MIN);
    }
    return s;
}

static enum status derive(struct vault *v, const char *file, const uint8_t *salt, struct error *err)
{
    uint8_t master[crypto_kdf_KEYBYTES];
    struct buf text;
    buf_init(&text, KEY_FILE_MAX);
    v->keys = sodium_malloc(sizeof *v->keys);
    enum status s = v->keys == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                    : read_key(file, &text, err);
    if (s == STATUS_OK &&
        crypto_pwhash(master, sizeof master, text.ptr, text.len, salt,
                      crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE,
                      crypto_pwhash_ALG_ARGON2ID13) != 0) {
        s = error_set(err, STATUS_NO_MEMORY, "deriving the key needs 64 MiB of memory");
    }
    if (s == STATUS_OK) {
        static const char context[crypto_kdf_CONTEXTBYTES + 1] = "carrelbk";
        (void)crypto_kdf_derive_from_key(v->keys->name, sizeof v->keys->name, 1, context, master);
        (void)crypto_kdf_derive_from_key(v->keys->piece, sizeof v->keys->piece, 2, context, master);
        (void)crypto_kdf_derive_from_key(v->keys->book, sizeof v->keys->book, 3, context, master);
        (void)crypto_kdf_derive_from_key(v->keys->check, sizeof v->keys->check, 4, context, master);
    }
    sodium_memzero(master, sizeof master);
    if (text.ptr != NULL) {
        sodium_memzero(text.ptr, text.cap);
    }
    buf_deinit(&text);
    return s;
}

static bool unhex(const char *hex, uint8_t *out, size_t len)
{
    size_t n = 0;
    return hex != NULL && sodium_hex2bin(out, len, hex, strlen(hex), NULL, &n, NULL) == 0 &&
           n == len;
}

static enum status make_head(struct vault *v, const char *key_file, const char *path,
                             struct error *err)
{
    uint8_t salt[crypto_pwhash_SALTBYTES];
    char salt_hex[2 * sizeof salt + 1];
    char check_hex[65] = "";
    randombytes_buf(salt, sizeof salt);
    (void)sodium_bin2hex(salt_hex, sizeof salt_hex, salt, sizeof salt);
    enum status s = key_file == NULL ? STATUS_OK : derive(v, key_file, salt, err);
    if (s == STATUS_OK && key_file != NULL) {
        (void)sodium_bin2hex(check_hex, sizeof check_hex, v->keys->check, sizeof v->keys->check);
    }
    if (s != STATUS_OK) {
        return s;
    }
    v->encrypted = key_file != NULL;
    json_t *j = json_pack("{s:i,s:s,s:s,s:s}", "format", 1, "cipher",
                          key_file == NULL ? "none" : "xchacha20poly1305", "salt", salt_hex,
                          "check", check_hex);
    char *text = j == NULL ? NULL : json_dumps(j, JSON_INDENT(1));
    s = text == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                     : file_write_atomic(path, text, strlen(text), 0600, err);
    free(text);
    json_decref(j);
    return s;
}

static enum status read_head(struct vault *v, const char *key_file, const char *path,
                             struct error *err)
{
    uint8_t salt[crypto_pwhash_SALTBYTES];
    uint8_t check[32];
    json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    const char *cipher = json_string_value(json_object_get(j, "cipher"));
    json_int_t format = json_integer_value(json_object_get(j, "format"));
    enum status s = STATUS_OK;
    if (cipher == NULL) {
        s = error_set(err, STATUS_CORRUPT, "%s: is damaged", path);
    } else if (format != 1 ||
               (strcmp(cipher, "none") != 0 && strcmp(cipher, "xchacha20poly1305") != 0)) {
        s = error_set(err, STATUS_UNSUPPORTED, "%s: made by a newer Carrel", path);
    } else if (strcmp(cipher, "none") == 0) {
        s = key_file == NULL
                ? STATUS_OK
                : error_set(err, STATUS_FORBIDDEN,
                            "the backups in %s are not encrypted: leave out --key-file, or begin "
                            "an encrypted folder elsewhere",
                            v->dir);
    } else if (key_file == NULL) {
        s = error_set(err, STATUS_FORBIDDEN, "the backups in %s are encrypted: give --key-file",
                      v->dir);
    } else if (!unhex(json_string_value(json_object_get(j, "salt")), salt, sizeof salt) ||
               !unhex(json_string_value(json_object_get(j, "check")), check, sizeof check)) {
        s = error_set(err, STATUS_CORRUPT, "%s: is damaged", path);
    } else {
        v->encrypted = true;
        s = derive(v, key_file, salt, err);
        if (s == STATUS_OK && sodium_memcmp(check, v->keys->check, sizeof check) != 0) {
            s = error_set(err, STATUS_FORBIDDEN, "the key in %s does not open the backups in %s",
                          key_file, v->dir);
        }
    }
    json_decref(j);
    return s;
}

/* ---- opening ---- */

static bool folder_empty(const char *dir)
{
    DIR *d = opendir(dir);
    bool empty = true;
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        empty = empty && (e->d_name[0] == '.' || strcmp(e->d_name, "lost+found") == 0 ||
                          strcmp(e->d_name, "lock") == 0);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return empty;
}

static enum status take_lock(struct vault *v, bool alone, struct error *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/lock", v->dir);
    v->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (v->lock < 0 && !alone && (errno == EROFS || errno == EACCES)) {
        return STATUS_OK; /* a read-only copy of the backups can be read */
    }
    if (v->lock < 0) {
        return error_errno(err, errno, "%s", path);
    }
    if (flock(v->lock, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        return error_set(err, STATUS_BUSY, "%s: another backup or restore is using it", v->dir);
    }
    return STATUS_OK;
}

static int is_unfinished(const struct dirent *e)
{
    return strstr(e->d_name, ".new") != NULL;
}

static enum status open_folders(struct vault *v, bool make, struct error *err)
{
    static const char *const names[] = {"pieces", "books", "new"};
    char path[PATH_MAX];
    enum status s = STATUS_OK;
    (void)snprintf(path, sizeof path, "%s/new", v->dir);
    if (make) {
        s = file_remove_tree(path, err); /* of a backup that was not finished */
    }
    struct dirent **found = NULL;
    (void)snprintf(path, sizeof path, "%s/books", v->dir);
    int n = make ? scandir(path, &found, is_unfinished, NULL) : 0;
    for (int i = 0; i < n; i++) {
        if (snprintf(path, sizeof path, "%s/books/%s", v->dir, found[i]->d_name) <
            (int)sizeof path) {
            (void)unlink(path);
        }
        free(found[i]);
    }
    free(found);
    for (size_t i = 0; i < sizeof names / sizeof names[0] && s == STATUS_OK && make; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", v->dir, names[i]);
        s = file_mkdirs(path, 0700, err);
    }
    return s;
}

enum status vault_open(const char *dir, const char *key_file, bool make, bool alone,
                       struct vault **out, struct error *err)
{
    char path[PATH_MAX];
    struct vault *v = calloc(1, sizeof *v);
    if (v == NULL || sodium_init() < 0) {
        free(v);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    v->lock = -1;
    v->sealed = malloc(SEALED_MAX);
    v->plain = malloc(PIECE_BYTES);
    int n = snprintf(v->dir, sizeof v->dir, "%s", dir);
    enum status s = v->sealed == NULL || v->plain == NULL
                        ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                    : n <= 0 || (size_t)n >= sizeof v->dir
                        ? error_set(err, STATUS_TOO_LARGE, "%s: path empty or too long", dir)
                    : make ? file_mkdirs(dir, 0700, err)
                           : STATUS_OK;
    (void)snprintf(path, sizeof path, "%s/carrel-backup", v->dir);
    bool there = access(path, F_OK) == 0;
    if (s == STATUS_OK && !there && !make) {
        s = error_set(err, STATUS_NOT_FOUND, "%s: holds no backups of Carrel", dir);
    } else if (s == STATUS_OK && !there && !folder_empty(dir)) {
        s = error_set(err, STATUS_CONFLICT,
                      "%s: holds other things; choose an empty folder for backups", dir);
    }
    if (s == STATUS_OK) {
        s = take_lock(v, alone, err);
    }
    if (s == STATUS_OK) {
        s = there ? read_head(v, key_file, path, err) : make_head(v, key_file, path, err);
    }
    if (s == STATUS_OK) {
        s = open_folders(v, make, err);
    }
    if (s != STATUS_OK) {
        vault_close(v);
        return s;
    }
    *out = v;
    return STATUS_OK;
}

void vault_close(struct vault *v)
{
    if (v == NULL) {
        return;
    }
    if (v->keys != NULL) {
        sodium_free(v->keys);
    }
    if (v->lock >= 0) {
        (void)close(v->lock);
    }
    free(v->sealed);
    free(v->plain);
    free(v);
}

/* ---- pieces ---- */

static void piece_path(const struct vault *v, const char *folder, const struct piece_name *n,
                       char *out, size_t cap)
{
    char hex[2 * PIECE_NAME + 1];
    (void)sodium_bin2hex(hex, sizeof hex, n->bytes, sizeof n->bytes);
    (void)snprintf(out, cap, "%s/%s/%.2s/%s", v->dir, folder, hex, hex + 2);
}

static void name_of(const struct vault *v, const void *p, size_t len, struct piece_name *out)
{
    (void)crypto_generichash(out->bytes, sizeof out->bytes, p, len,
                             v->encrypted ? v->keys->name : NULL,
                             v->encrypted ? sizeof v->keys->name : 0);
}

bool vault_has(const struct vault *v, const struct piece_name *n)
{
    char path[PATH_MAX];
    struct stat st;
    piece_path(v, "pieces", n, path, sizeof path);
    if (stat(path, &st) == 0) {
        return st.st_size >= MAGIC_BYTES;
    }
    piece_path(v, "new", n, path, sizeof path);
    return access(path, F_OK) == 0;
}

static size_t seal(struct vault *v, const void *p, size_t len, const struct piece_name *n)
{
    memcpy(v->sealed, MAGIC, MAGIC_BYTES);
    if (!v->encrypted) {
        memcpy(v->sealed + MAGIC_BYTES, p, len);
        return MAGIC_BYTES + len;
    }
    unsigned long long sealed = 0;
    uint8_t *nonce = v->sealed + MAGIC_BYTES;
    randombytes_buf(nonce, NONCE);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + NONCE, &sealed, p, len, n->bytes,
                                                     sizeof n->bytes, NULL, nonce, v->keys->piece);
    return MAGIC_BYTES + NONCE + (size_t)sealed;
}

static enum status write_piece(const char *path, const void *p, size_t len, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT) {
        char dir[PATH_MAX];
        (void)snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
        (void)mkdir(dir, 0700);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
    if (fd < 0) {
        return error_errno(err, errno, "%s", path);
    }
    enum status s = file_write_all(fd, p, len, err);
    if (close(fd) != 0 && s == STATUS_OK) {
        s = error_errno(err, errno, "close");
    }
    if (s != STATUS_OK) {
        (void)unlink(path);
        return error_prefix(err, "%s", path);
    }
    return STATUS_OK;
}

enum status vault_put(struct vault *v, const void *p, size_t len, struct piece_name *out,
                      bool *added, size_t *stored, struct error *err)
{
    char path[PATH_MAX];
    name_of(v, p, len, out);
    *added = !vault_has(v, out);
    *stored = 0;
    if (!*added) {
        return STATUS_OK;
    }
    *stored = seal(v, p, len, out);
    piece_path(v, "new", out, path, sizeof path);
    return write_piece(path, v->sealed, *stored, err);
}

static enum status read_sealed(const struct vault *v, const char *path, size_t *len,
                               struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? error_set(err, STATUS_CORRUPT, "%s: is missing", path)
                               : error_errno(err, errno, "%s", path);
    }
    size_t n = 0;
    ssize_t got = 1;
    while (got > 0 && n < SEALED_MAX) {
        got = read(fd, v->sealed + n, SEALED_MAX - n);
        n += got > 0 ? (size_t)got : 0;
    }
    enum status s = got < 0 ? error_errno(err, errno, "%s", path) : STATUS_OK;
    (void)close(fd);
    *len = n;
    return s;
}

enum status vault_get(struct vault *v, const struct piece_name *n, const void **p, size_t *len,
                      struct error *err)
{
    char path[PATH_MAX];
    size_t have = 0;
    struct piece_name is;
    piece_path(v, "pieces", n, path, sizeof path);
    enum status s = read_sealed(v, path, &have, err);
    if (s != STATUS_OK) {
        return s;
    }
    bool whole = have >= MAGIC_BYTES && memcmp(v->sealed, MAGIC, MAGIC_BYTES) == 0;
    const uint8_t *body = v->sealed + MAGIC_BYTES;
    size_t n_body = whole ? have - MAGIC_BYTES : 0;
    if (whole && v->encrypted) {
        unsigned long long opened = 0;
        whole = n_body >= NONCE + TAG && crypto_aead_xchacha20poly1305_ietf_decrypt(
                                             v->plain, &opened, NULL, body + NONCE, n_body - NONCE,
                                             n->bytes, sizeof n->bytes, body, v->keys->piece) == 0;
        body = v->plain;
        n_body = (size_t)opened;
    }
    if (whole) {
        name_of(v, body, n_body, &is);
        whole = sodium_memcmp(is.bytes, n->bytes, sizeof is.bytes) == 0;
    }
    if (!whole) {
        return error_set(err, STATUS_CORRUPT, "%s: does not match its checksum", path);
    }
    *p = body;
    *len = n_body;
    return STATUS_OK;
}

/* ---- settling and collecting: folder by folder ---- */

typedef enum status (*piece_visit)(struct vault *v, int dir, const char *folder, const char *name,
                                   void *data, struct error *err);

static enum status visit_pieces(struct vault *v, const char *what, piece_visit visit, void *data,
                                struct error *err)
{
    enum status s = STATUS_OK;
    for (unsigned i = 0; i < 256 && s == STATUS_OK; i++) {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/%s/%02x", v->dir, what, i);
        DIR *d = opendir(path);
        if (d == NULL && errno != ENOENT) {
            s = error_errno(err, errno, "%s", path);
        }
        for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL && s == STATUS_OK;
             e = readdir(d)) {
            if (strlen(e->d_name) == 2 * PIECE_NAME - 2) {
                s = visit(v, dirfd(d), strrchr(path, '/') + 1, e->d_name, data, err);
            }
        }
        if (d != NULL) {
            (void)closedir(d);
        }
    }
    return s;
}

static enum status settle_one(struct vault *v, int dir, const char *folder, const char *name,
                              void *data, struct error *err)
{
    char to[PATH_MAX];
    (void)data;
    (void)snprintf(to, sizeof to, "%s/pieces/%s", v->dir, folder);
    if (mkdir(to, 0700) != 0 && errno != EEXIST) {
        return error_errno(err, errno, "%s", to);
    }
    size_t n = strlen(to);
    (void)snprintf(to + n, sizeof to - n, "/%s", name);
    return renameat(dir, name, AT_FDCWD, to) == 0 ? STATUS_OK : error_errno(err, errno, "%s", to);
}

static enum status sync_all(const struct vault *v, struct error *err)
{
    int fd = open(v->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum status s =
        fd < 0 || syncfs(fd) != 0 ? error_errno(err, errno, "%s: sync", v->dir) : STATUS_OK;
    if (fd >= 0) {
        (void)close(fd);
    }
    return s;
}

enum status vault_settle(struct vault *v, struct error *err)
{
    enum status s = sync_all(v, err);
    if (s == STATUS_OK) {
        s = visit_pieces(v, "new", settle_one, NULL, err);
    }
    return s == STATUS_OK ? sync_all(v, err) : s;
}

/* As many names as fit are held at once, those that begin with [from, until). */
struct collecting {
    struct piece_name *names;
    size_t n;
    unsigned from, until;
    uint64_t removed, bytes;
};

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, PIECE_NAME);
}

static enum status gather(struct vault *v, struct collecting *c, struct error *err)
{
    char **ids = NULL;
    size_t n = 0;
    c->n = 0;
    enum status s = vault_books(v, &ids, &n, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        struct book *b = NULL;
        struct book_entry e;
        bool more = true;
        s = book_open(v, ids[i], &b, err);
        while (s == STATUS_OK && more) {
            s = book_next(b, &e, &more, err);
            for (uint32_t k = 0; s == STATUS_OK && more && k < e.pieces; k++) {
                struct piece_name name;
                s = book_piece(b, &name, err);
                if (s != STATUS_OK || name.bytes[0] < c->from || name.bytes[0] >= c->until) {
                    continue;
                }
                if (c->n == NAMES_AT_ONCE) {
                    qsort(c->names, c->n, sizeof *c->names, by_bytes);
                    size_t kept = 1;
                    for (size_t at = 1; at < c->n; at++) {
                        if (by_bytes(&c->names[at], &c->names[kept - 1]) != 0) {
                            c->names[kept++] = c->names[at];
                        }
                    }
                    c->n = kept;
                }
                if (c->n == NAMES_AT_ONCE) { /* fewer first bytes at once */
                    c->until = (unsigned)(c->from + (c->until - c->from) / 2);
                    if (c->until == c->from) {
                        s = error_set(err, STATUS_TOO_LARGE, "%s: too many pieces", v->dir);
                    }
                    size_t kept = 0;
                    for (size_t at = 0; at < c->n; at++) {
                        if (c->names[at].bytes[0] < c->until) {
                            c->names[kept++] = c->names[at];
                        }
                    }
                    c->n = kept;
                }
                if (s == STATUS_OK && name.bytes[0] < c->until) {
                    c->names[c->n++] = name;
                }
            }
        }
        book_close(b);
    }
    vault_books_free(ids, n);
    qsort(c->names, c->n, sizeof *c->names, by_bytes);
    return s;
}

static enum status collect_one(struct vault *v, int dir, const char *folder, const char *name,
                               void *data, struct error *err)
{
    struct collecting *c = data;
    char hex[2 * PIECE_NAME + 1];
    struct piece_name n;
    struct stat st;
    (void)snprintf(hex, sizeof hex, "%.2s%.62s", folder, name);
    if (!unhex(hex, n.bytes, sizeof n.bytes) || n.bytes[0] < c->from || n.bytes[0] >= c->until ||
        bsearch(&n, c->names, c->n, sizeof n, by_bytes) != NULL) {
        return STATUS_OK;
    }
    c->bytes += fstatat(dir, name, &st, 0) == 0 ? (uint64_t)st.st_size : 0;
    c->removed++;
    return unlinkat(dir, name, 0) == 0
               ? STATUS_OK
               : error_errno(err, errno, "%s/pieces/%s/%s", v->dir, folder, name);
}

enum status vault_collect(struct vault *v, uint64_t *removed, uint64_t *bytes, struct error *err)
{
    struct collecting c = {.names = calloc(NAMES_AT_ONCE, sizeof *c.names)};
    enum status s = c.names == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    while (s == STATUS_OK && c.from < 256) {
        c.until = 256;
        s = gather(v, &c, err); /* a book that cannot be read: nothing is removed */
        if (s == STATUS_OK) {
            s = visit_pieces(v, "pieces", collect_one, &c, err);
        }
        c.from = c.until;
    }
    free(c.names);
    *removed = c.removed;
    *bytes = c.bytes;
    return s;
}

/* ---- books ---- */

enum status vault_book_path(const struct vault *v, const char *id, char *out, size_t cap,
                            struct error *err)
{
    size_t n = strlen(id);
    if (n == 0 || n >= BOOK_ID_CAP ||
        strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != n) {
        return error_set(err, STATUS_INVALID, "\"%.64s\" is no name of a backup", id);
    }
    int len = snprintf(out, cap, "%s/books/%s", v->dir, id);
    return len < 0 || (size_t)len >= cap
               ? error_set(err, STATUS_TOO_LARGE, "%s: path too long", v->dir)
               : STATUS_OK;
}

static int is_book(const struct dirent *e)
{
    return e->d_name[0] != '.' && strchr(e->d_name, '.') == NULL;
}

enum status vault_books(const struct vault *v, char ***out, size_t *n, struct error *err)
{
    char path[PATH_MAX];
    struct dirent **found = NULL;
    *n = 0;
    (void)snprintf(path, sizeof path, "%s/books", v->dir);
    int got = scandir(path, &found, is_book, alphasort);
    if (got < 0) {
        return error_errno(err, errno, "%s", path);
    }
    char **ids = calloc((size_t)got + 1, sizeof *ids);
    enum status s = ids == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    for (int i = 0; i < got; i++) {
        if (s == STATUS_OK) {
            ids[*n] = strdup(found[i]->d_name);
            *n += ids[*n] != NULL ? 1 : 0;
        }
        free(found[i]);
    }
    free(found);
    *out = ids;
    return s;
}

void vault_books_free(char **ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(ids[i]);
    }
    free(ids);
}

enum status vault_book_remove(struct vault *v, const char *id, struct error *err)
{
    char path[PATH_MAX];
    enum status s = vault_book_path(v, id, path, sizeof path, err);
    if (s == STATUS_OK && unlink(path) != 0) {
        s = error_errno(err, errno, "%s", path);
    }
    return s == STATUS_OK ? file_sync_parent(path, err) : s;
}
