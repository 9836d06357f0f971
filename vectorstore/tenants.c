#include "vectorstore/tenants.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define WRITES_QUEUED 256U
#define READS_QUEUED 256U
#define SYNCS 2U /* at once: what waits together is written together */
#define DAY_MS INT64_C(86400000)

static bool quiet(const struct tenant *t)
{
    return t->refs == 0 && lane_idle(&t->write) && lane_idle(&t->read) && lane_idle(&t->seal) &&
           lane_idle(&t->sync);
}

static void tenant_free(struct tenant *t)
{
    (void)map_remove(&t->all->by_name, str_from(t->name));
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct tenants *all = container_of((uv_timer_t *)h, struct tenants, timer);
    struct service *svc = all->svc;
    map_deinit(&all->by_name);
    segment_cache_free(all->decrypted);
    free(all);
    svc->state = NULL;
    service_closed(svc);
}

static void end_when_empty(struct tenants *all)
{
    if (all->stopping && all->by_name.len == 0 && !uv_is_closing((uv_handle_t *)&all->timer)) {
        uv_close((uv_handle_t *)&all->timer, on_timer_closed);
    }
}

/* ---- closing ---- */

static void close_work(void *job)
{
    struct tenant *t = job;
    (void)pthread_mutex_lock(&t->lock);
    if (t->inside == 0) {
        store_close(t->store);
        t->store = NULL;
    }
    (void)pthread_mutex_unlock(&t->lock);
}

static void close_done(void *job)
{
    struct tenant *t = job;
    struct tenants *all = t->all;
    t->closing = false;
    if (quiet(t) && t->store == NULL) { /* quiet: nobody else touches store */
        tenant_free(t);
    }
    end_when_empty(all);
}

static void begin_close(struct tenant *t)
{
    struct error err;
    if (!t->closing && quiet(t)) {
        t->closing = true;
        if (lane_submit(&t->write, close_work, close_done, t, &err) != STATUS_OK) {
            t->closing = false; /* the next tick tries again */
        }
    }
}

/* ---- use ---- */

enum status tenant_enter(struct tenant *t, struct store **out, struct error *err)
{
    char dir[1024];
    char key[1200];
    const struct settings *cfg = t->all->svc->settings;
    enum status s = STATUS_OK;
    (void)pthread_mutex_lock(&t->lock);
    if (t->store == NULL) {
        int n = snprintf(dir, sizeof dir, "%s/tenants/%s", t->all->svc->home, t->name);
        s = n < 0 || (size_t)n >= sizeof dir
                ? error_set(err, STATUS_TOO_LARGE, "the data directory's path is too long")
                : file_mkdirs(dir, 0700, err);
        if (s == STATUS_OK) {
            s = file_join(key, sizeof key, cfg->store.key_dir, t->name, err);
        }
        if (s == STATUS_OK) {
            s = store_open_keyed(dir, key, t->all->decrypted, &t->store, err);
        }
        if (s == STATUS_OK) {
            store_keep_encoders(t->store, cfg->encoder.keep_days * DAY_MS);
            store_retain_versions(t->store, cfg->store.retain_versions_days * DAY_MS);
        }
    }
    if (s == STATUS_OK) {
        t->inside++;
        *out = t->store;
    }
    (void)pthread_mutex_unlock(&t->lock);
    return s;
}

void tenant_leave(struct tenant *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->inside--;
    (void)pthread_mutex_unlock(&t->lock);
}

void tenant_purge_waits(struct tenant *t, bool waits)
{
    if (pthread_mutex_trylock(&t->lock) == 0) { /* not while it opens: then nothing is sealed yet */
        if (t->store != NULL) {
            store_purge_waits(t->store, waits);
        }
        (void)pthread_mutex_unlock(&t->lock);
    }
}

static struct tenant *oldest_idle(const struct tenants *all)
{
    struct tenant *oldest = NULL;
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&all->by_name, &pos, &key, &value)) {
        struct tenant *t = value;
        if (quiet(t) && !t->closing && (oldest == NULL || t->used_ms < oldest->used_ms)) {
            oldest = t;
        }
    }
    return oldest;
}

/* What the process has allocated; a walk over malloc's arenas, a few microseconds each. */
static size_t allocated(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Closes the ones used longest ago until the rest is within its bounds; what is closing counts as
 * closed. */
static void trim(struct tenants *all)
{
    size_t open = 0;
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&all->by_name, &pos, &key, &value)) {
        const struct tenant *t = value;
        open += t->closing ? 0 : 1;
    }
    bool heavy = open > TENANTS_KEPT && allocated() > TENANTS_BYTES;
    size_t bound = heavy ? open - 1 : TENANTS_OPEN; /* one at a time: then it is measured again */
    while (open > bound) {
        struct tenant *victim = oldest_idle(all);
        if (victim == NULL) {
            return; /* all are in use */
        }
        begin_close(victim);
        if (!victim->closing) {
            return; /* its lane is full; the next call tries again */
        }
        open--;
    }
}

