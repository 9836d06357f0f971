/* Containers (archives, mails): what lies in one comes out beside its text and, once the container
 * is stored, becomes rows of the journal, page by page; each member's job then reads the bytes that
 * were held for it. A member whose bytes are no longer held (after a restart) has its container
 * unpacked again, which holds the bytes of all that wait. docs/decisions/archives.md */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "ingest/formats/format_names.h"
#include "ingest/job_internal.h"
#include "ingest/meta.h"
#include "ingest/queue.h"
#include "ingest/utf8.h"

#define PAGE_MEMBERS 256
#define WAIT_FOR_CONTAINER_MS 60000
#define COPY_BYTES ((size_t)1 << 14)
#define RATIO_FROM ((uint64_t)64 << 20)
#define TITLE_MEMBERS 500

bool job_is_container(const struct job *j)
{
    return j->format != NULL && format_has_members(j->format) &&
           j->t->in->settings->unpack.members > 0;
}

/* ---- before the reading ---- */

static struct container_limits limits_of(const struct job *j)
{
    const struct settings *st = j->t->in->settings;
    struct container_limits l = {.members = (uint64_t)st->unpack.members,
                                 .bytes = (uint64_t)st->unpack.total_mb << 20,
                                 .ratio = (uint64_t)st->unpack.ratio,
                                 .ratio_from = RATIO_FROM};
    return l;
}

static enum status run_container(struct journal *jl, struct journal_op *op, struct error *err)
{
    struct job *j = container_of(op, struct job, op);
    struct container_limits l = limits_of(j);
    return journal_container(jl, &j->row, j->snap.hash, j->known, &l, &j->container, err);
}

static void container_done(struct journal_op *op)
{
    struct job *j = container_of(op, struct job, op);
    j->in_lane = false;
    if (j->cancelled || op->err.code != STATUS_OK) {
        job_finish(j, OUTCOME_HELD);
    } else if (!j->container.unpack) {
        job_put(j);
    } else {
        job_want_bytes(j);
    }
}

void job_look_inside(struct job *j)
{
    j->in_lane = true;
    j->op.run = run_container;
    j->op.done = container_done;
    journal_submit(&j->t->journal, &j->op);
}

/* What was unpacked before fills the disk as far as it may: only what lies in other containers is
 * unpacked still, so that the rest gets on. */
static bool disk_is_taken(const struct job *j)
{
    const struct ingest *in = j->t->in;
    uint64_t bytes = 0;
    list_for_each(it, &in->tenants)
    {
        bytes += list_entry(it, struct tenant, link)->held.bytes;
    }
    return j->row.depth == 0 && bytes > (uint64_t)in->settings->unpack.waiting_mb << 20;
}

struct extraction *job_unpack(struct job *j, int fd, extract_done_fn done)
{
    struct ingest *in = j->t->in;
    const struct settings *st = in->settings;
    struct extract_members m = {.members = j->container.members, .bytes = j->container.bytes};
    if ((int64_t)j->row.depth >= st->unpack.depth) {
        m.members = 0;
    }
    unpacking_free(j->unpacking);
    j->unpacking = NULL;
    if (disk_is_taken(j)) {
        (void)close(fd);
        (void)error_set(&j->err, STATUS_BUSY, "waits until what was unpacked before is read");
        return NULL;
    }
    j->unpacking = unpacking_new(&in->work, in->svc->home, path_name(j->row.path), &j->err);
    if (j->unpacking == NULL) {
        (void)close(fd);
        return NULL;
    }
    unpacking_wire(j->unpacking, &m);
    struct extraction *x =
        extractor_unpack(in->pool, fd, j->format, &j->arena, &m, done, j, &j->err);
    unpacking_bind(j->unpacking, x);
    return x;
}

/* A container without a text of its own is found by the names in it. */
bool job_names_as_text(struct job *j)
{
    size_t n = 0;
    const struct member *m = j->unpacking == NULL ? NULL : unpacking_members(j->unpacking, &n);
    if (j->n_blocks > 0 || n == 0) {
        return true;
    }
    n = n < TITLE_MEMBERS ? n : TITLE_MEMBERS;
    struct buf text;
    Ex__Block *b = arena_array(&j->arena, n, sizeof *b);
    j->blocks = arena_array(&j->arena, n, sizeof *j->blocks);
    for (size_t i = 0; b != NULL && j->blocks != NULL && i < n; i++) {
        ex__block__init(&b[i]);
        b[i].kind = EX__BLOCK__KIND__LIST_ITEM;
        buf_init(&text, (size_t)4 * INGEST_PATH_MAX);
        utf8_clean(&text, m[i].name);
        b[i].text.data = (uint8_t *)arena_strndup(&j->arena, buf_view(&text).ptr, text.len);
        b[i].text.len = text.len;
        buf_deinit(&text);
        if (b[i].text.data == NULL) {
            return false;
        }
        j->blocks[j->n_blocks++] = &b[i];
    }
    return j->n_blocks > 0;
}

