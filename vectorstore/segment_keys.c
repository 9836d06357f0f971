#include "vectorstore/segment_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"

#define CHECKED "carrel segments, fingerprint of the key"
#define FINGERPRINT ((size_t)16)

struct segment_keys {
    char file[1200], marker[1200];
    struct segment_cache *cache;
    struct segment_key key; /* written before `on`, never after */
    _Atomic bool on;
};

/* NOT_FOUND: there is no such file. */
static enum status read_key(const char *path, struct segment_key *out, struct error *err)
{
    struct stat st;
    uint8_t bytes[SEGMENT_KEY_BYTES + 1];
    enum status s = STATUS_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        return error_set(err, STATUS_NOT_FOUND, "%s: there is no key", path);
    }
    if (fd < 0) {
        return error_set(err, STATUS_UNAVAILABLE, "%s: the key cannot be read: %s", path,
                         strerror(errno));
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        s = error_set(err, STATUS_UNAVAILABLE, "%s: is not a file", path);
    } else if ((st.st_mode & 077) != 0) {
        s = error_set(err, STATUS_UNAVAILABLE, "%s: others may read this key; chmod 600 it", path);
    } else if (read(fd, bytes, sizeof bytes) != SEGMENT_KEY_BYTES) {
        s = error_set(err, STATUS_UNAVAILABLE, "%s: a key has %d bytes, this has not", path,
                      SEGMENT_KEY_BYTES);
    } else {
        memcpy(out->bytes, bytes, sizeof out->bytes);
    }
    sodium_memzero(bytes, sizeof bytes);
    (void)close(fd);
    return s;
}

static void fingerprint(const struct segment_key *key, char out[2 * FINGERPRINT + 1])
{
    unsigned char hash[FINGERPRINT];
    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)CHECKED, sizeof CHECKED,
                             key->bytes, sizeof key->bytes);
    (void)sodium_bin2hex(out, 2 * FINGERPRINT + 1, hash, sizeof hash);
}

/* NOT_FOUND: the store never had a key. */
static enum status read_marker(const struct segment_keys *k, char out[2 * FINGERPRINT + 1],
                               struct error *err)
{
    struct buf b;
    buf_init(&b, 256);
    enum status s = file_read(k->marker, &b, err);
    if (s == STATUS_OK) {
        size_t n = b.len < 2 * FINGERPRINT ? b.len : 2 * FINGERPRINT;
        memcpy(out, b.ptr, n);
        out[n] = '\0';
    }
    buf_deinit(&b);
    return s;
}

static enum status load(struct segment_keys *k, struct error *err)
{
    struct segment_key key;
    char is[2 * FINGERPRINT + 1];
    char was[2 * FINGERPRINT + 1];
    struct error none;
    enum status marked = read_marker(k, was, &none);
    if (marked != STATUS_OK && marked != STATUS_NOT_FOUND) {
        return error_set(err, marked, "%s", none.text);
    }
    enum status s = k->file[0] == '\0'
                        ? error_set(&none, STATUS_NOT_FOUND, "no file of a key is named")
                        : read_key(k->file, &key, err);
    if (s == STATUS_NOT_FOUND && marked == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (s == STATUS_NOT_FOUND) {
        return error_set(err, STATUS_UNAVAILABLE,
                         "%.140s: the key of this tenant's segments is missing; bring it back, or "
                         "make them again without: carrel tenant keyless",
                         k->file[0] == '\0' ? k->marker : k->file);
    }
    if (s != STATUS_OK) {
        return s;
    }
    fingerprint(&key, is);
    if (marked == STATUS_OK && strcmp(is, was) != 0) {
        s = error_set(err, STATUS_UNAVAILABLE,
                      "%.140s: is not the key of this tenant's segments; bring that one back, or "
                      "make them again without: carrel tenant keyless",
                      k->file);
    }
    if (s == STATUS_OK && marked != STATUS_OK) { /* before anything is written under it */
        s = file_write_atomic(k->marker, is, strlen(is), 0600, err);
        if (s == STATUS_OK) {
            LOG_INFO("segments are encrypted from here on", LOG_STR("key", k->file), LOG_END);
        }
    }
    if (s == STATUS_OK) {
        k->key = key;
        atomic_store(&k->on, true);
    }
    sodium_memzero(&key, sizeof key);
    return s;
}

enum status segment_keys_open(const char *tenant_dir, const char *key_file,
                              struct segment_cache *cache, struct segment_keys **out,
                              struct error *err)
{
    struct segment_keys *k = calloc(1, sizeof *k);
    if (k == NULL || sodium_init() < 0) {
        free(k);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    k->cache = cache;
    enum status s = file_join(k->marker, sizeof k->marker, tenant_dir, SEGMENT_KEYED, err);
    if (s == STATUS_OK && key_file != NULL) {
        int n = snprintf(k->file, sizeof k->file, "%s", key_file);
        if (n < 0 || (size_t)n >= sizeof k->file) {
            s = error_set(err, STATUS_TOO_LARGE, "the path of the keys' folder is too long");
        }
    }
    if (s == STATUS_OK) {
        s = load(k, err);
    }
    if (s != STATUS_OK) {
        segment_keys_close(k);
        return s;
    }
    *out = k;
    return STATUS_OK;
}

void segment_keys_close(struct segment_keys *k)
{
    if (k != NULL) {
        sodium_memzero(&k->key, sizeof k->key);
        free(k);
    }
}

enum status segment_keys_look(struct segment_keys *k, struct error *err)
{
    return atomic_load(&k->on) || k->file[0] == '\0' ? STATUS_OK : load(k, err);
}

const struct segment_key *segment_keys_key(const struct segment_keys *k)
{
    return k != NULL && atomic_load(&k->on) ? &k->key : NULL;
}

struct segment_cache *segment_keys_cache(const struct segment_keys *k)
{
    return k != NULL && atomic_load(&k->on) ? k->cache : NULL;
}
