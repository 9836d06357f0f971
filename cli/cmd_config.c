/* carrel config check|default|reference */
#include <stdio.h>
#include <string.h>

#include "base/settings/rules.h"
#include "base/settings/settings.h"
#include "cli/command.h"
#include "cli/term.h"

#define SETTINGS_ARENA_MAX ((size_t)4 * 1024 * 1024)

static enum exit_code print(void (*write)(struct buf *))
{
    struct buf out;

    buf_init(&out, SETTINGS_ARENA_MAX);
    write(&out);
    bool ok = buf_status(&out) == STATUS_OK && fwrite(out.ptr, 1, out.len, stdout) == out.len &&
              fflush(stdout) == 0;
    buf_deinit(&out);
    return ok ? EXIT_OK : EXIT_FAILED;
}

static enum exit_code check(const struct options *o)
{
    struct arena a;
    struct settings s;
    struct error err = {0};

    arena_init(&a, SETTINGS_ARENA_MAX);
    enum status st = settings_load(o->home, &a, &s, &err);
    struct rules rules;
    bool has_rules = false;
    if (st == STATUS_OK) {
        st = rules_load(o->home, &a, &rules, &err);
        has_rules = st == STATUS_OK;
        st = st == STATUS_NOT_FOUND ? STATUS_OK : st;
    }
    arena_reset(&a);
    if (st != STATUS_OK) {
        term_complain("carrel: %s", err.text);
        return EXIT_FAILED;
    }
    (void)printf("%s/carrel.yaml is right\n", o->home);
    if (has_rules) {
        (void)printf("%s/" RULES_FILE " is right\n", o->home);
    }
    return EXIT_OK;
}

static enum exit_code run(const struct options *o)
{
    if (strcmp(o->args[0], "check") == 0) {
        return check(o);
    }
    if (strcmp(o->args[0], "default") == 0) {
        return print(settings_write_default);
    }
    if (strcmp(o->args[0], "reference") == 0) {
        return print(settings_write_reference);
    }
    (void)fprintf(stderr, "carrel config: check, default or reference, not \"%.40s\"\n",
                  o->args[0]);
    return EXIT_USAGE;
}

const struct command cmd_config = {
    .name = "config",
    .args = "check|default|reference",
    .summary = "Check the configuration, or print the default file or the reference page.",
    .options = OPT_HOME,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
