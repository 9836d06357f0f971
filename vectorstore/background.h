/* Work that must not slow anybody down: on a thread of its own with a low claim on the
 * processor (SCHED_BATCH, nice 10), because a thread of the pool could not take its priority back
 * afterwards without privileges. */
#ifndef CARREL_VECTORSTORE_BACKGROUND_H
#define CARREL_VECTORSTORE_BACKGROUND_H

#include "base/status.h"

/* Runs work(data) and waits for its end; in the calling thread when no other can be started. */
void background_run(void (*work)(void *data), void *data);

#endif
