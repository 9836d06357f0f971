/* Calls that are refused at the door: no key or a wrong one, a role that may not, too many. Nothing
 * is shown, so nothing waits for a record; but an auditor wants to see them. The first of a tenant
 * and a reason is recorded at once, as "refused"; those that follow are counted, and recorded in
 * one when audit.refusals has passed. So whoever knocks a million times adds two records in that
 * time. Loop thread. */
#ifndef CARREL_SERVE_AUDIT_REFUSED_H
#define CARREL_SERVE_AUDIT_REFUSED_H

#include "serve/audit/audit.h"

struct refused;
struct request;

enum status refused_open(uv_loop_t *loop, struct audit *audit, int64_t every_ms,
                         struct refused **out, struct error *err) MUST_CHECK;
/* code: the error's. Whom it belongs to is nobody's yet: the operators' tenant has it. */
void refused_note(struct refused *f, const struct request *q, int status, const char *code);
/* Records what is counted; on_closed last, before the audit may be closed. */
void refused_close(struct refused *f, void (*on_closed)(void *data), void *data);

#endif
