/* Erasing everything that names a data subject, as the command line has it: where the identifiers
 * come from, and what the preview says. */
#ifndef CARREL_CLI_SUBJECT_H
#define CARREL_CLI_SUBJECT_H

#include <jansson.h>
#include <stdio.h>

#include "cli/command.h"

/* --subject or --subject-file was given. */
bool subject_given(const struct options *o);
/* Adds "subject" and "except" to the request. */
enum status subject_ask(const struct options *o, json_t *body, struct error *err) MUST_CHECK;
/* What the appliance found: documents, what stays, answers, what could not be searched. */
void subject_print(FILE *to, const json_t *shown);

#endif
