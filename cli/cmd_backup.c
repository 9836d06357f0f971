/* carrel backup TARGET, backup list TARGET, backup check TARGET */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/backup.h"
#include "cli/command.h"
#include "cli/term.h"

static void dump(json_t *j)
{
    if (j != NULL) {
        (void)json_dumpf(j, stdout, JSON_COMPACT);
        (void)printf("\n");
    }
    json_decref(j);
}

static enum exit_code take(const struct options *o)
{
    struct error err = {0};
    struct backup_result r;
    const struct backup_wish w = {.home = o->home,
                                  .target = o->args[0],
                                  .key_file = o->key_file,
                                  .tenant = o->tenant,
                                  .with_watch = o->with_watch,
                                  .with_models = o->with_models,
                                  .keep = o->keep,
                                  .progress = !o->json && isatty(STDERR_FILENO) == 1};
    int64_t began = clock_monotonic_ms();
    if (backup_take(&w, &r, &err) != STATUS_OK) {
        return command_failed(&err);
    }
    int64_t ms = clock_monotonic_ms() - began;
    if (o->json) {
        dump(json_pack("{s:s,s:i,s:i,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "backup", r.id,
                       "tenants", (int)r.tenants, "models", (int)r.models, "model_files",
                       o->with_models ? 1 : 0, "files", (json_int_t)r.files, "bytes",
                       (json_int_t)r.bytes, "new_pieces", (json_int_t)r.new_pieces, "stored_bytes",
                       (json_int_t)r.stored_bytes, "removed_backups", (json_int_t)r.removed_backups,
                       "removed_pieces", (json_int_t)r.removed_pieces, "freed_bytes",
                       (json_int_t)r.freed_bytes, "ms", (json_int_t)ms));
        return EXIT_OK;
    }
    char all[16];
    char stored[16];
    char freed[16];
    term_bytes(r.bytes, all);
    term_bytes(r.stored_bytes, stored);
    term_bytes(r.freed_bytes, freed);
    (void)printf("backup %s: %" PRIu64 " %s, %s, of which %s new, in %" PRId64 ".%" PRId64 " s\n",
                 r.id, r.files, term_word(r.files, "file", "files"), all, stored, ms / 1000,
                 ms % 1000 / 100);
    if (r.models > 0 && !o->with_models) {
        (void)printf("%u %s named and not copied (--models copies)\n", r.models,
                     term_word(r.models, "model is", "models are"));
    }
    if (r.removed_backups > 0) {
        (void)printf("%" PRIu64 " older %s removed, %s freed\n", r.removed_backups,
                     term_word(r.removed_backups, "one", "ones"), freed);
    }
    return EXIT_OK;
}

static enum exit_code list(const struct options *o, struct vault *v)
{
    struct error err = {0};
    char **ids = NULL;
    size_t n = 0;
    json_t *all = json_array();
    enum status s = vault_books(v, &ids, &n, &err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        struct backup_summary b;
        char bytes[16];
        char when[25];
        s = backup_describe(v, ids[i], &b, &err);
        if (s != STATUS_OK) {
            break;
        }
        term_bytes(b.bytes, bytes);
        clock_format_utc(b.taken_wall_ms, when);
        if (o->json) {
            (void)json_array_append_new(all, json_pack("{s:s,s:I,s:b,s:s,s:I,s:I}", "backup", b.id,
                                                       "taken_wall_ms", (json_int_t)b.taken_wall_ms,
                                                       "whole", b.whole ? 1 : 0, "tenants",
                                                       b.tenants, "files", (json_int_t)b.files,
                                                       "bytes", (json_int_t)b.bytes));
        } else {
            (void)printf("%s  %.19s  %8" PRIu64 " %-5s  %10s  %s%s\n", b.id, when, b.files,
                         term_word(b.files, "file", "files"), bytes, b.whole ? "" : "only ",
                         b.tenants);
        }
    }
    vault_books_free(ids, n);
    if (s == STATUS_OK && o->json) {
        dump(json_incref(all));
    }
    json_decref(all);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    return n == 0 ? EXIT_NOTHING : EXIT_OK;
}

static void say(const char *what, void *data)
{
    if (data != NULL) {
        (void)json_array_append_new(data, json_string(what));
    } else {
        term_put_clean(stdout, what);
        (void)printf("\n");
    }
}

static enum exit_code check(const struct options *o, struct vault *v)
{
    struct error err = {0};
    uint64_t pieces = 0;
    uint64_t found = 0;
    json_t *bad = o->json ? json_array() : NULL;
    enum status s =
        backup_check(v, !o->json && isatty(STDERR_FILENO) == 1, say, bad, &pieces, &found, &err);
    if (s == STATUS_OK && o->json) {
        dump(json_pack("{s:I,s:I,s:O}", "pieces", (json_int_t)pieces, "problems", (json_int_t)found,
                       "problem", bad));
    } else if (s == STATUS_OK) {
        (void)printf("%" PRIu64 " %s read: %s\n", pieces, term_word(pieces, "piece", "pieces"),
                     found == 0 ? "all are sound"
                                : "some are damaged; make a new backup elsewhere");
    }
    json_decref(bad);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    return found == 0 ? EXIT_OK : EXIT_FAILED;
}

static enum exit_code run(const struct options *o)
{
    if (o->n_args == 1) {
        return take(o);
    }
    bool lists = strcmp(o->args[0], "list") == 0;
    if (!lists && strcmp(o->args[0], "check") != 0) {
        (void)fprintf(stderr, "carrel backup: \"%.40s\" is not understood; list or check?\n",
                      o->args[0]);
        return EXIT_USAGE;
    }
    struct error err = {0};
    struct vault *v = NULL;
    if (vault_open(o->args[1], o->key_file, false, false, &v, &err) != STATUS_OK) {
        return command_failed(&err);
    }
    enum exit_code code = lists ? list(o, v) : check(o, v);
    vault_close(v);
    return code;
}

const struct command cmd_backup = {
    .name = "backup",
    .args = "[list|check] TARGET",
    .summary = "Copy everything into a folder of backups while serving; list or check them.",
    .help = "TARGET is a folder on another disk. What is there already is not copied again. With a "
            "key, the backup is\nencrypted (make one: head -c 32 /dev/urandom | base64 > FILE; "
            "without it nothing can be restored).\nThe watched folder's other files come along "
            "with --with-watch; documents always do.\nModels that are in use are named with their "
            "sums; "
            "--models copies their files too.\n`backup check` reads every byte; exit code 1 "
            "when something is damaged.",
    .options = OPT_HOME | OPT_JSON | OPT_BACKUP_KEY | OPT_TENANT | OPT_WITH_WATCH | OPT_KEEP,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
