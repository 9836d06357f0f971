/* Records of the audit for people and for programs. */
#ifndef CARREL_CLI_AUDIT_PRINT_H
#define CARREL_CLI_AUDIT_PRINT_H

#include <jansson.h>

#include "base/audit/chain.h"
#include "base/audit/payload.h"
#include "base/audit/verify.h"

/* {"record": {...}, "text": {...}|null, "text_state": "kept"|"sealed"|"not kept"|"absent"|"none"}:
 * owned; NULL: out of memory. db NULL: there are no texts. */
json_t *audit_as_json(const struct audit_record *r, struct str line, sqlite3 *db,
                      const struct audit_box_key *key);
/* One line for a terminal. */
void audit_print_line(const struct audit_record *r);
void audit_print_report(const struct audit_report *r, bool json, bool anchored);

#endif
