/* carrel stop: asks the supervisor and waits until the home is free. */
#include <stdio.h>
#include <time.h>

#include "cli/command.h"
#include "cli/home.h"
#include "cli/rpc_once.h"
#include "cli/supervisor_rpc.h"

#define WAIT_MS 90000 /* seven services with ten seconds of patience each, and some */

static void take(const ProtobufCMessage *m, void *data)
{
    const Sv__StopReply *r = sv_stop_reply(m);

    if (r != NULL) {
        *(uint32_t *)data = r->pid;
    }
}

static enum exit_code run(const struct options *o)
{
    struct error err = {0};
    uint32_t pid = 0;
    Sv__StopRequest request = SV__STOP_REQUEST__INIT;

    if (rpc_once(o->home, PEER_SUPERVISOR, &sv_stop_method, NULL, 0, &request.base, take, &pid,
                 &err) != STATUS_OK) {
        return command_failed(&err);
    }
    for (int waited = 0; home_is_running(o->home); waited += 20) {
        if (waited > WAIT_MS) {
            (void)fprintf(stderr,
                          "carrel: the supervisor (process %u) was asked to stop and still runs\n",
                          pid);
            return EXIT_FAILED;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    if (!o->quiet) {
        (void)printf("stopped\n");
    }
    return EXIT_OK;
}

const struct command cmd_stop = {
    .name = "stop",
    .args = "",
    .summary = "Stop the running appliance and wait until it has ended.",
    .options = OPT_HOME | OPT_QUIET,
    .run = run,
};
