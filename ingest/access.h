/* The rules of access (base/settings/rules.h) as ingest applies them: read when access.yaml
 * changes, put into each document's location, and into all documents again when a rule, or what a
 * folder says of itself (disk.h), has changed. Nothing is extracted or encoded for it: only
 * locations move.
 *
 * A mistake closes: while the file cannot be read, or is gone though there were rules, what comes
 * in can be read by nobody, and what is in the store keeps the readers it has. Loop thread, but for
 * access_judge. */
#ifndef CARREL_INGEST_ACCESS_H
#define CARREL_INGEST_ACCESS_H

#include "base/settings/rules.h"
#include "ingest/ingest.h"
#include "ingest/share.h"

struct rule_set; /* what was read, shared by those who look at it */

struct access_view {      /* may be handed to a lane */
    struct rule_set *set; /* NULL: no rules */
    bool broken;
    const char *tenant; /* of the tenant: lives as long */
    struct disk *disk;  /* likewise */
    const struct settings *settings;
};

enum status access_open(struct ingest *in, struct error *err) MUST_CHECK;
void access_close(struct ingest *in);
/* Looks whether the file has changed, at most every half second, and starts what follows. */
/* A tenant that was opened: are there rules for it? */
void access_adopt(struct tenant *t);
void access_tick(struct ingest *in);
/* Before the tenant is freed. */
void access_forget_tenant(struct tenant *t);
/* Looks now: a document that came after the rules were written goes by them. */
void access_look(struct ingest *in);
/* What is wrong with the rules, "" when nothing is. */
const char *access_trouble(const struct ingest *in);
/* Somebody may read less than all of the tenant. */
bool access_restricted(const struct tenant *t);

struct access_view access_view_take(const struct tenant *t);
void access_view_release(struct access_view *v); /* loop thread */
/* Where some rule asks the share: whom it lets read the file at path. Any thread; blocks. Texts
 * live in a. */
enum status access_share(const struct access_view *v, struct str path, struct arena *a,
                         struct share_readers *out, struct error *err) MUST_CHECK;
/* The same where its folder could not be looked at: of what is away, what the share said when the
 * store was told goes on to hold; what cannot be looked into is nobody's.
 */
struct share_readers access_share_unseen(const struct access_view *v, enum status looked,
                                         const struct file_row *row);
/* A scan is over: rights may be others, which no event tells of. */
void access_scanned(struct tenant *t);
/* For a document on its way into the store: the rules, and then what its folders say, which can
 * only tighten it; folders: of the folder that its file on the disk lies in. A member of a
 * container has the container's verdict, made tighter by what the rules say of its own path. share:
 * of access_share for that file; where a rule asks it and it is not asked, nobody reads. out
 * borrows from all. Any thread. */
void access_judge(const struct access_view *v, const struct disk_view *folders,
                  const struct share_readers *share, const struct file_row *row,
                  struct verdict *out);
/* The same for a row as it stands, written as the store is told it; its folders and, where a rule
 * asks it, the share are looked at. data: a struct access_view. The text lives in a. Any thread;
 * blocks. */
enum status access_judge_row(void *data, const struct file_row *row, struct arena *a,
                             const char **out, struct error *err) MUST_CHECK;

#endif
