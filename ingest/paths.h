/* What a path below a tenant's watched folder means. Paths are bytes: any byte but NUL and '/' may
 * stand in a component. Pure: no I/O. */
#ifndef CARREL_INGEST_PATHS_H
#define CARREL_INGEST_PATHS_H

#include "base/status.h"
#include "base/str.h"

#define INGEST_PATH_MAX 4000 /* bytes of a path below the tenant's folder */
#define INGEST_COLLECTION_CAP 1024
#define INGEST_UPLOAD_TEMP ".carrel-upload-"

/* True for a hidden name (".x") and for an editor's or browser's temporary one (~, .swp, .tmp, .part,
 * .crdownload, Office's ~$): such files are not documents. */
bool name_ignored(struct str name);
/* The same for any component, as far as it can be told without the disk: a hidden folder may be one
 * of a maildir (maildir.h) where cur, new or tmp follows it, and where it is itself the path. */
bool path_ignored(struct str path, bool folder);
/* "default" for a file directly in the tenant's folder, else its first folder; bytes that are not
 * UTF-8 are written \xNN. */
void path_collection(struct str path, char out[INGEST_COLLECTION_CAP]);
/* Printable form: UTF-8, other bytes and control characters as \xNN. Cut to fit. */
void path_show(struct str path, char *out, size_t cap);
/* The part after the last '/'. */
struct str path_name(struct str path);
/* What is before it: the folder, "" for the tenant's own. */
struct str path_folder(struct str path);
/* Same ending after the last dot of the name, ignoring ASCII case; or the same message of a maildir,
 * whatever flags its name tells. */
bool path_same_ending(struct str a, struct str b);
/* May an upload be written here? Relative, UTF-8, at most 8 folders deep, every component 1..200
 * bytes, not
 * ".", "..", hidden, temporary or with control characters. */
enum status path_check_upload(struct str path, struct error *err) MUST_CHECK;

#endif
