/* The options that narrow a search, as the API wants them. */
#ifndef CARREL_CLI_FILTERS_H
#define CARREL_CLI_FILTERS_H

#include <jansson.h>

#include "cli/command.h"

/* Adds collections, labels, ... to object; false: out of memory, or a value is not UTF-8. */
bool filters_add(const struct options *o, json_t *object);
/* The question of `carrel search` and `carrel explain` (command: which) with what narrows it, as
 * /api/search takes it. NULL: it could not be made, which is said on stderr. */
json_t *filters_question(const struct options *o, const char *command);

#endif
