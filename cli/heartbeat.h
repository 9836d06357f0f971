/* A service whose loop stands still is noticed, told, killed and started again.
 *
 * The supervisor holds the reading end of a pipe a start; the service writes one byte a second from
 * its loop (base/service.h, --beat-fd), and whatever blocks there is silence: stopped, in an
 * endless loop, in a deadlock. Blocking work lies on lanes, so a healthy loop always beats,
 * whatever it loads or fits. The watch begins with the first beat: opening files may take its time.
 * After supervisor.patience (0: never) of silence the process is killed with everything in its
 * group, and child_exited plans the restart with the same backoff as for a crash. On the
 * supervisor's loop. */
#ifndef CARREL_CLI_HEARTBEAT_H
#define CARREL_CLI_HEARTBEAT_H

#include "cli/supervisor.h"

/* For the next start: *write_end is the service's, owned by the caller, close-on-exec; what is left
 * of the start before is forgotten. */
enum status heartbeat_pipe(struct child *c, int *write_end, struct error *err) MUST_CHECK;
void heartbeat_end(struct child *c);
/* Begins to look once a second. 0 or libuv's error. The timer is closed with the others. */
int heartbeat_watch(struct supervisor *s);

#endif
