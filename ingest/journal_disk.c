/* What happened on the disk. */
#include "base/clock.h"
#include "ingest/journal_internal.h"
#include "ingest/quarantine.h"

/* The file of this row is no longer there. */
static enum status row_gone(struct journal *j, struct file_row *r, bool *changed, struct error *err)
{
    if (r->state == FILE_EXCLUDED) {
        return journal_drop_row(j, r->id, err);
    }
    bool kept = false;
    if (journal_going(r)) {
        return STATUS_OK;
    }
    enum status s = STATUS_OK;
    if (r->state == FILE_FAILED) { /* moved away by ourselves: listed until a person decides */
        s = quarantine_keeps(j, r->document, &kept, err);
        if (s != STATUS_OK || kept) {
            return s;
        }
    }
    s = journal_members_gone(j, r->id, false, err);
    r->op = FILE_OP_REMOVE;
    r->state = FILE_QUEUED;
    *changed = true;
    return s == STATUS_OK ? journal_change_row(j, r, err) : s;
}

/* Whatever document stands at path makes way for another that was renamed over it. */
static enum status displace(struct journal *j, struct str path, int64_t not_this, struct arena *a,
                            struct error *err)
{
    struct file_row old;
    bool found = false;
    enum status s = journal_row_at(j, path, a, &old, &found, err);
    if (s != STATUS_OK || !found || old.id == not_this) {
        return s;
    }
    if (old.state == FILE_EXCLUDED) {
        return journal_drop_row(j, old.id, err);
    }
    s = journal_members_gone(j, old.id, true, err);
    old.path = (struct str){.ptr = "", .len = 0};
    old.op = FILE_OP_REMOVE;
    old.state = FILE_QUEUED;
    return s == STATUS_OK ? journal_change_row(j, &old, err) : s;
}

/* Row r now stands at path. exact: the kernel said so, hence the content is the same. */
static enum status move_row(struct journal *j, struct file_row *r, struct str path,
                            const struct file_stamp *stamp, bool exact, struct arena *a,
                            struct error *err)
{
    enum status s = displace(j, path, r->id, a, err);
    if (s != STATUS_OK) {
        return s;
    }
    bool same_content = exact && r->stamp.size == stamp->size &&
                        r->stamp.mtime_ns == stamp->mtime_ns && path_same_ending(r->path, path);
    if (r->state != FILE_EXCLUDED) {
        bool settled = r->state == FILE_READY || (r->state == FILE_QUEUED && r->op == FILE_OP_MOVE);
        /* where it lies now fewer may read it: that does not wait for the reading */
        r->op = settled && same_content ? FILE_OP_MOVE
                : r->access != NULL     ? FILE_OP_MOVE_PUT
                                        : FILE_OP_PUT;
        r->state = FILE_QUEUED;
    }
    s = journal_members_moved(j, r, path, err);
    r->path = path;
    r->stamp = *stamp;
    return s == STATUS_OK ? journal_change_row(j, r, err) : s;
}

/* A file that was renamed while nobody watched has kept its inode, size and time, and its old place
 * is empty. It is hashed again (a known content is not extracted again). */
static enum status find_renamed(struct journal *j, struct disk *disk,
                                const struct file_stamp *stamp, struct arena *a,
                                struct file_row *out, bool *found, struct error *err)
{
    struct file_row rows[8];
    size_t n = 0;
    (void)sqlite3_bind_int64(j->by_ino, 1, (sqlite3_int64)stamp->ino);
    (void)sqlite3_bind_int64(j->by_ino, 2, (sqlite3_int64)stamp->size);
    (void)sqlite3_bind_int64(j->by_ino, 3, stamp->mtime_ns);
    enum status s = journal_rows(j->by_ino, 8, a, rows, &n, err);
    *found = false;
    for (size_t i = 0; i < n && s == STATUS_OK && !*found; i++) {
        if (rows[i].op == FILE_OP_TRASH || rows[i].op == FILE_OP_EXCLUDE) {
            continue;
        }
        enum tree_kind kind = TREE_MISSING;
        struct file_stamp at = {0};
        if (tree_stat(disk_root(disk), rows[i].path, &kind, &at, NULL) == STATUS_OK &&
            (kind != TREE_FILE || at.ino != stamp->ino)) {
            *out = rows[i];
            *found = true;
        }
    }
    return s;
}

static enum status insert_new(struct journal *j, struct str path, const struct file_stamp *stamp,
                              struct error *err)
{
    char document[ID_CAP];
    char collection[INGEST_COLLECTION_CAP];
    id_new(document);
    path_collection(path, collection);
    return journal_insert_row(j, document, path, collection, stamp, err);
}

