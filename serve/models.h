/* The names of models that clients see. */
#ifndef CARREL_SERVE_MODELS_H
#define CARREL_SERVE_MODELS_H

#include "base/str.h"

#define MODEL_CHAT "carrel"
#define MODEL_EMBED "carrel-embed"   /* an alias: the published encoder of the tenant */
#define MODEL_RERANK "carrel-rerank" /* an alias: the imported reranker, or the encoder */
#define MODEL_HASHED "carrel-hash"   /* what embed answers with before the first fit */

/* "carrel-embed", "carrel-hash", or vectors' own name: carrel-lsa-<16 hex digits> of a fit,
 * gguf-<16 hex digits> of an imported encoder. */
static inline bool model_is_encoder(struct str m)
{
    if (str_eq(m, STR(MODEL_EMBED)) || str_eq(m, STR(MODEL_HASHED))) {
        return true;
    }
    size_t from = str_starts(m, STR("carrel-lsa-")) ? 11 : str_starts(m, STR("gguf-")) ? 5 : m.len;
    bool ok = m.len == from + 16;
    for (size_t i = from; ok && i < m.len; i++) {
        ok = (m.ptr[i] >= '0' && m.ptr[i] <= '9') || (m.ptr[i] >= 'a' && m.ptr[i] <= 'f');
    }
    return ok;
}

#endif
