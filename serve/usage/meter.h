/* What keys, users, teams and tenants may use, and what they have used: requests in a minute,
 * tokens and uploaded bytes in a day, answers at once, money in a month. A request counts for its
 * key, its user, their team and their tenant, and each of them must have room.
 *
 * Pure: the caller gives the time and keeps what must outlive the process (meter_next_dirty,
 * meter_restore). Days and months are UTC's. One thread.
 *
 * Bound: METER_SUBJECTS_MAX subjects of about 400 bytes. Those that have used nothing lately make
 * room for others; where nobody can, new ones are told METER_FULL. */
#ifndef CARREL_SERVE_USAGE_METER_H
#define CARREL_SERVE_USAGE_METER_H

#include "base/map.h"
#include "base/status.h"
#include "base/str.h"

#define METER_SUBJECTS_MAX ((size_t)32768)
#define METER_NAME_CAP 65
#define METER_DAY_MS INT64_C(86400000)

enum meter_kind { METER_KEY, METER_USER, METER_TEAM, METER_TENANT, METER_KINDS };

enum meter_limit {
    METER_REQUESTS, /* a minute; a bucket that holds a minute's worth */
    METER_TOKENS,   /* a day: read and written by models, and embedded */
    METER_STREAMS,  /* answers being written at once */
    METER_UPLOAD,   /* bytes a day */
    METER_BUDGET,   /* millionths of the currency, a month */
    METER_LIMITS
};

#define METER_INHERIT INT64_C(-1) /* as the defaults say; 0: no limit */

struct meter_subject {
    char tenant[METER_NAME_CAP];
    char name[METER_NAME_CAP]; /* "" of a tenant */
    char team[METER_NAME_CAP]; /* of a key or a user, said by an administrator; "" none */
    enum meter_kind kind;
    bool own; /* some limit or a team was said for it */
    int64_t limits[METER_LIMITS];
    double bucket; /* requests left */
    int64_t filled_ms;
    int64_t day, tokens, upload_bytes;  /* of that day */
    int64_t month, micro, warned_month; /* year * 12 + month - 1 */
    unsigned streams, in_flight;
    bool dirty; /* something to keep has changed */
};

struct meter_defaults {
    int64_t limits[METER_KINDS][METER_LIMITS];
    int64_t warn_percent;  /* of a budget */
    unsigned tenant_share; /* requests in flight of one tenant; 0: no limit */
    unsigned answer_share; /* answers at once of one tenant; 0: no limit */
};

struct meter {
    struct meter_defaults defaults;
    struct map subjects;
    size_t tenants;     /* known: shares count where there are several */
    int64_t day, month; /* as a request came last */
};

/* Who asks, for a request with a body of so many bytes (0: unknown). team: a group, where neither
 * key nor user has a team of its own; may be "". */
struct meter_who {
    const char *tenant, *user, *key, *team;
    int64_t body_bytes;
};

enum meter_verdict {
    METER_OK,
    METER_NO_REQUESTS,
    METER_NO_TOKENS,
    METER_NO_STREAMS,
    METER_NO_UPLOAD,
    METER_NO_BUDGET,
    METER_NO_SHARE, /* this tenant's part of what runs at once */
    METER_FULL,
    METER_NO_MEMORY,
};

/* What a request is about to use: its limits are looked at before it begins, and it may pass them
 * by what it uses itself. */
enum meter_use {
    METER_USES_NOTHING = 0,
    METER_USES_TOKENS = 1,
    METER_USES_STREAM = 2,
    METER_USES_UPLOAD = 4,
    METER_USES_MONEY = 8,
};

/* A request that was let in, until meter_leave. */
struct meter_ticket {
    struct meter_subject *who[METER_KINDS]; /* team NULL: none */
    bool stream, held;
};

struct meter_room { /* of the subject with the least left; limit 0: there is none */
    int64_t limit, left, reset_ms;
};

struct meter_decision {
    enum meter_verdict verdict;
    const struct meter_subject *by; /* whose limit it is; NULL where nobody's */
    int64_t limit;                  /* that one */
    int64_t retry_ms;
    struct meter_room requests, tokens;
};

void meter_init(struct meter *m, const struct meter_defaults *d);
void meter_deinit(struct meter *m);

/* The subject, made where it is missing; NULL: no room. */
struct meter_subject *meter_subject(struct meter *m, enum meter_kind kind, const char *tenant,
                                    const char *name, int64_t now_ms);
/* What counts for it. */
int64_t meter_limit_of(const struct meter *m, const struct meter_subject *s,
                       enum meter_limit which);
/* Takes a request from everybody whom it counts for, or from nobody. */
void meter_enter(struct meter *m, const struct meter_who *who, unsigned uses, int64_t now_ms,
                 int64_t wall_ms, struct meter_ticket *ticket, struct meter_decision *out);
/* What it has used, at any time between enter and leave. */
void meter_charge(const struct meter_ticket *t, int64_t tokens, int64_t upload_bytes, int64_t micro,
                  int64_t wall_ms);
/* The least that is left of METER_TOKENS or METER_BUDGET to those whom the request counts for, at
 * least 0; INT64_MAX: nobody has such a limit. */
int64_t meter_left(const struct meter *m, const struct meter_ticket *t, enum meter_limit which);
/* Ends it; a ticket that was not let in is passed over. */
void meter_leave(struct meter_ticket *t);
/* A subject on this request's way whose budget has passed the share of warn_percent; with `once`
 * only one that was not told of yet this month, which then counts as told. NULL: none. */
const struct meter_subject *meter_warning(struct meter *m, const struct meter_ticket *t, bool once,
                                          int64_t wall_ms);
/* Counters of a day or month that is over begin again. A clock that is set back gives nothing
 * back: what was used counts for the day and month that it says then. */
void meter_roll(struct meter_subject *s, int64_t wall_ms);
/* Start with *pos 0; NULL: no more. The one returned counts as kept. */
struct meter_subject *meter_next_dirty(struct meter *m, size_t *pos);

int64_t meter_month(int64_t wall_ms);
/* The first moment of the month, year * 12 + month - 1. */
int64_t meter_month_start(int64_t month);
const char *meter_kind_name(enum meter_kind k); /* "key", "user", "team", "tenant" */
bool meter_kind_read(struct str name, enum meter_kind *out);

#endif
