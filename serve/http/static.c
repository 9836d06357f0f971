#include "serve/http/static.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/map.h"

#define FILES_MAX 512
#define TOTAL_MAX ((size_t)32 * 1024 * 1024)
#define DEPTH_MAX 4

static const char page_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'";

struct static_file {
    struct buf bytes;
    const char *type;
    char etag[20];
    bool immutable;
};

struct static_files {
    struct map by_path; /* "/assets/x.js" */
    size_t n;
    size_t total;
};

static const char *type_of(const char *name)
{
    static const struct {
        const char *suffix;
        const char *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".woff2", "font/woff2"},
        {".json", "application/json"},
        {".webmanifest", "application/manifest+json"},
        {".txt", "text/plain; charset=utf-8"},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (str_ends(str_from(name), str_from(types[i].suffix))) {
            return types[i].type;
        }
    }
    return "application/octet-stream";
}

static enum status add_file(struct static_files *f, const char *file, const char *path,
                            struct error *err)
{
    struct static_file *sf = calloc(1, sizeof *sf);
    if (sf == NULL || f->n == FILES_MAX) {
        free(sf);
        return error_set(err, STATUS_TOO_LARGE, "%s: too many files", file);
    }
    buf_init(&sf->bytes, TOTAL_MAX - f->total);
    enum status s = file_read(file, &sf->bytes, err);
    if (s == STATUS_OK) {
        uint64_t h = hash64(sf->bytes.ptr == NULL ? "" : sf->bytes.ptr, sf->bytes.len);
        (void)snprintf(sf->etag, sizeof sf->etag, "\"%016llx\"", (unsigned long long)h);
        sf->type = type_of(path);
        sf->immutable = strncmp(path, "/assets/", 8) == 0;
        f->total += sf->bytes.len;
        f->n++;
        s = map_put(&f->by_path, str_from(path), sf, NULL);
    }
    if (s != STATUS_OK) {
        buf_deinit(&sf->bytes);
        free(sf);
    }
    return s;
}

static enum status add_folder(struct static_files *f, const char *dir, const char *prefix,
                              int depth, struct error *err)
{
    DIR *d = opendir(dir);
    if (d == NULL) {
        return error_errno(err, errno, "%s", dir);
    }
    enum status s = STATUS_OK;
    struct dirent *e;
    while (s == STATUS_OK && (e = readdir(d)) != NULL) {
        char file[PATH_MAX];
        char path[512];
        struct stat st;
        if (e->d_name[0] == '.' ||
            file_join(file, sizeof file, dir, e->d_name, NULL) != STATUS_OK ||
            file_join(path, sizeof path, prefix, e->d_name, NULL) != STATUS_OK ||
            lstat(file, &st) != 0) {
            continue;
        }
        if (S_ISREG(st.st_mode)) {
            s = add_file(f, file, path, err);
        } else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
            s = add_folder(f, file, path, depth + 1, err);
        }
    }
    (void)closedir(d);
    return s;
}

enum status static_load(const char *dir, struct static_files **out, struct error *err)
{
    struct static_files *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    map_init(&f->by_path);
    enum status s = add_folder(f, dir, "", 0, err);
    if (s == STATUS_OK && map_get(&f->by_path, STR("/index.html")) == NULL) {
        s = error_set(err, STATUS_NOT_FOUND, "%s: holds no index.html", dir);
    }
    if (s != STATUS_OK) {
        static_free(f);
        return s;
    }
    *out = f;
    return STATUS_OK;
}

void static_free(struct static_files *f)
{
    if (f == NULL) {
        return;
    }
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&f->by_path, &pos, &key, &value)) {
        struct static_file *sf = value;
        buf_deinit(&sf->bytes);
        free(sf);
    }
    map_deinit(&f->by_path);
    free(f);
}

bool static_serve(const struct static_files *f, struct http_request *r)
{
    struct str path = r->head->path;
    const struct static_file *sf =
        map_get(&f->by_path, str_eq(path, STR("/")) ? STR("/index.html") : path);
    if (sf == NULL) {
        return false;
    }
    http_header(r, "ETag", sf->etag);
    http_header(r, "Cache-Control",
                sf->immutable ? "public, max-age=31536000, immutable" : "no-cache");
    http_header(r, "Content-Security-Policy", page_policy);
    http_header(r, "Cross-Origin-Opener-Policy", "same-origin");
    struct str seen = http_head_get(r->head, "if-none-match");
    bool same = seen.len > 0 && memmem(seen.ptr, seen.len, sf->etag, strlen(sf->etag)) != NULL;
    http_respond(r, same ? 304 : 200, sf->type, same ? (struct str){"", 0} : buf_view(&sf->bytes));
    return true;
}
