#include "ingest/formats/package.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

#define RATIO_MAX 400                 /* unpacked to packed; honest XML stays under 50 */
#define SMALL_PART (8U * 1024 * 1024) /* under which the ratio does not matter */

struct package {
    zip_t *zip;
    const char *what;
    uint64_t budget, max;
};

enum status package_open(const struct extract_input *in, const char *what, struct package **out,
                         struct error *err)
{
    if (str_starts(in->data, STR("\xD0\xCF\x11\xE0"))) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the %s is encrypted or was saved by an old program: save it in today's "
                         "format without a password",
                         what);
    }
    if (!str_starts(in->data, STR("PK"))) {
        return error_set(err, STATUS_INVALID, "it is no %s, whatever its name says", what);
    }
    struct package *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    zip_error_t ze;
    zip_error_init(&ze);
    zip_source_t *src = zip_source_buffer_create(in->data.ptr, in->data.len, 0, &ze);
    if (src != NULL) {
        p->zip = zip_open_from_source(src, ZIP_RDONLY, &ze);
    }
    enum status s = STATUS_OK;
    if (p->zip == NULL) {
        if (src != NULL) {
            zip_source_free(src);
        }
        free(p);
        s = error_set(err, STATUS_INVALID, "the %s is damaged: its directory cannot be read", what);
    } else {
        p->what = what;
        p->budget = p->max = in->max_bytes;
        *out = p;
    }
    zip_error_fini(&ze);
    return s;
}

void package_close(struct package *p)
{
    if (p != NULL) {
        zip_discard(p->zip);
        free(p);
    }
}

bool package_has(const struct package *p, const char *name)
{
    return zip_name_locate(p->zip, name, 0) >= 0;
}

const char *package_what(const struct package *p)
{
    return p->what;
}

static enum status damaged(const struct package *p, struct error *err)
{
    return error_set(err, STATUS_INVALID, "the %s is damaged: a part of it cannot be unpacked",
                     p->what);
}

/* By what it says of itself. */
static enum status check(const struct package *p, const zip_stat_t *st, struct error *err)
{
    bool sized = (st->valid & ZIP_STAT_SIZE) != 0;
    bool swollen = sized && st->size > SMALL_PART && (st->valid & ZIP_STAT_COMP_SIZE) != 0 &&
                   st->size / RATIO_MAX > st->comp_size;
    if ((st->valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && st->encryption_method != ZIP_EM_NONE) {
        return error_set(err, STATUS_UNSUPPORTED, "the %s is encrypted: save it without a password",
                         p->what);
    }
    if (sized && (st->size > p->budget || swollen)) {
        return error_set(err, STATUS_TOO_LARGE, "it unpacks to %llu MB, which is too much",
                         (unsigned long long)(st->size >> 20));
    }
    return STATUS_OK;
}

enum status package_read(struct package *p, const char *name, package_sink sink, void *data,
                         bool *found, struct error *err)
{
    zip_stat_t st;
    *found = zip_stat(p->zip, name, 0, &st) == 0;
    if (!*found) {
        return STATUS_OK;
    }
    enum status s = check(p, &st, err);
    if (s != STATUS_OK) {
        return s;
    }
    zip_file_t *f = zip_fopen(p->zip, name, 0);
    if (f == NULL) {
        return damaged(p, err);
    }
    char piece[16384];
    zip_int64_t n = 1;
    while (s == STATUS_OK && n > 0) {
        n = zip_fread(f, piece, sizeof piece);
        if (n < 0) {
            s = damaged(p, err);
        } else if ((uint64_t)n > p->budget) {
            s = error_set(err, STATUS_TOO_LARGE, "it unpacks to more than %llu MB",
                          (unsigned long long)(p->max >> 20));
        } else if (n > 0) {
            p->budget -= (uint64_t)n;
            s = sink(data, (struct str){piece, (size_t)n}, err);
        }
    }
    zip_fclose(f);
    return s;
}

static enum status to_buffer(void *data, struct str piece, struct error *err)
{
    struct buf *out = data;
    buf_str(out, piece);
    return buf_status(out) == STATUS_OK
               ? STATUS_OK
               : error_set(err, STATUS_TOO_LARGE, "a part of it is larger than %llu MB",
                           (unsigned long long)(out->max >> 20));
}

enum status package_load(struct package *p, const char *name, struct buf *out, bool *found,
                         struct error *err)
{
    return package_read(p, name, to_buffer, out, found, err);
}

/* ---- links ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Without its percent signs and its fragment. */
static bool decode(struct str target, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < target.len && target.ptr[i] != '#'; i++) {
        char c = target.ptr[i];
        if (c == '%' && i + 2 < target.len && hex(target.ptr[i + 1]) >= 0 &&
            hex(target.ptr[i + 2]) >= 0) {
            c = (char)(hex(target.ptr[i + 1]) * 16 + hex(target.ptr[i + 2]));
            i += 2;
        }
        if (c == '\0' || n + 1 >= cap) {
            return false;
        }
        out[n++] = c == '\\' ? '/' : c;
    }
    out[n] = '\0';
    return n > 0;
}

bool package_resolve(const char *base, struct str target, char out[PACKAGE_NAME_MAX])
{
    char link[PACKAGE_NAME_MAX];
    size_t n = 0;
    if (!decode(target, link, sizeof link) || strlen(base) >= PACKAGE_NAME_MAX) {
        return false;
    }
    const char *at = link;
    const char *slash = strrchr(base, '/');
    if (link[0] != '/' && slash != NULL) { /* the folder of the base */
        n = (size_t)(slash - base);
        memcpy(out, base, n);
    }
    while (*at != '\0') {
        size_t len = strcspn(at, "/");
        if (len == 2 && memcmp(at, "..", 2) == 0) {
            if (n == 0) {
                return false;
            }
            while (n > 0 && out[--n] != '/') {
            }
        } else if (len > 0 && !(len == 1 && at[0] == '.')) {
            if (n + len + 2 > PACKAGE_NAME_MAX) {
                return false;
            }
            if (n > 0) {
                out[n++] = '/';
            }
            memcpy(out + n, at, len);
            n += len;
        }
        at += len + (at[len] == '/');
    }
    out[n] = '\0';
    return n > 0;
}
