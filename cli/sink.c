#include "cli/sink.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

/* Short writes and EINTR are gone through; when nobody reads any more (EPIPE) the rest is let go.
 */
static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EAGAIN) {
            /* someone else made the shared terminal non-blocking */
            (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
            continue;
        }
        if (k < 0 && errno != EINTR) {
            return;
        }
        if (k > 0) {
            p += k;
            n -= (size_t)k;
        }
    }
}

static void *empty(void *arg)
{
    struct sink *s = arg;
    struct buf mine;

    buf_init(&mine, SINK_MAX);
    (void)pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->queue.len == 0 && !s->closing) {
            (void)pthread_cond_wait(&s->filled, &s->lock);
        }
        if (s->queue.len == 0) {
            break;
        }
        struct buf swap = s->queue;
        s->queue = mine;
        mine = swap;
        s->writing = mine.len;
        (void)pthread_mutex_unlock(&s->lock);
        write_all(s->fd, mine.ptr, mine.len);
        buf_reset(&mine);
        (void)pthread_mutex_lock(&s->lock);
        s->writing = 0;
        bool tell = s->full && s->queue.len < SINK_HIGH / 2 && !s->closing;
        if (tell) {
            s->full = false;
            s->drained(s->data);
        }
        (void)pthread_cond_signal(&s->emptied);
    }
    (void)pthread_mutex_unlock(&s->lock);
    buf_deinit(&mine);
    return NULL;
}

enum status sink_open(struct sink *s, int fd, void (*drained)(void *data), void *data,
                      struct error *err)
{
    *s = (struct sink){.fd = fd, .drained = drained, .data = data};
    buf_init(&s->queue, SINK_MAX);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->filled, NULL);
    (void)pthread_cond_init(&s->emptied, NULL);
    int rc = pthread_create(&s->thread, NULL, empty, s);
    return rc == 0 ? STATUS_OK : error_errno(err, rc, "starting the output thread");
}

bool sink_write(struct sink *s, struct str text)
{
    (void)pthread_mutex_lock(&s->lock);
    buf_str(&s->queue, text);
    s->full = s->full || s->queue.len >= SINK_HIGH;
    bool full = s->full;
    (void)pthread_cond_signal(&s->filled);
    (void)pthread_mutex_unlock(&s->lock);
    return full;
}

bool sink_close(struct sink *s, int timeout_ms)
{
    struct timespec until;
    bool done = false;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->closing = true;
    (void)pthread_cond_signal(&s->filled);
    while (!(done = s->queue.len == 0 && s->writing == 0)) {
        if (pthread_cond_timedwait(&s->emptied, &s->lock, &until) == ETIMEDOUT) {
            break;
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (!done) { /* a stopped terminal: the thread is stuck in write and ends with the process */
        (void)pthread_detach(s->thread);
        return false;
    }
    (void)pthread_join(s->thread, NULL);
    buf_deinit(&s->queue);
    (void)pthread_cond_destroy(&s->filled);
    (void)pthread_cond_destroy(&s->emptied);
    (void)pthread_mutex_destroy(&s->lock);
    return true;
}
