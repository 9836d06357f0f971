/* Taking and giving back backups; cmd_backup.c and cmd_restore.c are their faces. */
#ifndef CARREL_CLI_BACKUP_H
#define CARREL_CLI_BACKUP_H

#include <jansson.h>

#include "cli/vault.h"

struct backup_wish {
    const char *home, *target;
    const char *key_file; /* NULL: not encrypted */
    const char *tenant;   /* NULL: all, and the settings, users and keys */
    bool with_watch;      /* everything in the watched folder, not only what is stored of it */
    bool with_models;     /* also the files of the models that are needed */
    int keep;             /* 0: all earlier ones stay */
    bool progress;
};

struct backup_result {
    char id[BOOK_ID_CAP];
    uint64_t files, bytes;             /* in the backup */
    uint64_t new_pieces, stored_bytes; /* written for it */
    uint64_t removed_backups, removed_pieces, freed_bytes;
    unsigned tenants;
    unsigned models; /* that are needed */
};

/* The appliance must be running. */
enum status backup_take(const struct backup_wish *w, struct backup_result *out,
                        struct error *err) MUST_CHECK;

struct restore_wish {
    const char *source, *home;
    const char *key_file;
    const char *id;     /* NULL: the newest that has it */
    const char *tenant; /* NULL: everything, into an empty or missing folder */
    const char *as;     /* the tenant's new name; NULL: its own */
    bool progress;
};

struct restore_result {
    char id[BOOK_ID_CAP];
    uint64_t files, bytes;
    json_t *missing; /* models that must be imported again (backup_models.h); json_decref */
    bool files_skipped; /* the watched folder lies elsewhere: documents' files were not made */
};

enum status backup_give(const struct restore_wish *w, struct restore_result *out,
                        struct error *err) MUST_CHECK;

struct backup_summary {
    char id[BOOK_ID_CAP];
    int64_t taken_wall_ms;
    uint64_t files, bytes;
    bool whole;
    char tenants[512]; /* separated by blanks; ends in "..." when there are more */
};

enum status backup_describe(struct vault *v, const char *id, struct backup_summary *out,
                            struct error *err) MUST_CHECK;
/* Reads every piece of every backup. found: how many are damaged or missing, each told by say(). */
enum status backup_check(struct vault *v, bool progress, void (*say)(const char *what, void *data),
                         void *data, uint64_t *pieces, uint64_t *found,
                         struct error *err) MUST_CHECK;

/* Where the lists of what was erased lie (base/erased.h), below a home: <tenant>, <tenant>.key */
#define ERASURES "system/erasures/"

/* ---- backup_stage.c: for backup_take ---- */

/* The target exists and does not lie in the data directory. */
enum status backup_check_target(const struct backup_wish *w, struct error *err) MUST_CHECK;
/* One backup of an appliance at a time; BUSY. The caller closes *fd. */
enum status backup_lock(const char *home, int *fd, struct error *err) MUST_CHECK;
/* Copies of what the services keep of a tenant, and of what belongs to none, in
 * run/backup/<name>/. */
enum status backup_stage_tenant(const char *home, const char *name, const char *tenant,
                                struct error *err) MUST_CHECK;
enum status backup_stage_system(const char *home, const char *name, struct error *err) MUST_CHECK;

#endif
