/* Taking texts out of a tenant's payload.db: the rows and their salts go, and "erase" records say
 * which. On the audit's lane. */
#ifndef CARREL_SERVE_AUDIT_ERASE_H
#define CARREL_SERVE_AUDIT_ERASE_H

#include "serve/answers.h"
#include "serve/audit/chain_write.h"

/* What was made from f's documents, or names one of its subjects. f->answers counts rows, clean as
 * in answers.h. Documents are remembered: no text made from one is kept from now on. */
enum status audit_forget_now(struct chain *c, const struct audit_policy *p, struct forgetting *f,
                             int64_t *unreadable, struct error *err) MUST_CHECK;
/* What is linked to name (payload.db's documents); what comes later with the same name is kept.
 * why: for the record. */
#define AUDIT_CONVERSATIONS_OF "conversations:" /* and a user's id: of those he has kept */
enum status audit_forget_linked(struct chain *c, const struct audit_policy *p, const char *name,
                                const char *why, struct error *err) MUST_CHECK;
/* Texts older than the policy keeps them; looks once an hour. */
#define AUDIT_EXPIRE_EVERY_MS (3600 * (int64_t)1000)
enum status audit_expire_due(struct chain *c, const struct audit_policy *p,
                             struct error *err) MUST_CHECK;
bool audit_expire_is_due(const struct chain *c, const struct audit_policy *p);
/* Has a tenant, whose chain may not be open, such texts? */
enum status audit_expire_wanted(const struct audit_policy *p, const char *tenant, bool *out,
                                struct error *err) MUST_CHECK;

#endif
