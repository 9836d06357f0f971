#include "ingest/share_acl.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t le16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t le32(const unsigned char *p)
{
    return le16(p) | le16(p + 2) << 16;
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static enum status room(struct share_acl *acl, size_t n, struct arena *a, struct error *err)
{
    *acl = (struct share_acl){.cap = n};
    if (n > SHARE_ENTRIES_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "its access list has more than %u entries",
                         SHARE_ENTRIES_MAX);
    }
    acl->items = arena_array(a, n + 1, sizeof *acl->items);
    return acl->items == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static void add(struct share_acl *acl, bool deny, uint32_t what, struct share_who who)
{
    if (acl->n < acl->cap && what != 0) {
        acl->items[acl->n++] = (struct share_entry){.deny = deny, .what = what, .who = who};
    }
}

static enum status malformed(struct error *err)
{
    return error_set(err, STATUS_INVALID, "its access list is malformed");
}

/* ---- POSIX ---- */

enum {
    TAG_OWNER = 1,
    TAG_USER = 2,
    TAG_GROUP_OWNER = 4,
    TAG_GROUP = 8,
    TAG_MASK = 16,
    TAG_OTHER = 32
};

struct posix_entry {
    uint32_t tag, perm, id;
};

static uint32_t of_perm(uint32_t perm)
{
    return ((perm & 4) != 0 ? SHARE_READ : 0) | ((perm & 1) != 0 ? SHARE_PASS : 0);
}

static uint32_t not_of(uint32_t what)
{
    return (SHARE_READ | SHARE_PASS) & ~what;
}

/* In the order of the access check (POSIX 1003.1e draft 17, 23.1.5): users, then groups of which
 * any one that grants is enough, then all others. A user who is denied might be in a group that is
 * not, so a user's denial stands before the groups; one group's denial does not stop another, and
 * stands before the others. */
static void order_posix(const struct posix_entry *e, size_t n, uint32_t mask, uint32_t uid,
                        uint32_t gid, struct share_acl *out)
{
    for (int pass = 0; pass < 5; pass++) {
        for (size_t i = 0; i < n; i++) {
            bool user = e[i].tag == TAG_USER;
            bool group = e[i].tag == TAG_GROUP || e[i].tag == TAG_GROUP_OWNER;
            uint32_t what = of_perm(e[i].perm & (user || group ? mask : 7));
            struct share_who who = {.kind = user || e[i].tag == TAG_OWNER ? SHARE_UID : SHARE_GID,
                                    .id = e[i].tag == TAG_OWNER         ? uid
                                          : e[i].tag == TAG_GROUP_OWNER ? gid
                                                                        : e[i].id};
            if (pass == 0 && (user || e[i].tag == TAG_OWNER)) {
                add(out, false, what, who);
            } else if (pass == 1 && user && !(who.id == uid)) { /* an owner may let himself in */
                add(out, true, not_of(what), who);
            } else if (pass == 2 && group) {
                add(out, false, what, who);
            } else if (pass == 3 && group) {
                add(out, true, not_of(what), who);
            } else if (pass == 4 && e[i].tag == TAG_OTHER) {
                add(out, false, what, (struct share_who){.kind = SHARE_EVERYONE});
            }
        }
    }
}

static enum status read_posix(struct str acl, struct posix_entry *e, size_t n, uint32_t *mask,
                              struct error *err)
{
    unsigned seen = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char *p = (const unsigned char *)acl.ptr + 4 + 8 * i;
        e[i] = (struct posix_entry){.tag = le16(p), .perm = le16(p + 2), .id = le32(p + 4)};
        bool known = e[i].tag == TAG_USER || e[i].tag == TAG_GROUP;
        bool once = e[i].tag == TAG_OWNER || e[i].tag == TAG_GROUP_OWNER || e[i].tag == TAG_MASK ||
                    e[i].tag == TAG_OTHER;
        if ((!known && !once) || (once && (seen & e[i].tag) != 0) || e[i].perm > 7) {
            return malformed(err);
        }
        seen |= e[i].tag;
        *mask = e[i].tag == TAG_MASK ? e[i].perm : *mask;
    }
    return (seen & (TAG_OWNER | TAG_GROUP_OWNER | TAG_OTHER)) ==
                   (TAG_OWNER | TAG_GROUP_OWNER | TAG_OTHER)
               ? STATUS_OK
               : malformed(err);
}

