#include "serve/roles.h"

static const char *const roles[ROLE_COUNT] = {
    [ROLE_ADMIN] = "admin",   [ROLE_MANAGER] = "manager", [ROLE_EDITOR] = "editor",
    [ROLE_READER] = "reader", [ROLE_AUDITOR] = "auditor", [ROLE_SERVICE] = "service",
};

static const char *const scopes[SCOPES_N] = {"ask",    "search", "read",    "ingest",
                                             "manage", "audit",  "monitor", "admin"};

const char *role_name(enum role role)
{
    return role < ROLE_COUNT ? roles[role] : "";
}

bool role_read(struct str name, enum role *out)
{
    for (unsigned i = 0; i < ROLE_COUNT; i++) {
        if (str_eq(name, str_from(roles[i]))) {
            *out = (enum role)i;
            return true;
        }
    }
    return false;
}

const char *scope_name(unsigned i)
{
    return i < SCOPES_N ? scopes[i] : "";
}

unsigned scope_read(struct str name)
{
    for (unsigned i = 0; i < SCOPES_N; i++) {
        if (str_eq(name, str_from(scopes[i]))) {
            return 1U << i;
        }
    }
    return 0;
}

unsigned role_scopes(enum role role)
{
    switch (role) {
    case ROLE_ADMIN:
        return SCOPES_KEY;
    case ROLE_MANAGER:
        return SCOPES_KEY & ~((unsigned)SCOPE_AUDIT | SCOPE_MONITOR);
    case ROLE_EDITOR:
        return SCOPE_ASK | SCOPE_SEARCH | SCOPE_READ | SCOPE_INGEST | SCOPE_MANAGE;
    case ROLE_READER:
        return SCOPE_ASK | SCOPE_SEARCH | SCOPE_READ;
    case ROLE_AUDITOR:
        return SCOPE_AUDIT;
    case ROLE_SERVICE:
        return SCOPES_KEY & ~((unsigned)SCOPE_AUDIT | SCOPE_ADMIN);
    case ROLE_COUNT:
        break;
    }
    return 0;
}
