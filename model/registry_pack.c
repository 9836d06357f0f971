/* The packed weights beside an imported model. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/pack_file.h"
#include "model/registry_internal.h"

#define ENDING ".packed"
#define THREADS_MOST 16

static void packed_name(const struct model_record *r, char out[REGISTRY_FILE_CAP])
{
    (void)snprintf(out, REGISTRY_FILE_CAP, "%.64s.v%u" ENDING, r->sha256, PACK_LAYOUT);
}

static enum status packed_path(const char *home, const struct model_record *r,
                               char out[REGISTRY_PATH_CAP], struct error *err)
{
    char file[REGISTRY_FILE_CAP];
    packed_name(r, file);
    return registry_place(home, file, out, err);
}

static enum status sum_of(const struct model_record *r, uint8_t out[SHA256_BYTES],
                          struct error *err)
{
    return sha256_parse(r->sha256, out)
               ? STATUS_OK
               : error_set(err, STATUS_CORRUPT, "model %s: its record has no sum", r->name);
}

enum status registry_keep_packed(const char *home, const struct model_record *r, struct model *m,
                                 const char *path, struct error *err)
{
    char packed[REGISTRY_PATH_CAP];
    uint8_t sum[SHA256_BYTES];
    enum status s = packed_path(home, r, packed, err);
    s = s == STATUS_OK ? sum_of(r, sum, err) : s;
    return s == STATUS_OK ? model_keep_packed(m, packed, path, sum, err) : s;
}

/* What other layouts left. That one cannot be removed harms nothing. */
static void drop_others(const char *home, const struct model_record *r)
{
    char path[REGISTRY_PATH_CAP];
    char own[REGISTRY_FILE_CAP];
    struct error ignored;
    packed_name(r, own);
    DIR *dir = registry_place(home, "", path, &ignored) == STATUS_OK ? opendir(path) : NULL;
    for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, r->sha256, SHA256_HEX_CAP - 1) == 0 &&
            str_ends(str_from(e->d_name), STR(ENDING)) && strcmp(e->d_name, own) != 0) {
            (void)unlinkat(dirfd(dir), e->d_name, 0);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

enum status registry_pack(const char *home, const struct model_record *r,
                          bool (*on_progress)(uint64_t done, uint64_t total, void *data),
                          void *data, struct error *err)
{
    struct model *m = NULL;
    struct pool *pool = NULL;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t threads = processors < 1              ? 1
                       : processors > THREADS_MOST ? THREADS_MOST
                                                   : (uint32_t)processors;
    enum status s = registry_open(home, r, &m, err);
    s = s == STATUS_OK ? pool_new(threads, &pool, err) : s;
    s = s == STATUS_OK ? model_write_packed(m, pool, on_progress, data, err) : s;
    if (s == STATUS_OK) {
        drop_others(home, r);
    }
    pool_free(pool);
    model_close(m);
    return s;
}

uint64_t registry_packed_bytes(const char *home, const struct model_record *r)
{
    char path[REGISTRY_PATH_CAP];
    struct stat st;
    struct error ignored;
    return packed_path(home, r, path, &ignored) == STATUS_OK && stat(path, &st) == 0
               ? (uint64_t)st.st_size
               : 0;
}

enum status registry_verify_packed(const char *home, const struct model_record *r,
                                   struct error *err)
{
    char path[REGISTRY_PATH_CAP];
    uint8_t sum[SHA256_BYTES];
    struct error why;
    enum status s = packed_path(home, r, path, err);
    s = s == STATUS_OK ? sum_of(r, sum, err) : s;
    if (s != STATUS_OK) {
        return s;
    }
    s = pack_file_verify(path, sum, &why);
    if (s == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (s == STATUS_CORRUPT) {
        bool gone = unlink(path) == 0;
        return error_set(
            err, s,
            "model %s: its packed weights are damaged%s; they are made anew when it is "
            "next used",
            r->name, gone ? " and were taken away" : ": delete them");
    }
    if (s != STATUS_OK) {
        *err = why;
    }
    return s;
}
