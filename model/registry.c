#include "model/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "model/registry_internal.h"

static const char *const roles[] = {"chat", "encoder", "reranker"};

const char *model_role_name(enum model_role r)
{
    return roles[r];
}

bool model_role_parse(const char *text, enum model_role *out)
{
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(text, roles[i]) == 0) {
            *out = (enum model_role)i;
            return true;
        }
    }
    return false;
}

enum status model_role_check(const struct model *m, enum model_role r, struct error *err)
{
    const struct model_info *i = model_info(m);
    bool embeds =
        i->pooling == POOLING_MEAN || i->pooling == POOLING_CLS || i->pooling == POOLING_LAST;
    switch (r) {
    case MODEL_CHAT:
        return !i->encoder && !embeds && !i->ranks
                   ? STATUS_OK
                   : error_set(err, STATUS_UNSUPPORTED,
                               "this %s file writes no text: import it --as %s", i->architecture,
                               i->ranks ? "reranker" : "encoder");
    case MODEL_ENCODER:
        return embeds && !i->ranks
                   ? STATUS_OK
                   : error_set(err, STATUS_UNSUPPORTED,
                               "this %s file does not say how its vectors are pooled "
                               "(%s.pooling_type): import it --as %s",
                               i->architecture, i->architecture, i->ranks ? "reranker" : "chat");
    case MODEL_RERANKER:
        return i->ranks ? STATUS_OK
                        : error_set(err, STATUS_UNSUPPORTED,
                                    "this %s file has no classification head (cls.weight, "
                                    "cls.output.weight): import it --as %s",
                                    i->architecture, embeds || i->encoder ? "encoder" : "chat");
    }
    return error_set(err, STATUS_INVALID, "there is no such role");
}

/* ---- places ---- */

enum status registry_place(const char *home, const char *file, char out[REGISTRY_PATH_CAP],
                           struct error *err)
{
    int n = snprintf(out, REGISTRY_PATH_CAP, "%s/" REGISTRY_FOLDER "/%s", home, file);
    return n > 0 && n < REGISTRY_PATH_CAP
               ? STATUS_OK
               : error_set(err, STATUS_TOO_LARGE, "the data directory's name is too long");
}

void registry_file_name(const char *sha256, uint32_t part, uint32_t parts,
                        char out[REGISTRY_FILE_CAP])
{
    if (parts == 1) {
        (void)snprintf(out, REGISTRY_FILE_CAP, "%.64s.gguf", sha256);
    } else {
        (void)snprintf(out, REGISTRY_FILE_CAP, "%.64s-%05u-of-%05u.gguf", sha256, part + 1, parts);
    }
}

enum status registry_path(const char *home, const struct model_record *r,
                          char out[REGISTRY_PATH_CAP], struct error *err)
{
    char file[REGISTRY_FILE_CAP];
    registry_file_name(r->sha256, 0, r->parts, file);
    return registry_place(home, file, out, err);
}

/* ---- reading ---- */

static enum status read_record(const char *home, const char *name, struct model_record *out,
                               struct error *err)
{
    char path[REGISTRY_PATH_CAP];
    char file[REGISTRY_NAME_CAP + 8];
    struct buf text;
    buf_init(&text, REGISTRY_RECORD_MAX);
    (void)snprintf(file, sizeof file, "%s.model", name);
    enum status s = registry_place(home, file, path, err);
    if (s == STATUS_OK) {
        s = file_read(path, &text, err);
    }
    if (s == STATUS_OK) {
        s = record_read(name, buf_view(&text), out, err);
    }
    buf_deinit(&text);
    return s;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct model_record *)a)->name, ((const struct model_record *)b)->name);
}

/* "<name>.model" to the name; false for any other file. */
static bool record_of(const char *file, char name[REGISTRY_NAME_CAP])
{
    struct str f = str_from(file);
    if (!str_ends(f, STR(".model")) || f.len - 6 >= REGISTRY_NAME_CAP) {
        return false;
    }
    memcpy(name, f.ptr, f.len - 6);
    name[f.len - 6] = '\0';
    return record_name_valid(name);
}

