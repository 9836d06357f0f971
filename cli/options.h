/* The command line of every subcommand, read by one parser. */
#ifndef CARREL_CLI_OPTIONS_H
#define CARREL_CLI_OPTIONS_H

#include <stdio.h>

#include "cli/command.h"

enum options_result { OPTIONS_OK, OPTIONS_HELP, OPTIONS_WRONG };

/* argv[0] is the subcommand's name. Says on stderr what is wrong. */
enum options_result options_parse(const struct command *c, int argc, char **argv,
                                  struct options *out);
void options_usage(const struct command *c, FILE *to);

#endif
