/* Between the files of serve/audit. */
#ifndef CARREL_SERVE_AUDIT_INTERNAL_H
#define CARREL_SERVE_AUDIT_INTERNAL_H

#include "serve/audit/audit.h"
#include "serve/audit/chain_write.h"

const struct audit_policy *audit_policy(const struct audit *a);

/* export.c: records and heads to a log server. NULL: none is configured; the functions take it. */
struct audit_export;
enum status audit_export_open(uv_loop_t *loop, const char *home, const struct settings *settings,
                              struct audit_export **out, struct error *err) MUST_CHECK;
/* On the lane: a group's lines as messages, appended to out. */
void audit_export_take(const struct audit_export *e, const char *tenant, struct str lines,
                       struct buf *out);
void audit_export_head(const struct audit_export *e, struct str line, struct buf *out);
/* On the loop: what take made; copied. */
void audit_export_put(struct audit_export *e, const struct buf *messages);
void audit_export_close(struct audit_export *e, void (*on_closed)(void *data), void *data);

#endif
