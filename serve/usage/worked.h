/* What reading documents cost: asked of ingest for each tenant every minute, entered into the
 * tenant's books for the day it happened on, once, and charged to the tenant and to whoever
 * uploaded the document. Loop thread. */
#ifndef CARREL_SERVE_USAGE_WORKED_H
#define CARREL_SERVE_USAGE_WORKED_H

#include "serve/usage/fair.h"

struct service;
struct worked;

enum status worked_start(struct service *svc, const struct auth *auth, struct answers *answers,
                         struct fair *fair, struct worked **out, struct error *err) MUST_CHECK;
/* Before fair_close; closed may come at once. NULL is fine. */
void worked_stop(struct worked *w, void (*closed)(void *data), void *data);

#endif
