#include "serve/share.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"

struct share_tenant {
    struct list link;    /* in share->ring while somebody waits */
    struct list waiting; /* struct share_place */
    size_t n_waiting;
    unsigned running;
    unsigned at_once; /* of these, who did not have to wait */
    int64_t asked_ms;
    int64_t held_ms; /* since when its head stands back for others; 0: it does not */
    bool passed;     /* it stood back, and one of the others has ended */
};

struct share {
    uv_async_t wake;
    uv_timer_t hold; /* until who stands back has done so for long enough */
    unsigned open_handles;
    struct map tenants;
    struct list ring;
    unsigned cores, slots, part, running;
    void (*closed)(void *data);
    void *data;
};

static void on_hold(uv_timer_t *h);

/* Is a tenant other than this one about? */
static bool others(const struct share *s, const struct share_tenant *t)
{
    size_t pos = 0;
    struct str key;
    void *value;
    int64_t now = clock_monotonic_ms();
    while (map_next(&s->tenants, &pos, &key, &value)) {
        const struct share_tenant *o = value;
        if (o != t && (o->running > 0 || o->n_waiting > 0 || now - o->asked_ms < SHARE_ABOUT_MS)) {
            return true;
        }
    }
    return false;
}

static bool has_room(const struct share *s, const struct share_tenant *t)
{
    return t->running == 0 ||
           (s->running < s->slots && t->running < (others(s, t) ? s->part : s->slots));
}

/* Does another's run that did not wait in line, and are the cores too few for one more? */
static bool would_disturb(const struct share *s, const struct share_tenant *t)
{
    size_t pos = 0;
    struct str key;
    void *value;
    if (SHARE_CORES_A_SEARCH * (s->running + 1) <= s->cores) {
        return false;
    }
    while (map_next(&s->tenants, &pos, &key, &value)) {
        const struct share_tenant *o = value;
        if (o != t && o->at_once > 0) {
            return true;
        }
    }
    return false;
}

/* May the head of its line begin? */
static bool may_run(struct share *s, struct share_tenant *t)
{
    if (!has_room(s, t)) {
        return false;
    }
    int64_t now = clock_monotonic_ms();
    if (t->passed || !would_disturb(s, t) ||
        (t->held_ms != 0 && now - t->held_ms >= SHARE_HOLD_MS)) {
        return true;
    }
    t->held_ms = t->held_ms == 0 ? now : t->held_ms;
    if (!uv_is_active((const uv_handle_t *)&s->hold)) {
        (void)uv_timer_start(&s->hold, on_hold, SHARE_HOLD_MS, 0);
    }
    return false;
}

static void run(struct share *s, struct share_place *p)
{
    struct share_tenant *t = p->tenant;
    p->running = true;
    t->running++;
    t->at_once += !p->stood;
    s->running++;
    if (p->stood) {
        t->held_ms = 0;
        t->passed = false;
    }
    p->go(p);
}

static void stand(struct share *s, struct share_tenant *t, struct share_place *p)
{
    if (t->n_waiting++ == 0) {
        list_push(&s->ring, &t->link);
    }
    list_push(&t->waiting, &p->link);
    p->stood = true;
}

static void step_out(struct share_place *p)
{
    struct share_tenant *t = p->tenant;
    list_remove(&p->link);
    if (--t->n_waiting == 0) {
        list_remove(&t->link);
    }
}

/* One a tenant, round about, until nobody may. What runs may leave at once and free a slot. */
static void take_turns(struct share *s)
{
    bool ran = true;
    while (ran) {
        ran = false;
        list_for_each_safe(it, &s->ring)
        {
            struct share_tenant *t = list_entry(it, struct share_tenant, link);
            if (may_run(s, t)) {
                struct share_place *p = list_entry(t->waiting.next, struct share_place, link);
                step_out(p);
                if (t->n_waiting > 0) { /* behind the others */
                    list_remove(&t->link);
                    list_push(&s->ring, &t->link);
                }
                run(s, p);
                ran = true;
                break; /* the ring may have changed */
            }
        }
    }
}

static void on_wake(uv_async_t *a)
{
    take_turns(a->data);
}

static void on_hold(uv_timer_t *h)
{
    take_turns(h->data);
}

enum status share_open(uv_loop_t *loop, unsigned cores, struct share **out, struct error *err)
{
    struct share *s = calloc(1, sizeof *s);
    if (s == NULL || uv_async_init(loop, &s->wake, on_wake) != 0) {
        free(s);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)uv_timer_init(loop, &s->hold);
    s->wake.data = s->hold.data = s;
    s->cores = cores;
    s->slots = SHARE_SLOTS_A_CORE * cores;
    s->part = cores > 1 ? cores - 1 : 1;
    map_init(&s->tenants);
    list_init(&s->ring);
    *out = s;
    return STATUS_OK;
}

static void on_closed(uv_handle_t *h)
{
    struct share *s = h->data;
    if (--s->open_handles > 0) {
        return;
    }
    void (*closed)(void *) = s->closed;
    void *data = s->data;
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&s->tenants, &pos, &key, &value)) {
        free(value);
    }
    map_deinit(&s->tenants);
    free(s);
    closed(data);
}

void share_close(struct share *s, void (*closed)(void *data), void *data)
{
    s->closed = closed;
    s->data = data;
    s->open_handles = 2;
    uv_close((uv_handle_t *)&s->wake, on_closed);
    uv_close((uv_handle_t *)&s->hold, on_closed);
}

static struct share_tenant *tenant_of(struct share *s, const char *name)
{
    struct share_tenant *t = map_get(&s->tenants, str_from(name));
    if (t == NULL) {
        t = calloc(1, sizeof *t);
        if (t == NULL) {
            return NULL;
        }
        list_init(&t->link);
        list_init(&t->waiting);
        if (map_put(&s->tenants, str_from(name), t, NULL) != STATUS_OK) {
            free(t);
            return NULL;
        }
    }
    return t;
}

enum status share_enter(struct share *s, const char *tenant, struct share_place *p,
                        void (*go)(struct share_place *p))
{
    struct share_tenant *t = tenant_of(s, tenant);
    if (t == NULL) {
        return STATUS_NO_MEMORY;
    }
    t->asked_ms = clock_monotonic_ms();
    if (t->n_waiting >= SHARE_WAITING_MAX) {
        return STATUS_BUSY;
    }
    p->tenant = t;
    p->go = go;
    p->stood = false;
    list_init(&p->link);
    if (t->n_waiting == 0 && (t->running == 0 || may_run(s, t))) {
        run(s, p);
    } else {
        stand(s, t, p);
    }
    return STATUS_OK;
}

void share_leave(struct share *s, struct share_place *p)
{
    struct share_tenant *t = p->tenant;
    if (t == NULL) {
        return;
    }
    if (p->running) {
        t->running--;
        t->at_once -= !p->stood;
        s->running--;
        list_for_each(it, &s->ring)
        {
            struct share_tenant *o = list_entry(it, struct share_tenant, link);
            o->passed = o->passed || (o != t && o->held_ms != 0);
        }
    } else {
        step_out(p);
    }
    p->tenant = NULL;
    p->running = false;
    if (!list_empty(&s->ring)) {
        (void)uv_async_send(&s->wake);
    }
}
