/* One record of the registry as text, read and written. Private to model/registry*.c. */
#ifndef CARREL_MODEL_REGISTRY_RECORD_H
#define CARREL_MODEL_REGISTRY_RECORD_H

#include "model/registry.h"

#define REGISTRY_RECORD_MAX ((size_t)8192)

/* a-z 0-9 . _ -, beginning with a letter or digit, at most 64. */
bool record_name_valid(const char *name);
void record_write(const struct model_record *r, struct buf *out);
/* Everything but the name, which is the file's. CORRUPT names the line. */
enum status record_read(const char *name, struct str text, struct model_record *out,
                        struct error *err) MUST_CHECK;
/* Sets r->encoder from what decides the vectors. */
void record_name_vectors(struct model_record *r);

#endif
