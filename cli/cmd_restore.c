/* carrel restore SOURCE */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/backup.h"
#include "cli/command.h"
#include "cli/term.h"

/* By name and sum, and what brings each back. */
static void tell_models(const json_t *missing)
{
    size_t i;
    json_t *m;
    json_array_foreach(missing, i, m)
    {
        char bytes[16];
        term_bytes((uint64_t)json_integer_value(json_object_get(m, "bytes")), bytes);
        (void)printf("model %s is not here (%s, sha256 %s); import the file again:\n  %s\n",
                     json_string_value(json_object_get(m, "name")), bytes,
                     json_string_value(json_object_get(m, "sha256")),
                     json_string_value(json_object_get(m, "import")));
    }
}

static enum exit_code run(const struct options *o)
{
    struct error err = {0};
    struct restore_result r;
    char into[4096];
    const struct restore_wish w = {.source = o->args[0],
                                   .home = into,
                                   .key_file = o->key_file,
                                   .id = o->backup,
                                   .tenant = o->tenant,
                                   .as = o->as,
                                   .progress = !o->json && isatty(STDERR_FILENO) == 1};
    if (o->as != NULL && o->tenant == NULL) {
        (void)fprintf(stderr, "carrel restore: --as names a tenant anew: say which by --tenant\n");
        return EXIT_USAGE;
    }
    enum status s = home_resolve(o->into == NULL ? o->home : o->into, into, sizeof into, &err);
    if (s == STATUS_OK) {
        s = backup_give(&w, &r, &err);
    }
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    if (o->json) {
        json_t *j = json_pack("{s:s,s:s,s:I,s:I,s:b,s:O?}", "backup", r.id, "into", into, "files",
                              (json_int_t)r.files, "bytes", (json_int_t)r.bytes, "files_skipped",
                              r.files_skipped ? 1 : 0, "missing_models", r.missing);
        if (j != NULL) {
            (void)json_dumpf(j, stdout, JSON_COMPACT);
            (void)printf("\n");
        }
        json_decref(j);
        json_decref(r.missing);
        return EXIT_OK;
    }
    char bytes[16];
    term_bytes(r.bytes, bytes);
    (void)printf("backup %s restored into %s: %" PRIu64 " %s, %s\n", r.id, into, r.files,
                 term_word(r.files, "file", "files"), bytes);
    if (r.files_skipped) {
        (void)printf("ingest.watch_dir lies elsewhere: the documents' files there were not made; "
                     "put them back before starting, or set ingest.watch_dir to \"\"\n");
    }
    tell_models(r.missing);
    json_decref(r.missing);
    return EXIT_OK;
}

const struct command cmd_restore = {
    .name = "restore",
    .args = "SOURCE",
    .summary = "Give a backup back: everything into an empty folder, or one tenant.",
    .help = "Without --tenant the folder must be empty or missing and nothing may run on it; "
            "`carrel up` starts it.\nA tenant may come into a running appliance, under another "
            "name with --as.\nModels that "
            "were needed and are not in the backup (backup --models) are told, with their sums and "
            "how to import them.",
    .options = OPT_HOME | OPT_JSON | OPT_BACKUP_KEY | OPT_TENANT | OPT_INTO | OPT_AS | OPT_BACKUP,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
