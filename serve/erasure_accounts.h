/* Users and keys of the caller's tenant whose names (or names elsewhere: mail addresses of other
 * systems) hold one of the subjects, as base/text/subject compares. */
#ifndef CARREL_SERVE_ERASURE_ACCOUNTS_H
#define CARREL_SERVE_ERASURE_ACCOUNTS_H

#include "serve/request.h"

/* A JSON list into out (buf_init'ed): [{"kind": "user"|"key", "id", "name"}]. INVALID: one of them
 * cannot be looked for. Loop thread. */
enum status erasure_accounts(struct request *q, char *const *subjects, size_t n, struct buf *out,
                             size_t *found, struct error *err) MUST_CHECK;

#endif
