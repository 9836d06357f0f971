/* Landlock by system call: glibc has no wrappers and Debian 12's headers stop at version 2. */
#ifndef CARREL_BASE_SANDBOX_LANDLOCK_H
#define CARREL_BASE_SANDBOX_LANDLOCK_H

#include "base/sandbox/sandbox.h"

/* Denies every file access but reading `readable` and executing `executables`, and, from the
 * versions that know them, TCP, abstract sockets and signals to processes outside. OK without
 * effect on a kernel without Landlock. Needs no_new_privs. */
enum status landlock_restrict(const struct sandbox_paths *paths, struct error *err) MUST_CHECK;

#endif
