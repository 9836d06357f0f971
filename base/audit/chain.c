#include "base/audit/chain.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define HOLES_MAX 100000U

static unsigned number_of(const char *name)
{
    unsigned n = 0;
    if (strlen(name) != 12 || strcmp(name + 8, ".log") != 0) {
        return 0;
    }
    for (int i = 0; i < 8; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return 0;
        }
        n = n * 10 + (unsigned)(name[i] - '0');
    }
    return n;
}

enum status audit_segments(const char *folder, struct audit_segments *out, struct error *err)
{
    DIR *d = opendir(folder);
    unsigned n = 0;
    *out = (struct audit_segments){0};
    if (d == NULL) {
        return error_errno(err, errno, "%s", folder);
    }
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        unsigned k = number_of(e->d_name);
        if (k == 0) {
            continue;
        }
        n++;
        out->first = out->first == 0 || k < out->first ? k : out->first;
        out->last = k > out->last ? k : out->last;
    }
    (void)closedir(d);
    out->holes = n == 0 ? 0 : out->last - out->first + 1 - n;
    return out->holes <= HOLES_MAX
               ? STATUS_OK
               : error_set(err, STATUS_CORRUPT, "%s: %u files of the chain are not there", folder,
                           out->holes);
}

enum status audit_segment_read(const char *folder, unsigned number, struct buf *out,
                               struct error *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/" AUDIT_SEGMENT_FORMAT, folder, number);
    if (n < 0 || (size_t)n >= sizeof path) {
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", folder);
    }
    return file_read(path, out, err);
}

bool audit_walk_bytes(unsigned segment, struct str bytes, audit_visit_fn visit, void *data,
                      size_t *torn)
{
    size_t at = 0;
    *torn = 0;
    while (at < bytes.len) {
        const char *end = memchr(bytes.ptr + at, '\n', bytes.len - at);
        if (end == NULL) {
            *torn = bytes.len - at;
            return true;
        }
        struct audit_record r;
        struct error why = {.code = STATUS_OK};
        struct str line = {bytes.ptr + at, (size_t)(end - bytes.ptr) - at};
        bool ok = audit_read(line, &r, &why) == STATUS_OK;
        if (!visit(segment, line, ok ? &r : NULL, &why, data)) {
            return false;
        }
        at += line.len + 1;
    }
    return true;
}

enum status audit_walk(const char *folder, audit_visit_fn visit, void *data, size_t *torn,
                       struct error *err)
{
    struct audit_segments seg;
    struct buf b;
    bool on = true;
    *torn = 0;
    enum status s = audit_segments(folder, &seg, err);
    for (unsigned k = seg.first; s == STATUS_OK && seg.last > 0 && k <= seg.last && on; k++) {
        buf_init(&b, AUDIT_SEGMENT_BYTES_MAX);
        s = audit_segment_read(folder, k, &b, err);
        if (s == STATUS_OK) {
            on = audit_walk_bytes(k, buf_view(&b), visit, data, torn);
            if (on && *torn > 0 && k < seg.last) { /* only the end may be torn */
                const struct error why = {.code = STATUS_CORRUPT, .text = "the file ends in it"};
                struct str rest = {b.ptr + b.len - *torn, *torn};
                on = visit(k, rest, NULL, &why, data);
            }
        } else if (s == STATUS_NOT_FOUND) { /* a hole: the records after it tell */
            s = STATUS_OK;
        }
        buf_deinit(&b);
    }
    return s;
}
