#include "ingest/share.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "ingest/paths.h"
#include "ingest/tree.h"

#define ACL_BYTES ((size_t)65536)
#define LEVEL_ARENA ((size_t)1 << 20)
#define GROUP_TEXT 4096
#define CIFS_MAGIC 0xFF534D42U
#define SMB2_MAGIC 0xFE534D42U
#define NFS_MAGIC 0x6969U

/* ---- one list ---- */

static void add_name(struct share_readers *out, const char *name)
{
    for (size_t i = 0; i < out->n; i++) {
        if (strcmp(out->names[i], name) == 0) {
            return;
        }
    }
    if (out->n < RULES_VALUES) { /* what is beyond reads less, never more */
        out->names[out->n++] = name;
    }
}

static bool known_as(const struct rules_group *g, const struct share_who *who)
{
    switch (who->kind) {
    case SHARE_GID:
        return g->by == KNOWN_BY_GID && g->id == who->id;
    case SHARE_UID:
        return g->by == KNOWN_BY_UID && g->id == who->id;
    case SHARE_SID:
        return g->by == KNOWN_BY_SID && strcmp(g->text, who->text) == 0;
    case SHARE_NFS:
        return g->by == KNOWN_BY_NFS && strcmp(g->text, who->text) == 0;
    case SHARE_EVERYONE:
    case SHARE_STRANGER:
        break;
    }
    return false;
}

