#include "ingest/quota.h"

#include <stdio.h>

#include "base/log.h"
#include "ingest/queue.h"

#define TEXT_CAP 32

static void show(uint64_t bytes, char out[TEXT_CAP])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u + 1 < sizeof units / sizeof *units; u++) {
        v /= 1024;
    }
    (void)snprintf(out, TEXT_CAP, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
}

uint64_t quota_used(const struct tenant *t)
{
    return t->counts.bytes + t->quota_pending;
}

static bool fits(uint64_t used, uint64_t bytes, uint64_t quota)
{
    return quota == 0 || (used <= quota && bytes <= quota - used);
}

enum status quota_check_file(const struct tenant *t, uint64_t bytes, struct error *err)
{
    char used[TEXT_CAP];
    char most[TEXT_CAP];
    if (fits(quota_used(t), bytes, t->quota)) {
        return STATUS_OK;
    }
    show(quota_used(t), used);
    show(t->quota, most);
    return error_set(err, STATUS_DISK_FULL,
                     JOURNAL_NO_ROOM
                     "the documents take %s of the %s that this tenant may have; it "
                     "is taken when there is room",
                     used, most);
}

enum status quota_check_upload(const struct tenant *t, uint64_t bytes, uint64_t freed,
                               struct error *err)
{
    const struct journal_counts *c = &t->counts;
    uint64_t all = c->bytes + c->failed_bytes + c->waiting_bytes + t->upload_bytes;
    char used[TEXT_CAP];
    char most[TEXT_CAP];
    all = all > freed ? all - freed : 0;
    if (fits(all, bytes, t->quota)) {
        return STATUS_OK;
    }
    show(all, used);
    show(t->quota, most);
    return error_set(
        err, STATUS_DISK_FULL,
        "there is no room for it: what lies in the folder takes %s of the %s that this "
        "tenant may have. Delete documents, or ask the administrator for more",
        used, most);
}

uint64_t quota_room(const struct tenant *t)
{
    uint64_t all = quota_used(t) + t->counts.waiting_bytes;
    return t->quota == 0 ? UINT64_MAX : t->quota > all ? t->quota - all : 0;
}

/* ---- files that wait ---- */

static enum status run_room(struct journal *j, struct journal_op *op, struct error *err)
{
    struct tenant *t = container_of(op, struct tenant, quota_op);
    uint64_t least = 0;
    enum status s = journal_without_room(j, &t->quota_found, &least, err);
    t->quota_queued = 0;
    if (s == STATUS_OK && t->quota_found > 0 && least <= t->quota_asked) {
        s = journal_has_room(j, t->quota_asked, &t->quota_queued, err);
    }
    return s;
}

static void room_done(struct journal_op *op)
{
    struct tenant *t = container_of(op, struct tenant, quota_op);
    t->quota_looking = false;
    if (op->err.code != STATUS_OK) {
        t->quota_seen = 0; /* again */
        return;
    }
    t->quota_waiting = t->quota_found - t->quota_queued;
    if (t->quota_queued > 0) {
        LOG_INFO("there is room again for documents that waited", LOG_STR("tenant", t->id),
                 LOG_INT("documents", t->quota_queued), LOG_END);
        queue_changed(t->queue);
    }
}

/* Only when the room has grown, or files have failed since: the rest would fail again. */
void quota_tick(struct tenant *t)
{
    uint64_t used = quota_used(t);
    uint64_t room = t->quota == 0 ? UINT64_MAX : t->quota > used ? t->quota - used : 0;
    if (t->quota_looking || t->in->closing || queue_working(t->queue) > 0 || t->counting ||
        (room == t->quota_seen && t->counts.failed == t->quota_seen_failed)) {
        return;
    }
    t->quota_seen = room;
    t->quota_seen_failed = t->counts.failed;
    t->quota_asked = room;
    t->quota_looking = true;
    t->quota_op.run = run_room;
    t->quota_op.done = room_done;
    journal_submit(&t->journal, &t->quota_op);
}

bool quota_idle(const struct tenant *t)
{
    return !t->quota_looking;
}
