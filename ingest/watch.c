#include "ingest/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/list.h"
#include "base/map.h"
#include "ingest/disk.h"
#include "ingest/maildir.h"
#include "ingest/paths.h"
#include "ingest/tree.h"

/* The other half of a move comes with the same cookie, nearly always in the next event. One without
 * it left the tree, or went into a folder made so lately that nobody watched it: the scan of that
 * folder finds it. */
#define MOVE_WAIT_MS 60
#define MOVES_MAX 4096
#define EVENTS                                                                                     \
    (IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO |            \
     IN_DELETE | IN_EXCL_UNLINK)

struct watched {
    int wd;
    size_t len;
    char path[];
};

struct half_move {
    struct list link;
    uint32_t cookie;
    bool folder;
    int64_t due;
    size_t len;
    char path[];
};

struct watch {
    uv_poll_t poll;
    uv_timer_t timer;
    int fd;
    int root;
    struct watch_callbacks cb;
    void *data;
    struct list moves; /* oldest first */
    size_t n_moves;
    int open_handles;
    bool closing;
    void (*on_closed)(void *data);
    void *closed_data;

    /* Both maps hold the same struct watched. The lock is held while the kernel is told, so that an
     * event of a new watch always finds it here. */
    uv_mutex_t lock;
    struct map by_wd;
    struct map by_path;
};

static struct str wd_key(const int *wd)
{
    return (struct str){.ptr = (const char *)wd, .len = sizeof *wd};
}

static struct str watched_path(const struct watched *d)
{
    return (struct str){.ptr = d->path, .len = d->len};
}

/* ---- folders being watched; the lock is held ---- */

static void forget(struct watch *w, struct watched *d)
{
    (void)map_remove(&w->by_wd, wd_key(&d->wd));
    if (map_get(&w->by_path, watched_path(d)) == d) {
        (void)map_remove(&w->by_path, watched_path(d));
    }
    free(d);
}

