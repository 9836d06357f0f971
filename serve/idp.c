#include "serve/idp.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static bool named(struct str given, const char *written, bool any_case)
{
    return given.ptr != NULL && given.len == strlen(written) &&
           (any_case ? strncasecmp(given.ptr, written, given.len)
                     : memcmp(given.ptr, written, given.len)) == 0;
}

static bool is_in(const struct directory_group_settings *line, const struct idp_group *in, size_t n,
                  bool any_case)
{
    for (size_t i = 0; i < n; i++) {
        if (named(in[i].name, line->name, any_case) || named(in[i].shorter, line->name, any_case)) {
            return true;
        }
    }
    return false;
}

static enum status add_group(struct idp_verdict *v, const char *name, struct error *err)
{
    for (size_t i = 0; i < v->n_groups; i++) {
        if (str_eq(v->groups[i], str_from(name))) {
            return STATUS_OK;
        }
    }
    if (v->n_groups == GROUPS_MAX) {
        return error_set(err, STATUS_TOO_LARGE,
                         "directory_groups give more than %d groups to one person", GROUPS_MAX);
    }
    v->groups[v->n_groups++] = str_from(name);
    return STATUS_OK;
}

enum status idp_judge(const struct settings *s, const char *default_role,
                      const struct idp_group *in, size_t n, bool any_case, struct idp_verdict *out,
                      struct error *err)
{
    enum status st = STATUS_OK;
    bool role = false;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < s->n_directory_groups && st == STATUS_OK; i++) {
        const struct directory_group_settings *line = &s->directory_groups[i];
        if (!is_in(line, in, n, any_case)) {
            continue;
        }
        role = role || role_read(str_from(line->role), &out->role);
        for (size_t k = 0; k < line->groups.n && st == STATUS_OK; k++) {
            st = add_group(out, line->groups.items[k], err);
        }
    }
    if (st == STATUS_OK && !role && !role_read(str_from(default_role), &out->role)) {
        st = error_set(err, STATUS_FORBIDDEN, "none of his groups gives a role (directory_groups)");
    }
    return st;
}

enum status idp_secret(const char *path, char *out, size_t cap, struct error *err)
{
    struct stat st;
    size_t len = 0;
    enum status s = STATUS_OK;
    out[0] = '\0';
    if (path[0] == '\0') {
        return STATUS_OK;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return error_errno(err, errno, "%.150s", path);
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        s = error_set(err, STATUS_INVALID, "%.150s is not a file", path);
    } else if ((st.st_mode & 077) != 0) {
        s = error_set(err, STATUS_FORBIDDEN, "%.150s can be read by others: chmod 600", path);
    }
    while (s == STATUS_OK && len < cap) {
        ssize_t n = read(fd, out + len, cap - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            s = error_errno(err, errno, "%.150s", path);
        }
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    (void)close(fd);
    while (s == STATUS_OK && len > 0 && len < cap && (unsigned char)out[len - 1] <= ' ') {
        len--;
    }
    if (s == STATUS_OK && (len == 0 || len >= cap || memchr(out, '\n', len) != NULL ||
                           memchr(out, '\0', len) != NULL)) {
        s = error_set(err, STATUS_INVALID, "%.150s does not hold one secret in one line", path);
    }
    out[s == STATUS_OK ? len : 0] = '\0';
    return s;
}
