/* Members of containers: rows that have no file on the disk and live with the row they came out of
 * (journal.h). A member's path lies below its container's, where no file can: "a.zip/b.pdf". */
#include "base/clock.h"
#include "ingest/journal_internal.h"
#include "ingest/member_name.h"

#define ANCESTORS_MAX 16
#define NUMBER_MAX 100
#define UNSEEN_PAGE 64

/* n sequence numbers that a statement has given out by itself. */
static enum status burn(struct journal *j, int64_t n, struct error *err)
{
    (void)sqlite3_bind_int64(j->burn, 1, n);
    return n == 0 ? STATUS_OK : db_run(j->burn, err);
}

enum status journal_members_gone(struct journal *j, int64_t container, bool displaced,
                                 struct error *err)
{
    (void)sqlite3_bind_int64(j->members_gone, 1, container);
    (void)sqlite3_bind_int64(j->members_gone, 2, clock_wall_ms());
    (void)sqlite3_bind_int(j->members_gone, 3, displaced);
    enum status s = db_run(j->members_gone, err);
    return s == STATUS_OK ? burn(j, sqlite3_changes64(j->db), err) : s;
}

/* What is left of another container at the paths below `to`. */
static enum status sweep(struct journal *j, sqlite3_stmt *st, struct str to, struct error *err)
{
    char low[INGEST_PATH_MAX + 1];
    char high[INGEST_PATH_MAX + 1];
    if (!journal_below_range(to, low, high)) {
        return error_set(err, STATUS_TOO_LARGE, "the path is too long");
    }
    journal_bind_blob(st, 1, (struct str){low, to.len + 1});
    journal_bind_blob(st, 2, (struct str){high, to.len + 1});
    if (st == j->members_long) {
        (void)sqlite3_bind_int64(st, 3, INGEST_PATH_MAX);
    }
    return db_run(st, err);
}

