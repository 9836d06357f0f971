/* Small files and folders. All calls block: not for a loop thread except at start. */
#ifndef CARREL_BASE_FILE_H
#define CARREL_BASE_FILE_H

#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/status.h"

/* The whole file into out (initialised by the caller; its ceiling is the limit). */
enum status file_read(const char *path, struct buf *out, struct error *err) MUST_CHECK;
/* Write beside, fsync, rename over, fsync the folder: after a crash the old or the new content is there. */
enum status file_write_atomic(const char *path, const void *data, size_t len, mode_t mode,
                              struct error *err) MUST_CHECK;
/* The same for a file that must not be there yet: CONFLICT, and the one that is stays as it is. Made as root
 * it belongs to whoever owns `like` (NULL: to root). */
enum status file_write_new(const char *path, const void *data, size_t len, mode_t mode,
                           const struct stat *like, struct error *err) MUST_CHECK;
/* mkdir -p; an existing folder is fine. What was made is durable. */
enum status file_mkdirs(const char *path, mode_t mode, struct error *err) MUST_CHECK;
/* Write all of it, through short writes and EINTR. */
enum status file_write_all(int fd, const void *data, size_t len, struct error *err) MUST_CHECK;
/* fsync the folder that holds `path`. */
enum status file_sync_parent(const char *path, struct error *err) MUST_CHECK;
/* A second name for a file that never changes, or a copy (not synced) on another file system. A file that is
 * there already is fine. */
enum status file_link(const char *from, const char *to, struct error *err) MUST_CHECK;
/* rm -rf; what is not there is fine. Links are removed, not followed. */
enum status file_remove_tree(const char *path, struct error *err) MUST_CHECK;
/* dir + "/" + name into out[cap]; TOO_LARGE when it does not fit. */
enum status file_join(char *out, size_t cap, const char *dir, const char *name,
                      struct error *err) MUST_CHECK;

#endif