/* ---- afterwards: rows ---- */

static bool ignored(const struct job *j, const struct member *m, struct buf *path)
{
    buf_reset(path);
    buf_str(path, j->row.path);
    for (struct str rest = m->name; rest.len > 0;) {
        const char *slash = memchr(rest.ptr, '/', rest.len);
        size_t len = slash == NULL ? rest.len : (size_t)(slash - rest.ptr);
        buf_char(path, '/');
        buf_append(path, rest.ptr, len);
        if (disk_view_ignores(&j->folders, buf_view(path), slash != NULL, m->size)) {
            return true;
        }
        rest.ptr += slash == NULL ? len : len + 1;
        rest.len -= slash == NULL ? len : len + 1;
    }
    return buf_status(path) != STATUS_OK; /* too long for a path */
}

/* When a member was changed; where nobody says (an attachment), when what holds it was sent or
 * changed. */
static int64_t member_date(const struct job *j, const struct member *m)
{
    int64_t own = 0;
    if (m->modified_ms != 0) {
        return m->modified_ms;
    }
    bool said =
        j->info != NULL && meta_own_date(j->info->has_modified_ms, j->info->modified_ms,
                                         j->info->has_created_ms, j->info->created_ms, &own);
    return said ? own : j->row.stamp.mtime_ns / 1000000;
}

static enum status run_members(struct journal *jl, struct journal_op *op, struct error *err)
{
    struct job *j = container_of(op, struct job, op);
    struct container_limits l = limits_of(j);
    size_t n = 0;
    const struct member *all = unpacking_members(j->unpacking, &n);
    struct members_left_out left_out = {0};
    struct buf path;
    j->n_page = 0;
    buf_init(&path, INGEST_PATH_MAX + 1);
    for (j->page_end = j->placed; j->page_end < n && j->n_page < PAGE_MEMBERS; j->page_end++) {
        const struct member *m = &all[j->page_end];
        if (ignored(j, m, &path)) {
            left_out.ignored++;
        } else {
            j->page_at[j->n_page] = j->page_end;
            j->page[j->n_page++] = (struct journal_member){.name = m->name,
                                                           .size = m->size,
                                                           .modified_ms = member_date(j, m),
                                                           .hash = m->hash,
                                                           .format = m->format};
        }
    }
    buf_deinit(&path);
    enum status s =
        journal_members(jl, &j->row, j->snap.hash, &l, j->page, j->n_page, &left_out, err);
    j->page_left_out = left_out;
    if (s == STATUS_OK && j->page_end == n) {
        s = journal_members_end(jl, &j->row, err);
    }
    return s;
}

static void say_left_out(struct job *j)
{
    const struct members_left_out *l = &j->left_out;
    char text[160];
    if (l->too_many > 0) {
        (void)snprintf(text, sizeof text,
                       "%llu of the files in it %s left out: with what else lies in the same file "
                       "they are too many or too large",
                       (unsigned long long)l->too_many, l->too_many == 1 ? "was" : "were");
        unpacking_note(j->unpacking, text);
    }
    if (l->too_long > 0) {
        (void)snprintf(text, sizeof text,
                       "%llu of the files in it %s left out: their paths are too long",
                       (unsigned long long)l->too_long, l->too_long == 1 ? "was" : "were");
        unpacking_note(j->unpacking, text);
    }
    if (l->ignored > 0) {
        (void)snprintf(text, sizeof text,
                       "%llu of the files in it %s passed over, as " JOURNAL_PASSED_OVER " says",
                       (unsigned long long)l->ignored, l->ignored == 1 ? "was" : "were");
        unpacking_note(j->unpacking, text);
    }
    if (l->itself > 0) {
        unpacking_note(j->unpacking, "it holds itself: that was left out");
    }
}

static void page_done(struct journal_op *op)
{
    struct job *j = container_of(op, struct job, op);
    struct error err;
    size_t n = 0;
    const struct member *all = unpacking_members(j->unpacking, &n);
    j->in_lane = false;
    if (op->err.code != STATUS_OK || j->cancelled) { /* its row waits, and it is unpacked again */
        j->err = op->err;
        job_finish(j, OUTCOME_HELD);
        return;
    }
    j->left_out.too_many += j->page_left_out.too_many;
    j->left_out.too_long += j->page_left_out.too_long;
    j->left_out.itself += j->page_left_out.itself;
    j->left_out.ignored += j->page_left_out.ignored;
    for (size_t i = 0; i < j->n_page; i++) {
        const struct member *m = &all[j->page_at[i]];
        struct spooled s = {
            .spool = unpacking_spool(j->unpacking), .offset = m->offset, .size = m->size};
        if (j->page[i].wanted && held_put(&j->t->held, j->page[i].row, &s, &err) != STATUS_OK) {
            break; /* those that are not held have it unpacked again, later */
        }
    }
    j->placed = j->page_end;
    if (j->placed < n) {
        journal_submit(&j->t->journal, &j->op);
        j->in_lane = true;
        return;
    }
    say_left_out(j);
    queue_changed(j->t->queue);
    job_record(j);
}

