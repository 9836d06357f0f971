/* In the order of a group of records: chain_ready, chain_add for each, chain_commit. A group that
 * has texts costs one sync: its texts and its lines are committed to payload.db together, and the
 * lines are then written to the chain's file, which is synced now and then (chain_settle). Until it
 * is, payload.db has what a power cut may take from its end, and the next start puts it back. A
 * group without texts is written to the file and synced.
 *
 * The record's number is taken when it is added and given back when the commit fails: the file is
 * then cut to what it was, and read anew before the next attempt, because after a failed fsync
 * nobody knows what lies on the disk. */
#include "serve/audit/chain_write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define PENDING_MAX ((size_t)64 << 20)
#define WAITING_MAX ((size_t)128 << 20)
#define SETTLE_MS 1000
#define SETTLE_BYTES ((size_t)4 << 20)
#define ROOM ((size_t)64 << 10) /* asked of the disk at once: what a full one still takes */
#define WAL_PAGES 4000 /* then they go to the database itself, which takes two syncs more */
#define CHECKPOINT_RECORDS 1024

/* ---- opening ---- */

struct opening {
    struct chain *c;
    bool follows;     /* the first record must, too */
    size_t good;      /* bytes of whole records */
    int64_t last;     /* number of the last record, whether or not it follows */
    struct error err; /* the first that does not */
};

static bool take_record(unsigned segment, struct str line, const struct audit_record *r,
                        const struct error *why, void *data)
{
    struct opening *o = data;
    struct chain *c = o->c;
    o->last = r != NULL && r->seq > o->last ? r->seq : o->last;
    if (o->err.code != STATUS_OK) {
        return true;
    }
    if (r == NULL || ((o->follows || c->seq > 0) &&
                      (r->seq != c->seq + 1 || memcmp(r->prev, c->head, sizeof c->head) != 0))) {
        (void)error_set(&o->err, STATUS_CORRUPT,
                        "the audit of tenant %s is damaged in %08u.log after record %" PRId64
                        " (%s): `carrel audit verify` says more",
                        c->tenant, segment, c->seq, r == NULL ? why->text : "the chain is broken");
        return true;
    }
    c->seq = r->seq;
    memcpy(c->head, r->hash, sizeof c->head);
    o->good += line.len + 1;
    c->unsigned_records++;
    if (str_eq(r->type, STR("checkpoint"))) {
        c->unsigned_records = 0;
    }
    if (str_eq(r->type, STR("begin"))) {
        (void)snprintf(c->id, sizeof c->id, "%.*s", STR_ARG(audit_text(r, "chain")));
    }
    if (str_eq(r->type, STR("begin")) || str_eq(r->type, STR("key")) ||
        str_eq(r->type, STR("checkpoint"))) {
        (void)audit_hash(r, "key", c->key);
    }
    return true;
}

/* The chain's name stands in its first record. */
static bool take_begin(unsigned segment, struct str line, const struct audit_record *r,
                       const struct error *why, void *data)
{
    struct chain *c = data;
    (void)segment;
    (void)line;
    (void)why;
    if (r != NULL && str_eq(r->type, STR("begin"))) {
        (void)snprintf(c->id, sizeof c->id, "%.*s", STR_ARG(audit_text(r, "chain")));
    }
    return false;
}

/* The last file's first record does not hold: what is put back must follow the file before. */
static enum status read_before(struct opening *o, struct error *err)
{
    struct chain *c = o->c;
    struct opening before = {.c = c};
    struct buf b;
    size_t unused;
    buf_init(&b, AUDIT_SEGMENT_BYTES_MAX);
    enum status s = audit_segment_read(c->folder, c->segment - 1, &b, err);
    if (s == STATUS_OK) {
        (void)audit_walk_bytes(c->segment - 1, buf_view(&b), take_record, &before, &unused);
        s = before.err.code == STATUS_OK ? STATUS_OK
                                         : error_set(err, before.err.code, "%s", before.err.text);
    }
    buf_deinit(&b);
    return s;
}

