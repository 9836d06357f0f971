/* Access lists of file systems as lists of entries in order: POSIX (mode, and
 * system.posix_acl_access of include/uapi/linux/posix_acl_xattr.h), Windows (MS-DTYP 2.4.6, as
 * system.cifs_acl has it) and NFSv4 (RFC 7530 6.2.1, XDR, as system.nfs4_acl has it); and who may
 * read by them.
 *
 * Readers are told by groups, and a person may be in several, so what an entry denies to some
 * cannot be taken from others: what follows a denial counts for nobody but those that it does not
 * concern for sure. So a list never lets more read than the file system would; at times it lets
 * fewer. Pure; linear in the bytes. */
#ifndef CARREL_INGEST_SHARE_ACL_H
#define CARREL_INGEST_SHARE_ACL_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

#define SHARE_ENTRIES_MAX 1024U
#define SHARE_WHO_BYTES 190U
#define SHARE_READ 1U /* a file's text; a folder's names */
#define SHARE_PASS 2U /* through a folder */

enum share_kind {
    SHARE_EVERYONE,
    SHARE_GID,
    SHARE_UID,
    SHARE_SID,     /* text: "S-1-5-21-1-2-3-1105" */
    SHARE_NFS,     /* text: "hr@example.org" */
    SHARE_STRANGER /* nobody who has a key: a guest, the anonymous */
};

struct share_who {
    enum share_kind kind;
    uint32_t id;
    const char *text;
};

struct share_entry {
    bool deny;
    uint32_t what; /* SHARE_READ, SHARE_PASS */
    struct share_who who;
};

struct share_acl {
    struct share_entry *items; /* in the arena */
    size_t n, cap;
};

/* acl: the attribute, empty where there is none. mode, uid and gid: of the file. INVALID:
 * malformed; TOO_LARGE: more entries than SHARE_ENTRIES_MAX. */
enum status share_posix(struct str acl, uint32_t mode, uint32_t uid, uint32_t gid, struct arena *a,
                        struct share_acl *out, struct error *err) MUST_CHECK;
enum status share_windows(struct str descriptor, struct arena *a, struct share_acl *out,
                          struct error *err) MUST_CHECK;
enum status share_nfs4(struct str acl, uint32_t uid, uint32_t gid, struct arena *a,
                       struct share_acl *out, struct error *err) MUST_CHECK;

/* Whether the list surely lets this one do all that is wanted. */
bool share_lets(const struct share_acl *acl, const struct share_who *who, uint32_t wanted);
bool share_same(const struct share_who *x, const struct share_who *y);

#endif
