/* Starts the services, keeps them running, forwards what they say, stops them.
 *
 * Everything happens on one loop thread; only the sink (sink.h) has a thread of its own. Bounds:
 * one process a service, one pipe a start, the sink's buffer, five crashes a minute. */
#ifndef CARREL_CLI_SUPERVISOR_H
#define CARREL_CLI_SUPERVISOR_H

#include <sys/types.h>
#include <uv.h>

#include "base/rpc/health_rpc.h"
#include "base/rpc/rpc.h"
#include "base/settings/settings.h"
#include "cli/lines.h"
#include "cli/sink.h"

#define CRASHES_MAX 5
#define CRASHES_WITHIN_MS 60000
#define BACKOFF_FIRST_MS 200
#define BACKOFF_MAX_MS 10000
#define STOP_PATIENCE_MS 10000

struct supervisor;

enum child_state {
    CHILD_STOPPED,  /* no process, none wanted */
    CHILD_STARTING, /* process runs, has not answered yet */
    CHILD_READY,    /* has answered */
    CHILD_WAITING,  /* died; the restart timer runs */
    CHILD_STOPPING, /* told to end */
    CHILD_FAILED,   /* died too often; given up */
};

/* heartbeat.c */
struct heartbeat {
    int fd;             /* reading end; -1: none */
    bool begun;         /* the first has come: its loop turns */
    int64_t silent_ms;  /* since the last, as we saw it pass, less what it waited for a processor */
    int64_t passed_ms;  /* with that */
    uint64_t ticks;     /* processor time its loop had taken when the silence began */
    uint64_t waited_ms; /* how long it had waited for one then */
    uint64_t last_ticks; /* when it was last looked at */
    char hung[160];      /* why it was killed; "": it was not */
};

struct child {
    struct supervisor *sup;
    enum peer peer;
    enum child_state state;
    pid_t pid;        /* 0: none */
    uv_timer_t timer; /* STARTING: next try; WAITING: restart; STOPPING: patience */
    struct rpc_client *client;
    struct rpc_request *health; /* in flight while STARTING */
    int64_t started_ms;
    int64_t up_since_wall_ms;
    int64_t crashes[CRASHES_MAX]; /* times, a ring */
    uint32_t n_crashes;
    uint32_t backoff_ms;
    uint32_t restarts;
    uint32_t hung; /* so often it was killed for its silence */
    struct heartbeat beats;
    char last_line[200]; /* the last thing it said */
    char last_error[256];
    int64_t last_error_wall_ms;
};

struct supervisor_config {
    const char *home;
    const char *bin_dir;
    const char *watch;
    const struct settings *settings;
    const char *user; /* NULL: services run as we do */
    int port;         /* -1: as configured */
    int alive_fd;     /* inherited by the services (home.h) */
    bool quiet;
    bool show_key; /* first start: show the administrator's key */
};

struct supervisor {
    uv_loop_t *loop;
    const struct supervisor_config *config;
    struct identity identities[PEER_COUNT];
    struct child children[PEER_COUNT];
    enum peer order[PEER_COUNT]; /* of start; stopped the other way round */
    size_t n_order;
    struct sink sink;
    uv_async_t drained;
    struct forward *forwards; /* open pipes */
    uv_signal_t sigchld, sigint, sigterm, sighup;
    bool signals_open;
    uv_timer_t finish_timer;
    uv_timer_t beats_timer;
    int64_t beats_looked_ms;
    struct rpc_server *control;
    struct tls_context *tls; /* NULL with Unix sockets */
    char url[256];
    int port; /* serve's: asked for, then the one it got, so that a restart keeps the address; -1:
                 by settings */
    int64_t started_ms;
    int64_t started_wall_ms;
    bool announced; /* ready.json is written */
    bool stopping;
    bool closing; /* every process is gone; their last lines come in, then handles close */
    bool colour;
    bool handles_closing;
};

/* Runs until told to stop (signal or supervisor.Stop). STATUS_OK after an orderly stop. */
enum status supervisor_run(const struct supervisor_config *config, struct error *err) MUST_CHECK;

/* supervisor.c, for the other files of the supervisor */
void supervisor_say(struct supervisor *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void supervisor_child_changed(struct supervisor *s); /* a child became ready, failed or stopped */
void supervisor_stop(struct supervisor *s);
void supervisor_closed_one(struct supervisor *s); /* a handle of the ending is closed */

/* child.c */
enum status child_init(struct child *c, struct supervisor *s, enum peer peer,
                       struct error *err) MUST_CHECK;
void child_start(struct child *c);
void child_stop(struct child *c);
void child_kill(struct child *c);
void child_exited(struct child *c, int wstatus);
void child_close(struct child *c);
const char *child_state_name(enum child_state s);

/* forward.c: reads one start's output until its end. Takes fd. */
void forward_start(struct child *c, int fd);
/* The terminal has not taken its lines at some time since this was last asked. */
bool forward_was_paused(const struct child *c);
void forward_resume_all(struct supervisor *s);
void forward_close_all(struct supervisor *s);

/* control.c: supervisor.Status and supervisor.Stop */
enum status control_open(struct supervisor *s, struct error *err) MUST_CHECK;

#endif
