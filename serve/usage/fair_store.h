/* Limits that were set and counters that must outlive a restart, in system/serve.db. All of it
 * blocks; the meter is touched by fair_store_load only. */
#ifndef CARREL_SERVE_USAGE_FAIR_STORE_H
#define CARREL_SERVE_USAGE_FAIR_STORE_H

#include "serve/usage/meter.h"

/* A migration of system/serve.db. Limits NULL: as the settings say. */
#define FAIR_SCHEMA                                                                                \
    "CREATE TABLE limits(kind INTEGER NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL,"         \
    " requests INTEGER, tokens INTEGER, streams INTEGER, upload INTEGER, budget INTEGER,"          \
    " team TEXT NOT NULL, PRIMARY KEY(kind, tenant, name)) STRICT, WITHOUT ROWID;"                 \
    "CREATE TABLE metered(kind INTEGER NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL,"        \
    " day INTEGER NOT NULL, tokens INTEGER NOT NULL, upload INTEGER NOT NULL,"                     \
    " month INTEGER NOT NULL, micro INTEGER NOT NULL, warned INTEGER NOT NULL,"                    \
    " PRIMARY KEY(kind, tenant, name)) STRICT, WITHOUT ROWID;"

/* What was kept, into the meter. */
enum status fair_store_load(const char *home, struct meter *m, int64_t now_ms, int64_t wall_ms,
                            struct error *err) MUST_CHECK;
/* Copies of subjects: their counters. Those of months that are over go. */
enum status fair_store_counters(const char *home, const struct meter_subject *list, size_t n,
                                struct error *err) MUST_CHECK;
/* Its limits and team; a subject that has none of its own any more goes. */
enum status fair_store_limits(const char *home, const struct meter_subject *s,
                              struct error *err) MUST_CHECK;

#endif
