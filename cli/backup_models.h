/* Models and backups. A model's file is large, changes never and is had from where it came from: a
 * backup names what its tenants need, and has the files only where that is asked for. */
#ifndef CARREL_CLI_BACKUP_MODELS_H
#define CARREL_CLI_BACKUP_MODELS_H

#include <jansson.h>

#include "cli/backup.h"
#include "model/registry.h"

#define BACKUP_MODEL_FILES_MAX 512

/* The models that the settings name, or whose vectors one of the tenants has. The appliance runs.
 */
enum status backup_models_find(const char *home, char *const *tenants, size_t n_tenants,
                               struct model_record out[REGISTRY_MAX], size_t *n,
                               struct error *err) MUST_CHECK;
/* Their names below the home ("models/..."), in order, each once. */
enum status backup_models_files(const char *home, const struct model_record *models, size_t n,
                                char (*out)[REGISTRY_PATH_CAP], size_t *n_files,
                                struct error *err) MUST_CHECK;
/* Adds "models" to a book's head: name, role, sha256, bytes, prefixes; as many as it holds. */
int backup_models_describe(json_t *head, const struct model_record *models, size_t n);
/* Which of a head's models are not in this home with the same sum. Owned: an array of the same
 * objects, each with "import": the command that brings it in. NULL: out of memory. */
json_t *backup_models_missing(const json_t *head, const char *home);

#endif
