/* A turn at the disk: what one lane job does with one tenant's chain. Several tenants' turns go on
 * at once, one a tenant (audit.c sees to that), so nobody's records wait for another's sync. */
#ifndef CARREL_SERVE_AUDIT_TURN_H
#define CARREL_SERVE_AUDIT_TURN_H

#include "serve/audit/internal.h"

/* Records to write, or other work. */
struct audit_job {
    struct audit_job *next;
    struct audit_item *items; /* to write; NULL: other work */
    audit_work_fn work;
    audit_done_fn done;
    void *data;
    struct error err;
};

enum audit_turn_kind {
    AUDIT_TURN_GROUP, /* the jobs' records in one group, then their work */
    AUDIT_TURN_CARE,  /* the file is synced, the head signed, old texts erased: what is due */
    AUDIT_TURN_LAST,  /* all of it, due or not, and the chain is closed */
};

struct audit_turn {
    enum audit_turn_kind kind;
    struct audit *a; /* for work */
    const struct audit_policy *policy;
    const struct audit_export *export; /* NULL: none */
    const char *anchor;                /* path; "": none */
    struct chain *chain;               /* NULL: work of no tenant's */
    char tenant[65];
    char leaving[65]; /* whose chain is closed first to make room; "": nobody's */
    struct audit_job *jobs;
    /* what it brings back */
    struct buf lines; /* to be exported */
    uint64_t records;
    bool failed, wrote;
    struct error err;
    struct buf anchors;
    bool anchored;
    struct error anchor_err;
    bool asked_signer, not_signed; /* the signer is silent */
};

void audit_turn_init(struct audit_turn *t);
void audit_turn_deinit(struct audit_turn *t);
/* On a lane. */
void audit_turn_take(struct audit_turn *t);
/* Would AUDIT_TURN_CARE do something? Where no turn has the chain. */
bool audit_care_due(const struct chain *c, const struct audit_policy *p);

#endif
