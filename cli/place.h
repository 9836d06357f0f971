/* "file.pdf p.3", from a passage or a citation of the API. */
#ifndef CARREL_CLI_PLACE_H
#define CARREL_CLI_PLACE_H

#include <jansson.h>
#include <stdio.h>

void place_print(FILE *f, const json_t *passage);

#endif
