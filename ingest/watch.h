/* Watching one folder tree with an inotify descriptor of its own under uv_poll: close-after-write,
 * moves paired by cookie, deletions, new folders; an overflow of the kernel's queue asks for a
 * rescan. Never follows a link. Callbacks come on the loop thread; watch_add may be called from a
 * scanning thread. */
#ifndef CARREL_INGEST_WATCH_H
#define CARREL_INGEST_WATCH_H

#include <uv.h>

#include "base/status.h"
#include "base/str.h"

struct watch;

struct watch_callbacks {
    /* Something has happened to a file at path. finished: its writer has closed it, or it was moved
     * in. */
    void (*touched)(void *data, struct str path, bool finished);
    /* A file or folder was renamed inside the tree. */
    void (*moved)(void *data, struct str from, struct str to, bool folder);
    /* A file or folder left the tree or was deleted. */
    void (*gone)(void *data, struct str path);
    /* A folder appeared: look inside it (watch_add each folder before reading it). */
    void (*folder)(void *data, struct str path);
    /* A folder's .carrelignore or .carrel.yaml has changed, come or gone. */
    void (*settings)(void *data, struct str path);
    /* Events were lost: look at everything. */
    void (*lost)(void *data, const char *why);
};

/* root: descriptor of the folder, borrowed; nothing is watched before watch_add. callbacks are
 * copied. */
enum status watch_new(uv_loop_t *loop, int root, const struct watch_callbacks *cb, void *data,
                      struct watch **out, struct error *err) MUST_CHECK;
void watch_close(struct watch *w, void (*on_closed)(void *data), void *data);
/* Watches the folder at path ("" is the root). Any thread. BUSY: the system's limit on watches is
 * reached (fs.inotify.max_user_watches): rescan from time to time instead. */
enum status watch_add(struct watch *w, struct str path, struct error *err) MUST_CHECK;
/* Any thread. */
size_t watch_count(struct watch *w);
/* Handles raw events as read from the descriptor. Exposed so that a test can hand in an overflow.
 */
void watch_feed(struct watch *w, const void *events, size_t len);

#endif
