/* Members of the API's answers as the command line prints them. */
#ifndef CARREL_CLI_JSON_FIELD_H
#define CARREL_CLI_JSON_FIELD_H

#include <jansson.h>
#include <stdio.h>

/* "" where there is no such text; borrowed from o. */
static inline const char *json_field(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s == NULL ? "" : s;
}

/* 0 where there is no such number. */
static inline double json_field_number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

/* An answer as --json shows it. */
static inline void json_print(const json_t *answer)
{
    (void)json_dumpf(answer, stdout, JSON_INDENT(2));
    (void)printf("\n");
}

#endif
