#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/tenant.h"
#include "ingest/access.h"
#include "ingest/documents.h"
#include "ingest/erase.h"
#include "ingest/ingest.h"
#include "ingest/migrate.h"
#include "ingest/queue.h"
#include "ingest/quota.h"
#include "ingest/recut.h"

#define FIRST_TENANT "main"
#define TENANTS_MAX 256
#define LOOK_EVERY_MS 5000
#define PURGE_EVERY_MS ((int64_t)3600000)

struct tenant *tenant_find(struct ingest *in, const char *id)
{
    list_for_each(it, &in->tenants)
    {
        struct tenant *t = list_entry(it, struct tenant, link);
        if (strcmp(t->id, id) == 0) {
            return t;
        }
    }
    return NULL;
}

/* What was mounted in the folder when it was last looked at. */
static enum status open_disk(struct tenant *t, struct journal *journal, struct error *err)
{
    enum status s = disk_new(&t->disk, err);
    char *text = s == STATUS_OK ? malloc(DISK_MOUNTS_TEXT) : NULL;
    if (s == STATUS_OK && text == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (s == STATUS_OK) {
        s = journal_note_get(journal, FOLLOW_MOUNTS, text, DISK_MOUNTS_TEXT, err);
    }
    if (s == STATUS_OK) {
        disk_set_mounts(t->disk, str_from(text));
    }
    free(text);
    return s;
}

/* ---- one tenant: what blocks is done on any thread, the rest on the loop ---- */

static enum status prepare(struct ingest *in, const char *id, struct tenant **out,
                           struct error *err)
{
    struct tenant *t = calloc(1, sizeof *t);
    struct journal *journal = NULL;
    char path[PATH_MAX];
    struct error ignored;
    if (t == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    t->in = in;
    list_init(&t->link);
    list_init(&t->deletes);
    held_init(&t->held);
    list_init(&t->holdings);
    (void)snprintf(t->id, sizeof t->id, "%.64s", id);
    t->quota = (uint64_t)settings_quota(in->settings, t->id);
    t->quota_seen_failed = UINT64_MAX; /* not looked yet */
    enum status s = file_join(t->root, sizeof t->root, in->watch_dir, id, err);
    int n = snprintf(path, sizeof path, "%s/tenants/%s/ingest.db", in->svc->home, id);
    if (s == STATUS_OK && (n < 0 || (size_t)n >= sizeof path)) {
        s = error_set(err, STATUS_TOO_LARGE, "%s: path too long", in->svc->home);
    }
    /* A folder that vanished (an unmounted disk) is not made anew: an empty one would look as if
     * every document had been deleted. Without a journal there is nothing to lose. */
    if (s == STATUS_OK && access(path, F_OK) != 0 && mkdir(t->root, 0775) != 0 && errno != EEXIST) {
        (void)error_errno(&ignored, errno, "%s", t->root);
        LOG_WARN("the watched folder cannot be made", LOG_STR("tenant", id),
                 LOG_STR("err", ignored.text), LOG_END);
    }
    if (s == STATUS_OK) {
        char extraction[INGEST_PIPELINE_CAP];
        recut_extraction(extraction);
        s = journal_open(path, extraction, &journal, err);
    }
    if (s == STATUS_OK) {
        s = recut_prepare(in->settings, journal, err);
    }
    if (s == STATUS_OK) {
        s = journal_has_access(journal, &t->has_access, err);
    }
    if (s == STATUS_OK) {
        char rules[4];
        s = journal_note_get(journal, INGEST_NOTE_RULES, rules, sizeof rules, err);
        t->rules_noted = rules[0] == '1';
        /* from before that was noted: what was stored under a rule may be of access.yaml's */
        t->had_rules = t->rules_noted || (rules[0] == '\0' && t->has_access);
    }
    if (s == STATUS_OK) {
        s = journal_count(journal, &t->counts, err); /* the quota counts from the first file on */
    }
    if (s == STATUS_OK) {
        s = open_disk(t, journal, err);
    }
    if (s == STATUS_OK) {
        char paused[4];
        s = journal_note_get(journal, INGEST_NOTE_PAUSED, paused, sizeof paused, err);
        t->paused_before = s == STATUS_OK && paused[0] == '1';
    }
    if (s == STATUS_OK) {
        s = erasing_prepare(in, id, journal, &t->erasing, err);
    }
    if (s != STATUS_OK) {
        journal_close(journal);
        disk_free(t->disk);
        free(t);
        return s;
    }
    t->journal.journal = journal;
    *out = t;
    return STATUS_OK;
}

static void on_work(void *data)
{
    struct tenant *t = data;
    queue_changed(t->queue);
}

static void on_scanned(void *data)
{
    access_scanned(data);
}

static void on_rules(void *data)
{
    struct tenant *t = data;
    t->reapply_due = true;
}

static enum status start(struct tenant *t, struct error *err)
{
    struct ingest *in = t->in;
    journal_lane_init(&t->journal, in->loop, t->journal.journal);
    t->queue = queue_new(t);
    t->migration = t->queue == NULL ? NULL : migration_new(t);
    t->recut = t->migration == NULL ? NULL : recut_new(t);
    struct follow_options o = {
        .loop = in->loop,
        .root = t->root,
        .tenant = t->id,
        .disk = t->disk,
        .journal = &t->journal,
        .scans = &in->scans,
        .settle_ms = in->settings->ingest.settle_ms,
        .rescan_s = in->settings->ingest.rescan_s,
        .poll_s = in->settings->ingest.poll_s,
        .on_work = on_work,
        .on_scanned = on_scanned,
        .on_rules = on_rules,
        .data = t,
    };
    enum status s = t->recut == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                     : follow_new(&o, &t->follow, err);
    if (s != STATUS_OK) {
        return s; /* the process ends, or tries again with its handles still alive */
    }
    erasing_start(t->erasing, t);
    t->counts_stale = true;
    queue_pause(t->queue, t->paused_before);
    access_adopt(t);
    t->reapply_due = t->has_access || access_restricted(t); /* it may have changed meanwhile */
    list_push(&in->tenants, &t->link);
    in->n_tenants++;
    queue_changed(t->queue);
    LOG_INFO("tenant opened", LOG_STR("tenant", t->id), LOG_END);
    return STATUS_OK;
}

/* ---- looking for tenants ---- */

struct look {
    struct ingest *in;
    struct tenant *found[TENANTS_MAX];
    size_t n;
    char known[TENANTS_MAX][65];
    size_t n_known;
    char unknown[160];
    uint32_t n_unknown;
    bool purge;
    struct error err;
};

static bool is_known(const struct look *l, const char *id)
{
    for (size_t i = 0; i < l->n_known; i++) {
        if (strcmp(l->known[i], id) == 0) {
            return true;
        }
    }
    return false;
}

static bool folder_in(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return file_join(path, sizeof path, dir, name, NULL) == STATUS_OK && lstat(path, &st) == 0 &&
           S_ISDIR(st.st_mode);
}

static enum status find_tenants(struct look *l)
{
    char dir[PATH_MAX];
    enum status s = file_join(dir, sizeof dir, l->in->svc->home, "tenants", &l->err);
    if (s != STATUS_OK) {
        return s;
    }
    DIR *d = opendir(dir);
    if (d == NULL) {
        return error_errno(&l->err, errno, "%s", dir);
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (!tenant_name_valid(str_from(e->d_name)) || !folder_in(dir, e->d_name) ||
            is_known(l, e->d_name) || l->n_known + l->n >= TENANTS_MAX) {
            continue;
        }
        struct error err;
        enum status one = prepare(l->in, e->d_name, &l->found[l->n], &err);
        if (one == STATUS_OK) {
            l->n++;
        } else {
            s = one; /* the others are opened all the same */
            l->err = err;
        }
    }
    (void)closedir(d);
    return s;
}

static void find_unknown(struct look *l)
{
    char tenants[PATH_MAX];
    DIR *d = opendir(l->in->watch_dir);
    if (d == NULL ||
        file_join(tenants, sizeof tenants, l->in->svc->home, "tenants", NULL) != STATUS_OK) {
        if (d != NULL) {
            (void)closedir(d);
        }
        return;
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        bool plain = e->d_name[0] != '.' && strcmp(e->d_name, "lost+found") != 0;
        if (!plain || (tenant_name_valid(str_from(e->d_name)) && folder_in(tenants, e->d_name))) {
            continue;
        }
        char shown[64];
        path_show(str_from(e->d_name), shown, sizeof shown);
        size_t used = strlen(l->unknown);
        if (used + strlen(shown) + 3 < sizeof l->unknown) {
            (void)snprintf(l->unknown + used, sizeof l->unknown - used, "%s%s",
                           used > 0 ? ", " : "", shown);
        }
        l->n_unknown++;
    }
    (void)closedir(d);
}

static void look_work(void *job)
{
    struct look *l = job;
    l->err = (struct error){.code = STATUS_OK};
    l->err.code = find_tenants(l);
    find_unknown(l);
    if (l->purge) {
        trash_purge(l->in->svc->home, l->in->settings->ingest.trash_days);
    }
}

static enum status take_found(struct look *l, struct error *err)
{
    enum status s = l->err.code;
    if (s != STATUS_OK && err != NULL) {
        *err = l->err;
    }
    for (size_t i = 0; i < l->n; i++) {
        enum status one = start(l->found[i], err);
        s = one != STATUS_OK ? one : s;
    }
    struct ingest *in = l->in;
    if (l->n_unknown > 0 && strcmp(in->unknown_folders, l->unknown) != 0) {
        LOG_WARN("the watched folder holds things that are no tenant's: they are ignored",
                 LOG_STR("names", l->unknown), LOG_END);
    }
    (void)snprintf(in->unknown_folders, sizeof in->unknown_folders, "%s", l->unknown);
    in->n_unknown_folders = l->n_unknown;
    return s;
}

static void look_done(void *job)
{
    struct look *l = job;
    struct ingest *in = l->in;
    struct error err;
    in->looking_for_tenants = false;
    if (in->closing) {
        for (size_t i = 0; i < l->n; i++) {
            erasing_free(l->found[i]->erasing);
            disk_free(l->found[i]->disk);
            journal_close(l->found[i]->journal.journal);
            free(l->found[i]);
        }
    } else if (take_found(l, &err) != STATUS_OK) {
        service_note_error(in->svc, &err);
    }
    free(l);
}

static struct look *look_new(struct ingest *in)
{
    struct look *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->in = in;
    list_for_each(it, &in->tenants)
    {
        const struct tenant *t = list_entry(it, struct tenant, link);
        (void)snprintf(l->known[l->n_known++], sizeof l->known[0], "%s", t->id);
    }
    return l;
}

enum status tenants_open(struct ingest *in, struct error *err)
{
    char dir[PATH_MAX];
    int n = snprintf(dir, sizeof dir, "%s/tenants/" FIRST_TENANT, in->svc->home);
    enum status s = n < 0 || (size_t)n >= sizeof dir
                        ? error_set(err, STATUS_TOO_LARGE, "%s: path too long", in->svc->home)
                        : file_mkdirs(dir, 0700, err);
    struct error watch_err;
    if (s == STATUS_OK && file_mkdirs(in->watch_dir, 0775, &watch_err) != STATUS_OK) {
        LOG_ERROR("the watched folder cannot be made", LOG_STR("err", watch_err.text), LOG_END);
    }
    struct look *l = s == STATUS_OK ? look_new(in) : NULL;
    if (s == STATUS_OK && l == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (l != NULL) {
        look_work(l);
        s = take_found(l, err);
    }
    free(l);
    return s;
}

/* ---- every second ---- */

void tenant_counts_stale(struct tenant *t)
{
    t->counts_stale = true;
}

static enum status run_count(struct journal *j, struct journal_op *op, struct error *err)
{
    struct tenant *t = container_of(op, struct tenant, count_op);
    return journal_count(j, &t->counted, err);
}

static void count_done(struct journal_op *op)
{
    struct tenant *t = container_of(op, struct tenant, count_op);
    t->counting = false;
    if (op->err.code != STATUS_OK) {
        return;
    }
    struct journal_counts before = t->counts;
    t->counts = t->counted;
    if (t->counted_late) { /* never less than there is; the next count is exact */
        t->counts.bytes = before.bytes > t->counts.bytes ? before.bytes : t->counts.bytes;
        t->counts.waiting_bytes = before.waiting_bytes > t->counts.waiting_bytes
                                      ? before.waiting_bytes
                                      : t->counts.waiting_bytes;
        t->counts_stale = true;
    }
}

void tenants_tick(struct ingest *in)
{
    int64_t now = clock_monotonic_ms();
    access_tick(in);
    list_for_each(it, &in->tenants)
    {
        struct tenant *t = list_entry(it, struct tenant, link);
        if (t->counts_stale && !t->counting) {
            t->counting = true;
            t->counts_stale = t->counted_late = false;
            t->count_op.run = run_count;
            t->count_op.done = count_done;
            journal_submit(&t->journal, &t->count_op);
        }
        quota_tick(t);
        holds_tick(t);
        recut_go(t->recut);
        if (!t->reconciled && !t->reconciling && now >= t->reconcile_due) {
            reconcile_start(t);
        }
    }
    if (now < in->tenants_due || in->looking_for_tenants) {
        return;
    }
    in->tenants_due = now + LOOK_EVERY_MS;
    struct look *l = look_new(in);
    struct error err;
    if (l == NULL) {
        return;
    }
    l->purge = now >= in->trash_due;
    if (l->purge) {
        in->trash_due = now + PURGE_EVERY_MS;
    }
    in->looking_for_tenants = true;
    if (lane_submit(&in->scans, look_work, look_done, l, &err) != STATUS_OK) {
        in->looking_for_tenants = false;
        free(l);
    }
}

/* ---- closing ---- */

static void on_follow_closed(void *data)
{
    struct tenant *t = data;
    t->follow_closed = true;
}

void tenants_close(struct ingest *in)
{
    list_for_each(it, &in->tenants)
    {
        struct tenant *t = list_entry(it, struct tenant, link);
        erasing_close(t->erasing);
        migration_close(t->migration);
        queue_close(t->queue);
    }
}

/* The folder's descriptor is in use by jobs and journal: following ends after them. */
bool tenants_closed(const struct ingest *in)
{
    bool all = !in->looking_for_tenants;
    list_for_each(it, &in->tenants)
    {
        struct tenant *t = list_entry(it, struct tenant, link);
        if (!erasing_idle(t->erasing) || !migration_idle(t->migration) || !queue_idle(t->queue) ||
            recut_busy(t->recut) || t->reconciling || t->counting || !quota_idle(t) ||
            t->asking > 0 || t->rules_noting || !list_empty(&t->holdings) || t->reapplying) {
            all = false;
        } else if (t->follow != NULL && lane_idle(&in->work)) {
            struct follow *f = t->follow;
            t->follow = NULL;
            follow_close(f, on_follow_closed, t);
            all = false;
        } else if (!t->follow_closed || !journal_lane_idle(&t->journal)) {
            all = false;
        }
    }
    return all;
}

void tenants_free(struct ingest *in)
{
    while (!list_empty(&in->tenants)) {
        struct tenant *t = list_entry(in->tenants.next, struct tenant, link);
        list_remove(&t->link);
        while (!list_empty(&t->deletes)) {
            struct delete_waiter *w = list_entry(t->deletes.next, struct delete_waiter, link);
            list_remove(&w->link);
            free(w);
        }
        erasing_free(t->erasing);
        recut_free(t->recut);
        migration_free(t->migration);
        queue_free(t->queue);
        access_forget_tenant(t);
        held_deinit(&t->held);
        journal_close(t->journal.journal);
        disk_free(t->disk);
        free(t);
    }
}
