/* What another system's word about somebody's groups makes of him here: one role, and the groups
 * that documents name. Only what `directory_groups` in carrel.yaml writes down counts. Pure; any
 * thread. */
#ifndef CARREL_SERVE_IDP_H
#define CARREL_SERVE_IDP_H

#include "base/settings/settings.h"
#include "base/status.h"
#include "base/str.h"
#include "serve/auth.h"
#include "serve/roles.h"

#define IDP_GROUPS_MAX 1024 /* that a provider may name; more are refused */

struct idp_group {
    struct str name;    /* as the provider says it */
    struct str shorter; /* another name it goes by; ptr NULL: none */
};

struct idp_verdict {
    enum role role;
    struct str groups[GROUPS_MAX]; /* borrowed from the settings; each once */
    size_t n_groups;
};

/* FORBIDDEN: no line gives a role, and default_role is "none". TOO_LARGE: more groups than one may
 * have. any_case: names are compared without regard to the case of ASCII letters. */
enum status idp_judge(const struct settings *s, const char *default_role,
                      const struct idp_group *in, size_t n, bool any_case, struct idp_verdict *out,
                      struct error *err) MUST_CHECK;

/* A file with one secret in one line, that only its owner may read, into out. "": path is "". */
enum status idp_secret(const char *path, char *out, size_t cap, struct error *err) MUST_CHECK;

#endif
