/* The names of models that clients see. */
#ifndef CARREL_SERVE_MODELS_H
#define CARREL_SERVE_MODELS_H

#include "base/str.h"

#define MODEL_CHAT "carrel"
#define MODEL_EMBED "carrel-embed" /* an alias: the published encoder of the tenant */
#define MODEL_HASHED "carrel-hash" /* what embed answers with before the first fit */

/* "carrel-embed", "carrel-hash", or a fit's own name: carrel-lsa-<16 hex digits>. */
static inline bool model_is_encoder(struct str m)
{
    if (str_eq(m, STR(MODEL_EMBED)) || str_eq(m, STR(MODEL_HASHED))) {
        return true;
    }
    bool ok = m.len == 27 && str_starts(m, STR("carrel-lsa-"));
    for (size_t i = 11; ok && i < m.len; i++) {
        ok = (m.ptr[i] >= '0' && m.ptr[i] <= '9') || (m.ptr[i] >= 'a' && m.ptr[i] <= 'f');
    }
    return ok;
}

#endif
