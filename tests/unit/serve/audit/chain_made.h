/* Chains for the tests of serve/audit: a signer that tells a key and signs nothing, and records. */
#ifndef CARREL_TESTS_CHAIN_MADE_H
#define CARREL_TESTS_CHAIN_MADE_H

#include <sys/types.h>

#include "base/audit/verify.h"
#include "serve/audit/chain_write.h"
#include "serve/audit/signer.h"

extern pid_t signer_pid; /* of the last signer_new */

struct signer *signer_new(void);
void signer_end(struct signer *s);
off_t length(const char *home, const char *name);
enum status write_some(struct chain *c, const struct audit_policy *p, size_t n);
enum status write_text(struct chain *c, const struct audit_policy *p, const char *text);
void verify_tenant(const char *home, const char *tenant, struct audit_report *r);

#endif
