/* What the runner's two files share: the thread's own things (batch.c) and the door (runner.c). */
#ifndef CARREL_GENERATE_LOCAL_RUNNER_INTERNAL_H
#define CARREL_GENERATE_LOCAL_RUNNER_INTERNAL_H

#include <uv.h>

#include "generate/local/runner.h"
#include "model/backend.h"
#include "model/tool_reader.h"

struct slot {                 /* a task at work; the model's thread only */
    struct runner_task *task; /* NULL: free */
    struct kv_sequence sequence;
    struct sampler *sampler;
    struct text_out text;
    uint32_t shown[TOOL_MARKS_MAX];
    struct grammar_run *form; /* NULL: the answer is free */
    bool calling;             /* form is of a call that the model has opened */
    uint64_t ticket;          /* who came first reads first */
    uint32_t worth;           /* keeping when so many have been read; 0: nothing besides all */
    uint32_t fed;             /* tokens of the prompt in the sequence */
    uint32_t next;            /* the token to go in, once the prompt has been read */
    uint32_t written;
    bool begun; /* the prompt has been read */
};

struct runner {
    struct runner_config config;
    char home[1024], name[128], family_name[32];
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t wake;
    /* behind the lock */
    enum runner_state state;
    bool stopping;
    struct list arrived;
    uint32_t n_arrived; /* arrived, or waiting for room; with shown.active all there are */
    struct runner_status shown;
    /* written before READY, fixed then */
    struct model *model;
    enum template_family family;
    enum template_tools tools;
    uint32_t context, pages;
    /* the thread's own */
    struct grammar_vocabulary *words; /* made when the first form is asked for */
    struct pool *threads;
    struct backend *backend; /* the model where it computes, with its pages */
    struct kv_pool *pool;    /* of them */
    struct beginnings beginnings;
    struct list waiting;
    struct slot slots[RUNNER_USERS_MAX];
    uint64_t tickets;
    double us_per_token; /* of passes lately: how long a slice of a prompt takes */
    bool changed;        /* something to take */
    uint64_t read, written, shared, passes;
};

/* A task is over. The lock is not held. */
void runner_finish(struct runner *r, struct runner_task *t, const struct error *why,
                   const char *reason);

/* What waits moves into free slots as long as its worst case has room. */
void batch_admit(struct runner *r);
/* One pass over the model for everybody at work. */
void batch_pass(struct runner *r);
/* Ends what was cancelled or is late. */
void batch_sweep(struct runner *r, int64_t now_ms);
uint32_t batch_active(const struct runner *r); /* the thread's own count */
/* Ends everything. */
void batch_end(struct runner *r);

#endif