/* Reads the last file that has a record; *torn: bytes after the last whole one. o->err: its end
 * does not hold. */
static enum status read_end(struct opening *o, const struct audit_segments *seg, size_t *torn,
                            struct error *err)
{
    struct chain *c = o->c;
    struct buf b;
    size_t rest = 0;
    enum status s = STATUS_OK;
    c->segment = seg->last;
    for (;;) {
        buf_init(&b, AUDIT_SEGMENT_BYTES_MAX);
        s = audit_segment_read(c->folder, c->segment, &b, err);
        o->good = 0;
        if (s == STATUS_OK) {
            (void)audit_walk_bytes(c->segment, buf_view(&b), take_record, o, torn);
            *torn = o->err.code == STATUS_OK ? *torn : b.len - o->good;
        }
        buf_deinit(&b);
        if (s != STATUS_OK || c->seq > 0 || o->err.code != STATUS_OK || c->segment == seg->first) {
            break;
        }
        c->segment--; /* a file begun, and nothing written to it yet */
        rest = *torn;
    }
    c->size = o->good;
    *torn += rest;
    if (s == STATUS_OK && c->seq == 0 && o->err.code != STATUS_OK && c->segment > seg->first) {
        s = read_before(o, err);
    }
    if (s == STATUS_OK && c->id[0] == '\0' && seg->first < c->segment) {
        buf_init(&b, AUDIT_SEGMENT_BYTES_MAX);
        s = audit_segment_read(c->folder, seg->first, &b, err);
        if (s == STATUS_OK) {
            size_t unused;
            (void)audit_walk_bytes(seg->first, buf_view(&b), take_begin, c, &unused);
        }
        buf_deinit(&b);
    }
    return s;
}

static enum status open_segment(struct chain *c, bool make, struct error *err)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/" AUDIT_SEGMENT_FORMAT, c->folder, c->segment);
    int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0);
    int fd = open(path, flags, 0600);
    if (fd < 0) {
        return error_errno(err, errno, "%s", path);
    }
    /* what was torn off is cut away, and the next record begins where the last one ends */
    if (ftruncate(fd, (off_t)c->size) != 0 || lseek(fd, (off_t)c->size, SEEK_SET) < 0 ||
        fsync(fd) != 0) {
        enum status s = error_errno(err, errno, "%s", path);
        (void)close(fd);
        return s;
    }
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    c->fd = fd;
    return file_sync_parent(path, err);
}

static enum status open_payload(struct chain *c, const struct audit_policy *p, struct error *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/tenants/%s/payload.db", p->home, c->tenant);
    if (n < 0 || (size_t)n >= sizeof path) {
        return error_set(err, STATUS_TOO_LARGE, "path too long");
    }
    enum status s = audit_payload_open(path, DB_CREATE, &c->payload, err);
    if (s == STATUS_OK) {
        (void)sqlite3_wal_autocheckpoint(c->payload, WAL_PAGES);
    }
    return s;
}

/* What was committed and is not in the file, or not whole: back to its end. What is cut away for it
 * must all be there; otherwise somebody has been at the file, and o->err stands. */
static enum status restore_end(struct opening *o, struct buf *again, struct error *err)
{
    struct chain *c = o->c;
    struct opening more = {.c = c, .follows = true};
    struct error broken = o->err;
    size_t torn = 0;
    int64_t last;
    enum status s = audit_waiting_get(c->payload, c->seq, again, &last, err);
    if (s != STATUS_OK || last == 0 || (broken.code != STATUS_OK && last < o->last)) {
        buf_reset(again);
        return s == STATUS_OK && broken.code != STATUS_OK
                   ? error_set(err, broken.code, "%s", broken.text)
                   : s;
    }
    /* a group may begin before the file's end: from the record on that follows it */
    const char *at = again->ptr, *end = again->ptr + again->len;
    while (at < end) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        struct audit_record r;
        struct error why;
        struct str line = {at, nl == NULL ? (size_t)(end - at) : (size_t)(nl - at)};
        if (audit_read(line, &r, &why) == STATUS_OK && r.seq > c->seq) {
            break;
        }
        at = nl == NULL ? end : nl + 1;
    }
    buf_consume(again, (size_t)(at - again->ptr));
    (void)audit_walk_bytes(c->segment, buf_view(again), take_record, &more, &torn);
    if (more.err.code != STATUS_OK && broken.code != STATUS_OK) {
        return error_set(err, broken.code, "%s", broken.text);
    }
    again->len = more.good; /* of an older payload.db, put back: nothing follows */
    return STATUS_OK;
}

