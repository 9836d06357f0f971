/* Once a day and tenant: what the documents of each collection take, entered into the tenant's
 * books with the day's part of its price, which counts for the tenant's budget. Asked again every
 * hour, so that a day has its last figure and a service that was down is asked later. Loop thread.
 */
#ifndef CARREL_SERVE_USAGE_STORAGE_H
#define CARREL_SERVE_USAGE_STORAGE_H

#include "serve/usage/fair.h"

struct service;
struct storage;

enum status storage_start(struct service *svc, const struct auth *auth, struct answers *answers,
                          struct fair *fair, struct storage **out, struct error *err) MUST_CHECK;
/* Before fair_close; closed may come at once. NULL is fine. */
void storage_stop(struct storage *s, void (*closed)(void *data), void *data);

#endif
