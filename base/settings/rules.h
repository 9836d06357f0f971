/* Rules of access: which readers, label, tags and date a document gets by where it lies. They stand
 * in access.yaml beside carrel.yaml and take effect without a restart:
 *
 *   access:
 *     - path: hr/                 # a pattern below the tenant's watched folder
 *       readers: [hr, board]      # groups of keys; [everyone] or [nobody] (administrators see that
 * it is there) label: confidential       # public, internal, confidential or restricted tags:
 * [personnel]
 *     - collection: minutes
 *       tenant: main              # left out: every tenant
 *       date: path                # the last date in the path, or YYYY-MM-DD
 *
 * `rights: share` makes readers those whom the share itself lets read (ingest/share.h).
 * Of readers, label and date the first matching rule that names one counts; tags add up. In
 * patterns * and ? stay within a folder, ** goes through folders, and a / at the end means
 * everything below. What no rule gives readers to is for everyone in the tenant. A rule's mistake
 * fails the whole file, naming line and cure. Pure but for rules_load. */
#ifndef CARREL_BASE_SETTINGS_RULES_H
#define CARREL_BASE_SETTINGS_RULES_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#define RULES_FILE "access.yaml"
#define RULES_FOLDER_FILE ".carrel.yaml"
#define RULES_MAX 512
#define RULES_GROUPS_MAX 4096
#define RULES_VALUES 32 /* readers, or tags, of one document */
#define RULES_NOBODY "nobody"
#define RULES_EVERYONE "everyone"

struct rule {
    size_t line;
    const char *tenant, *path, *collection; /* NULL: any */
    const char **readers;
    size_t n_readers;
    bool has_readers;
    bool share;        /* `rights: share`: readers are those whom the share lets read, and of these
                          `readers` */
    const char *label; /* NULL: none */
    const char **tags;
    size_t n_tags;
    bool has_date, date_from_path;
    int64_t date_ms;
};

/* Whom a share means by a number or name of its own:
 *   groups:
 *     - {name: hr, gid: 1005}
 *     - {name: hr, sid: S-1-5-21-1-2-3-1105} */
enum rules_known_as { KNOWN_BY_NOTHING, KNOWN_BY_GID, KNOWN_BY_UID, KNOWN_BY_SID, KNOWN_BY_NFS };
struct rules_group {
    const char *name; /* a group of keys */
    enum rules_known_as by;
    uint32_t id;      /* gid or uid */
    const char *text; /* as written */
};

struct rules {
    struct rule *items;
    size_t n;
    struct rules_group *groups;
    size_t n_groups;
    bool any_share; /* some rule asks the share */
};

/* What the rules say of one document; texts are borrowed from the rules. */
struct verdict {
    const char *readers[RULES_VALUES]; /* none: everyone in the tenant */
    size_t n_readers;
    bool share;        /* readers are not settled before rules_share */
    const char *label; /* "" */
    const char *tags[RULES_VALUES];
    size_t n_tags;
    bool has_date;
    int64_t date_ms;
};

/* [A-Za-z0-9._@-]{1,64}, neither "everyone" nor "nobody". */
bool rules_group_valid(struct str name);
/* a holds the rules. INVALID as "access.yaml:12: ...". */
enum status rules_parse(struct str yaml, const char *name, struct arena *a, struct rules *out,
                        struct error *err) MUST_CHECK;
/* home/access.yaml; NOT_FOUND when there is none. */
enum status rules_load(const char *home, struct arena *a, struct rules *out,
                       struct error *err) MUST_CHECK;
void rules_judge(const struct rules *r, const char *tenant, struct str path, const char *collection,
                 struct verdict *out);
/* For a verdict that asks the share: those whom the share lets read, of those whom the rule does.
 * Names are borrowed. */
void rules_share(struct verdict *v, bool everyone, const char *const *names, size_t n);
/* What a folder says of the documents in it and below (.carrel.yaml there): readers, label, tags
 * and date as a rule does, and the language of its texts. */
struct folder_rule {
    struct rule rule;
    const char *language; /* ISO 639-1; NULL: told by the text */
};
enum status rules_parse_folder(struct str yaml, const char *name, struct arena *a,
                               struct folder_rule *out, struct error *err) MUST_CHECK;
/* What is written in a folder can only tighten: readers that are among those of the verdict, a
 * label that lets go no further. What would widen has no effect and is said in refused (""; at
 * least 160 bytes); tags add up, a date counts where no rule gives one. */
void rules_tighten(const struct rule *folder, struct str path, struct verdict *v, char *refused,
                   size_t cap);
/* From what may travel furthest to what may travel least: 0 "public" to 3 "restricted", 4 any
 * other, 5 none: nobody has said that it may leave. */
unsigned rules_label_strictness(const char *label);

/* For what a folder says and cannot be asked for now: v lets nobody read and no text leave beyond
 * what `written` (rules_write) let. a holds the texts; closed when it is full. */
void rules_narrow(struct verdict *v, const char *written, struct arena *a);

/* For what lies in another document (in an archive, attached to a mail): v, the verdict on that
 * one, becomes the verdict on it, with what the rules say of its own path where that is tighter:
 * readers that both let, the label that lets go less far, all tags, its own date. */
void rules_within(struct verdict *v, const struct verdict *own);

/* For when the rules cannot be read: nobody reads it. */
void rules_closed(struct verdict *out);
/* May somebody of these groups read it? */
bool rules_readable(const struct verdict *v, const char *const *groups, size_t n_groups);
/* The verdict as one line, equal for equal verdicts: "readers|label|tags|date", each list with ','
 * and each part possibly empty. "" for a verdict that says nothing. */
void rules_write(const struct verdict *v, struct buf *out);

#endif
