#include "base/erased.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define LINE_CAP 256
#define MARK_HEX_CAP (2 * ERASED_MARK_BYTES + 1)
#define LIST_MAX ((size_t)512 << 20)

static enum status list_path(const char *home, const char *tenant, const char *ending, char *out,
                             size_t cap, struct error *err)
{
    int n = snprintf(out, cap, "%s/system/erasures/%s%s", home, tenant, ending);
    return n < 0 || (size_t)n >= cap ? error_set(err, STATUS_TOO_LARGE, "%s: path too long", home)
                                     : STATUS_OK;
}

static bool parse(const char *line, struct erased *e)
{
    char keyed[MARK_HEX_CAP];
    char document[ID_CAP + 1];
    int end = 0;
    *e = (struct erased){0};
    if (sscanf(line, "%26s %26s %84s %" SCNu64 " %" SCNd64 "%n", e->erasure, document, keyed,
               &e->sequence, &e->wall_ms, &end) != 5 ||
        line[end] != '\n' || !id_valid(e->erasure)) {
        return false;
    }
    e->subject = strcmp(document, "subject") == 0;
    if (e->subject) {
        return hex_decode(keyed, e->mark, sizeof e->mark);
    }
    memcpy(e->document, document, sizeof e->document);
    e->content = strcmp(keyed, "-") != 0;
    return id_valid(e->document) && (!e->content || hex_decode(keyed, e->keyed, sizeof e->keyed));
}

enum status erased_read(const char *home, const char *tenant, erased_visit visit, void *data,
                        struct error *err)
{
    char path[1200];
    char line[LINE_CAP];
    enum status s = list_path(home, tenant, "", path, sizeof path, err);
    FILE *f = s == STATUS_OK ? fopen(path, "re") : NULL;
    if (s == STATUS_OK && f == NULL) {
        return errno == ENOENT ? STATUS_OK : error_errno(err, errno, "%s", path);
    }
    while (s == STATUS_OK && fgets(line, sizeof line, f) != NULL) {
        struct erased e;
        if (parse(line, &e)) {
            s = visit(&e, data, err);
        }
    }
    if (s == STATUS_OK && ferror(f)) {
        s = error_errno(err, errno, "%s", path);
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return s;
}

static enum status ensure_folder(const char *home, struct error *err)
{
    char dir[1200];
    enum status s = file_join(dir, sizeof dir, home, "system/erasures", err);
    return s == STATUS_OK ? file_mkdirs(dir, 0700, err) : s;
}

enum status erased_append(const char *home, const char *tenant, const struct erased *list, size_t n,
                          struct error *err)
{
    char path[1200];
    struct buf b;
    buf_init(&b, LIST_MAX);
    buf_char(&b, '\n'); /* after a line that a crash has cut off; an empty line is no line */
    for (size_t i = 0; i < n; i++) {
        char keyed[MARK_HEX_CAP] = "-";
        if (list[i].subject) {
            hex_encode(list[i].mark, sizeof list[i].mark, keyed);
        } else if (list[i].content) {
            hex_encode(list[i].keyed, sizeof list[i].keyed, keyed);
        }
        buf_printf(&b, "%s %s %s %" PRIu64 " %" PRId64 "\n", list[i].erasure,
                   list[i].subject ? "subject" : list[i].document, keyed, list[i].sequence,
                   list[i].wall_ms);
    }
    enum status s = buf_status(&b);
    if (s != STATUS_OK) {
        s = error_set(err, s, "too many documents at once");
    }
    if (s == STATUS_OK) {
        s = ensure_folder(home, err);
    }
    if (s == STATUS_OK) {
        s = list_path(home, tenant, "", path, sizeof path, err);
    }
    int fd = s == STATUS_OK ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (s == STATUS_OK && fd < 0) {
        s = error_errno(err, errno, "%s", path);
    }
    if (s == STATUS_OK) {
        s = file_write_all(fd, b.ptr, b.len, err);
    }
    if (s == STATUS_OK && fsync(fd) != 0) {
        s = error_errno(err, errno, "%s: fsync", path);
    }
    if (s == STATUS_OK) {
        s = file_sync_parent(path, err);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    buf_deinit(&b);
    return s;
}

enum status erased_key(const char *home, const char *tenant, uint8_t out[KEYED_KEY_BYTES],
                       struct error *err)
{
    char path[1200];
    enum status s = ensure_folder(home, err);
    if (s == STATUS_OK) {
        s = list_path(home, tenant, ".key", path, sizeof path, err);
    }
    return s == STATUS_OK ? keyed_key_open(path, out, err) : s;
}
