/* What a folder's .carrelignore says: patterns a line as in gitignore(5), of files and folders that
 * are not documents. `*.log` at any depth, `/draft` or `a/b` from this folder on, `old/` a folder
 * with all that is in it, `!keep.log` takes back, `# ...` is a remark; of several lines the last
 * that fits counts. Beyond git's: `size > 20MiB` for all files above a size. Pure. */
#ifndef CARREL_INGEST_IGNORE_H
#define CARREL_INGEST_IGNORE_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

#define IGNORE_FILE ".carrelignore"
#define IGNORE_FILE_MAX 65536
#define IGNORE_RULES_MAX 1000

enum ignored { IGNORE_UNSAID, IGNORE_YES, IGNORE_NO };

struct ignore_rule {
    const char *pattern; /* NULL: by size */
    uint64_t size;
    bool take_back, folders_only;
};

struct ignore_rules {
    struct ignore_rule *items;
    size_t n;
};

/* a holds the rules. INVALID: a line that means nothing, by its number; TOO_LARGE. */
enum status ignore_parse(struct str text, struct arena *a, struct ignore_rules *out,
                         struct error *err) MUST_CHECK;
/* path: below the folder of the file. size: of a file, 0 where it is not known. */
enum ignored ignore_judge(const struct ignore_rules *r, struct str path, bool folder,
                          uint64_t size);

#endif
