#include "ingest/maildir.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "ingest/paths.h"

bool maildir_part(struct str name)
{
    return str_eq(name, STR("cur")) || str_eq(name, STR("new")) || str_eq(name, STR("tmp"));
}

static bool holds_mail(struct str name)
{
    return str_eq(name, STR("cur")) || str_eq(name, STR("new"));
}

static struct str unique_part(struct str path)
{
    struct str name = path_name(path);
    const char *colon = name.len == 0 ? NULL : memchr(name.ptr, ':', name.len);
    return (struct str){name.ptr, colon == NULL ? name.len : (size_t)(colon - name.ptr)};
}

bool maildir_same_message(struct str a, struct str b)
{
    return holds_mail(path_name(path_folder(a))) && holds_mail(path_name(path_folder(b))) &&
           str_eq(unique_part(a), unique_part(b));
}

static bool is_maildir(int fd)
{
    static const char *const parts[] = {"cur", "new", "tmp"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct stat st;
        if (fstatat(fd, parts[i], &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode)) {
            return false;
        }
    }
    return true;
}

/* Lists that Dovecot, Courier and delivery agents keep beside the three. */
static bool servers_own(struct str name)
{
    static const struct str beginnings[] = {
        {"dovecot", 7},      {"maildirfolder", 13},   {"maildirsize", 11}, {"subscriptions", 13},
        {"courierimap", 11}, {"shared-maildirs", 15}, {"sieve", 5},
    };
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        if (str_starts(name, beginnings[i])) {
            return true;
        }
    }
    return false;
}

static bool hidden(struct str name)
{
    return name.len > 1 && name.ptr[0] == '.' && !str_eq(name, STR(".."));
}

bool maildir_passes_over(int fd, enum maildir_place place, struct str name, bool folder)
{
    switch (place) {
    case MAILDIR_PASSED:
        return true;
    case MAILDIR_MAIL: /* a host's name ends as it likes */
        return folder || name.len == 0 || name.ptr[0] == '.';
    case MAILDIR_HIDDEN:
        return !folder || !holds_mail(name) || !is_maildir(fd);
    case MAILDIR_NONE:
        break;
    }
    if (folder && hidden(name)) {
        return !is_maildir(fd);
    }
    if (name_ignored(name)) {
        return true;
    }
    return (folder ? str_eq(name, STR("tmp")) : servers_own(name)) && is_maildir(fd);
}

enum maildir_place maildir_enter(int fd, enum maildir_place place, struct str name)
{
    if (maildir_passes_over(fd, place, name, true)) {
        return MAILDIR_PASSED;
    }
    if (hidden(name)) {
        return MAILDIR_HIDDEN;
    }
    return holds_mail(name) && is_maildir(fd) ? MAILDIR_MAIL : MAILDIR_NONE;
}
