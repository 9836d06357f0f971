/* Once an hour, and soon after the start: the documents that were attached to a vector store whose
 * time is over (expires_after) go to the trash, as if somebody had taken them out of it. The store
 * stays and says that it expired. Each removal is in the audit before it happens. What came by the
 * watched folder, and what was moved to another collection since, stays. Loop thread. */
#ifndef CARREL_SERVE_STORE_SWEEP_H
#define CARREL_SERVE_STORE_SWEEP_H

#include "base/status.h"

struct answers;
struct audit;
struct auth;
struct service;
struct store_sweep;

/* All but out are borrowed until it has stopped. */
enum status store_sweep_start(struct service *svc, const struct auth *auth, struct answers *answers,
                              struct audit *audit, struct store_sweep **out,
                              struct error *err) MUST_CHECK;
/* closed may come at once. NULL is fine. */
void store_sweep_stop(struct store_sweep *s, void (*closed)(void *data), void *data);

#endif