void job_write_members(struct job *j)
{
    j->page = arena_array(&j->arena, PAGE_MEMBERS, sizeof *j->page);
    j->page_at = arena_array(&j->arena, PAGE_MEMBERS, sizeof *j->page_at);
    if (j->page == NULL || j->page_at == NULL) {
        job_finish(j, OUTCOME_HELD);
        return;
    }
    j->in_lane = true;
    j->op.run = run_members;
    j->op.done = page_done;
    journal_submit(&j->t->journal, &j->op);
}

/* ---- a member's own job ---- */

static void looked(void *data)
{
    struct job *j = data;
    if (job_looked(j)) {
        job_look_up(j);
    }
}

/* Its content is known by its hash: the bytes are looked at only where the store has not got it. */
enum status job_member(struct job *j)
{
    const char *format = j->row.format[0] == '\0' ? NULL : format_name(j->row.format);
    memcpy(j->snap.hash, j->row.member, sizeof j->snap.hash);
    j->format = format;
    j->phase = JOB_SNAPSHOT;
    return job_look(j, looked);
}

static enum status copy_member(const struct spooled *m, const char *home, struct snapshot *out,
                               struct error *err)
{
    uint8_t hash[SHA256_BYTES];
    char piece[COPY_BYTES];
    struct sha256 *h = sha256_new();
    int copy = -1;
    enum status s = h == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                              : snapshot_file(m->size, home, &copy, &out->in_memory, err);
    for (uint64_t at = 0; s == STATUS_OK && at < m->size;) {
        uint64_t left = m->size - at;
        ssize_t n = pread(spool_fd(m->spool), piece, left < sizeof piece ? left : sizeof piece,
                          (off_t)(m->offset + at));
        if (n == 0 || (n < 0 && errno != EINTR)) {
            s = error_set(err, STATUS_IO, "what was unpacked cannot be read");
        } else if (n > 0) {
            size_t room = sizeof out->head - out->head_len;
            size_t add = (size_t)n < room ? (size_t)n : room;
            memcpy(out->head + out->head_len, piece, add);
            out->head_len += add;
            sha256_add(h, piece, (size_t)n);
            s = file_write_all(copy, piece, (size_t)n, err);
            at += (uint64_t)n;
        }
    }
    if (h != NULL) {
        sha256_end(h, hash);
    }
    if (s == STATUS_OK && memcmp(hash, out->hash, sizeof hash) != 0) {
        s = error_set(err, STATUS_IO, "what was unpacked has changed");
    }
    if (s == STATUS_OK) {
        s = snapshot_seal(copy, out, err);
    }
    if (copy >= 0) {
        (void)close(copy);
    }
    return s;
}

static void copy_work(void *data)
{
    struct job *j = data;
    j->err = (struct error){.code = STATUS_OK};
    j->err.code = copy_member(&j->spooled, j->t->in->svc->home, &j->snap, &j->err);
}

static void copy_done(void *data)
{
    struct job *j = data;
    j->in_lane = false;
    spool_release(j->spooled.spool);
    j->spooled.spool = NULL;
    if (j->cancelled) {
        job_finish(j, OUTCOME_HELD);
    } else if (j->err.code == STATUS_DISK_FULL) {
        queue_hold(j->t->queue, HOLD_DISK_FULL,
                   "the disk is full: free some space, the queue then goes on");
        job_finish(j, OUTCOME_HELD);
    } else if (j->err.code != STATUS_OK) {
        job_retry_counted(j);
    } else {
        job_want_bytes(j);
    }
}

void job_want_bytes(struct job *j)
{
    int64_t most = j->t->in->settings->ingest.max_file_bytes;
    if (j->row.parent == 0 || j->snap.fd >= 0 || j->format == NULL) {
        job_want_extract(j);
    } else if (j->row.stamp.size > (uint64_t)most) {
        (void)error_set(&j->err, STATUS_TOO_LARGE,
                        "the file has %llu MB, more than the limit of %llu MB "
                        "(ingest.max_file_bytes in carrel.yaml)",
                        (unsigned long long)(j->row.stamp.size >> 20),
                        (unsigned long long)(most >> 20));
        job_remove(j);
    } else if (!held_get(&j->t->held, j->row.id, &j->spooled)) {
        j->retry_at_ms = clock_wall_ms() + WAIT_FOR_CONTAINER_MS;
        job_finish(j, OUTCOME_WAITS);
    } else {
        j->in_lane = true;
        spool_hold(j->spooled.spool);
        if (lane_submit_for(&j->t->in->work, &j->effort, copy_work, copy_done, j, &j->err) !=
            STATUS_OK) {
            spool_release(j->spooled.spool);
            j->in_lane = false;
            job_finish(j, OUTCOME_HELD);
        }
    }
}