static enum status tenant_new(struct tenants *all, const char *name, struct tenant **out,
                              struct error *err)
{
    if (all->by_name.len >= TENANTS_MAX) {
        return error_set(err, STATUS_BUSY, "too many tenants are in use; try again shortly");
    }
    struct tenant *t = calloc(1, sizeof *t);
    if (t == NULL || strlen(name) >= sizeof t->name) {
        free(t);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    t->all = all;
    memcpy(t->name, name, strlen(name));
    lane_init(&t->write, all->svc->loop, 1, WRITES_QUEUED);
    lane_init(&t->read, all->svc->loop, STORE_READERS, READS_QUEUED);
    lane_init(&t->seal, all->svc->loop, 1, 1);
    lane_init(&t->sync, all->svc->loop, SYNCS, WRITES_QUEUED);
    if (map_put(&all->by_name, str_from(t->name), t, NULL) != STATUS_OK) {
        free(t);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)pthread_mutex_init(&t->lock, NULL);
    *out = t;
    return STATUS_OK;
}

enum status tenant_take(struct tenants *all, const char *name, struct tenant **out,
                        struct error *err)
{
    if (name[0] == '\0') {
        return error_set(err, STATUS_INVALID, "the call names no tenant");
    }
    if (all->stopping) {
        return error_set(err, STATUS_UNAVAILABLE, "vectorstore is closing");
    }
    struct tenant *t = map_get(&all->by_name, str_from(name));
    enum status s = t == NULL ? tenant_new(all, name, &t, err) : STATUS_OK;
    if (s == STATUS_OK && t != NULL) {
        t->refs++;
        t->used_ms = clock_monotonic_ms();
        *out = t;
    }
    return s;
}

void tenant_give(struct tenant *t)
{
    t->refs--;
    t->used_ms = clock_monotonic_ms();
    if (t->all->stopping) {
        begin_close(t);
    } else {
        trim(t->all);
    }
}

/* ---- housekeeping ---- */

static void maintain_work(void *job)
{
    struct tenant *t = job;
    struct store *s;
    struct error err;
    t->more = false;
    t->due = false;
    enum status st = tenant_enter(t, &s, &err);
    if (st == STATUS_OK) {
        st = store_maintain(s, clock_wall_ms(), &t->more, &err);
        t->due = store_seal_due(s);
        tenant_leave(t);
    }
    if (st != STATUS_OK) {
        t->more = false; /* the next write or tick tries again */
        LOG_WARN("housekeeping failed", LOG_STR("tenant", t->name), LOG_STR("err", err.text),
                 LOG_END);
    }
}

static void maintain_done(void *job);
static void seal(struct tenant *t);

static void maintain(struct tenant *t)
{
    struct error err;
    if (!t->maintaining &&
        lane_submit(&t->write, maintain_work, maintain_done, t, &err) == STATUS_OK) {
        t->maintaining = true;
        t->refs++;
    }
}

static void maintain_done(void *job)
{
    struct tenant *t = job;
    t->maintaining = false;
    t->refs--;
    if (t->due && !t->all->stopping) {
        seal(t);
    }
    if (t->more && !t->all->stopping) {
        maintain(t);
    } else if (t->all->stopping) {
        begin_close(t);
    }
}

static void seal_work(void *job)
{
    struct tenant *t = job;
    struct store *s;
    struct error err;
    t->sealed = false;
    enum status st = tenant_enter(t, &s, &err);
    if (st == STATUS_OK) {
        st = store_seal(s, &t->sealed, &err);
        tenant_leave(t);
    }
    if (st != STATUS_OK) {
        t->sealed = false;
        LOG_WARN("sealing failed; what is not sealed is searched all the same",
                 LOG_STR("tenant", t->name), LOG_STR("err", err.text), LOG_END);
    }
}

struct tenant *tenant_next_to_seal(const struct tenants *all)
{
    size_t pos = 0;
    struct str key;
    void *value;
    struct tenant *next = NULL;
    while (map_next(&all->by_name, &pos, &key, &value)) {
        struct tenant *t = value;
        bool waits = t->waiting != 0 && !t->closing;
        next = waits && (next == NULL || t->waiting < next->waiting) ? t : next;
    }
    return next;
}

/* Whoever waits comes before the one that has just sealed. */
static void seal_waiting(struct tenants *all)
{
    struct tenant *t = tenant_next_to_seal(all);
    while (t != NULL && all->n_sealing < TENANTS_SEALING) {
        t->waiting = 0; /* whether it works out or not: the tick asks again */
        seal(t);
        t = tenant_next_to_seal(all);
    }
}

static void seal_done(void *job)
{
    struct tenant *t = job;
    t->sealing = false;
    t->refs--;
    t->all->n_sealing--;
    if (!t->all->stopping) {
        seal_waiting(t->all);
    }
    if (t->all->stopping) {
        begin_close(t);
    } else if (t->sealed) { /* there may be more, and rows that are not needed any more */
        maintain(t);
        seal(t);
    }
}

static void seal(struct tenant *t)
{
    struct error err;
    bool wait = !t->sealing && t->all->n_sealing >= TENANTS_SEALING;
    if (wait && t->waiting == 0) {
        t->waiting = ++t->all->sealing_asked;
    } else if (!wait) {
        t->waiting = 0;
    }
    if (!t->sealing && !wait && lane_submit(&t->seal, seal_work, seal_done, t, &err) == STATUS_OK) {
        t->sealing = true;
        t->all->n_sealing++;
        t->refs++;
    }
}

void tenant_written(struct tenant *t)
{
    if (!t->all->stopping) {
        maintain(t);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct tenants *all = container_of(timer, struct tenants, timer);
    struct tenant *open[TENANTS_MAX];
    size_t n = 0;
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&all->by_name, &pos, &key, &value) && n < TENANTS_MAX) {
        open[n++] = value;
    }
    int64_t now = clock_monotonic_ms();
    for (size_t i = 0; i < n; i++) {
        struct tenant *t = open[i];
        if (now - t->used_ms >= TENANT_IDLE_MS) {
            begin_close(t);
        } else {
            maintain(t);
            seal(t);
        }
    }
}