enum status share_posix(struct str acl, uint32_t mode, uint32_t uid, uint32_t gid, struct arena *a,
                        struct share_acl *out, struct error *err)
{
    const struct posix_entry plain[3] = {{TAG_OWNER, mode >> 6 & 7, 0},
                                         {TAG_GROUP_OWNER, mode >> 3 & 7, 0},
                                         {TAG_OTHER, mode & 7, 0}};
    uint32_t mask = 7;
    size_t n = acl.len == 0 ? 3 : (acl.len - 4) / 8;
    if (acl.len != 0 &&
        (acl.len < 4 || (acl.len - 4) % 8 != 0 || le32((const unsigned char *)acl.ptr) != 2)) {
        return malformed(err);
    }
    enum status s = room(out, n > SHARE_ENTRIES_MAX / 2 ? SHARE_ENTRIES_MAX + 1 : 2 * n, a, err);
    if (s != STATUS_OK || acl.len == 0) {
        if (s == STATUS_OK) {
            order_posix(plain, 3, mask, uid, gid, out);
        }
        return s;
    }
    struct posix_entry *e = arena_array(a, n + 1, sizeof *e);
    s = e == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                  : read_posix(acl, e, n, &mask, err);
    if (s == STATUS_OK) {
        order_posix(e, n, mask, uid, gid, out);
    }
    return s;
}

/* ---- Windows ---- */

#define SELF_RELATIVE 0x8000U
#define DACL_PRESENT 0x0004U
#define INHERIT_ONLY 0x08U
#define SID_PARTS_MAX 15U

static uint32_t of_rights(uint32_t mask)
{
    static const uint32_t reading =
        0x80000000U | 0x10000000U | 0x1U; /* generic read, all; the bit itself */
    static const uint32_t passing = 0x20000000U | 0x10000000U | 0x20U;
    return ((mask & reading) != 0 ? SHARE_READ : 0) | ((mask & passing) != 0 ? SHARE_PASS : 0);
}

/* "S-1-5-21-…" of a binary SID (MS-DTYP 2.4.2.2); false: malformed. */
static bool sid_text(const unsigned char *p, size_t len, char out[SHARE_WHO_BYTES])
{
    if (len < 8 || p[0] != 1 || p[1] > SID_PARTS_MAX || len < 8 + 4 * (size_t)p[1]) {
        return false;
    }
    uint64_t authority = 0;
    for (size_t i = 0; i < 6; i++) {
        authority = authority << 8 | p[2 + i];
    }
    int at = snprintf(out, SHARE_WHO_BYTES, "S-1-%llu", (unsigned long long)authority);
    for (size_t i = 0; i < p[1]; i++) {
        at += snprintf(out + at, SHARE_WHO_BYTES - (size_t)at, "-%u", le32(p + 8 + 4 * i));
    }
    return true;
}

static bool who_of_sid(const unsigned char *p, size_t len, struct arena *a, struct share_who *out)
{
    static const char *const everyone[] = {"S-1-1-0", "S-1-5-11"};
    static const char *const strangers[] = {"S-1-5-7", "S-1-5-32-546"};
    char text[SHARE_WHO_BYTES];
    if (!sid_text(p, len, text)) {
        return false;
    }
    *out = (struct share_who){.kind = SHARE_SID, .text = arena_strdup(a, text)};
    for (size_t i = 0; i < 2; i++) {
        out->kind = strcmp(text, everyone[i]) == 0    ? SHARE_EVERYONE
                    : strcmp(text, strangers[i]) == 0 ? SHARE_STRANGER
                                                      : out->kind;
    }
    return out->text != NULL;
}

static enum status read_ace(const unsigned char *p, size_t size, struct arena *a,
                            struct share_acl *out, struct error *err)
{
    struct share_who who;
    unsigned type = p[0];
    if ((p[1] & INHERIT_ONLY) != 0 || type == 2 || type == 3 || (type > 0x0C && type != 0x10)) {
        return STATUS_OK; /* of what is made below it; audits, alarms, labels of integrity */
    }
    if (type > 1) { /* of objects, with conditions: what it grants counts for nobody, what it may
                       deny is not known */
        bool denies = type == 6 || type == 0x0A || type == 0x0C;
        if (denies) {
            add(out, true, SHARE_READ | SHARE_PASS,
                (struct share_who){.kind = SHARE_SID, .text = ""});
        }
        return STATUS_OK;
    }
    if (size < 16 || !who_of_sid(p + 8, size - 8, a, &who)) {
        return malformed(err);
    }
    add(out, type == 1, of_rights(le32(p + 4)), who);
    return STATUS_OK;
}

