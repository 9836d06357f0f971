/* What reading the rules and judging by them share. */
#ifndef CARREL_BASE_SETTINGS_RULES_INTERNAL_H
#define CARREL_BASE_SETTINGS_RULES_INTERNAL_H

#include "base/settings/rules.h"

/* The last date in the path; false: there is none. */
bool rules_date_in_path(struct str path, int64_t *ms);

#endif
