/* Once an hour, and soon after the start, the conversations and links of every tenant whose days
 * are over go. Loop thread. */
#ifndef CARREL_SERVE_CONVERSATIONS_SWEEP_H
#define CARREL_SERVE_CONVERSATIONS_SWEEP_H

#include <stdint.h>
#include <uv.h>

#include "base/status.h"

struct answers;
struct conversations_sweep;

/* home, answers: borrowed until it is closed. */
enum status conversations_sweep_start(uv_loop_t *loop, const char *home, struct answers *answers,
                                      int64_t keep_days, struct conversations_sweep **out,
                                      struct error *err) MUST_CHECK;
/* Frees it later by itself; what it has asked of answers may still run. NULL is fine. */
void conversations_sweep_stop(struct conversations_sweep *s);

#endif
