/* Where the supervisor's output goes: a bounded buffer emptied by one thread that may block, so
 * that a stopped terminal neither stalls the supervisor nor loses a line. Above SINK_HIGH the
 * supervisor stops reading its services' pipes until `drained` says that the buffer is half empty.
 */
#ifndef CARREL_CLI_SINK_H
#define CARREL_CLI_SINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

#define SINK_HIGH ((size_t)8 * 1024 * 1024)
#define SINK_MAX (2 * SINK_HIGH)

struct sink {
    int fd;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled, emptied;
    struct buf queue;            /* under lock */
    size_t writing;              /* bytes the thread holds, under lock */
    bool closing;                /* under lock */
    bool full;                   /* under lock: drained is due */
    void (*drained)(void *data); /* on the sink's thread */
    void *data;
};

enum status sink_open(struct sink *s, int fd, void (*drained)(void *data), void *data,
                      struct error *err) MUST_CHECK;
/* Never blocks. True: above the mark, hold back until drained. */
bool sink_write(struct sink *s, struct str text);
/* Writes what is left, for at most timeout_ms. False: it could not all be written; the thread is
 * still stuck in it and *s must stay until the process ends. */
bool sink_close(struct sink *s, int timeout_ms);

#endif
