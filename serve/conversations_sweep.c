#include "serve/conversations_sweep.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/answers.h"
#include "serve/conversations.h"

#define DAY_MS INT64_C(86400000)
#define FIRST_MS 2000
#define EVERY_MS 3600000

struct conversations_sweep {
    uv_timer_t timer;
    uv_fs_t scan;
    struct answers *answers;
    char tenants[PATH_MAX];
    int64_t keep_days;
    bool scanning, stopped, closed;
};

struct job {
    char tenant[65];
    int64_t now_ms, expired_ms;
};

static void maybe_free(struct conversations_sweep *s)
{
    if (s->closed && !s->scanning) {
        free(s);
    }
}

static enum status sweep(sqlite3 *db, void *data, struct error *err)
{
    const struct job *j = data;
    return conversations_expire(db, j->now_ms, j->expired_ms, err);
}

static void on_swept(const struct error *err, struct buf *json, void *data)
{
    struct job *j = data;
    (void)json;
    if (err->code != STATUS_OK) {
        LOG_WARN("old conversations could not be swept", LOG_STR("tenant", j->tenant),
                 LOG_STR("err", err->text), LOG_END);
    }
    free(j);
}

static void on_scanned(uv_fs_t *scan)
{
    struct conversations_sweep *s = scan->data;
    uv_dirent_t entry;
    s->scanning = false;
    while (!s->stopped && scan->result >= 0 && uv_fs_scandir_next(scan, &entry) == 0) {
        bool folder = entry.type == UV_DIRENT_DIR || entry.type == UV_DIRENT_UNKNOWN;
        struct job *j = folder ? calloc(1, sizeof *j) : NULL;
        if (j == NULL ||
            snprintf(j->tenant, sizeof j->tenant, "%s", entry.name) >= (int)sizeof j->tenant) {
            free(j);
            continue;
        }
        j->now_ms = clock_wall_ms();
        j->expired_ms = j->now_ms - s->keep_days * DAY_MS;
        answers_run(s->answers, j->tenant, sweep, on_swept, j);
    }
    uv_fs_req_cleanup(scan);
    maybe_free(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct conversations_sweep *s = timer->data;
    if (!s->scanning) {
        s->scan.data = s;
        s->scanning = uv_fs_scandir(timer->loop, &s->scan, s->tenants, 0, on_scanned) == 0;
    }
}

enum status conversations_sweep_start(uv_loop_t *loop, const char *home, struct answers *answers,
                                      int64_t keep_days, struct conversations_sweep **out,
                                      struct error *err)
{
    struct conversations_sweep *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    int n = snprintf(s->tenants, sizeof s->tenants, "%s/tenants", home);
    if (n < 0 || (size_t)n >= sizeof s->tenants) {
        free(s);
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", home);
    }
    s->answers = answers;
    s->keep_days = keep_days;
    s->timer.data = s;
    (void)uv_timer_init(loop, &s->timer);
    (void)uv_timer_start(&s->timer, on_timer, FIRST_MS, EVERY_MS);
    uv_unref((uv_handle_t *)&s->timer);
    *out = s;
    return STATUS_OK;
}

static void on_closed(uv_handle_t *timer)
{
    struct conversations_sweep *s = timer->data;
    s->closed = true;
    maybe_free(s);
}

void conversations_sweep_stop(struct conversations_sweep *s)
{
    if (s != NULL) {
        s->stopped = true;
        uv_close((uv_handle_t *)&s->timer, on_closed);
    }
}
