/* Work on the tenant's database for a request that waits for it. */
#ifndef CARREL_SERVE_TENANT_RUN_H
#define CARREL_SERVE_TENANT_RUN_H

#include <sqlite3.h>

#include "serve/request.h"

typedef enum status (*tenant_work_fn)(sqlite3 *db, void *data, struct error *err);
typedef void (*tenant_done_fn)(struct request *q, const struct error *err);

/* work runs on the lane of answers.h and may allocate from the request's arena: no call of the
 * request may be in flight meanwhile. Then `then` runs on the loop, unless the client has gone.
 * data: in the arena. */
void tenant_run(struct request *q, tenant_work_fn work, void *data, tenant_done_fn then);

#endif