/* After a sync that failed nobody knows what of the file is on the disk, now or ever: it is cut
 * away, for payload.db has it, and is written anew when the chain is opened. */
static void cut_back(const struct chain *c, size_t size)
{
    if (c->fd >= 0 && ftruncate(c->fd, (off_t)size) != 0) {
        LOG_ERROR("the audit's file cannot be cut back", LOG_STR("tenant", c->tenant),
                  LOG_STR("err", strerror(errno)), LOG_END);
    }
}

static enum status write_again(struct chain *c, const struct buf *again, struct error *err)
{
    enum status s = file_write_all(c->fd, again->ptr, again->len, err);
    if (s == STATUS_OK && fdatasync(c->fd) != 0) {
        s = error_errno(err, errno, "fsync");
    }
    if (s == STATUS_OK) {
        c->size += again->len;
        LOG_WARN("the audit's last records were not all in its file and have been put back",
                 LOG_STR("tenant", c->tenant), LOG_INT("bytes", (int64_t)again->len), LOG_END);
    } else {
        cut_back(c, c->size);
    }
    return s;
}

/* A text without its record is what somebody left who took the record away: it stays where it is,
 * and nothing is written over it. Of groups that could not be written none is left (give_up). */
static enum status check_payload(const struct chain *c, int64_t end, struct error *err)
{
    struct audit_beyond b;
    enum status s = audit_payload_beyond(c->payload, end, &b, err);
    if (s == STATUS_OK && b.texts > 0 && !b.may_be) {
        s = error_set(err, STATUS_CORRUPT,
                      "the audit of tenant %.40s ends at record %" PRId64
                      ", but payload.db has texts up to record %" PRId64
                      ": records were removed; put its files back (docs/decisions/audit.md)",
                      c->tenant, end, b.last);
    }
    return s;
}

/* The file is synced: nothing waits. */
static enum status clear_payload(struct chain *c, struct error *err)
{
    enum status s = audit_waiting_drop(c->payload, 0, INT64_MAX, err);
    return s == STATUS_OK ? audit_payload_cut(c->payload, c->seq, err) : s;
}

/* ---- the signer, asked by one thread at a time ---- */

static enum status ask_signer(const struct audit_policy *p, const struct signer_ask *ask,
                              struct signer_reply *reply, struct error *err)
{
    audit_policy_enter(p);
    enum status s = signer_call(p->signer, ask, reply, err);
    audit_policy_leave(p);
    return s;
}

static enum status ask_key(const struct audit_policy *p, uint8_t key[SIGN_PUBLIC_BYTES],
                           struct error *err)
{
    audit_policy_enter(p);
    enum status s = signer_key(p->signer, key, err);
    audit_policy_leave(p);
    return s;
}

