/* check the original -> copy and sum into models/.import -> open the copy -> rename -> record */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "model/prefixes.h"
#include "model/registry_internal.h"

#define STAGE ".import"

struct import {
    const struct registry_import *how;
    struct error *err;
    struct model_record record;
    char stage[REGISTRY_PATH_CAP];
    uint64_t total, done;
    struct sha256 *sum;
};

enum status registry_lock(const char *home, int *lock, struct error *err)
{
    char path[REGISTRY_PATH_CAP];
    enum status s = registry_place(home, "", path, err);
    if (s == STATUS_OK) {
        s = file_mkdirs(path, 0700, err);
    }
    if (s == STATUS_OK) {
        s = registry_place(home, ".lock", path, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_errno(err, errno, "%s", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        s = errno == EWOULDBLOCK
                ? error_set(err, STATUS_CONFLICT,
                            "another carrel model import or remove runs on %s: wait for it", home)
                : error_errno(err, errno, "%s", path);
        (void)close(fd);
        return s;
    }
    *lock = fd;
    return STATUS_OK;
}

/* ---- the record ---- */

/* "Multilingual E5 Base" to "multilingual-e5-base"; what is left of a file's name where the file
 * calls itself nothing. */
static void make_name(const char *title, const char *path, char out[REGISTRY_NAME_CAP])
{
    const char *slash = strrchr(path, '/');
    const char *from = title[0] != '\0' ? title : slash == NULL ? path : slash + 1;
    struct str rest = str_from(from);
    if (title[0] == '\0' && str_ends(rest, STR(".gguf"))) {
        rest.len -= 5;
    }
    size_t n = 0;
    for (size_t i = 0; i < rest.len && n + 1 < REGISTRY_NAME_CAP; i++) {
        char c = rest.ptr[i];
        c = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (word || (n > 0 && (c == '.' || c == '_'))) {
            out[n++] = c;
        } else if (n > 0 && out[n - 1] != '-') {
            out[n++] = '-';
        }
    }
    while (n > 0 && (out[n - 1] == '-' || out[n - 1] == '.')) {
        n--;
    }
    out[n] = '\0';
    if (n == 0) {
        (void)snprintf(out, REGISTRY_NAME_CAP, "model");
    }
}

static enum status put_prefix(char out[REGISTRY_PREFIX_CAP], const char *given, const char *known,
                              const char *which, struct error *err)
{
    int n = snprintf(out, REGISTRY_PREFIX_CAP, "%s", given != NULL ? given : known);
    return n >= 0 && n < REGISTRY_PREFIX_CAP
               ? STATUS_OK
               : error_set(err, STATUS_TOO_LARGE, "the %s prefix is longer than %d bytes", which,
                           REGISTRY_PREFIX_CAP - 1);
}

static enum status describe(struct import *i, const struct model *m)
{
    struct model_record *r = &i->record;
    const struct model_info *info = model_info(m);
    const char *slash = strrchr(i->how->path, '/');
    struct prefixes known = prefixes_of(
        info->architecture,
        info->name[0] != '\0' ? info->name : (slash == NULL ? i->how->path : slash + 1));
    r->role = i->how->role;
    r->bytes = gguf_file_bytes(model_file(m));
    r->parts = (uint32_t)gguf_parts(model_file(m));
    r->width = info->width;
    r->context = info->context;
    r->pooling = info->pooling;
    (void)snprintf(r->architecture, sizeof r->architecture, "%s", info->architecture);
    (void)snprintf(r->title, sizeof r->title, "%s", info->name);
    r->imported = clock_wall_ms() / 1000;
    make_name(info->name, i->how->path, r->name);
    enum status s = STATUS_OK;
    if (i->how->name != NULL) {
        s = record_name_valid(i->how->name)
                ? STATUS_OK
                : error_set(i->err, STATUS_INVALID,
                            "--name: 1 to %d of a-z, 0-9, dot, dash and underscore, beginning with "
                            "a letter or digit",
                            REGISTRY_NAME_CAP - 1);
        (void)snprintf(r->name, sizeof r->name, "%s", i->how->name);
    }
    if (s == STATUS_OK && r->role == MODEL_ENCODER) {
        s = put_prefix(r->query_prefix, i->how->query_prefix, known.query, "query", i->err);
        s = s != STATUS_OK ? s
                           : put_prefix(r->passage_prefix, i->how->passage_prefix, known.passage,
                                        "passage", i->err);
    } else if (s == STATUS_OK && (i->how->query_prefix != NULL || i->how->passage_prefix != NULL)) {
        s = error_set(i->err, STATUS_INVALID, "only encoders have prefixes");
    }
    i->total = r->bytes;
    return s;
}

static enum status check_original(struct import *i)
{
    struct model *m = NULL;
    enum status s = model_open(i->how->path, &m, i->err);
    if (s == STATUS_OK) {
        s = model_role_check(m, i->how->role, i->err);
        if (s == STATUS_OK) {
            s = describe(i, m);
        } else {
            (void)error_prefix(i->err, "%s", i->how->path);
        }
    }
    model_close(m);
    return s;
}

/* ---- the copy ---- */

/* The file name of a part of the original, as gguf_open counts them. */
static enum status original_part(const struct import *i, uint32_t part, char *out, size_t cap)
{
    size_t len = strlen(i->how->path);
    int n = 0;
    if (i->record.parts == 1) {
        n = snprintf(out, cap, "%s", i->how->path);
    } else if (len > 20) { /* -00001-of-00003.gguf */
        n = snprintf(out, cap, "%.*s-%05u-of-%05u.gguf", (int)(len - 20), i->how->path, part + 1,
                     i->record.parts);
    }
    return n > 0 && (size_t)n < cap
               ? STATUS_OK
               : error_set(i->err, STATUS_TOO_LARGE, "the file's name is too long");
}

static enum status copy_bytes(struct import *i, int from, int to, unsigned char *room)
{
    for (;;) {
        ssize_t n = read(from, room, REGISTRY_PIECE);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? STATUS_OK : error_errno(i->err, errno, "%s", i->how->path);
        }
        sha256_add(i->sum, room, (size_t)n);
        enum status s = file_write_all(to, room, (size_t)n, i->err);
        if (s != STATUS_OK) {
            return s;
        }
        i->done += (uint64_t)n;
        if (i->how->on_progress != NULL && !i->how->on_progress(i->done, i->total, i->how->data)) {
            return error_set(i->err, STATUS_CANCELLED, "the import was stopped; nothing is left");
        }
    }
}

/* From and to are the caller's names; the copy is durable when this returns. */
static enum status copy_file(struct import *i, const char *from, const char *to)
{
    unsigned char *room = malloc(REGISTRY_PIECE);
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int in_errno = errno;
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    enum status s = STATUS_OK;
    if (in < 0 || out < 0) {
        s = in < 0 ? error_errno(i->err, in_errno, "%s", from)
                   : error_errno(i->err, errno, "%s", to);
    } else if (room == NULL) {
        s = error_set(i->err, STATUS_NO_MEMORY, "out of memory");
    } else {
        s = copy_bytes(i, in, out, room);
    }
    if (s == STATUS_OK && fsync(out) != 0) {
        s = error_errno(i->err, errno, "%s", to);
    }
    if (out >= 0 && close(out) != 0 && s == STATUS_OK) {
        s = error_errno(i->err, errno, "%s", to);
    }
    if (in >= 0) {
        (void)close(in);
    }
    free(room);
    return s;
}

static enum status stage_name(const struct import *i, uint32_t part, char out[REGISTRY_PATH_CAP])
{
    char file[REGISTRY_FILE_CAP];
    registry_file_name("staged", part, i->record.parts, file);
    return file_join(out, REGISTRY_PATH_CAP, i->stage, file, i->err);
}

static enum status copy_all(struct import *i)
{
    char from[4096];
    char to[REGISTRY_PATH_CAP];
    uint8_t digest[SHA256_BYTES];
    enum status s = file_remove_tree(i->stage, i->err); /* what a kill left */
    if (s == STATUS_OK) {
        s = file_mkdirs(i->stage, 0700, i->err);
    }
    i->sum = sha256_new();
    if (s == STATUS_OK && i->sum == NULL) {
        s = error_set(i->err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t part = 0; s == STATUS_OK && part < i->record.parts; part++) {
        s = original_part(i, part, from, sizeof from);
        s = s == STATUS_OK ? stage_name(i, part, to) : s;
        s = s == STATUS_OK ? copy_file(i, from, to) : s;
    }
    if (i->sum != NULL) {
        sha256_end(i->sum, digest);
        sha256_hex(digest, i->record.sha256);
    }
    if (s == STATUS_DISK_FULL) {
        char needed[64];
        (void)snprintf(needed, sizeof needed, "%llu MiB are needed",
                       (unsigned long long)(i->total >> 20) + 1);
        s = error_set(i->err, s, "no room for the model in %s: %s; nothing was changed",
                      i->how->home, needed);
    }
    return s;
}

/* The copy must open as the original did: it may have been written to meanwhile. */
static enum status check_copy(struct import *i)
{
    char path[REGISTRY_PATH_CAP];
    struct model *m = NULL;
    enum status s = stage_name(i, 0, path);
    if (s == STATUS_OK) {
        s = model_open(path, &m, i->err);
    }
    if (s == STATUS_OK && (i->done != i->total || gguf_file_bytes(model_file(m)) != i->total)) {
        s = error_set(i->err, STATUS_CONFLICT, "%s changed while it was copied: import it again",
                      i->how->path);
    }
    model_close(m);
    return s;
}

/* ---- putting it in place ---- */

static enum status check_name(struct import *i, bool *replaces, struct model_record *old)
{
    struct model_record *r = &i->record;
    struct model_record there;
    enum status s = registry_find(i->how->home, r->name, &there, i->err);
    *replaces = s == STATUS_OK;
    if (s == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (s != STATUS_OK) {
        return s;
    }
    *old = there;
    return there.role == r->role && strcmp(there.sha256, r->sha256) == 0
               ? STATUS_OK
               : error_set(i->err, STATUS_CONFLICT,
                           "the name %s stands for another %s: choose one with --name, or remove "
                           "it first (carrel model remove)",
                           r->name, there.role == r->role ? "file" : model_role_name(there.role));
}

static enum status place_file(struct import *i, uint32_t part, const struct stat *owner)
{
    char from[REGISTRY_PATH_CAP];
    char to[REGISTRY_PATH_CAP];
    char file[REGISTRY_FILE_CAP];
    registry_file_name(i->record.sha256, part, i->record.parts, file);
    enum status s = stage_name(i, part, from);
    s = s == STATUS_OK ? registry_place(i->how->home, file, to, i->err) : s;
    if (s == STATUS_OK && geteuid() == 0 && lchown(from, owner->st_uid, owner->st_gid) != 0) {
        s = error_errno(i->err, errno, "%s", from);
    }
    if (s == STATUS_OK && rename(from, to) != 0) {
        s = error_errno(i->err, errno, "%s", to);
    }
    return s == STATUS_OK ? file_sync_parent(to, i->err) : s;
}

static enum status write_record(struct import *i, const struct stat *owner)
{
    char path[REGISTRY_PATH_CAP];
    char file[REGISTRY_NAME_CAP + 8];
    struct buf text;
    buf_init(&text, REGISTRY_RECORD_MAX);
    record_name_vectors(&i->record);
    record_write(&i->record, &text);
    (void)snprintf(file, sizeof file, "%s.model", i->record.name);
    enum status s = buf_status(&text) == STATUS_OK
                        ? registry_place(i->how->home, file, path, i->err)
                        : error_set(i->err, buf_status(&text), "the record is too long");
    if (s == STATUS_OK) {
        s = file_write_atomic(path, text.ptr, text.len, 0600, i->err);
    }
    if (s == STATUS_OK && geteuid() == 0 && lchown(path, owner->st_uid, owner->st_gid) != 0) {
        s = error_errno(i->err, errno, "%s", path);
    }
    buf_deinit(&text);
    return s;
}

/* Root imports for the user who owns the data directory. */
static enum status settle(struct import *i)
{
    struct model_record old;
    struct stat owner;
    char folder[REGISTRY_PATH_CAP];
    bool replaces = false;
    enum status s = check_name(i, &replaces, &old);
    if (s == STATUS_OK && stat(i->how->home, &owner) != 0) {
        s = error_errno(i->err, errno, "%s", i->how->home);
    }
    s = s == STATUS_OK ? registry_place(i->how->home, "", folder, i->err) : s;
    if (s == STATUS_OK && geteuid() == 0 && lchown(folder, owner.st_uid, owner.st_gid) != 0) {
        s = error_errno(i->err, errno, "%s", folder);
    }
    for (uint32_t part = 0; s == STATUS_OK && part < i->record.parts; part++) {
        s = place_file(i, part, &owner);
    }
    s = s == STATUS_OK ? write_record(i, &owner) : s;
    if (s != STATUS_OK) {
        struct error ignored; /* the first failure is the one to tell */
        if (registry_drop_unused(i->how->home, i->record.sha256, &ignored) != STATUS_OK) {
            return s; /* a later import of the same file takes their place */
        }
    }
    return s;
}

static enum status check_room(const struct import *i)
{
    struct model_record *all = calloc(REGISTRY_MAX, sizeof *all);
    size_t n = 0;
    enum status s = all == NULL ? error_set(i->err, STATUS_NO_MEMORY, "out of memory")
                                : registry_list(i->how->home, all, &n, i->err);
    free(all);
    return s == STATUS_OK && n == REGISTRY_MAX
               ? error_set(i->err, STATUS_TOO_LARGE,
                           "%d models are imported, no more fit: remove one first", REGISTRY_MAX)
               : s;
}

enum status registry_import(const struct registry_import *how, struct model_record *out,
                            struct error *err)
{
    struct import i = {.how = how, .err = err};
    int lock = -1;
    struct error ignored;
    enum status s = check_original(&i);
    if (s == STATUS_OK) {
        s = registry_lock(how->home, &lock, err);
    }
    s = s == STATUS_OK ? check_room(&i) : s;
    s = s == STATUS_OK ? registry_place(how->home, STAGE, i.stage, err) : s;
    s = s == STATUS_OK ? copy_all(&i) : s;
    s = s == STATUS_OK ? check_copy(&i) : s;
    s = s == STATUS_OK ? settle(&i) : s;
    if (lock >= 0) {
        if (i.stage[0] != '\0' && file_remove_tree(i.stage, &ignored) != STATUS_OK &&
            s == STATUS_OK) {
            *err = ignored;
            s = ignored.code;
        }
        (void)close(lock);
    }
    if (s == STATUS_OK) {
        *out = i.record;
    }
    return s;
}
