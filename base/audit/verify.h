/* Does a tenant's audit chain hold? Needs nothing but a copy of the folder, and the public key of
 * whoever does not want to believe the folder's own. Blocks; memory grows with the calls open at
 * once and the rows erased, not with the chain. */
#ifndef CARREL_BASE_AUDIT_VERIFY_H
#define CARREL_BASE_AUDIT_VERIFY_H

#include "base/audit/chain.h"
#include "base/audit/payload.h"

#define AUDIT_FINDINGS_MAX 50
#define AUDIT_KEYS_MAX 8

struct audit_anchor { /* a head that was written down elsewhere */
    int64_t seq;
    uint8_t hash[SHA256_BYTES];
    char chain[ID_CAP], tenant[65]; /* whose it is; "": it does not say, so this one's */
};

struct audit_verify_options {
    const char *folder;  /* tenants/<id>/audit */
    const char *payload; /* tenants/<id>/payload.db; NULL: texts are not looked at */
    const uint8_t *keys; /* n_keys of SIGN_PUBLIC_BYTES; none: the chain's own */
    size_t n_keys;
    const struct audit_box_key *open;   /* the auditor's; NULL: sealed texts stay shut */
    const struct audit_anchor *anchors; /* in any order; those of other tenants are passed over */
    size_t n_anchors;
};

struct audit_finding {
    int64_t seq; /* 0: of no record */
    char text[160];
};

struct audit_report {
    char chain[ID_CAP], tenant[65];
    char key[2 * SIGN_PUBLIC_BYTES + 1]; /* the last one that signed */
    int64_t records, opens, closes, acts, erases, checkpoints;
    int64_t refused;               /* calls refused at the door, as their records count them */
    int64_t interrupted;           /* opened, and serve began anew before the close */
    int64_t unfinished;            /* opened since, no close yet */
    int64_t texts, sealed, erased; /* rows: that hold, that are shut, that were erased */
    int64_t signed_seq;            /* up to here a signature vouches */
    int64_t head_seq, head_at_wall_ms;
    uint8_t head[SHA256_BYTES];
    int64_t anchored_seq; /* the latest anchor that fits; 0: none was given */
    size_t torn;          /* bytes of a last record that was never finished: no breach */
    bool pinned;          /* the keys were given */
    bool broken;
    int64_t texts_beyond; /* the latest record after the chain's end of which payload.db has the
                             text; 0: none */
    int64_t older; /* the latest record that an anchor names beyond the chain's end; 0: none does */
    int64_t back;  /* texts that the chain calls erased and that lie there again */
    struct audit_finding findings[AUDIT_FINDINGS_MAX];
    size_t n_findings, n_more;
};

/* "whole", "older" (than an anchor, or than payload.db: what is there holds, and it ends before) or
 * "broken". */
const char *audit_verdict(const struct audit_report *r);
/* STATUS_OK also when it is broken; a failure tells that nothing could be read. */
enum status audit_verify(const struct audit_verify_options *o, struct audit_report *out,
                         struct error *err) MUST_CHECK;
/* "12:<64 hex>", or a line as anchors have it (JSON with "seq" and "head", and whose it is with
 * "tenant" and "chain"); false: neither. */
bool audit_anchor_read(struct str text, struct audit_anchor *out);

#endif