/* The groups of keys that one of a list is; of users only those that `groups:` names. */
static enum status add_who(const struct share_who *who, const struct rules *rules, struct arena *a,
                           struct share_readers *out, struct error *err)
{
    bool named = false;
    for (size_t i = 0; i < rules->n_groups; i++) {
        if (known_as(&rules->groups[i], who)) {
            add_name(out, rules->groups[i].name);
            named = true;
        }
    }
    char text[GROUP_TEXT];
    struct group entry;
    struct group *found = NULL;
    if (named || who->kind != SHARE_GID ||
        getgrgid_r(who->id, &entry, text, sizeof text, &found) != 0 || found == NULL ||
        !rules_group_valid(str_from(found->gr_name))) {
        return STATUS_OK;
    }
    const char *name = arena_strdup(a, found->gr_name);
    if (name == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    add_name(out, name);
    return STATUS_OK;
}

enum status share_level(const struct share_acl *acl, uint32_t wanted, const struct rules *rules,
                        struct arena *a, struct share_readers *out, struct error *err)
{
    static const struct share_who everyone = {.kind = SHARE_EVERYONE};
    enum status s = STATUS_OK;
    *out = (struct share_readers){.asked = true, .everyone = share_lets(acl, &everyone, wanted)};
    for (size_t i = 0; i < acl->n && !out->everyone && s == STATUS_OK && out->n < RULES_VALUES;
         i++) {
        const struct share_who *who = &acl->items[i].who;
        bool grants = !acl->items[i].deny && who->kind != SHARE_EVERYONE;
        if (grants && share_lets(acl, who, wanted)) {
            s = add_who(who, rules, a, out, err);
        }
    }
    return s;
}

void share_both(struct share_readers *upper, const struct share_readers *lower)
{
    struct share_readers both = *upper;
    if (upper->everyone) {
        *upper = *lower;
        return;
    }
    both.n = 0;
    for (size_t i = 0; i < upper->n; i++) {
        bool there = lower->everyone;
        for (size_t k = 0; k < lower->n && !there; k++) {
            there = strcmp(upper->names[i], lower->names[k]) == 0;
        }
        if (there) {
            both.names[both.n++] = upper->names[i];
        }
    }
    *upper = both;
}

/* ---- the disk ---- */

/* The attribute; *there false where there is none or the file system has no such thing. False: it
 * cannot be read. */
static bool attribute(int fd, const char *name, char *bytes, struct str *out, bool *there)
{
    ssize_t n = fgetxattr(fd, name, bytes, ACL_BYTES);
    *there = n >= 0;
    *out = (struct str){bytes, n < 0 ? 0 : (size_t)n};
    return n >= 0 || errno == ENODATA || errno == ENOTSUP;
}

static enum status list_of(int fd, const struct stat *st, char *bytes, struct arena *a,
                           struct share_acl *acl, struct error *err)
{
    struct statfs fs;
    struct str text;
    bool there = false;
    if (fstatfs(fd, &fs) != 0) {
        return error_errno(err, errno, "its file system");
    }
    uint32_t kind = (uint32_t)fs.f_type;
    if (kind == CIFS_MAGIC || kind == SMB2_MAGIC) { /* its mode is made up by the mount */
        if (!attribute(fd, "system.cifs_acl", bytes, &text, &there) || !there) {
            return error_set(err, STATUS_FORBIDDEN, "its rights cannot be read from the server");
        }
        return share_windows(text, a, acl, err);
    }
    if (kind == NFS_MAGIC) {
        if (!attribute(fd, "system.nfs4_acl", bytes, &text, &there)) {
            return error_set(err, STATUS_FORBIDDEN, "its rights cannot be read from the server");
        }
        if (there) {
            return share_nfs4(text, st->st_uid, st->st_gid, a, acl, err);
        }
    }
    if (!attribute(fd, "system.posix_acl_access", bytes, &text, &there)) {
        return error_set(err, STATUS_FORBIDDEN, "its access list cannot be read");
    }
    return share_posix(there ? text : (struct str){"", 0}, st->st_mode, st->st_uid, st->st_gid, a,
                       acl, err);
}

/* One file or folder, by its descriptor. */
static enum status look_at(int fd, const struct stat *st, const struct rules *rules, char *bytes,
                           struct arena *a, struct share_readers *out, struct error *err)
{
    struct arena lists;
    struct share_acl acl;
    uint32_t wanted = SHARE_READ | (S_ISDIR(st->st_mode) ? SHARE_PASS : 0);
    arena_init(&lists, LEVEL_ARENA);
    enum status s = list_of(fd, st, bytes, &lists, &acl, err);
    if (s == STATUS_OK) {
        s = share_level(&acl, wanted, rules, a, out, err);
    }
    arena_reset(&lists);
    return s;
}

/* The watched folder counts unless it is Carrel's own, in which shares are mounted. */
static bool counts(const struct stat *st, bool top)
{
    return !top || st->st_uid != geteuid();
}

static enum status look_all(int root, struct str path, const struct rules *rules, char *bytes,
                            struct arena *a, struct share_readers *out, struct error *err)
{
    enum status s = STATUS_OK;
    *out = (struct share_readers){.asked = true, .everyone = true};
    for (size_t len = 0; s == STATUS_OK; len++) {
        bool last = len == path.len;
        if (len > 0 && !last && path.ptr[len] != '/') {
            continue;
        }
        struct share_readers level;
        struct stat st;
        int fd = -1;
        s = tree_open(root, (struct str){path.ptr, len}, O_RDONLY | O_NONBLOCK | O_NOCTTY, &fd,
                      err);
        if (s == STATUS_OK && fstat(fd, &st) != 0) {
            s = error_errno(err, errno, "its rights");
        }
        if (s == STATUS_OK && counts(&st, len == 0)) {
            s = look_at(fd, &st, rules, bytes, a, &level, err);
            if (s == STATUS_OK) {
                share_both(out, &level);
            }
        }
        if (fd >= 0) {
            (void)close(fd);
        }
        if (last || (s == STATUS_OK && !S_ISDIR(st.st_mode))) {
            break; /* what lies in an archive has its rights */
        }
    }
    return s;
}

enum status share_look(int root, struct str path, const struct rules *rules, struct arena *a,
                       struct share_readers *out, struct error *err)
{
    struct error why = {0};
    char *bytes = malloc(ACL_BYTES);
    enum status s =
        bytes == NULL ? STATUS_NO_MEMORY : look_all(root, path, rules, bytes, a, out, &why);
    free(bytes);
    if (s == STATUS_NO_MEMORY) {
        return error_set(err, s, "out of memory");
    }
    if (s != STATUS_OK) {
        char shown[80];
        path_show(path, shown, sizeof shown);
        *out = (struct share_readers){.asked = true};
        (void)snprintf(out->why, sizeof out->why, "%s: nobody reads it: %.60s", shown, why.text);
    }
    return STATUS_OK;
}
