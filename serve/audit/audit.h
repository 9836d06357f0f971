/* The audit: what was asked of the appliance and what became of it, one chain a tenant, durable
 * before anything is shown. Records are gathered while the group before them is being synced, so
 * that one fsync serves all who wait; of several tenants at once, a tenant's in the order they
 * came. Loop thread; the writing is on a lane of its own. */
#ifndef CARREL_SERVE_AUDIT_AUDIT_H
#define CARREL_SERVE_AUDIT_AUDIT_H

#include <sqlite3.h>
#include <uv.h>

#include "base/buf.h"
#include "base/settings/settings.h"
#include "base/status.h"

struct audit;
struct chain;

/* signer: of signer_start. */
enum status audit_open(uv_loop_t *loop, const char *home, const struct settings *settings,
                       int signer, struct audit **out, struct error *err) MUST_CHECK;
/* After what is under way, and a last checkpoint; on_closed last. */
void audit_close(struct audit *a, void (*on_closed)(void *data), void *data);

/* A record to be. */
struct audit_item {
    struct audit_item *next;
    char tenant[65];
    const char *type;     /* static */
    struct buf fields;    /* base/audit/record.h: audit_field_z, audit_field_int */
    struct buf text;      /* JSON: what persons wrote and are called; empty: none */
    struct buf documents; /* ids, each ended by NUL, that the text was made from */
    size_t n_documents;
};
struct audit_item *audit_item_new(const char *tenant, const char *type); /* NULL: out of memory */
void audit_item_free(struct audit_item *i);                              /* the whole list */

/* Writes the list, taking it, in one group. done runs exactly once, later. err: UNAVAILABLE, in
 * words for the client. */
typedef void (*audit_done_fn)(const struct error *err, void *data);
void audit_put(struct audit *a, struct audit_item *list, audit_done_fn done, void *data);

/* Other work on a tenant's chain and texts, on the lane; the chain is ready. Tenant "": on none,
 * and c is NULL. */
typedef enum status (*audit_work_fn)(struct audit *a, struct chain *c, void *data,
                                     struct error *err);
void audit_run(struct audit *a, const char *tenant, audit_work_fn work, audit_done_fn done,
               void *data);

struct audit_state {
    uint64_t records, groups, failures;
    bool failing;    /* the last group could not be written */
    bool anchoring;  /* an anchor is configured */
    bool not_signed; /* the signer does not answer: what is written waits for its signature */
    char error[256]; /* why, the last time */
    char anchor_error[256];
    int64_t anchored_wall_ms;
};
void audit_state(const struct audit *a, struct audit_state *out);

#endif
