/* Two encoders on the same questions of the tenant's own: as people search, and by vectors alone.
 */
#ifndef CARREL_CLI_ENCODER_COMPARE_H
#define CARREL_CLI_ENCODER_COMPARE_H

#include "cli/http.h"

/* Runs an evaluation of both, with a progress bar, and waits. *out, the caller's, is {"against": a,
 * "encoder": b, "default": {"a", "b", "difference"}, "dense": the same}, each with "questions" and
 * the measures with their intervals as /api/eval tells them. */
enum status encoder_compare(const struct http *h, const char *a, const char *b, json_t **out,
                            struct error *err) MUST_CHECK;
void encoder_compare_print(const json_t *comparison);

#endif