static enum status add_first(struct chain *c, const struct audit_policy *p, size_t torn,
                             struct error *err)
{
    uint8_t key[SIGN_PUBLIC_BYTES];
    struct buf f;
    char hex[SHA256_HEX_CAP];
    enum status s = ask_key(p, key, err);
    if (s != STATUS_OK) {
        return s;
    }
    buf_init(&f, 1024);
    sha256_hex(key, hex);
    struct audit_matter m = {.type = "start"};
    if (c->seq == 0) {
        id_new(c->id);
        m.type = "begin";
        audit_field_z(&f, "chain", c->id);
        audit_field_z(&f, "tenant", c->tenant);
        audit_field_z(&f, "key", hex);
        memcpy(c->key, key, sizeof c->key);
    } else {
        audit_field_int(&f, "torn", (int64_t)torn);
    }
    m.fields = buf_view(&f);
    s = chain_add(c, p, &m, clock_wall_ms(), err);
    if (s == STATUS_OK && memcmp(c->key, key, sizeof c->key) != 0) {
        buf_reset(&f);
        audit_field_z(&f, "key", hex);
        m = (struct audit_matter){.type = "key", .fields = buf_view(&f)};
        s = chain_add(c, p, &m, clock_wall_ms(), err);
        memcpy(c->key, key, sizeof c->key);
    }
    buf_deinit(&f);
    return s;
}

enum status chain_ready(struct chain *c, const struct audit_policy *p, struct error *err)
{
    struct audit_segments seg;
    size_t torn = 0;
    if (c->ready) {
        return STATUS_OK;
    }
    chain_close(c);
    int n = snprintf(c->folder, sizeof c->folder, "%s/tenants/%s/audit", p->home, c->tenant);
    if (n < 0 || (size_t)n >= sizeof c->folder - 32) {
        return error_set(err, STATUS_TOO_LARGE, "path too long");
    }
    enum status s = file_mkdirs(c->folder, 0700, err);
    if (s == STATUS_OK) {
        s = audit_segments(c->folder, &seg, err);
    }
    bool fresh = s == STATUS_OK && seg.last == 0;
    c->segment = 1;
    struct opening o = {.c = c};
    struct buf again;
    buf_init(&again, WAITING_MAX);
    if (s == STATUS_OK) {
        s = open_payload(c, p, err);
    }
    if (s == STATUS_OK && !fresh) {
        s = read_end(&o, &seg, &torn, err);
    }
    if (s == STATUS_OK && !fresh) {
        s = restore_end(&o, &again, err);
    }
    if (s == STATUS_OK) {
        s = check_payload(c, c->seq, err);
    }
    if (s == STATUS_OK) {
        s = open_segment(c, fresh, err);
    }
    if (s == STATUS_OK && again.len > 0) {
        s = write_again(c, &again, err);
    }
    buf_deinit(&again);
    if (s == STATUS_OK) {
        s = clear_payload(c, err);
    }
    if (s == STATUS_OK) {
        c->ready = true;
        c->settled_size = c->size;
        /* what an earlier opening left unsigned is signed with the next group: chains that take
         * turns in memory are never open for long */
        c->checkpoint_ms = clock_monotonic_ms() - (c->unsigned_records > 0 ? p->checkpoint_ms : 0);
        s = add_first(c, p, torn, err);
    }
    if (s == STATUS_OK && torn > 0) {
        LOG_WARN("the audit's last record was torn by a crash and has been cut off",
                 LOG_STR("tenant", c->tenant), LOG_INT("bytes", (int64_t)torn), LOG_END);
    }
    if (s != STATUS_OK) {
        chain_close(c);
    }
    return s;
}

/* ---- a group of records ---- */

static enum status put_text(struct chain *c, const struct audit_policy *p,
                            const struct audit_matter *m, int64_t at,
                            const uint8_t salt[AUDIT_SALT_BYTES], bool *kept, struct error *err)
{
    bool erased = false;
    *kept = false;
    if (p->payload == AUDIT_NONE) {
        return STATUS_OK;
    }
    enum status s = STATUS_OK;
    if (!c->in_transaction) {
        s = db_exec(c->payload, "BEGIN IMMEDIATE", err);
        c->in_transaction = s == STATUS_OK;
    }
    if (s == STATUS_OK && m->n_documents > 0) {
        s = audit_payload_erased(c->payload, m->documents, m->n_documents, &erased, err);
    }
    if (s == STATUS_OK && !erased) {
        *kept = true;
        s = audit_payload_put(c->payload, c->next_seq + 1, at, salt, m->text,
                              p->payload == AUDIT_ENCRYPTED ? p->auditor : NULL, m->documents,
                              m->n_documents, err);
    }
    return s;
}

