/* The audit's part of a backup: chain and texts as they stand at one moment. */
#ifndef CARREL_SERVE_AUDIT_SNAPSHOT_H
#define CARREL_SERVE_AUDIT_SNAPSHOT_H

#include "serve/audit/chain_write.h"

/* Copies the chain's files and payload.db below `to`. On the audit's lane. */
enum status audit_snapshot(const struct chain *c, const char *home, const char *to,
                           struct error *err) MUST_CHECK;

#endif
