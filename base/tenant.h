/* What a tenant may be called: the name is a folder of the data directory, too. */
#ifndef CARREL_BASE_TENANT_H
#define CARREL_BASE_TENANT_H

#include "base/str.h"

#define TENANT_NAME_MAX 64

/* 1 to 64 of a-z, 0-9 and -. */
static inline bool tenant_name_valid(struct str name)
{
    bool ok = name.len > 0 && name.len <= TENANT_NAME_MAX;
    for (size_t i = 0; ok && i < name.len; i++) {
        char c = name.ptr[i];
        ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    }
    return ok;
}

#endif
