#include "base/effort.h"

#include "base/clock.h"

void effort_init(struct effort *e)
{
    *e = (struct effort){0};
    list_init(&e->uses);
}

void effort_end(struct effort *e)
{
    if (e->uses.next == NULL) {
        return;
    }
    list_for_each_safe(it, &e->uses)
    {
        effort_use_drop(list_entry(it, struct effort_use, link));
    }
}

void effort_add(struct effort *e, int64_t cpu_us)
{
    if (cpu_us > 0 && cpu_us < INT64_MAX - e->cpu_us) {
        e->cpu_us += cpu_us;
    }
}

int64_t effort_cpu_us(const struct effort *e)
{
    return e->cpu_us + (e->depth > 0 ? clock_thread_cpu_us() - e->since_us : 0);
}

void effort_use_init(struct effort_use *u, struct effort *e)
{
    u->effort = e;
    list_init(&u->link);
    if (e != NULL) {
        list_push(&e->uses, &u->link);
    }
}

void effort_use_drop(struct effort_use *u)
{
    if (u->effort != NULL) {
        list_remove(&u->link);
        u->effort = NULL;
    }
}

void effort_enter(struct effort_use *u)
{
    if (u->effort != NULL && u->effort->depth++ == 0) {
        u->effort->since_us = clock_thread_cpu_us();
    }
}

void effort_leave(struct effort_use *u)
{
    struct effort *e = u->effort;
    if (e != NULL && --e->depth == 0) {
        effort_add(e, clock_thread_cpu_us() - e->since_us);
    }
}

void effort_use_add(struct effort_use *u, int64_t cpu_us)
{
    if (u->effort != NULL) {
        effort_add(u->effort, cpu_us);
    }
}
