/* One real service process in a data directory of its own, with identities made here: the test speaks to it
 * as any peer it likes. */
#ifndef CARREL_TESTS_SERVICE_ONE_SERVICE_H
#define CARREL_TESTS_SERVICE_ONE_SERVICE_H

#include <sys/types.h>
#include <uv.h>

#include "base/rpc/rpc.h"

struct one_service {
    char home[64];
    struct identity all[PEER_COUNT];
    pid_t pids[2];
    size_t n_pids;
};

/* A fresh home with yaml (may be NULL) as its carrel.yaml. */
void one_service_home(struct one_service *s, const char *yaml);
/* Starts $bin/<binary> as peer and waits until `socket` (below run/) is there. */
void one_service_start(struct one_service *s, const char *binary, enum peer peer, const char *socket);
/* SIGTERM to all, and each must end well (sanitizers count leaks as failure). Removes the home. */
void one_service_stop(struct one_service *s);
/* A client that is `self`. */
struct rpc_client *one_service_client(struct one_service *s, uv_loop_t *loop, enum peer self,
                                      enum peer target);
/* Runs the loop until *flag or ten seconds are over. */
void one_service_until(uv_loop_t *loop, const bool *flag);

#endif