enum status journal_seen(struct journal *j, struct disk *disk, struct str path,
                         const struct file_stamp *stamp, enum checked *out, struct error *err)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct file_row r;
    bool found = false;
    *out = CHECKED_SAME;
    enum status s = journal_row_at(j, path, &a, &r, &found, err);
    if (s == STATUS_OK && found && r.parent != 0) { /* a folder stands where an archive did */
        s = displace(j, path, 0, &a, err);
        found = false;
    }
    if (s != STATUS_OK) {
        goto out;
    }
    if (found) {
        bool same = file_stamp_equal(&r.stamp, stamp);
        bool condemned = r.op == FILE_OP_TRASH || r.op == FILE_OP_EXCLUDE;
        if (r.state == FILE_EXCLUDED || (same && r.op != FILE_OP_REMOVE) ||
            (condemned && r.stamp.ino == stamp->ino && r.stamp.mtime_ns == stamp->mtime_ns)) {
            goto out;
        }
        bool moves = r.op == FILE_OP_MOVE || r.op == FILE_OP_MOVE_PUT;
        r.op = moves ? FILE_OP_MOVE_PUT : FILE_OP_PUT;
        r.state = FILE_QUEUED;
        r.stamp = *stamp;
        *out = CHECKED_QUEUED;
        s = journal_change_row(j, &r, err);
        goto out;
    }
    *out = CHECKED_QUEUED;
    s = find_renamed(j, disk, stamp, &a, &r, &found, err);
    if (s == STATUS_OK) {
        s = found ? move_row(j, &r, path, stamp, false, &a, err) : insert_new(j, path, stamp, err);
    }
out:
    arena_reset(&a);
    return s;
}

enum status journal_renamed(struct journal *j, struct disk *disk, struct str path,
                            const struct file_stamp *stamp, enum checked *out, struct error *err)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct file_row r;
    bool found = false;
    *out = CHECKED_SAME;
    enum status s = journal_row_at(j, path, &a, &r, &found, err);
    if (s == STATUS_OK && !found) {
        s = find_renamed(j, disk, stamp, &a, &r, &found, err);
        if (s == STATUS_OK && found) {
            *out = CHECKED_QUEUED;
            s = move_row(j, &r, path, stamp, false, &a, err);
        }
    }
    arena_reset(&a);
    return s;
}

/* A document that the store knew and the journal did not (it was lost), at a path below a file: it
 * may lie in that one, which will tell when it has been unpacked. */
static enum status awaits_container(struct journal *j, struct disk *disk, const struct file_row *r,
                                    struct arena *a, bool *out, struct error *err)
{
    enum status s = STATUS_OK;
    bool found = false;
    *out = false;
    for (size_t i = 1; i < r->path.len && r->stamp.ino == 0 && s == STATUS_OK && !found; i++) {
        struct str above = {r->path.ptr, i};
        struct file_row file;
        if (r->path.ptr[i] != '/') {
            continue;
        }
        s = journal_row_at(j, above, a, &file, &found, err);
        if (s == STATUS_OK && found) {
            *out = file.state == FILE_QUEUED && !journal_going(&file);
        } else if (s == STATUS_OK) {
            enum tree_kind kind = TREE_MISSING;
            struct file_stamp stamp;
            found = tree_stat(disk_root(disk), above, &kind, &stamp, NULL) == STATUS_OK &&
                    kind == TREE_FILE;
            *out = found;
        }
    }
    return s;
}