enum status tenants_open(struct service *svc, struct tenants **out, struct error *err)
{
    struct tenants *all = calloc(1, sizeof *all);
    if (all == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = segment_cache_new((size_t)svc->settings->store.decrypted_mb * 1024 * 1024,
                                      &all->decrypted, err);
    if (s != STATUS_OK) {
        free(all);
        return s;
    }
    all->svc = svc;
    map_init(&all->by_name);
    (void)uv_timer_init(svc->loop, &all->timer);
    (void)uv_timer_start(&all->timer, on_tick, TENANT_TICK_MS, TENANT_TICK_MS);
    *out = all;
    return STATUS_OK;
}

void tenants_close(struct tenants *all)
{
    struct tenant *open[TENANTS_MAX];
    size_t n = 0;
    size_t pos = 0;
    struct str key;
    void *value;
    all->stopping = true;
    (void)uv_timer_stop(&all->timer);
    while (map_next(&all->by_name, &pos, &key, &value) && n < TENANTS_MAX) {
        open[n++] = value;
    }
    for (size_t i = 0; i < n; i++) {
        if (pthread_mutex_trylock(&open[i]->lock) == 0) { /* never waits for an opening */
            if (open[i]->store != NULL) {
                store_closing(open[i]->store);
            }
            (void)pthread_mutex_unlock(&open[i]->lock);
        }
        begin_close(open[i]); /* those in use close when their last call gives them back */
    }
    end_when_empty(all);
}

void tenants_health(const struct tenants *all, struct service_health *out)
{
    size_t pos = 0;
    struct str key;
    void *value;
    uint64_t documents = 0;
    uint64_t chunks = 0;
    uint64_t clear = 0;
    size_t waiting = 0;
    while (map_next(&all->by_name, &pos, &key, &value)) {
        struct tenant *t = value;
        uint32_t d = 0;
        uint32_t c = 0;
        waiting += t->write.n_waiting + t->read.n_waiting;
        if (pthread_mutex_trylock(&t->lock) ==
            0) { /* never waits for an opening on the loop thread */
            if (t->store != NULL) {
                store_counts(t->store, &d, &c);
                clear += store_clear_segments(t->store);
            }
            (void)pthread_mutex_unlock(&t->lock);
        }
        documents += d;
        chunks += c;
    }
    out->queue = (uint32_t)waiting;
    int n =
        snprintf(out->detail, sizeof out->detail, "%zu tenants open, %llu documents, %llu chunks",
                 all->by_name.len, (unsigned long long)documents, (unsigned long long)chunks);
    if (clear > 0 && n > 0 && (size_t)n < sizeof out->detail) {
        (void)snprintf(out->detail + n, sizeof out->detail - (size_t)n,
                       ", %llu segments not encrypted yet", (unsigned long long)clear);
    }
}
