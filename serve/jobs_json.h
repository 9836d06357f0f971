/* A job as it is told. */
#ifndef CARREL_SERVE_JOBS_JSON_H
#define CARREL_SERVE_JOBS_JSON_H

#include "serve/http/jsonw.h"
#include "serve/jobs.h"

/* alive, running: of this process; what is neither over nor alive was interrupted. */
const char *job_state(const struct job_row *r, bool alive, bool running);
void job_fields(struct jsonw *w, const struct job_row *r, bool alive, bool running);
void job_json(struct jsonw *w, const struct job_row *r, bool alive, bool running);

#endif
