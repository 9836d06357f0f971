/* The imported models that embed has open: encoders by the name of their vectors, rerankers by
 * their name in the settings. Opened when first asked for (mapped: what is read comes from the page
 * cache) and shared by all tenants; the least recently used is closed when there are too many. Any
 * thread; opening blocks. */
#ifndef CARREL_EMBED_MODELS_H
#define CARREL_EMBED_MODELS_H

#include "model/registry.h"

#define MODELS_OPEN_MAX 4

struct models;
struct open_model; /* counted by use */

/* home is borrowed. */
enum status models_new(const char *home, struct models **out, struct error *err) MUST_CHECK;
/* Nothing may be in use. NULL is fine. */
void models_free(struct models *m);

/* "gguf-...", or "model:" and a name of the registry */
bool models_is_encoder(const char *encoder);
/* In use until models_let_go. NOT_FOUND: nothing imported makes such vectors. */
enum status models_encoder(struct models *m, const char *encoder, struct open_model **out,
                           struct error *err) MUST_CHECK;
/* NOT_FOUND, or UNSUPPORTED where the name stands for no reranker. */
enum status models_reranker(struct models *m, const char *name, struct open_model **out,
                            struct error *err) MUST_CHECK;
void models_let_go(struct models *m, struct open_model *o);
const struct model *open_model(const struct open_model *o);
const struct model_record *open_record(const struct open_model *o);
/* At once, also while a model is being opened. */
size_t models_open(struct models *m);

#endif
