/* What the registry's files share. */
#ifndef CARREL_MODEL_REGISTRY_INTERNAL_H
#define CARREL_MODEL_REGISTRY_INTERNAL_H

#include "model/registry_record.h"

#define REGISTRY_FILE_CAP 96
#define REGISTRY_PIECE ((size_t)1 << 20)

/* home/models/file; file may be "". */
enum status registry_place(const char *home, const char *file, char out[REGISTRY_PATH_CAP],
                           struct error *err) MUST_CHECK;
void registry_file_name(const char *sha256, uint32_t part, uint32_t parts,
                        char out[REGISTRY_FILE_CAP]);
/* One change at a time; *lock is the caller's to close. CONFLICT: somebody else is at it. */
enum status registry_lock(const char *home, int *lock, struct error *err) MUST_CHECK;
enum status registry_sum_file(const char *path, struct sha256 *sum, uint64_t *bytes,
                              struct error *err) MUST_CHECK;
/* The model's packed weights are to be kept beside it. */
enum status registry_keep_packed(const char *home, const struct model_record *r, struct model *m,
                                 const char *path, struct error *err) MUST_CHECK;
/* Removes the files of a sum that no record names. */
enum status registry_drop_unused(const char *home, const char *sha256,
                                 struct error *err) MUST_CHECK;

#endif
