/* "file.pdf p.3", from a passage or a citation of the API. */
#ifndef CARREL_CLI_PLACE_H
#define CARREL_CLI_PLACE_H

#include <jansson.h>
#include <stdio.h>

void place_print(FILE *f, const json_t *passage);
/* "(found by ..., put in order by ...)": the imported models of a search; nothing without any. */
void models_print(FILE *f, const json_t *search);

#endif
