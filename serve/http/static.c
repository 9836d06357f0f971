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
#include "serve/http/coding.h"

#define FILES_MAX 512
#define TOTAL_MAX ((size_t)32 * 1024 * 1024)
#define DEPTH_MAX 4

static const char page_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'";

#define COMPRESS_FROM 1024 /* below, the headers of a coding eat what it saves */

struct static_file {
    struct buf coded[CODING_COUNT]; /* empty where it is not worth it */
    char etag[CODING_COUNT][24];
    const char *type;
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

static void free_file(struct static_file *sf)
{
    for (size_t i = 0; i < CODING_COUNT; i++) {
        buf_deinit(&sf->coded[i]);
    }
    free(sf);
}

static bool is_text(const char *type)
{
    return strncmp(type, "text/", 5) == 0 || strstr(type, "json") != NULL ||
           strcmp(type, "image/svg+xml") == 0;
}

/* Once, at start. A coding that does not save a tenth is left out. */
static void add_codings(struct static_file *sf)
{
    struct buf *plain = &sf->coded[CODING_IDENTITY];
    if (!is_text(sf->type) || plain->len < COMPRESS_FROM) {
        return;
    }
    for (unsigned c = CODING_GZIP; c < CODING_COUNT; c++) {
        buf_init(&sf->coded[c], plain->len - plain->len / 10);
        if (http_coding_make((enum http_coding)c, buf_view(plain), true, &sf->coded[c]) !=
            STATUS_OK) {
            buf_deinit(&sf->coded[c]);
        }
    }
}

static void name_versions(struct static_file *sf)
{
    static const char *const marks[CODING_COUNT] = {"", "-g", "-z"};
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_CAP];
    struct str plain = buf_view(&sf->coded[CODING_IDENTITY]);
    sha256_of(plain.ptr, plain.len, digest);
    sha256_hex(digest, hex);
    for (size_t i = 0; i < CODING_COUNT; i++) {
        (void)snprintf(sf->etag[i], sizeof sf->etag[i], "\"%.16s%s\"", hex, marks[i]);
    }
}

static enum status add_file(struct static_files *f, const char *file, const char *path,
                            struct error *err)
{
    struct static_file *sf = calloc(1, sizeof *sf);
    if (sf == NULL || f->n == FILES_MAX) {
        free(sf);
        return error_set(err, STATUS_TOO_LARGE, "%s: too many files", file);
    }
    struct buf *plain = &sf->coded[CODING_IDENTITY];
    buf_init(plain, TOTAL_MAX - f->total);
    enum status s = file_read(file, plain, err);
    if (s == STATUS_OK) {
        sf->type = type_of(path);
        sf->immutable = strncmp(path, "/assets/", 8) == 0;
        f->total += plain->len;
        f->n++;
        add_codings(sf);
        name_versions(sf);
        s = map_put(&f->by_path, str_from(path), sf, NULL);
    }
    if (s != STATUS_OK) {
        free_file(sf);
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
        free_file(value);
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
    unsigned have = 0;
    for (unsigned c = 0; c < CODING_COUNT; c++) {
        have |= sf->coded[c].len > 0 ? 1U << c : 0;
    }
    /* who wants a part counts the bytes of the file itself */
    enum http_coding c = http_head_get(r->head, "range").ptr != NULL
                             ? CODING_IDENTITY
                             : http_coding_choose(r->head, have);
    struct http_version_of v = {.etag = sf->etag[c], .length = sf->coded[c].len};
    http_header(r, "Cache-Control",
                sf->immutable ? "public, max-age=31536000, immutable" : "no-cache");
    http_header(r, "Content-Security-Policy", page_policy);
    http_header(r, "Cross-Origin-Opener-Policy", "same-origin");
    if (have > 1U << CODING_IDENTITY) {
        http_header(r, "Vary", "Accept-Encoding");
    }
    if (c != CODING_IDENTITY) {
        http_header(r, "Content-Encoding", http_coding_name(c));
    }
    http_respond_kept(r, sf->type, &v, buf_view(&sf->coded[c]));
    return true;
}
