/* A subcommand of `carrel`: one file each, ending in its row of the table in main.c. */
#ifndef CARREL_CLI_COMMAND_H
#define CARREL_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,      /* it was tried and did not work; doctor: something is wrong */
    EXIT_USAGE = 2,       /* the command line is not understood */
    EXIT_NOT_RUNNING = 3, /* the appliance is not running */
    EXIT_NOTHING = 4,     /* it worked, and there was nothing to find */
};

enum option_flag {
    OPT_HOME = 1 << 0,
    OPT_JSON = 1 << 1,
    OPT_PORT = 1 << 2,
    OPT_QUIET = 1 << 3,
    OPT_KEY_FILE = 1 << 4,
    OPT_TOP_K = 1 << 5,
    OPT_WATCH = 1 << 6,
    OPT_FILTER = 1 << 7, /* what a search is narrowed to: nine options */
    OPT_GROUPS = 1 << 8, /* --groups, --role */
    OPT_KEY_TENANT = 1 << 9,
    OPT_ADMIN = 1 << 10, /* and what else only keys have */
    OPT_DOCUMENT = 1 << 11,
    OPT_MODEL_PLAN = 1 << 12,
    OPT_MODEL_FORCE = 1 << 18,
    OPT_MODEL_BENCH = 1 << 13, /* --prompt, --generate, --threads, --streams, --device */
    OPT_PATH = 1 << 14,        /* --document, --path */
    OPT_ERASE = 1 << 15,
    OPT_HOLD = 1 << 16,
    OPT_EVERY = 1 << 27,
    OPT_RULES = 1 << 28,
    OPT_INGEST = 1 << 30,  /* --to FOLDER, --as NAME, --replace */
    OPT_ENCODER = 1 << 29, /* --dims, --model, --against, --force */
    OPT_MODEL = 1 << 17,   /* --as ROLE, --name, --query-prefix, --passage-prefix */
    OPT_AUDIT = 1 << 19,   /* --folder, --head, --secret, --public-key, --count */
    OPT_BACKUP_KEY = 1 << 20,
    OPT_TENANT = 1 << 21,
    OPT_WITH_WATCH = 1 << 22,
    OPT_KEEP = 1 << 23,
    OPT_INTO = 1 << 24,
    OPT_AS = 1 << 25,
    OPT_BACKUP = 1 << 26,
};

#define OPTIONS_ARGS_MAX 16
#define OPTION_FILTERS 8 /* collection, label, tag, language, format, under, author, hash */
#define OPTION_VALUES_MAX 16
#define OPTION_SUBJECTS_MAX 64

struct options {
    char home[4096]; /* absolute unless it could not be told; "" only when the command takes none */
    bool json;
    bool quiet;
    bool watch;
    int port;                                /* -1: not given */
    int top_k;                               /* 0: not given */
    const char *key_file;                    /* NULL: not given */
    const char *tenant, *into, *as, *backup; /* NULL: not given */
    bool with_watch, with_models, admin;
    const char *role, *scopes, *collections, *addresses, *owner; /* of keys; NULL: not given */
    int days;                                                    /* 0: not given */
    const char *groups;                                          /* NULL: not given */
    const char *document;                                        /* NULL: not given */
    const char *path, *held_collection, *reason, *public_key;    /* NULL: not given */
    bool all_copies, keep_copies, dry_run, yes;
    const char *subjects[OPTION_SUBJECTS_MAX], *except[OPTION_SUBJECTS_MAX];
    int n_subjects, n_except;
    const char *subject_file; /* NULL: not given */
    const char *to;           /* NULL: not given */
    bool replace;
    const char *every, *rules;                              /* NULL: not given */
    const char *model_name, *query_prefix, *passage_prefix; /* NULL: not given */
    const char *shape, *weights, *kv, *device;              /* NULL: not given */
    int context, users;                                     /* 0: not given */
    const char *source, *against;                           /* of encoders; NULL: not given */
    int dims;                                               /* 0: not given */
    bool force;
    uint64_t vram; /* bytes; 0: not given */
    struct {
        const char *values[OPTION_VALUES_MAX];
        int n;
    } filters[OPTION_FILTERS];
    const char *from, *until, *as_of;       /* NULL: not given */
    int prompt, generate, threads, streams; /* model bench, eval; 0, of generate -1: not given */
    int keep;                               /* 0: not given */
    const char *folder, *head, *secret;     /* of the audit; NULL: not given */
    int count;                              /* 0: not given */
    const char *args[OPTIONS_ARGS_MAX];
    int n_args;
};

struct command {
    const char *name;
    const char *args;    /* for the usage line */
    const char *summary; /* one line */
    const char *help;    /* more, or NULL */
    uint32_t options;
    int min_args, max_args;
    enum exit_code (*run)(const struct options *o);
};

extern const struct command cmd_up, cmd_stop, cmd_status, cmd_doctor, cmd_docs, cmd_search, cmd_ask,
    cmd_config, cmd_verify, cmd_backup, cmd_restore, cmd_key, cmd_tenant, cmd_vectors, cmd_explain,
    cmd_eval, cmd_erase, cmd_hold, cmd_quarantine, cmd_queue, cmd_sources, cmd_ingest, cmd_leaktest,
    cmd_encoder, cmd_usage, cmd_limits, cmd_user, cmd_model, cmd_webhook, cmd_audit;

/* Says on stderr that the words after the command are not understood, and how they are written.
 * Returns EXIT_USAGE. */
enum exit_code command_misread(const struct command *c, const struct options *o);
/* Prints "carrel: <text>" on stderr and returns the exit code that fits the status. */
enum exit_code command_failed(const struct error *err);
/* --home, else $CARREL_HOME, else ~/.local/share/carrel; absolute. given may be NULL. */
enum status home_resolve(const char *given, char *out, size_t cap, struct error *err) MUST_CHECK;

#endif