enum status share_windows(struct str descriptor, struct arena *a, struct share_acl *out,
                          struct error *err)
{
    const unsigned char *d = (const unsigned char *)descriptor.ptr;
    if (descriptor.len < 20 || d[0] != 1 || (le16(d + 2) & SELF_RELATIVE) == 0) {
        return malformed(err);
    }
    uint32_t at = le32(d + 16);
    enum status s = STATUS_OK;
    if ((le16(d + 2) & DACL_PRESENT) == 0 ||
        at == 0) { /* no list at all: everybody (MS-DTYP 2.5.3) */
        s = room(out, 1, a, err);
        if (s == STATUS_OK) {
            add(out, false, SHARE_READ | SHARE_PASS, (struct share_who){.kind = SHARE_EVERYONE});
        }
        return s;
    }
    if (at > descriptor.len || descriptor.len - at < 8) {
        return malformed(err);
    }
    size_t end = at + le16(d + at + 2);
    size_t n = le16(d + at + 4);
    if (end > descriptor.len || end < (size_t)at + 8 || n > (end - at) / 4) {
        return malformed(err);
    }
    s = room(out, n, a, err);
    size_t pos = (size_t)at + 8;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        size_t size = end - pos < 4 ? 0 : le16(d + pos + 2);
        if (size < 4 || size > end - pos) {
            return malformed(err);
        }
        s = read_ace(d + pos, size, a, out, err);
        pos += size;
    }
    return s;
}

/* ---- NFSv4 ---- */

/* "1005": as servers write whom they cannot name. */
static bool number_of(struct str s, uint32_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9' || n > UINT32_MAX) {
            return false;
        }
        n = n * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    *out = (uint32_t)n;
    return s.len > 0 && n < UINT32_MAX;
}

static bool who_of_name(struct str s, bool group, uint32_t uid, uint32_t gid, struct arena *a,
                        struct share_who *out)
{
    uint32_t id = 0;
    if (str_eq(s, STR("OWNER@"))) {
        *out = (struct share_who){.kind = SHARE_UID, .id = uid};
    } else if (str_eq(s, STR("GROUP@"))) {
        *out = (struct share_who){.kind = SHARE_GID, .id = gid};
    } else if (str_eq(s, STR("EVERYONE@"))) {
        *out = (struct share_who){.kind = SHARE_EVERYONE};
    } else if (str_eq(s, STR("ANONYMOUS@"))) {
        *out = (struct share_who){.kind = SHARE_STRANGER};
    } else if (number_of(s, &id)) {
        *out = (struct share_who){.kind = group ? SHARE_GID : SHARE_UID, .id = id};
    } else {
        *out = (struct share_who){.kind = SHARE_NFS, .text = arena_strndup(a, s.ptr, s.len)};
        return out->text != NULL;
    }
    return true;
}

enum status share_nfs4(struct str acl, uint32_t uid, uint32_t gid, struct arena *a,
                       struct share_acl *out, struct error *err)
{
    const unsigned char *p = (const unsigned char *)acl.ptr;
    if (acl.len < 4) {
        return malformed(err);
    }
    size_t n = be32(p);
    size_t pos = 4;
    enum status s = n > acl.len / 16 ? malformed(err) : room(out, n, a, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        if (acl.len - pos < 16) {
            return malformed(err);
        }
        uint32_t type = be32(p + pos);
        uint32_t flags = be32(p + pos + 4);
        uint32_t mask = be32(p + pos + 8);
        size_t len = be32(p + pos + 12);
        size_t padded = len + (4 - len % 4) % 4;
        pos += 16;
        if (len == 0 || len >= SHARE_WHO_BYTES || padded > acl.len - pos) {
            return malformed(err);
        }
        struct share_who who;
        if (!who_of_name((struct str){acl.ptr + pos, len}, (flags & 0x40U) != 0, uid, gid, a,
                         &who)) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        if (type <= 1 && (flags & 0x08U) == 0) { /* not audits; not of what is made below it */
            add(out, type == 1,
                ((mask & 0x1U) != 0 ? SHARE_READ : 0) | ((mask & 0x20U) != 0 ? SHARE_PASS : 0),
                who);
        }
        pos += padded;
    }
    return s;
}

/* ---- who may read ---- */

bool share_same(const struct share_who *x, const struct share_who *y)
{
    if (x->kind != y->kind) {
        return false;
    }
    return x->kind == SHARE_SID || x->kind == SHARE_NFS   ? strcmp(x->text, y->text) == 0
           : x->kind == SHARE_GID || x->kind == SHARE_UID ? x->id == y->id
                                                          : true;
}

bool share_lets(const struct share_acl *acl, const struct share_who *who, uint32_t wanted)
{
    uint32_t got = 0;
    uint32_t doubtful = 0; /* denied to others, of whom he may be one */
    for (size_t i = 0; i < acl->n; i++) {
        const struct share_entry *e = &acl->items[i];
        uint32_t what = e->what & wanted & ~got;
        bool his = e->who.kind == SHARE_EVERYONE || share_same(&e->who, who);
        if (his && e->deny && what != 0) {
            return false;
        }
        if (his && !e->deny) {
            got |= what & ~doubtful;
        } else if (!his && e->deny && e->who.kind != SHARE_STRANGER) {
            doubtful |= what;
        }
    }
    return got == wanted;
}
