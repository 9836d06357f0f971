/* Lists on the command line: "a,b". */
#ifndef CARREL_CLI_LISTS_H
#define CARREL_CLI_LISTS_H

#include <jansson.h>

/* The names between the commas as an array; list NULL: an empty one. Owned. */
json_t *list_of_names(const char *list);

#endif