enum status chain_add(struct chain *c, const struct audit_policy *p, const struct audit_matter *m,
                      int64_t now_wall_ms, struct error *err)
{
    uint8_t salt[AUDIT_SALT_BYTES];
    uint8_t commitment[SHA256_BYTES];
    char hex[SHA256_HEX_CAP];
    struct buf fields;
    bool kept = false;
    enum status s = STATUS_OK;
    if (c->pending.len == 0) {
        buf_deinit(&c->pending);
        buf_init(&c->pending, PENDING_MAX);
        c->next_seq = c->seq;
        memcpy(c->next_head, c->head, sizeof c->head);
    }
    buf_init(&fields, AUDIT_LINE_MAX);
    buf_str(&fields, m->fields);
    if (m->text.ptr != NULL) {
        random_bytes(salt, sizeof salt);
        s = put_text(c, p, m, now_wall_ms, salt, &kept, err);
        audit_commitment(salt, m->text, commitment);
        sha256_hex(commitment, hex);
        audit_field_z(&fields, "kept", !kept ? "no" : p->payload == AUDIT_KEEP ? "yes" : "sealed");
        audit_field_z(&fields, "payload", hex);
    }
    size_t before = c->pending.len;
    if (s == STATUS_OK) {
        audit_line(&c->pending, c->next_seq + 1, now_wall_ms, c->next_head, m->type,
                   buf_view(&fields), c->next_head);
        if (buf_status(&fields) != STATUS_OK || buf_status(&c->pending) != STATUS_OK ||
            c->pending.len - before > AUDIT_LINE_MAX) {
            s = error_set(err, STATUS_NO_MEMORY, "a record of the audit is too large");
        } else {
            c->next_seq++;
        }
    }
    buf_deinit(&fields);
    return s;
}

static enum status next_segment(struct chain *c, struct error *err)
{
    if (c->size < AUDIT_SEGMENT_BYTES) {
        return STATUS_OK;
    }
    int full = c->fd;
    size_t size = c->size;
    enum status s = chain_settle(c, true, err);
    if (s != STATUS_OK) {
        return s;
    }
    c->segment++;
    c->size = c->settled_size = c->room = 0;
    s = open_segment(c, true, err);
    if (s != STATUS_OK && c->fd == full) { /* it stays what is cut back, to its own length */
        c->segment--;
        c->size = c->settled_size = size;
    }
    return s;
}

/* The file first: as long as lines wait in payload.db, texts and lines can be put back together;
 * once they are gone from there, a line left in the file would be a record whose text is missing.
 */
static void give_up(struct chain *c, bool texts, bool sync_failed)
{
    struct error err = {.text = "the file cannot be cut back"};
    bool committed = texts && !c->in_transaction && c->payload != NULL;
    if (c->in_transaction) {
        (void)sqlite3_exec(c->payload, "ROLLBACK", NULL, NULL, NULL);
        c->in_transaction = false;
    }
    c->unsettled = false; /* what is committed stays there until the file is read anew */
    bool back = c->fd < 0 ||
                (ftruncate(c->fd, (off_t)c->size) == 0 && (!committed || fdatasync(c->fd) == 0));
    if (committed && (!back || audit_payload_cut(c->payload, c->seq, &err) != STATUS_OK)) {
        LOG_ERROR("records of answers that were not given stay in the audit",
                  LOG_STR("tenant", c->tenant), LOG_STR("err", err.text), LOG_END);
    }
    if (sync_failed || !back) {
        cut_back(c, c->settled_size);
    }
    chain_close(c);
}

