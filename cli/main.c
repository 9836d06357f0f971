/* The `carrel` command: finds the subcommand's row and runs it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/options.h"
#include "cli/term.h"

static const struct command *const commands[] = {
    &cmd_up,    &cmd_stop,       &cmd_status,  &cmd_doctor,  &cmd_docs,    &cmd_search,
    &cmd_ask,   &cmd_config,     &cmd_verify,  &cmd_explain, &cmd_eval,    &cmd_key,
    &cmd_user,  &cmd_tenant,     &cmd_backup,  &cmd_restore, &cmd_vectors, &cmd_erase,
    &cmd_hold,  &cmd_quarantine, &cmd_queue,   &cmd_sources, &cmd_ingest,  &cmd_leaktest,
    &cmd_usage, &cmd_limits,     &cmd_encoder, &cmd_model,   &cmd_webhook, &cmd_audit};
#define COMMANDS_N (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
    (void)fprintf(
        to,
        "usage: carrel COMMAND [options]\n\n"
        "A private appliance that answers questions from your own documents, with citations.\n\n");
    for (size_t i = 0; i < COMMANDS_N; i++) {
        (void)fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    }
    (void)fprintf(
        to, "\n`carrel COMMAND --help` says more. Exit codes: 0 done, 1 failed, 2 not understood,\n"
            "3 the appliance is not running, 4 nothing found.\n");
}

enum exit_code command_failed(const struct error *err)
{
    term_complain("carrel: %s", err->text[0] == '\0' ? status_text(err->code) : err->text);
    return err->code == STATUS_UNAVAILABLE ? EXIT_NOT_RUNNING
           : err->code == STATUS_NOT_FOUND ? EXIT_NOTHING
                                           : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct options o;

    (void)signal(SIGPIPE, SIG_IGN);
    log_init("carrel", LOG_LEVEL_WARN);
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("carrel %s (%s)\n", CARREL_VERSION, CARREL_BUILD);
        return EXIT_OK;
    }
    for (size_t i = 0; i < COMMANDS_N; i++) {
        if (strcmp(argv[1], commands[i]->name) == 0) {
            switch (options_parse(commands[i], argc - 1, argv + 1, &o)) {
            case OPTIONS_OK:
                return (int)commands[i]->run(&o);
            case OPTIONS_HELP:
                options_usage(commands[i], stdout);
                return EXIT_OK;
            case OPTIONS_WRONG:
                return EXIT_USAGE;
            }
        }
    }
    term_complain("carrel: there is no command \"%.40s\"; `carrel --help` lists them", argv[1]);
    return EXIT_USAGE;
}