enum status registry_list(const char *home, struct model_record out[REGISTRY_MAX], size_t *n,
                          struct error *err)
{
    char path[REGISTRY_PATH_CAP];
    char name[REGISTRY_NAME_CAP];
    size_t found = 0;
    enum status s = registry_place(home, "", path, err);
    if (s != STATUS_OK) {
        return s;
    }
    DIR *dir = opendir(path);
    if (dir == NULL && errno != ENOENT) {
        return error_errno(err, errno, "%s", path);
    }
    for (const struct dirent *e; s == STATUS_OK && dir != NULL && (e = readdir(dir)) != NULL;) {
        if (!record_of(e->d_name, name)) {
            continue;
        }
        if (found == REGISTRY_MAX) {
            s = error_set(err, STATUS_TOO_LARGE, "%s holds more than %d models", path,
                          REGISTRY_MAX);
        } else {
            s = read_record(home, name, &out[found], err);
            found += s == STATUS_OK;
            s = s == STATUS_NOT_FOUND ? STATUS_OK : s; /* removed meanwhile */
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    if (s == STATUS_OK) {
        qsort(out, found, sizeof *out, by_name);
        *n = found;
    }
    return s;
}

enum status registry_list_new(const char *home, struct model_record **out, size_t *n,
                              struct error *err)
{
    struct model_record *all = calloc(REGISTRY_MAX, sizeof *all);
    if (all == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = registry_list(home, all, n, err);
    if (s != STATUS_OK) {
        free(all);
        return s;
    }
    *out = all;
    return STATUS_OK;
}

static enum status say_names(const char *home, const char *name, struct error *err)
{
    struct model_record *all = NULL;
    size_t n = 0;
    char names[160] = "";
    size_t used = 0;
    if (registry_list_new(home, &all, &n, NULL) == STATUS_OK) {
        for (size_t i = 0; i < n && used + REGISTRY_NAME_CAP + 4 < sizeof names; i++) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i == 0 ? "" : ", ",
                                     all[i].name);
        }
    }
    free(all);
    return error_set(err, STATUS_NOT_FOUND, "there is no model \"%.64s\"%s%s", name,
                     names[0] == '\0' ? ": none is imported (carrel model import)" : "; there are ",
                     names);
}

enum status registry_find(const char *home, const char *name, struct model_record *out,
                          struct error *err)
{
    enum status s = record_name_valid(name) ? read_record(home, name, out, err) : STATUS_NOT_FOUND;
    return s == STATUS_NOT_FOUND ? say_names(home, name, err) : s;
}

enum status registry_find_encoder(const char *home, const char *encoder, struct model_record *out,
                                  struct error *err)
{
    struct model_record *all = NULL;
    size_t n = 0;
    enum status s = registry_list_new(home, &all, &n, err);
    if (s != STATUS_OK) {
        return s;
    }
    s = STATUS_NOT_FOUND;
    for (size_t i = 0; i < n && s != STATUS_OK; i++) {
        if (all[i].role == MODEL_ENCODER && strcmp(all[i].encoder, encoder) == 0) {
            *out = all[i];
            s = STATUS_OK;
        }
    }
    free(all);
    return s == STATUS_OK
               ? s
               : error_set(err, s,
                           "no imported model makes the vectors of %.64s: import its file again "
                           "with the same prefixes, or publish another encoder",
                           encoder);
}

enum status registry_open(const char *home, const struct model_record *r, struct model **out,
                          struct error *err)
{
    char path[REGISTRY_PATH_CAP];
    struct model *m = NULL;
    enum status s = registry_path(home, r, path, err);
    if (s == STATUS_OK) {
        s = model_open(path, &m, err);
    }
    if (s == STATUS_OK && gguf_file_bytes(model_file(m)) != r->bytes) {
        s = error_set(err, STATUS_CORRUPT,
                      "model %s: the file has %llu bytes, not the %llu it was imported with: "
                      "import it again",
                      r->name, (unsigned long long)gguf_file_bytes(model_file(m)),
                      (unsigned long long)r->bytes);
    }
    if (s == STATUS_OK) {
        s = model_role_check(m, r->role, err);
    }
    if (s == STATUS_OK && model_info(m)->width != r->width) { /* vectors are given room by it */
        s = error_set(err, STATUS_CORRUPT,
                      "model %s: its record speaks of vectors of %u numbers, the file makes %u: "
                      "import it again",
                      r->name, r->width, model_info(m)->width);
    }
    if (s == STATUS_OK) {
        s = registry_keep_packed(home, r, m, path, err);
    }
    if (s != STATUS_OK) {
        model_close(m);
        return s;
    }
    *out = m;
    return STATUS_OK;
}

/* ---- sums ---- */

enum status registry_sum_file(const char *path, struct sha256 *sum, uint64_t *bytes,
                              struct error *err)
{
    unsigned char *room = malloc(REGISTRY_PIECE);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum status s = STATUS_OK;
    ssize_t n = 0;
    if (room == NULL || fd < 0) {
        s = fd < 0 ? error_errno(err, errno, "%s", path)
                   : error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    while (s == STATUS_OK && (n = read(fd, room, REGISTRY_PIECE)) != 0) {
        if (n < 0 && errno != EINTR) {
            s = error_errno(err, errno, "%s", path);
        } else if (n > 0) {
            sha256_add(sum, room, (size_t)n);
            *bytes += (uint64_t)n;
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    free(room);
    return s;
}

enum status registry_verify(const char *home, const struct model_record *r, struct error *err)
{
    char path[REGISTRY_PATH_CAP];
    char file[REGISTRY_FILE_CAP];
    char hex[SHA256_HEX_CAP];
    uint8_t digest[SHA256_BYTES];
    uint64_t bytes = 0;
    struct sha256 *sum = sha256_new();
    enum status s = sum == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    if (s != STATUS_OK) {
        return s;
    }
    for (uint32_t i = 0; s == STATUS_OK && i < r->parts; i++) {
        registry_file_name(r->sha256, i, r->parts, file);
        s = registry_place(home, file, path, err);
        if (s == STATUS_OK) {
            s = registry_sum_file(path, sum, &bytes, err);
        }
    }
    sha256_end(sum, digest);
    sha256_hex(digest, hex);
    if (s == STATUS_OK && strcmp(hex, r->sha256) != 0) {
        s = error_set(err, STATUS_CORRUPT,
                      "model %s: its bytes are not those that were imported: import it again",
                      r->name);
    }
    return s;
}

/* ---- removing ---- */

/* The file's parts and whatever was made of it beside it: all begin with its sum. */
static enum status remove_files(const char *home, const char *sha256, struct error *err)
{
    char path[REGISTRY_PATH_CAP];
    enum status s = registry_place(home, "", path, err);
    DIR *dir = s == STATUS_OK ? opendir(path) : NULL;
    if (s == STATUS_OK && dir == NULL) {
        s = error_errno(err, errno, "%s", path);
    }
    for (const struct dirent *e; s == STATUS_OK && (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, sha256, SHA256_HEX_CAP - 1) == 0 &&
            unlinkat(dirfd(dir), e->d_name, 0) != 0 && errno != ENOENT) {
            s = error_errno(err, errno, "%s%s", path, e->d_name);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return s;
}

static enum status remove_record(const char *home, const char *name, struct error *err)
{
    char path[REGISTRY_PATH_CAP];
    char file[REGISTRY_NAME_CAP + 8];
    (void)snprintf(file, sizeof file, "%s.model", name);
    enum status s = registry_place(home, file, path, err);
    if (s == STATUS_OK && unlink(path) != 0) {
        s = error_errno(err, errno, "%s", path);
    }
    return s == STATUS_OK ? file_sync_parent(path, err) : s;
}

enum status registry_drop_unused(const char *home, const char *sha256, struct error *err)
{
    struct model_record *all = NULL;
    size_t n = 0;
    enum status s = registry_list_new(home, &all, &n, err);
    bool used = false;
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        used = used || strcmp(all[i].sha256, sha256) == 0;
    }
    free(all);
    return s == STATUS_OK && !used ? remove_files(home, sha256, err) : s;
}

enum status registry_remove(const char *home, const char *name, struct error *err)
{
    struct model_record r;
    int lock = -1;
    enum status s = registry_find(home, name, &r, err);
    if (s == STATUS_OK) {
        s = registry_lock(home, &lock, err);
    }
    if (s == STATUS_OK) {
        s = remove_record(home, name, err);
    }
    if (s == STATUS_OK) {
        s = registry_drop_unused(home, r.sha256, err);
    }
    if (lock >= 0) {
        (void)close(lock);
    }
    return s;
}
