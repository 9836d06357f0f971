/* carrel tenant key|keyless NAME: the key of a tenant's segments (vectorstore/segment_keys.h). */
#ifndef CARREL_CLI_TENANT_KEY_H
#define CARREL_CLI_TENANT_KEY_H

#include <stddef.h>

#include "cli/command.h"

enum exit_code tenant_key_make(const struct options *o, const char *tenant);
enum exit_code tenant_key_drop(const struct options *o, const char *tenant);

#endif
