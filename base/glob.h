/* Patterns of paths: * and ? stay within a folder, ** goes through folders (a ** and its slash also
 * stand for nothing), and a / at the end means everything below. Pure; a path of n bytes costs n
 * times the pattern's length, whatever the pattern (Thompson 1968). */
#ifndef CARREL_BASE_GLOB_H
#define CARREL_BASE_GLOB_H

#include <stdbool.h>

#include "base/str.h"

#define GLOB_MAX 255 /* bytes of a pattern; what is behind is not read */

enum glob_flags {
    GLOB_SETS = 1 /* [abc], [a-z], [!a-z] and \c too, as in a .gitignore */
};

bool glob_match(const char *pattern, struct str path, unsigned flags);

#endif
