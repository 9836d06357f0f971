/* The process that starts readers (carrel-extract --serve): handing it tasks, stopping them,
 * hearing how they ended. A starter serves a bounded number of tasks, and none after a reader
 * crashed: all its readers have the same addresses, which nobody should get many guesses at. Loop
 * thread. */
#ifndef CARREL_INGEST_STARTER_H
#define CARREL_INGEST_STARTER_H

#include <uv.h>

#include "base/list.h"
#include "base/status.h"
#include "extract.pb-c.h"

struct starter;

struct reader_end {
    bool lost; /* the starter is gone, and the reader with it */
    int64_t exit_code;
    int signal;        /* 0: none */
    int64_t cpu_us;    /* of the reader and the tools that it ran */
    const char *error; /* it could not be started; "" otherwise. Valid during the call */
};

/* A task under way; belongs to the caller until ended was called. */
struct started {
    struct list link;
    struct starter *starter;
    uint32_t id;
    void (*ended)(struct started *s, const struct reader_end *end);
};

/* argv: of the program, ends with NULL. on_freed: once, when all its handles are closed; not when
 * this fails. */
enum status starter_new(uv_loop_t *loop, const char *program, char **argv,
                        void (*on_freed)(void *data), void *data, struct starter **out,
                        struct error *err) MUST_CHECK;
/* Borrows the descriptors: the document, where the pieces go, where complaints go. s->ended is
 * called once, later, unless this fails. */
enum status starter_run(struct starter *t, Ex__Task *task, const int fds[3], struct started *s,
                        struct error *err) MUST_CHECK;
/* Its reader is killed; ended is still called. */
void starter_stop(struct started *s);
/* Where that had no effect: the starter is killed with all its readers. */
void starter_kill(struct started *s);
/* It takes no more tasks: make another. */
bool starter_spent(const struct starter *t);
/* It ends when its tasks have; with `now`, they are killed. Takes t. */
void starter_retire(struct starter *t, bool now);

#endif
