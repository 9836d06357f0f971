/* A tenant's chain being written: the last file of tenants/<id>/audit, its head, and payload.db
 * beside. One thread at a time. */
#ifndef CARREL_SERVE_AUDIT_CHAIN_WRITE_H
#define CARREL_SERVE_AUDIT_CHAIN_WRITE_H

#include <limits.h>
#include <sqlite3.h>
#include <uv.h>

#include "base/audit/chain.h"
#include "base/audit/payload.h"
#include "serve/audit/signer.h"

struct audit_policy {
    const char *home;
    struct signer *signer;
    uv_mutex_t *alone; /* held by who asks the signer or adds to the anchors; NULL: one thread */
    enum { AUDIT_KEEP, AUDIT_NONE, AUDIT_ENCRYPTED } payload;
    uint8_t auditor[AUDIT_BOX_PUBLIC_BYTES]; /* when ENCRYPTED */
    int64_t checkpoint_ms;
    int64_t keep_ms; /* of texts; 0: for ever */
};

struct chain {
    char tenant[65];
    char folder[PATH_MAX];
    bool ready; /* open, and what follows is true */
    int fd;
    unsigned segment;
    size_t size;            /* of the last file, up to the last whole record */
    size_t room;            /* the disk has so much for it */
    bool unsettled;         /* its end may not be on the disk: payload.db has it */
    size_t unsettled_bytes; /* about as much */
    int64_t settled_seq, settled_ms;
    size_t settled_size; /* of the last file: so much of it is on the disk */
    int64_t seq;
    uint8_t head[SHA256_BYTES];
    char id[ID_CAP];
    uint8_t key[SIGN_PUBLIC_BYTES]; /* the last one the chain names */
    sqlite3 *payload;
    int64_t unsigned_records;
    int64_t checkpoint_ms; /* when the last one was made, monotonic */
    int64_t expired_ms;    /* when texts too old were last looked for */
    /* the group being gathered */
    struct buf pending;
    int64_t next_seq;
    uint8_t next_head[SHA256_BYTES];
    bool in_transaction;
    /* every group's lines once they are durable; NULL: nobody wants them */
    void (*on_commit)(void *data, const char *tenant, struct str lines);
    void *commit_data;
};

/* One record's matter. */
struct audit_matter {
    const char *type;
    struct str fields;
    struct str text; /* ptr NULL: it has none */
    const char *documents;
    size_t n_documents;
};

/* Opens or makes the chain: finds the head, mends a torn last record, and adds "start" to the group
 * that is to come: were it written at once, each try on a full disk would leave one. Nothing is to
 * do when it is ready. CORRUPT: the last file does not hold. */
enum status chain_ready(struct chain *c, const struct audit_policy *p,
                        struct error *err) MUST_CHECK;
/* Adds a record to the group. */
enum status chain_add(struct chain *c, const struct audit_policy *p, const struct audit_matter *m,
                      int64_t now_wall_ms, struct error *err) MUST_CHECK;
/* Makes the group durable, by one sync. On failure nothing of it is in the chain. */
enum status chain_commit(struct chain *c, struct error *err) MUST_CHECK;
/* Signs the head, when there is one not signed yet and the signer listens. line: what is to be
 * anchored, JSON; appended. When no signature comes the chain is closed: its next record is then a
 * "start" in the place that may have been signed, and it goes on unsigned. */
enum status chain_checkpoint(struct chain *c, const struct audit_policy *p, struct buf *line,
                             struct error *err) MUST_CHECK;
/* Syncs the file, if that is due or must be now. A failure closes the chain. */
enum status chain_settle(struct chain *c, bool now, struct error *err) MUST_CHECK;
/* Would chain_settle or chain_checkpoint do something? */
bool chain_due(const struct chain *c, const struct audit_policy *p);
void chain_close(struct chain *c);

static inline void audit_policy_enter(const struct audit_policy *p)
{
    if (p->alone != NULL) {
        uv_mutex_lock(p->alone);
    }
}

static inline void audit_policy_leave(const struct audit_policy *p)
{
    if (p->alone != NULL) {
        uv_mutex_unlock(p->alone);
    }
}

static inline bool audit_signer_listens(const struct audit_policy *p)
{
    audit_policy_enter(p);
    bool listens = signer_listens(p->signer);
    audit_policy_leave(p);
    return listens;
}

#endif
