/* What the RPC tests share: an echo service in a process of its own, a client to it, and ways to
 * wait. */
#ifndef CARREL_TESTS_RPC_FIXTURE_H
#define CARREL_TESTS_RPC_FIXTURE_H

#include <sys/types.h>

#include "base/rpc/rpc.h"
#include "tests/unit/base/echo_service.h"
#include "tests/unit/test.h"

struct fixture {
    char folder[64];
    char address[128];
    struct identity ids[PEER_COUNT];
    uv_loop_t loop;
    uv_timer_t alarm;
    struct rpc_client *client; /* retrieve */
    pid_t server;
};

/* The main of every such test: becomes the echo service when started with --server. Returns true
 * then. */
bool fixture_main(int argc, char **argv, int *exit_code);
/* Setup and teardown of a test; teardown also checks that the service ends without a leak. */
int setup(void **state);
int teardown(void **state);
/* Another process that serves f->address; returns when it listens. */
pid_t start_server(const struct fixture *f);
void stop_server(pid_t pid);
struct rpc_client *new_client(struct fixture *f, const struct identity *as);
void close_client(struct fixture *f, struct rpc_client *c);
/* Sets the bool behind data. */
void on_closed(void *data);
/* Runs the loop until *done; a loop that hangs for 50 s aborts. */
void turn_until(struct fixture *f, const bool *done);

/* ---- one call */

struct outcome {
    bool done;
    unsigned replies;
    struct error err;
    uint32_t number, cancels, pid, peer;
    char text[64], tenant[64], user[64];
    bool in_start; /* set while rpc_client_start runs: nothing may call back then */
    bool stop_after_first;
};

void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data);
void on_finish(struct rpc_request *r, const struct error *err, void *data);
struct rpc_request *start_method(struct rpc_client *c, const struct rpc_method *m,
                                 const struct rpc_options *opt, Echo__EchoRequest *q,
                                 struct outcome *o);
/* Starts and waits. */
enum status call(struct fixture *f, struct rpc_client *c, const struct rpc_method *m,
                 const struct rpc_options *opt, uint32_t number, struct outcome *o);
void assert_works(struct fixture *f, struct rpc_client *c);

/* ---- many calls */

#define MANY 10000

struct many {
    unsigned finished, wrong, first_interactive_at;
    bool done;
    unsigned expected;
};

struct one_of_many {
    struct many *all;
    uint32_t number;
    unsigned replies;
};

/* n calls of echo.Echo, each with its own number and text; `wrong` counts what does not come back
 * as it should. free() the result when all are done. */
struct one_of_many *start_many(struct rpc_client *c, struct many *all, unsigned n);

#endif
