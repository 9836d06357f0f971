#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "ingest/follow_internal.h"

int64_t follow_now(const struct follow *f)
{
    return (int64_t)uv_now(f->o.loop);
}

/* The folder itself may have been replaced or mounted anew: lanes that hold the descriptor's number
 * see the old folder or the new one, never none. */
bool follow_open_root(struct follow *f)
{
    int fd = open(f->o.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        if (!f->missing_said) {
            LOG_ERROR("the watched folder is missing: its documents are kept until it is back",
                      LOG_STR("tenant", f->o.tenant), LOG_END);
        }
        f->missing_said = true;
        f->st.missing = true;
        return false;
    }
    bool back = f->st.missing;
    f->missing_said = false;
    f->st.missing = false;
    if (f->root < 0) {
        f->root = fd;
        disk_set_root(f->o.disk, fd);
        if (back) { /* rules may have changed while nobody could look at what is in it */
            f->o.on_rules(f->o.data);
        }
        return true;
    }
    struct stat now;
    struct stat was;
    if (fstat(fd, &now) == 0 && fstat(f->root, &was) == 0 &&
        (now.st_ino != was.st_ino || now.st_dev != was.st_dev)) {
        (void)dup3(fd, f->root, O_CLOEXEC);
        back = true;
    }
    (void)close(fd);
    if (back) {
        f->o.on_rules(f->o.data);
    }
    return true;
}

/* ---- what the watch says ---- */

static void on_touched(void *data, struct str path, bool finished)
{
    follow_touch(data, path, finished);
}

static void on_gone(void *data, struct str path)
{
    follow_gone(data, path);
}

static void on_folder(void *data, struct str path)
{
    follow_want_scan(data, path);
}

/* .carrelignore: what it says no longer of may be new, what it says now of is gone. */
static void on_settings(void *data, struct str path)
{
    struct follow *f = data;
    struct str folder = path_folder(path);
    if (str_eq(path_name(path), STR(RULES_FOLDER_FILE))) {
        f->o.on_rules(f->o.data);
    } else if (folder.len == 0) {
        follow_rescan(f);
    } else {
        follow_want_scan(f, folder);
    }
}

static void on_lost(void *data, const char *why)
{
    follow_lost(data, why);
}

bool follow_open_watch(struct follow *f)
{
    static const struct watch_callbacks callbacks = {
        .touched = on_touched,
        .moved = follow_moved,
        .gone = on_gone,
        .folder = on_folder,
        .settings = on_settings,
        .lost = on_lost,
    };
    struct error err;
    if (f->watch == NULL &&
        watch_new(f->o.loop, f->root, &callbacks, f, &f->watch, &err) != STATUS_OK) {
        f->st.watch_limit = true;
        LOG_ERROR("the folder cannot be watched, only rescanned", LOG_STR("tenant", f->o.tenant),
                  LOG_STR("err", err.text), LOG_END);
        return false;
    }
    return true;
}

void follow_rescan(struct follow *f)
{
    f->whole_wanted = true;
    follow_arm(f);
}

void follow_lost(struct follow *f, const char *why)
{
    f->st.lost++;
    LOG_WARN("changes were missed, looking at everything", LOG_STR("tenant", f->o.tenant),
             LOG_STR("why", why), LOG_END);
    follow_rescan(f);
}

/* ---- life ---- */

enum status follow_new(const struct follow_options *o, struct follow **out, struct error *err)
{
    struct follow *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    f->o = *o;
    f->root = -1;
    disk_set_root(o->disk, -1);
    f->mounts_kept = f->mounts_written = disk_mounts(o->disk, NULL);
    map_init(&f->touched);
    list_init(&f->soon);
    list_init(&f->later);
    list_init(&f->scans);
    (void)uv_timer_init(o->loop, &f->settle);
    (void)uv_timer_init(o->loop, &f->rescan);
    f->open_handles = 2;
    f->whole_wanted = true;
    (void)uv_timer_start(&f->rescan, follow_on_rescan, 1, (uint64_t)o->rescan_s * 1000);
    *out = f;
    return STATUS_OK;
}

static void on_watch_closed(void *data)
{
    struct follow *f = data;
    f->open_handles--;
    follow_maybe_closed(f);
}

void follow_maybe_closed(struct follow *f)
{
    if (!f->closing || f->open_handles > 0 || f->checking || f->moves > 0 || f->scanning != NULL) {
        return;
    }
    if (f->watch != NULL) { /* only now: a scan's thread may have been adding folders to it */
        struct watch *w = f->watch;
        f->watch = NULL;
        f->open_handles++;
        watch_close(w, on_watch_closed, f);
        return;
    }
    follow_free_touched(&f->soon);
    follow_free_touched(&f->later);
    map_deinit(&f->touched);
    while (!list_empty(&f->scans)) {
        struct wanted_scan *w = list_entry(f->scans.next, struct wanted_scan, link);
        list_remove(&w->link);
        free(w);
    }
    if (f->root >= 0) {
        (void)close(f->root);
    }
    void (*on_closed)(void *) = f->on_closed;
    void *data = f->closed_data;
    free(f);
    on_closed(data);
}

static void on_settle_closed(uv_handle_t *h)
{
    struct follow *f = container_of(h, struct follow, settle);
    f->open_handles--;
    follow_maybe_closed(f);
}

static void on_rescan_closed(uv_handle_t *h)
{
    struct follow *f = container_of(h, struct follow, rescan);
    f->open_handles--;
    follow_maybe_closed(f);
}

void follow_close(struct follow *f, void (*on_closed)(void *data), void *data)
{
    f->closing = true;
    f->on_closed = on_closed;
    f->closed_data = data;
    uv_close((uv_handle_t *)&f->settle, on_settle_closed);
    uv_close((uv_handle_t *)&f->rescan, on_rescan_closed);
}

void follow_status(struct follow *f, struct follow_status *out)
{
    *out = f->st;
    out->scanning = f->scanning != NULL;
    out->watched = f->watch == NULL ? 0 : watch_count(f->watch);
    out->settling = f->touched.len;
}

int follow_root(const struct follow *f)
{
    return f->root;
}