/* So that the write after the commit finds room. Where the file system cannot, it may not. */
static enum status make_room(struct chain *c, struct error *err)
{
    if (c->size + c->pending.len <= c->room) {
        return STATUS_OK;
    }
    size_t more = c->pending.len > ROOM ? c->pending.len : ROOM;
    if (fallocate(c->fd, FALLOC_FL_KEEP_SIZE, (off_t)c->size, (off_t)more) != 0 &&
        (errno == ENOSPC || errno == EDQUOT || errno == EIO)) {
        return error_errno(err, errno, "the audit's file");
    }
    c->room = c->size + more;
    return STATUS_OK;
}

static enum status commit_texts(struct chain *c, struct error *err)
{
    enum status s = make_room(c, err);
    if (s == STATUS_OK) {
        s = audit_waiting_put(c->payload, c->next_seq, buf_view(&c->pending), err);
    }
    if (s == STATUS_OK) {
        s = audit_waiting_drop(c->payload, 0, c->settled_seq, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(c->payload, "COMMIT", err);
        c->in_transaction = s != STATUS_OK;
    }
    return s;
}

static bool settle_due(const struct chain *c, int64_t now_ms)
{
    return c->ready && c->unsettled &&
           (c->unsettled_bytes >= SETTLE_BYTES || now_ms - c->settled_ms >= SETTLE_MS);
}

static bool checkpoint_due(const struct chain *c, const struct audit_policy *p, int64_t now_ms)
{
    return c->ready && c->unsigned_records > 0 &&
           (c->unsigned_records >= CHECKPOINT_RECORDS ||
            now_ms - c->checkpoint_ms >= p->checkpoint_ms);
}

bool chain_due(const struct chain *c, const struct audit_policy *p)
{
    int64_t now = clock_monotonic_ms();
    return settle_due(c, now) || checkpoint_due(c, p, now);
}

enum status chain_settle(struct chain *c, bool now, struct error *err)
{
    int64_t at = clock_monotonic_ms();
    if (!c->ready || !c->unsettled || (!now && !settle_due(c, at))) {
        return STATUS_OK;
    }
    if (fdatasync(c->fd) != 0) {
        enum status s = error_errno(err, errno, "fsync");
        c->unsettled = false;
        cut_back(c, c->settled_size);
        chain_close(c);
        return s;
    }
    c->settled_ms = at;
    c->settled_seq = c->seq;
    c->settled_size = c->size;
    c->unsettled_bytes = 0;
    c->unsettled = false;
    return STATUS_OK;
}

enum status chain_commit(struct chain *c, struct error *err)
{
    enum status s = buf_status(&c->pending);
    if (s == STATUS_OK && c->pending.len == 0) {
        return STATUS_OK;
    }
    if (s != STATUS_OK) {
        s = error_set(err, s, "the audit's group of records is too large");
    }
    if (s == STATUS_OK) {
        s = next_segment(c, err);
    }
    bool texts = c->in_transaction;
    if (s == STATUS_OK && texts) {
        s = commit_texts(c, err);
    }
    if (s == STATUS_OK) {
        s = file_write_all(c->fd, c->pending.ptr, c->pending.len, err);
    }
    bool sync_failed = s == STATUS_OK && !texts && fdatasync(c->fd) != 0;
    if (sync_failed) {
        s = error_errno(err, errno, "fsync");
    }
    if (s != STATUS_OK) {
        give_up(c, texts, sync_failed);
        return error_prefix(err, "the audit of tenant %s cannot be written", c->tenant);
    }
    c->size += c->pending.len;
    c->unsigned_records += c->next_seq - c->seq;
    c->seq = c->next_seq;
    memcpy(c->head, c->next_head, sizeof c->head);
    c->unsettled_bytes = texts ? c->unsettled_bytes + c->pending.len : 0;
    c->settled_seq = texts ? c->settled_seq : c->seq;
    c->settled_size = texts ? c->settled_size : c->size;
    c->unsettled = texts;
    if (c->on_commit != NULL) {
        c->on_commit(c->commit_data, c->tenant, buf_view(&c->pending));
    }
    buf_reset(&c->pending);
    return STATUS_OK;
}

/* ---- checkpoints ---- */

enum status chain_checkpoint(struct chain *c, const struct audit_policy *p, struct buf *line,
                             struct error *err)
{
    int64_t now = clock_monotonic_ms();
    enum status s = c->ready && c->pending.len > 0 ? chain_commit(c, err) : STATUS_OK;
    if (s != STATUS_OK) {
        return s;
    }
    if (!checkpoint_due(c, p, now) || !audit_signer_listens(p)) {
        return STATUS_OK;
    }
    struct signer_ask ask;
    struct signer_reply reply;
    char hex[2 * SIGN_BYTES + 1];
    char head[SHA256_HEX_CAP];
    struct buf f;
    memset(&ask, 0, sizeof ask); /* its padding too: it is compared */
    ask.seq = c->seq + 1;
    ask.at_wall_ms = clock_wall_ms();
    memcpy(ask.chain, c->id, sizeof ask.chain);
    memcpy(ask.head, c->head, sizeof ask.head);
    s = ask_signer(p, &ask, &reply, err);
    if (s == STATUS_OK && reply.verdict == SIGNER_WAS_LATER) {
        LOG_ERROR("the audit was set back: later records had been signed already",
                  LOG_STR("tenant", c->tenant), LOG_INT("signed", reply.was_seq),
                  LOG_INT("now", c->seq), LOG_END);
        ask.set_back = 1;
        s = ask_signer(p, &ask, &reply, err);
    }
    if (s != STATUS_OK) {
        chain_close(c); /* it may have noted what we did not get */
        return s;
    }
    buf_init(&f, 2048);
    sha256_hex(reply.key, head);
    audit_field_z(&f, "key", head);
    if (reply.was_seq > 0) {
        sha256_hex(reply.was_head, head);
        audit_field_int(&f, "was_seq", reply.was_seq);
        audit_field_z(&f, "was_head", head);
    }
    hex_encode(reply.signature, sizeof reply.signature, hex);
    audit_field_z(&f, "sig", hex);
    struct audit_matter m = {.type = "checkpoint", .fields = buf_view(&f)};
    s = chain_add(c, p, &m, ask.at_wall_ms, err);
    s = s == STATUS_OK ? chain_commit(c, err) : s;
    buf_deinit(&f);
    if (s == STATUS_OK) {
        c->unsigned_records = 0;
        c->checkpoint_ms = now;
        sha256_hex(c->head, head);
        buf_printf(line,
                   "{\"tenant\":\"%s\",\"chain\":\"%s\",\"seq\":%" PRId64
                   ",\"head\":\"%s\",\"at\":%" PRId64 "}\n",
                   c->tenant, c->id, c->seq, head, ask.at_wall_ms);
    }
    return s;
}

void chain_close(struct chain *c)
{
    struct error err;
    if (c->in_transaction) {
        (void)sqlite3_exec(c->payload, "ROLLBACK", NULL, NULL, NULL);
    }
    bool synced = c->ready && c->unsettled && fdatasync(c->fd) == 0;
    if (c->ready && c->unsettled && !synced) {
        cut_back(c, c->settled_size);
    }
    if (synced && audit_waiting_drop(c->payload, 0, c->seq, &err) != STATUS_OK) {
        LOG_WARN("the audit's lines stay in payload.db until the next start",
                 LOG_STR("tenant", c->tenant), LOG_STR("err", err.text), LOG_END);
    }
    db_close(c->payload);
    if (c->ready || c->fd > 0) {
        (void)close(c->fd);
    }
    buf_deinit(&c->pending);
    char tenant[sizeof c->tenant];
    memcpy(tenant, c->tenant, sizeof tenant);
    *c = (struct chain){.fd = -1, .on_commit = c->on_commit, .commit_data = c->commit_data};
    memcpy(c->tenant, tenant, sizeof tenant);
}
