/* What people and keys may do: one role each, and for keys the scopes of it that they were given.
 * A call is allowed when the caller's role is among the route's roles and, where the route names
 * scopes, the caller holds one of them. docs/decisions/identity.md says what each is for. Pure. */
#ifndef CARREL_SERVE_ROLES_H
#define CARREL_SERVE_ROLES_H

#include <stdbool.h>

#include "base/str.h"

enum role {
    ROLE_ADMIN,   /* everything in the tenant */
    ROLE_MANAGER, /* documents, and the users and keys of the own team */
    ROLE_EDITOR,  /* reads, puts documents in and takes them out */
    ROLE_READER,  /* asks, searches, reads */
    ROLE_AUDITOR, /* reads everything about use, and nothing else */
    ROLE_SERVICE, /* a machine: what its key's scopes say, but nothing for people only */
    ROLE_COUNT,
};

#define ROLE_BIT(role) (1U << (role))
/* Nobody needs to be known. */
#define ROLES_OPEN 0U
#define ROLES_ALL ((1U << ROLE_COUNT) - 1)

enum {
    SCOPE_ASK = 1 << 0,     /* ask and use the models: chat, responses, embeddings, rerank */
    SCOPE_SEARCH = 1 << 1,  /* search */
    SCOPE_READ = 1 << 2,    /* lists, documents, originals, facets, answers */
    SCOPE_INGEST = 1 << 3,  /* put documents in */
    SCOPE_MANAGE = 1 << 4,  /* take documents out; sources, quarantine, feedback */
    SCOPE_AUDIT = 1 << 5,   /* the record and the usage */
    SCOPE_MONITOR = 1 << 6, /* status, metrics, progress */
    SCOPE_ADMIN = 1 << 7,   /* users, keys, tenants, encoders, erasure, holds, settings */
    SCOPES_KEY = (1 << 8) - 1,
    SCOPE_PERSON = 1 << 8, /* somebody who signed in, which no key is */
    SCOPES_NONE = 0,       /* any key will do */
};

#define SCOPES_N 8

const char *role_name(enum role role);
bool role_read(struct str name, enum role *out);
/* The name of SCOPE_ASK << i. */
const char *scope_name(unsigned i);
/* One scope's bit; 0: there is none of that name. */
unsigned scope_read(struct str name);
/* The scopes that have an effect with that role: a key's, where none were chosen. */
unsigned role_scopes(enum role role);

#endif
