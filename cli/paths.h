/* Where our own files lie, told from the running program. */
#ifndef CARREL_CLI_PATHS_H
#define CARREL_CLI_PATHS_H

#include <stddef.h>

#include "base/status.h"

/* The folder of this program and of its siblings. */
enum status paths_bin(char *out, size_t cap, struct error *err) MUST_CHECK;
/* The built page; false when it is not there. */
bool paths_web(char *out, size_t cap);

#endif
