/* One tenant's folder as it stands on the disk: what is there, what its folders say of themselves
 * in .carrelignore (ignore.h) and .carrel.yaml (rules_parse_folder), and where other file systems
 * are mounted in it. Any thread; calls look at the disk and may block, those under "without
 * looking" never.
 *
 * What a folder says counts for all that is in and below it. A file of settings that is a link is
 * not read. A .carrel.yaml that cannot be understood, or is empty as in the middle of a write,
 * closes: nobody reads what is below it until it is mended.
 *
 * Where something was mounted and is no longer, an empty folder or none is left: what stood there
 * is away, not gone, and is UNAVAILABLE until it is mounted again or files of its own lie there. */
#ifndef CARREL_INGEST_DISK_H
#define CARREL_INGEST_DISK_H

#include "base/buf.h"
#include "base/settings/rules.h"
#include "ingest/maildir.h"
#include "ingest/tree.h"

#define DISK_SAID_MAX 32   /* folders above a file that say something */
#define DISK_MOUNTS_MAX 64 /* places where something is mounted */
#define DISK_MOUNTS_TEXT ((size_t)DISK_MOUNTS_MAX * 4096) /* bytes of them as text */

struct disk;
struct disk_said; /* what one folder says; shared and counted */

struct disk_view { /* what is said of the files in a folder */
    struct disk *disk;
    enum maildir_place place; /* what the folder is to a maildir */
    struct disk_said *said[DISK_SAID_MAX]; /* from the top down */
    size_t n;
};

enum status disk_new(struct disk **out, struct error *err) MUST_CHECK;
void disk_free(struct disk *d); /* NULL is fine; all views released */
/* The folder's descriptor, borrowed; -1: it is missing. */
void disk_set_root(struct disk *d, int root);
int disk_root(const struct disk *d);

/* Reads what folder ("" is the root) and those above it say. NOT_FOUND: there is no such folder;
 * UNAVAILABLE: it is away; TOO_LARGE: more than DISK_SAID_MAX say something. */
enum status disk_look(struct disk *d, struct str folder, struct disk_view *out,
                      struct error *err) MUST_CHECK;
void disk_view_release(struct disk_view *v);
/* path: of something in or below the folder. size: of a file. */
bool disk_view_ignores(const struct disk_view *v, struct str path, bool folder, uint64_t size);
/* The verdict with what the folders say; it borrows from the view. */
void disk_view_tighten(const struct disk_view *v, struct str path, struct verdict *verdict);
const char *disk_view_language(const struct disk_view *v); /* NULL: not said */

/* tree_stat, where what is ignored, by its name too, is TREE_OTHER, and what is away UNAVAILABLE.
 */
enum status disk_stat(struct disk *d, struct str path, enum tree_kind *kind, struct file_stamp *out,
                      struct error *err) MUST_CHECK;

/* ---- without looking ---- */

bool disk_file_of_settings(struct str path); /* .carrelignore or .carrel.yaml */
bool disk_is_away(struct disk *d, struct str path);
/* How many mounted places are away, and the first one's path ("" is the root; cap 0: not asked
 * for). */
size_t disk_away(struct disk *d, char *first, size_t cap);
/* The root or something mounted in it is on a network: changes made elsewhere tell nobody. */
bool disk_is_network(struct disk *d);
/* What is wrong in the folders' files, the first one's text; how many. */
size_t disk_trouble(struct disk *d, char *first, size_t cap);
/* A file was closed because its rights on the share cannot be told: why, in words. Said by disk_trouble. */
void disk_note_closed(struct disk *d, const char *why);
/* The rules have changed: lines that were refused may not be any more. */
void disk_forget_refused(struct disk *d);
/* Has any .carrel.yaml changed since the last time this was asked? */
bool disk_take_rules_changed(struct disk *d);
/* The mounted places, to be kept over a restart, are written to out (NULL: not); a number that is
 * another when they have changed, 0 before any. */
uint64_t disk_mounts(struct disk *d, struct buf *out);
void disk_set_mounts(struct disk *d, struct str kept);

#endif
