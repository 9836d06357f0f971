#include "serve/audit/snapshot.h"

#include <stdio.h>

#include "base/file.h"

static enum status copy_segment(const struct chain *c, unsigned number, const char *folder,
                                struct error *err)
{
    char path[PATH_MAX];
    struct buf b;
    int n = snprintf(path, sizeof path, "%s/" AUDIT_SEGMENT_FORMAT, folder, number);
    if (n < 0 || (size_t)n >= sizeof path) {
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", folder);
    }
    buf_init(&b, AUDIT_SEGMENT_BYTES_MAX);
    enum status s = audit_segment_read(c->folder, number, &b, err);
    if (s == STATUS_OK) {
        s = file_write_atomic(path, b.ptr == NULL ? "" : b.ptr, b.len, 0600, err);
    }
    buf_deinit(&b);
    return s;
}

enum status audit_snapshot(const struct chain *c, const char *home, const char *to,
                           struct error *err)
{
    char folder[PATH_MAX], from[PATH_MAX], copy[PATH_MAX];
    struct audit_segments seg = {0};
    int n = snprintf(from, sizeof from, "%s/tenants/%s/payload.db", home, c->tenant);
    if (n < 0 || (size_t)n >= sizeof from) {
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", home);
    }
    enum status s = file_join(folder, sizeof folder, to, "audit", err);
    if (s == STATUS_OK) {
        s = file_join(copy, sizeof copy, to, "payload.db", err);
    }
    if (s == STATUS_OK) {
        s = file_mkdirs(folder, 0700, err);
    }
    if (s == STATUS_OK) {
        s = audit_segments(c->folder, &seg, err);
    }
    for (unsigned k = seg.first; s == STATUS_OK && seg.last > 0 && k <= seg.last; k++) {
        s = copy_segment(c, k, folder, err);
    }
    return s == STATUS_OK ? db_copy_file(from, copy, NULL, err) : s;
}
