/* Reaching files below a watched folder without ever following a symbolic link: each component is
 * opened by itself with O_NOFOLLOW, so that no link swapped in meanwhile leads outside. All calls
 * block; any thread. `root` is a descriptor of the folder, borrowed. */
#ifndef CARREL_INGEST_TREE_H
#define CARREL_INGEST_TREE_H

#include <dirent.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/status.h"
#include "base/str.h"

/* What tells one state of a file from another without reading it. */
struct file_stamp {
    uint64_t ino;
    uint64_t size;
    int64_t mtime_ns;
    int64_t ctime_ns; /* set by the kernel: cannot be put back */
};

enum tree_kind { TREE_MISSING, TREE_FILE, TREE_FOLDER, TREE_OTHER };

struct file_stamp file_stamp_of(const struct stat *st);
bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

/* Opens path ("" is the root itself); flags as for open(2). A link anywhere in it is
 * STATUS_FORBIDDEN. The caller owns *fd. Never blocks on a FIFO. */
enum status tree_open(int root, struct str path, int flags, int *fd, struct error *err) MUST_CHECK;
/* What is there. A link is TREE_OTHER; a path through a link or a file is TREE_MISSING. Failing
 * means that nobody can tell (no permission, I/O error): not the same as missing. */
enum status tree_stat(int root, struct str path, enum tree_kind *kind, struct file_stamp *out,
                      struct error *err) MUST_CHECK;
/* Opens the folder that holds path, making missing folders (0755) when make is set; *name is a copy
 * of the last component (NAME_MAX + 1 bytes). */
enum status tree_open_parent(int root, struct str path, bool make, int *fd, char name[256],
                             struct error *err) MUST_CHECK;

#endif
