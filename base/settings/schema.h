/* The one table of settings: everything else about them (reading, defaults, the commented file, the
 * reference page) is derived from it. Private to base/settings. */
#ifndef CARREL_BASE_SETTINGS_SCHEMA_H
#define CARREL_BASE_SETTINGS_SCHEMA_H

#include "base/settings/settings.h"

enum setting_type {
    SETTING_BOOL,     /* bool: true, false */
    SETTING_INT,      /* int64_t: decimal */
    SETTING_SIZE,     /* int64_t bytes: decimal with an optional KiB, MiB, GiB */
    SETTING_DURATION, /* int64_t milliseconds: decimal with ms, s, m, h */
    SETTING_DOUBLE,   /* double: decimal */
    SETTING_STRING,   /* const char * */
    SETTING_PATH, /* const char *: stored absolute, relative ones count from home; "" stays "" */
    SETTING_ENUM, /* const char *: one of choices */
    SETTING_LIST, /* struct string_list: a sequence of choices */
};

struct setting {
    const char *path; /* "http.port" */
    enum setting_type type;
    size_t offset;        /* in struct settings */
    double min, max;      /* numbers, in the unit stored */
    const char *choices;  /* "a|b|c" for enums and lists, otherwise NULL (a list: any text) */
    const char *fallback; /* as one would write it in the file */
    const char *help;
};

struct setting_section {
    const char *path; /* "http", "generate.upstream" */
    const char *help;
};

extern const struct setting settings_schema[];
extern const size_t settings_schema_n;
/* In the order of the file; a section comes before the sections inside it. */
extern const struct setting_section settings_sections[];
extern const size_t settings_sections_n;

#define SETTINGS_MAX_ROWS 256
#define SETTINGS_FILE_MAX ((size_t)256 * 1024)

/* Refuses aliases, anchors, tags, depth and second documents, as "name:line: ...". */
enum status settings_check_yaml(const char *name, struct str yaml, struct error *err) MUST_CHECK;
/* "integer", "size", ... */
const char *setting_type_name(enum setting_type t);
/* Is item one of the '|'-separated choices? */
/* "20MiB" in bytes. */
bool setting_size(struct str text, int64_t *out);
bool setting_is_choice(const char *choices, struct str item);
/* A scalar as written into the field of out, the struct that the row's offset counts in; text in a.
 * home: what relative paths count from. */
enum status setting_store(const struct setting *row, struct str text, const char *home,
                          struct arena *a, void *out, struct error *err) MUST_CHECK;

/* Lists of groups of settings, each a table of rows of its own. Names in `path` stand alone. */
struct setting_list {
    const char *path, *help;
    const struct setting *rows; /* the first is the name, which must be given */
    size_t n_rows;
    size_t item_bytes, max_items;
    size_t items, n_items; /* offsets in struct settings: a pointer, a size_t */
    enum status (*check)(void *item, struct arena *a, struct error *err);
    const char *example; /* for the default file, without the mark of a comment */
};
extern const struct setting_list settings_lists[];
extern const size_t settings_lists_n;
#define SETTINGS_ITEM_ROWS 24

#endif