enum status journal_check(struct journal *j, struct disk *disk, struct str path, size_t limit,
                          enum checked *out, bool *more, struct error *err)
{
    *more = false;
    *out = CHECKED_IGNORED;
    enum tree_kind kind = TREE_MISSING;
    struct file_stamp stamp = {0};
    if (path.len == 0 || path.len > INGEST_PATH_MAX) {
        return STATUS_OK;
    }
    enum status s = disk_stat(disk, path, &kind, &stamp, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (kind == TREE_FILE) {
        return journal_seen(j, disk, path, &stamp, out, err);
    }
    if (kind == TREE_FOLDER) {
        *out = CHECKED_FOLDER;
    }
    struct arena a;
    arena_init(&a, 64 << 20);
    struct file_row r;
    bool found = false;
    bool changed = false;
    s = journal_row_at(j, path, &a, &r, &found, err);
    bool inside = s == STATUS_OK && found && kind == TREE_MISSING && r.parent != 0;
    if (s == STATUS_OK && found && kind == TREE_MISSING && !inside) {
        s = awaits_container(j, disk, &r, &a, &inside, err);
    }
    if (inside) { /* in a file, whose row tells whether it is there */
        arena_reset(&a);
        return s;
    }
    if (s == STATUS_OK && found) {
        s = row_gone(j, &r, &changed, err);
    }
    if (s == STATUS_OK && kind != TREE_FOLDER) {
        struct file_row *rows;
        size_t n = 0;
        s = journal_rows_below(j, path, limit, &a, &rows, &n, err);
        for (size_t i = 0; i < n && s == STATUS_OK; i++) {
            s = row_gone(j, &rows[i], &changed, err);
        }
        *more = n == limit;
    }
    if (changed && *out == CHECKED_IGNORED) {
        *out = CHECKED_QUEUED;
    }
    arena_reset(&a);
    return s;
}

static enum status move_below(struct journal *j, struct disk *disk, struct str from, struct str to,
                              size_t limit, bool *more, struct error *err)
{
    struct arena a;
    arena_init(&a, 64 << 20);
    struct file_row *rows;
    size_t n = 0;
    enum status s = journal_files_below(j, from, limit, &a, &rows, &n, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        struct file_row *r = &rows[i];
        size_t tail = r->path.len - from.len;
        char *path = arena_alloc(&a, to.len + tail + 1);
        if (path == NULL) {
            s = error_set(err, STATUS_NO_MEMORY, "out of memory");
            break;
        }
        memcpy(path, to.ptr, to.len);
        memcpy(path + to.len, r->path.ptr + from.len, tail);
        struct str moved = {.ptr = path, .len = to.len + tail};
        enum tree_kind kind = TREE_MISSING;
        struct file_stamp stamp = {0};
        bool changed;
        s = disk_stat(disk, moved, &kind, &stamp, err);
        if (s != STATUS_OK) {
            break;
        }
        if (kind == TREE_FILE && stamp.ino == r->stamp.ino && moved.len <= INGEST_PATH_MAX) {
            s = move_row(j, r, moved, &stamp, true, &a, err);
        } else {
            s = row_gone(j, r, &changed, err);
        }
    }
    *more = n == limit;
    arena_reset(&a);
    return s;
}

enum status journal_moved(struct journal *j, struct disk *disk, struct str from, struct str to,
                          size_t limit, enum checked *out, bool *more, struct error *err)
{
    *more = false;
    *out = CHECKED_QUEUED;
    enum tree_kind kind = TREE_MISSING;
    struct file_stamp stamp = {0};
    enum status s = disk_stat(disk, to, &kind, &stamp, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (kind == TREE_FOLDER) {
        *out = CHECKED_FOLDER;
        return move_below(j, disk, from, to, limit, more, err);
    }
    struct arena a;
    arena_init(&a, 1 << 20);
    struct file_row r;
    bool found = false;
    if (kind == TREE_FILE && to.len <= INGEST_PATH_MAX) {
        s = journal_row_at(j, from, &a, &r, &found, err);
    }
    if (s == STATUS_OK && found && r.stamp.ino == stamp.ino && r.op != FILE_OP_TRASH &&
        r.op != FILE_OP_EXCLUDE) {
        s = move_row(j, &r, to, &stamp, true, &a, err);
    } else if (s == STATUS_OK) {
        enum checked first;
        bool more_below = false;
        s = journal_check(j, disk, from, limit, &first, &more_below, err);
        if (s == STATUS_OK) {
            s = journal_check(j, disk, to, limit, out, more, err);
            *more = *more || more_below;
            *out = first == CHECKED_QUEUED && *out != CHECKED_FOLDER ? first : *out;
        }
    }
    arena_reset(&a);
    return s;
}

static bool at_or_below(struct str path, struct str prefix)
{
    return prefix.len == 0 ||
           (str_starts(path, prefix) && (path.len == prefix.len || path.ptr[prefix.len] == '/'));
}

enum status journal_verify(struct journal *j, struct disk *disk, struct str prefix, int64_t *cursor,
                           size_t limit, bool *changed, bool *end, struct error *err)
{
    struct arena a;
    arena_init(&a, 64 << 20);
    struct file_row *rows = arena_array(&a, limit, sizeof *rows);
    size_t n = 0;
    enum status s = STATUS_OK;
    if (rows == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
        goto out;
    }
    (void)sqlite3_bind_int64(j->verify, 1, *cursor);
    (void)sqlite3_bind_int64(j->verify, 2, (sqlite3_int64)limit);
    s = journal_rows(j->verify, limit, &a, rows, &n, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        enum tree_kind kind = TREE_MISSING;
        struct file_stamp stamp = {0};
        *cursor = rows[i].id;
        /* one that cannot be looked at is kept: it is not known to be gone */
        if (at_or_below(rows[i].path, prefix) &&
            disk_stat(disk, rows[i].path, &kind, &stamp, NULL) == STATUS_OK && kind != TREE_FILE) {
            bool inside = false;
            s = awaits_container(j, disk, &rows[i], &a, &inside, err);
            if (s == STATUS_OK && !inside) {
                s = row_gone(j, &rows[i], changed, err);
            }
        }
    }
    *end = n < limit;
out:
    arena_reset(&a);
    return s;
}
