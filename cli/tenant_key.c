/* The key is made and dropped here, on the machine, and never crosses the API. A running store
 * takes it up within seconds. */
#include "cli/tenant_key.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/settings/settings.h"
#include "base/tenant.h"

#define ARENA ((size_t)1024 * 1024)
#define KEY_BYTES 32

struct places {
    char folder[1200], key[1300]; /* of the keys, of this one */
    char marker[1300];            /* the store's fingerprint of it */
    struct stat home;
};

static enum status find_places(const struct options *o, const char *tenant, struct places *out,
                               struct error *err)
{
    struct arena a;
    struct settings cfg;
    char dir[1200];
    struct stat st;
    if (!tenant_name_valid(str_from(tenant))) {
        return error_set(err, STATUS_INVALID, "that is no tenant's name; `carrel tenant list`");
    }
    arena_init(&a, ARENA);
    enum status s = settings_load(o->home, &a, &cfg, err);
    if (s == STATUS_OK) {
        int len = snprintf(out->folder, sizeof out->folder, "%s", cfg.store.key_dir);
        s = len <= 0 || (size_t)len >= sizeof out->folder
                ? error_set(err, STATUS_INVALID, "store.key_dir: names no folder")
                : file_join(out->key, sizeof out->key, out->folder, tenant, err);
    }
    arena_reset(&a);
    if (s == STATUS_OK) {
        int len = snprintf(dir, sizeof dir, "%s/tenants/%s", o->home, tenant);
        s = len < 0 || (size_t)len >= sizeof dir
                ? error_set(err, STATUS_TOO_LARGE, "the data directory's path is too long")
                : file_join(out->marker, sizeof out->marker, dir, "keyed", err);
    }
    if (s == STATUS_OK && (stat(dir, &st) != 0 || stat(o->home, &out->home) != 0)) {
        s = error_set(err, STATUS_NOT_FOUND, "%.200s: there is no such tenant", dir);
    }
    return s;
}

/* Run as root, what is made belongs to whoever owns the data directory: his services read it. */
static enum status hand_over(const char *path, const struct stat *home, struct error *err)
{
    return geteuid() == 0 && chown(path, home->st_uid, home->st_gid) != 0
               ? error_errno(err, errno, "%s", path)
               : STATUS_OK;
}

static enum status make(const struct places *p, struct error *err)
{
    unsigned char key[KEY_BYTES];
    bool folder_new = access(p->folder, F_OK) != 0;
    enum status s = file_mkdirs(p->folder, 0700, err);
    if (s == STATUS_OK && folder_new) {
        s = hand_over(p->folder, &p->home, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    if (access(p->marker, F_OK) == 0 && access(p->key, F_OK) != 0) {
        return error_set(err, STATUS_CONFLICT,
                         "the tenant's segments have a key, which is not in %.120s: bring it back, "
                         "or first `carrel tenant keyless`",
                         p->folder);
    }
    /* beside, then under its name: a running store takes it up whole or not at all */
    random_bytes(key, sizeof key);
    s = file_write_new(p->key, key, sizeof key, 0600, &p->home, err);
    explicit_bzero(key, sizeof key);
    return s;
}

enum exit_code tenant_key_make(const struct options *o, const char *tenant)
{
    struct error err = {0};
    struct places p;
    enum status s = find_places(o, tenant, &p, &err);
    if (s == STATUS_OK) {
        s = make(&p, &err);
    }
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    (void)printf("%s\n", p.key);
    (void)fprintf(stderr,
                  "Within seconds the segments of %s (words and vectors) are written under this "
                  "key, those that are there\nare rewritten behind; `carrel verify` says how many "
                  "are not yet. Keep a copy: without it the tenant\nis not served. The database "
                  "and the originals are not encrypted by it: use an encrypted disk for them.\n",
                  tenant);
    return EXIT_OK;
}

enum exit_code tenant_key_drop(const struct options *o, const char *tenant)
{
    struct error err = {0};
    struct places p;
    enum status s = find_places(o, tenant, &p, &err);
    /* the key first: with the fingerprint gone and the key there it would be taken up anew */
    if (s == STATUS_OK && unlink(p.key) != 0 && errno != ENOENT) {
        s = error_errno(&err, errno, "%s", p.key);
    }
    if (s == STATUS_OK && unlink(p.marker) != 0) {
        s = errno == ENOENT ? error_set(&err, STATUS_NOT_FOUND, "tenant %s has no key", tenant)
                            : error_errno(&err, errno, "%s", p.marker);
    }
    if (s == STATUS_OK) {
        s = file_sync_parent(p.marker, &err);
    }
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    (void)printf("tenant %s has no key any more. When its store is opened next (`carrel stop`, "
                 "`carrel up`), its segments\nare made again from the database, without "
                 "encryption.\n",
                 tenant);
    return EXIT_OK;
}