static enum status remember(struct watch *w, int wd, struct str path)
{
    struct watched *d = malloc(sizeof *d + path.len + 1);
    if (d == NULL) {
        return STATUS_NO_MEMORY;
    }
    d->wd = wd;
    d->len = path.len;
    memcpy(d->path, path.ptr, path.len);
    d->path[path.len] = '\0';
    void *old_wd = map_get(&w->by_wd, wd_key(&wd));
    if (old_wd != NULL) {
        forget(w, old_wd);
    }
    void *old_path = map_get(&w->by_path, path);
    if (old_path != NULL) { /* another folder stood here; its own watch ends by itself */
        (void)map_remove(&w->by_path, path);
    }
    if (map_put(&w->by_wd, wd_key(&wd), d, NULL) != STATUS_OK) {
        free(d);
        return STATUS_NO_MEMORY;
    }
    if (map_put(&w->by_path, path, d, NULL) != STATUS_OK) {
        forget(w, d);
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

enum status watch_add(struct watch *w, struct str path, struct error *err)
{
    int fd = -1;
    enum status s = tree_open(w->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, &fd, err);
    if (s != STATUS_OK) {
        return s;
    }
    char self[64];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    uv_mutex_lock(&w->lock);
    int wd = inotify_add_watch(w->fd, self, EVENTS | IN_ONLYDIR);
    if (wd < 0) {
        int failed = errno;
        s = failed == ENOSPC
                ? error_set(
                      err, STATUS_BUSY,
                      "the system's limit on watched folders (fs.inotify.max_user_watches) is "
                      "reached after %zu: raise it with sysctl",
                      w->by_wd.len)
                : error_errno(err, failed, "watching a folder");
    } else if (remember(w, wd, path) != STATUS_OK) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    uv_mutex_unlock(&w->lock);
    (void)close(fd);
    return s;
}

size_t watch_count(struct watch *w)
{
    uv_mutex_lock(&w->lock);
    size_t n = w->by_wd.len;
    uv_mutex_unlock(&w->lock);
    return n;
}

static bool is_below(struct str path, struct str prefix)
{
    return str_starts(path, prefix) && (path.len == prefix.len || path.ptr[prefix.len] == '/');
}

/* Stops watching the folder and all below it. */
static void unwatch(struct watch *w, struct str prefix)
{
    uv_mutex_lock(&w->lock);
    for (bool again = true; again;) {
        again = false;
        size_t pos = 0;
        struct str key;
        void *value;
        struct watched *victims[64];
        size_t n = 0;
        while (n < 64 && map_next(&w->by_path, &pos, &key, &value)) {
            if (is_below(key, prefix)) {
                victims[n++] = value;
            }
        }
        for (size_t i = 0; i < n; i++) {
            (void)inotify_rm_watch(w->fd, victims[i]->wd);
            forget(w, victims[i]);
        }
        again = n == 64;
    }
    uv_mutex_unlock(&w->lock);
}

/* The paths of the folder and all below it begin with `to` from now on. */
static void rename_below(struct watch *w, struct str from, struct str to)
{
    uv_mutex_lock(&w->lock);
    struct watched **found = NULL;
    size_t n = 0;
    size_t pos = 0;
    struct str key;
    void *value;
    if (w->by_path.len > 0) {
        found = calloc(w->by_path.len, sizeof *found);
    }
    while (found != NULL && map_next(&w->by_path, &pos, &key, &value)) {
        if (is_below(key, from)) {
            found[n++] = value;
        }
    }
    for (size_t i = 0; i < n; i++) {
        char path[PATH_MAX];
        size_t tail = found[i]->len - from.len;
        int wd = found[i]->wd;
        if (to.len + tail >= sizeof path) {
            (void)inotify_rm_watch(w->fd, wd);
            forget(w, found[i]);
            continue;
        }
        memcpy(path, to.ptr, to.len);
        memcpy(path + to.len, found[i]->path + from.len, tail);
        if (remember(w, wd, (struct str){.ptr = path, .len = to.len + tail}) != STATUS_OK) {
            (void)inotify_rm_watch(w->fd,
                                   wd); /* the rescan asked for after every folder move heals it */
        }
    }
    free(found);
    uv_mutex_unlock(&w->lock);
}

/* ---- moves ---- */

static void arm_timer(struct watch *w);

static void on_move_timer(uv_timer_t *t)
{
    struct watch *w = container_of(t, struct watch, timer);
    int64_t now = (int64_t)uv_now(w->poll.loop);
    while (!list_empty(&w->moves)) {
        struct half_move *m = list_entry(w->moves.next, struct half_move, link);
        if (m->due > now) {
            break;
        }
        list_remove(&m->link);
        w->n_moves--;
        struct str path = {.ptr = m->path, .len = m->len};
        if (m->folder) {
            unwatch(w, path);
        }
        w->cb.gone(w->data, path);
        free(m);
    }
    arm_timer(w);
}

static void arm_timer(struct watch *w)
{
    if (list_empty(&w->moves) || w->closing) {
        return;
    }
    int64_t now = (int64_t)uv_now(w->poll.loop);
    int64_t wait = list_entry(w->moves.next, struct half_move, link)->due - now;
    (void)uv_timer_start(&w->timer, on_move_timer, wait < 1 ? 1 : (uint64_t)wait, 0);
}

static void move_from(struct watch *w, struct str path, uint32_t cookie, bool folder)
{
    struct half_move *m = w->n_moves < MOVES_MAX ? malloc(sizeof *m + path.len) : NULL;
    if (m == NULL) { /* told as two unrelated changes; the journal still finds it by inode */
        if (folder) {
            unwatch(w, path);
        }
        w->cb.gone(w->data, path);
        return;
    }
    m->cookie = cookie;
    m->folder = folder;
    m->due = (int64_t)uv_now(w->poll.loop) + MOVE_WAIT_MS;
    m->len = path.len;
    memcpy(m->path, path.ptr, path.len);
    list_push(&w->moves, &m->link);
    w->n_moves++;
    arm_timer(w);
}

/* What cur, new and tmp are to the folder that holds them is known when the last of them is made.
 */
static void new_folder(struct watch *w, struct str path)
{
    if (maildir_part(path_name(path))) {
        w->cb.folder(w->data, path_folder(path));
    }
    w->cb.folder(w->data, path);
}

static void move_to(struct watch *w, struct str path, uint32_t cookie, bool folder)
{
    list_for_each(it, &w->moves)
    {
        struct half_move *m = list_entry(it, struct half_move, link);
        if (m->cookie != cookie) {
            continue;
        }
        list_remove(&m->link);
        w->n_moves--;
        struct str from = {.ptr = m->path, .len = m->len};
        bool was_ignored = path_ignored(from, folder);
        bool is_ignored = path_ignored(path, folder);
        if (folder && is_ignored) {
            unwatch(w, from);
        } else if (folder && !was_ignored) {
            rename_below(w, from, path);
        }
        if (is_ignored) {
            w->cb.gone(w->data, from);
        } else if (!was_ignored) {
            w->cb.moved(w->data, from, path, folder);
        } else if (folder) {
            new_folder(w, path);
        } else {
            w->cb.touched(w->data, path, true);
        }
        free(m);
        return;
    }
    if (!path_ignored(path, folder)) {
        if (folder) {
            new_folder(w, path);
        } else {
            w->cb.touched(w->data, path, true);
        }
    }
}

/* ---- events ---- */

static void on_event(struct watch *w, const struct inotify_event *e)
{
    char path[PATH_MAX];
    if ((e->mask & IN_Q_OVERFLOW) != 0) {
        w->cb.lost(w->data, "more changes at once than the system remembers");
        return;
    }
    uv_mutex_lock(&w->lock);
    struct watched *d = map_get(&w->by_wd, wd_key(&e->wd));
    size_t len = 0;
    if (d != NULL && (e->mask & IN_IGNORED) != 0) {
        forget(w, d);
        d = NULL;
    } else if (d != NULL) {
        len = d->len;
        memcpy(path, d->path, d->len);
    }
    uv_mutex_unlock(&w->lock);
    if (d == NULL || e->len == 0) {
        return;
    }
    size_t name = strnlen(e->name, e->len);
    if (name == 0 || len + 1 + name > INGEST_PATH_MAX) {
        return;
    }
    if (len > 0) {
        path[len++] = '/';
    }
    memcpy(path + len, e->name, name);
    struct str p = {.ptr = path, .len = len + name};
    bool folder = (e->mask & IN_ISDIR) != 0;
    if (!folder && disk_file_of_settings(p)) {
        if ((e->mask & (IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_CLOSE_WRITE)) != 0) {
            w->cb.settings(w->data, p);
        }
        return;
    }
    if ((e->mask & IN_MOVED_FROM) != 0) {
        move_from(w, p, e->cookie, folder);
    } else if ((e->mask & IN_MOVED_TO) != 0) {
        move_to(w, p, e->cookie, folder);
    } else if (path_ignored(p, folder)) {
        return;
    } else if ((e->mask & IN_DELETE) != 0) {
        w->cb.gone(w->data, p);
    } else if (folder) {
        if ((e->mask & (IN_CREATE | IN_ATTRIB)) != 0) { /* ATTRIB: it may have become readable */
            new_folder(w, p);
        }
    } else {
        w->cb.touched(w->data, p, (e->mask & IN_CLOSE_WRITE) != 0);
    }
}

void watch_feed(struct watch *w, const void *events, size_t len)
{
    const char *p = events;
    while (len >= sizeof(struct inotify_event)) {
        _Alignas(struct inotify_event) char one[sizeof(struct inotify_event) + NAME_MAX + 1];
        struct inotify_event *e = (struct inotify_event *)(void *)one;
        memcpy(one, p, sizeof *e);
        size_t whole = sizeof *e + e->len;
        if (whole > len || whole > sizeof one) {
            return;
        }
        memcpy(one, p, whole);
        on_event(w, e);
        p += whole;
        len -= whole;
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct watch *w = container_of(poll, struct watch, poll);
    _Alignas(struct inotify_event) char buffer[16384];
    if (status != 0 || (events & UV_READABLE) == 0) {
        return;
    }
    for (int round = 0; round < 32 && !w->closing; round++) { /* then others have their turn */
        ssize_t n = read(w->fd, buffer, sizeof buffer);
        if (n <= 0) {
            if (n < 0 && errno != EAGAIN && errno != EINTR) {
                w->cb.lost(w->data, "the watch could not be read");
            }
            return;
        }
        watch_feed(w, buffer, (size_t)n);
    }
}

/* ---- life ---- */

enum status watch_new(uv_loop_t *loop, int root, const struct watch_callbacks *cb, void *data,
                      struct watch **out, struct error *err)
{
    struct watch *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    w->root = root;
    w->cb = *cb;
    w->data = data;
    list_init(&w->moves);
    map_init(&w->by_wd);
    map_init(&w->by_path);
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        int failed = errno;
        free(w);
        return error_errno(err, failed, "inotify (see fs.inotify.max_user_instances)");
    }
    if (uv_mutex_init(&w->lock) != 0) {
        (void)close(w->fd);
        free(w);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    int rc = uv_poll_init(loop, &w->poll, w->fd);
    if (rc != 0) {
        (void)close(w->fd);
        uv_mutex_destroy(&w->lock);
        free(w);
        return error_set(err, STATUS_INTERNAL, "watch: %s", uv_strerror(rc));
    }
    (void)uv_timer_init(loop, &w->timer);
    (void)uv_poll_start(&w->poll, UV_READABLE, on_readable);
    w->open_handles = 2;
    *out = w;
    return STATUS_OK;
}

static void on_handle_closed(struct watch *w)
{
    if (--w->open_handles > 0) {
        return;
    }
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&w->by_wd, &pos, &key, &value)) {
        free(value);
    }
    map_deinit(&w->by_wd);
    map_deinit(&w->by_path);
    while (!list_empty(&w->moves)) {
        struct half_move *m = list_entry(w->moves.next, struct half_move, link);
        list_remove(&m->link);
        free(m);
    }
    (void)close(w->fd);
    uv_mutex_destroy(&w->lock);
    void (*on_closed)(void *) = w->on_closed;
    void *data = w->closed_data;
    free(w);
    if (on_closed != NULL) {
        on_closed(data);
    }
}

static void on_poll_closed(uv_handle_t *h)
{
    on_handle_closed(container_of(h, struct watch, poll));
}

static void on_timer_closed(uv_handle_t *h)
{
    on_handle_closed(container_of(h, struct watch, timer));
}

void watch_close(struct watch *w, void (*on_closed)(void *data), void *data)
{
    w->closing = true;
    w->on_closed = on_closed;
    w->closed_data = data;
    uv_close((uv_handle_t *)&w->poll, on_poll_closed);
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}