enum status journal_members_moved(struct journal *j, const struct file_row *container,
                                  struct str to, struct error *err)
{
    char collection[INGEST_COLLECTION_CAP];
    if (container->path.len == 0 || str_eq(container->path, to)) {
        return STATUS_OK;
    }
    enum status s = sweep(j, j->members_astray, to, err);
    if (s == STATUS_OK) {
        s = burn(j, 1, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    path_collection(to, collection);
    sqlite3_stmt *st = j->members_moved;
    (void)sqlite3_bind_int64(st, 1, container->id);
    journal_bind_blob(st, 2, to);
    (void)sqlite3_bind_int64(st, 3, (sqlite3_int64)container->path.len + 1);
    (void)sqlite3_bind_int64(st, 4, (sqlite3_int64)to.len);
    (void)sqlite3_bind_text(st, 5, collection, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 6, clock_wall_ms());
    s = db_run(st, err);
    int64_t moved = sqlite3_changes64(j->db);
    if (s == STATUS_OK) {
        s = burn(j, moved, err);
    }
    return s == STATUS_OK && moved > 0 ? sweep(j, j->members_long, to, err) : s;
}

/* ---- before it is stored ---- */

static enum status two_flags(sqlite3_stmt *st, bool *a, bool *b, struct error *err)
{
    bool row = false;
    enum status s = db_row(st, &row, err);
    *a = s == STATUS_OK && row && sqlite3_column_int(st, 0) != 0;
    if (b != NULL) {
        *b = s == STATUS_OK && row && sqlite3_column_int(st, 1) != 0;
    }
    db_reset(st);
    return s;
}

/* What may be unpacked of the file on the disk by its own size. */
static enum status most_bytes(struct journal *j, const struct file_row *container,
                              const struct container_limits *limits, uint64_t *out,
                              struct error *err)
{
    struct arena a;
    struct file_row file = *container;
    bool found = true;
    enum status s = STATUS_OK;
    arena_init(&a, (size_t)1 << 20);
    if (container->parent != 0) {
        s = journal_row_at(j, file_row_real(container), &a, &file, &found, err);
    }
    uint64_t size = s == STATUS_OK && found ? file.stamp.size : 0;
    uint64_t by_ratio = size < UINT64_MAX / limits->ratio ? size * limits->ratio : UINT64_MAX;
    by_ratio = by_ratio > limits->ratio_from ? by_ratio : limits->ratio_from;
    *out = by_ratio < limits->bytes ? by_ratio : limits->bytes;
    arena_reset(&a);
    return s;
}

/* The room that is left for it: less what others in the same file on the disk have. */
static enum status room_for(struct journal *j, const struct file_row *container,
                            const struct container_limits *limits, uint64_t *members,
                            uint64_t *bytes, struct error *err)
{
    char low[INGEST_PATH_MAX + 1];
    char high[INGEST_PATH_MAX + 1];
    struct str real = file_row_real(container);
    bool row = false;
    *members = limits->members;
    enum status sized = most_bytes(j, container, limits, bytes, err);
    if (container->depth == 0 || sized != STATUS_OK) {
        return sized;
    }
    if (!journal_below_range(real, low, high)) {
        return error_set(err, STATUS_TOO_LARGE, "the path is too long");
    }
    sqlite3_stmt *st = j->members_count;
    journal_bind_blob(st, 1, (struct str){low, real.len + 1});
    journal_bind_blob(st, 2, (struct str){high, real.len + 1});
    (void)sqlite3_bind_int64(st, 3, container->id);
    enum status s = db_row(st, &row, err);
    if (s == STATUS_OK && row) {
        uint64_t taken = (uint64_t)sqlite3_column_int64(st, 0);
        uint64_t taken_bytes = (uint64_t)sqlite3_column_int64(st, 1);
        *members = taken < *members ? *members - taken : 0;
        *bytes = taken_bytes < *bytes ? *bytes - taken_bytes : 0;
    }
    db_reset(st);
    return s;
}

enum status journal_container(struct journal *j, const struct file_row *row,
                              const uint8_t hash[SHA256_BYTES], bool known,
                              const struct container_limits *limits, struct container_look *out,
                              struct error *err)
{
    bool waits = false;
    bool same = false;
    bool bare = false;
    *out = (struct container_look){0};
    (void)sqlite3_bind_int64(j->members_wait, 1, row->id);
    enum status s = two_flags(j->members_wait, &waits, NULL, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(j->known_hash, 1, row->id);
        (void)sqlite3_bind_blob(j->known_hash, 2, hash, SHA256_BYTES, SQLITE_STATIC);
        s = two_flags(j->known_hash, &same, &bare, err);
    }
    if (s == STATUS_OK) {
        s = room_for(j, row, limits, &out->members, &out->bytes, err);
    }
    out->unpack = !known || waits || (!same && !bare);
    out->same = same;
    return s;
}

enum status journal_not_unpacked(struct journal *j, int64_t id, bool same, struct error *err)
{
    return same ? STATUS_OK : journal_members_gone(j, id, false, err);
}

/* ---- what it holds ---- */

struct family { /* contents of the container and of those it lies in: none may lie in itself */
    uint8_t hashes[ANCESTORS_MAX][SHA256_BYTES];
    size_t n;
};

static enum status ancestors(struct journal *j, const struct file_row *container,
                             const uint8_t hash[SHA256_BYTES], struct arena *a, struct family *out,
                             struct error *err)
{
    struct file_row r = *container;
    enum status s = STATUS_OK;
    bool found = true;
    memcpy(out->hashes[0], hash, SHA256_BYTES);
    out->n = 1;
    while (s == STATUS_OK && found && r.parent != 0 && out->n < ANCESTORS_MAX) {
        (void)sqlite3_bind_int64(j->by_id, 1, r.parent);
        s = journal_one_row(j->by_id, a, &r, &found, err);
        if (s == STATUS_OK && found && r.has_member) {
            memcpy(out->hashes[out->n++], r.member, SHA256_BYTES);
        }
    }
    return s;
}

static bool is_own(const struct family *f, const uint8_t *hash)
{
    for (size_t i = 0; i < f->n; i++) {
        if (memcmp(f->hashes[i], hash, SHA256_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

struct placing {
    struct journal *j;
    const struct file_row *container;
    struct str real;
    char collection[INGEST_COLLECTION_CAP];
    struct arena a;
    uint64_t members, bytes; /* that there is room for */
};

static enum status insert_member(struct placing *p, struct journal_member *m, struct str path,
                                 struct error *err)
{
    char document[ID_CAP];
    uint64_t sequence = 0;
    enum status s = journal_next_sequence(p->j, &sequence, err);
    if (s != STATUS_OK) {
        return s;
    }
    id_new(document);
    sqlite3_stmt *st = p->j->member_insert;
    (void)sqlite3_bind_text(st, 1, document, -1, SQLITE_STATIC);
    journal_bind_blob(st, 2, path);
    (void)sqlite3_bind_text(st, 3, p->collection, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 4, (sqlite3_int64)sequence);
    (void)sqlite3_bind_int64(st, 5, (sqlite3_int64)m->size);
    (void)sqlite3_bind_int64(st, 6, m->modified_ms * 1000000);
    (void)sqlite3_bind_int64(st, 7, clock_wall_ms());
    (void)sqlite3_bind_int64(st, 8, p->container->id);
    (void)sqlite3_bind_int64(st, 9, (sqlite3_int64)p->real.len);
    (void)sqlite3_bind_int64(st, 10, (sqlite3_int64)p->container->depth + 1);
    (void)sqlite3_bind_blob(st, 11, m->hash, SHA256_BYTES, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 12, (sqlite3_int64)p->container->wanted);
    if (m->format != NULL) {
        (void)sqlite3_bind_text(st, 13, m->format, -1, SQLITE_STATIC);
    }
    s = db_run(st, err);
    m->row = sqlite3_last_insert_rowid(p->j->db);
    m->wanted = true;
    return s;
}

/* A row that is there already, of this member's content or of another. */
static enum status update_member(struct placing *p, struct journal_member *m, struct file_row *r,
                                 struct error *err)
{
    bool same = r->parent == p->container->id && r->has_member &&
                memcmp(r->member, m->hash, SHA256_BYTES) == 0 && !journal_going(r);
    sqlite3_stmt *st = p->j->member_seen;
    m->row = r->id;
    if (same) {
        m->wanted = r->state == FILE_QUEUED && r->op != FILE_OP_MOVE;
        (void)sqlite3_bind_int64(st, 1, r->id);
        (void)sqlite3_bind_int64(st, 2, (sqlite3_int64)p->container->wanted);
        return db_run(st, err);
    }
    st = p->j->member_change;
    (void)sqlite3_bind_int64(st, 1, r->id);
    (void)sqlite3_bind_int64(st, 2, p->container->id);
    (void)sqlite3_bind_int64(st, 3, (sqlite3_int64)p->real.len);
    (void)sqlite3_bind_int64(st, 4, (sqlite3_int64)p->container->depth + 1);
    (void)sqlite3_bind_blob(st, 5, m->hash, SHA256_BYTES, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 6, (sqlite3_int64)p->container->wanted);
    (void)sqlite3_bind_int64(st, 7, (sqlite3_int64)m->size);
    (void)sqlite3_bind_int64(st, 8, m->modified_ms * 1000000);
    if (m->format != NULL) {
        (void)sqlite3_bind_text(st, 9, m->format, -1, SQLITE_STATIC);
    }
    (void)sqlite3_bind_text(st, 10, p->collection, -1, SQLITE_STATIC);
    enum status s = db_run(st, err);
    if (s == STATUS_OK) {
        bool moves = r->op == FILE_OP_MOVE || r->op == FILE_OP_MOVE_PUT;
        r->op = moves ? FILE_OP_MOVE_PUT : FILE_OP_PUT;
        r->state = FILE_QUEUED;
        r->real = p->real.len;
        r->stamp = (struct file_stamp){.size = m->size, .mtime_ns = m->modified_ms * 1000000};
        s = journal_change_row(p->j, r, err);
    }
    m->wanted = true;
    return s;
}

/* Where a file and a folder of the archive have one name ("x" and "x/y"), what lies in the file, an
 * archive itself, may come to stand where the folder's has: it is numbered. */
static enum status place_member(struct placing *p, struct journal_member *m,
                                struct members_left_out *left_out, struct error *err)
{
    char name[MEMBER_NAME_CAP];
    struct str as = m->name;
    for (unsigned number = 2; number < NUMBER_MAX; number++) {
        struct file_row r;
        bool found = false;
        size_t len = p->container->path.len + 1 + as.len;
        if (len > INGEST_PATH_MAX) {
            left_out->too_long++;
            return STATUS_OK;
        }
        char *path = arena_alloc(&p->a, len + 1);
        if (path == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        memcpy(path, p->container->path.ptr, p->container->path.len);
        path[p->container->path.len] = '/';
        memcpy(path + p->container->path.len + 1, as.ptr, as.len);
        enum status s = journal_row_at(p->j, (struct str){path, len}, &p->a, &r, &found, err);
        if (s != STATUS_OK) {
            return s;
        }
        if (!found && (p->members == 0 || m->size > p->bytes)) {
            left_out->too_many++;
            return STATUS_OK;
        }
        if (!found) {
            p->members--;
            p->bytes -= m->size;
            return insert_member(p, m, (struct str){path, len}, err);
        }
        if (r.parent == 0 || r.parent == p->container->id || journal_going(&r)) {
            return update_member(p, m, &r, err);
        }
        as = (struct str){name, member_name_number(m->name, number, name)};
    }
    left_out->too_many++;
    return STATUS_OK;
}

/* The container as it stands now; CONFLICT when it is no longer what is being unpacked. */
static enum status still_there(struct journal *j, const struct file_row *container, struct arena *a,
                               struct file_row *out, struct error *err)
{
    bool found = false;
    (void)sqlite3_bind_int64(j->by_id, 1, container->id);
    enum status s = journal_one_row(j->by_id, a, out, &found, err);
    if (s == STATUS_OK &&
        (!found || out->wanted != container->wanted || journal_going(out) || out->path.len == 0)) {
        s = error_set(err, STATUS_CONFLICT, "the file has changed meanwhile");
    }
    return s;
}

enum status journal_members(struct journal *j, const struct file_row *container,
                            const uint8_t hash[SHA256_BYTES], const struct container_limits *limits,
                            struct journal_member *m, size_t n, struct members_left_out *left_out,
                            struct error *err)
{
    struct placing p = {.j = j};
    struct file_row row;
    struct family family;
    arena_init(&p.a, (size_t)64 << 20);
    enum status s = still_there(j, container, &p.a, &row, err);
    if (s == STATUS_OK) {
        s = ancestors(j, &row, hash, &p.a, &family, err);
    }
    if (s == STATUS_OK) {
        s = room_for(j, &row, limits, &p.members, &p.bytes, err);
    }
    p.container = &row;
    if (s == STATUS_OK) {
        p.real = file_row_real(&row);
        path_collection(p.real, p.collection);
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        m[i].row = 0;
        m[i].wanted = false;
        if (is_own(&family, m[i].hash)) {
            left_out->itself++;
        } else {
            s = place_member(&p, &m[i], left_out, err);
        }
    }
    arena_reset(&p.a);
    return s;
}

static enum status member_gone(struct journal *j, struct file_row *r, struct error *err)
{
    enum status s = journal_members_gone(j, r->id, false, err);
    if (s == STATUS_OK) {
        r->op = FILE_OP_REMOVE;
        r->state = FILE_QUEUED;
        s = journal_change_row(j, r, err);
    }
    return s;
}

enum status journal_members_end(struct journal *j, const struct file_row *container,
                                struct error *err)
{
    struct arena a;
    struct file_row rows[UNSEEN_PAGE];
    size_t n = UNSEEN_PAGE;
    enum status s = STATUS_OK;
    while (s == STATUS_OK && n == UNSEEN_PAGE) {
        n = 0;
        arena_init(&a, (size_t)16 << 20);
        (void)sqlite3_bind_int64(j->members_unseen, 1, container->id);
        (void)sqlite3_bind_int64(j->members_unseen, 2, (sqlite3_int64)container->wanted);
        (void)sqlite3_bind_int64(j->members_unseen, 3, UNSEEN_PAGE);
        s = journal_rows(j->members_unseen, UNSEEN_PAGE, &a, rows, &n, err);
        for (size_t i = 0; i < n && s == STATUS_OK; i++) {
            s = member_gone(j, &rows[i], err);
        }
        arena_reset(&a);
    }
    return s;
}

enum status journal_member_waits(struct journal *j, const struct file_row *member, int64_t at_ms,
                                 struct error *err)
{
    struct arena a;
    struct file_row parent;
    struct file_row own;
    bool found = false;
    arena_init(&a, (size_t)1 << 20);
    (void)sqlite3_bind_int64(j->by_id, 1, member->id);
    enum status s = journal_one_row(j->by_id, &a, &own, &found, err);
    if (s != STATUS_OK || !found || own.wanted != member->wanted) {
        arena_reset(&a);
        return s;
    }
    (void)sqlite3_bind_int64(j->by_id, 1, member->parent);
    s = journal_one_row(j->by_id, &a, &parent, &found, err);
    if (s == STATUS_OK && (!found || journal_going(&parent) || parent.state == FILE_EXCLUDED ||
                           parent.state == FILE_FAILED)) {
        s = member_gone(j, &own, err);
    } else if (s == STATUS_OK) {
        s = journal_retry(j, member->id, member->wanted, "it waits to be unpacked again", at_ms,
                          false, err);
    }
    if (s == STATUS_OK && found && parent.state == FILE_READY && parent.op == FILE_OP_NONE) {
        s = journal_requeue(j, parent.id, err);
    }
    arena_reset(&a);
    return s;
}
