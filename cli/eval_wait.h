/* Waiting for an evaluation, for carrel eval and carrel encoder compare. */
#ifndef CARREL_CLI_EVAL_WAIT_H
#define CARREL_CLI_EVAL_WAIT_H

#include "cli/http.h"

/* Until the run that *answer tells of has ended, with a progress bar; *answer is the last state.
 * CONFLICT: the run failed, with its reason. */
enum status eval_wait(const struct http *h, json_t **answer, struct error *err) MUST_CHECK;

#endif
