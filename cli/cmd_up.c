/* carrel up: prepares the home, then becomes the supervisor. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/command.h"
#include "cli/home.h"
#include "cli/net.h"
#include "cli/paths.h"
#include "cli/supervisor.h"
#include "cli/term.h"

#define SETTINGS_ARENA_MAX ((size_t)4 * 1024 * 1024)

/* Better said now, in one sentence, than by a service that dies five times. */
static enum status check_port(const struct settings *s, int port, struct error *err)
{
    int wanted = port >= 0 ? port : (int)s->http.port;

    if (net_port_is_free(s->http.listen, wanted)) {
        return STATUS_OK;
    }
    return error_set(
        err, STATUS_CONFLICT,
        "port %d of %.60s is taken by another program: choose one with --port (0 picks a free one)",
        wanted, s->http.listen);
}

static enum status become_root_free(struct supervisor_config *cfg, bool watch_is_ours,
                                    struct error *err)
{
    char web[PATH_MAX];
    const char *paths[4] = {cfg->home, cfg->bin_dir, cfg->watch};
    size_t n = 3;

    if (geteuid() != 0) {
        return STATUS_OK;
    }
    if (paths_web(web, sizeof(web))) {
        paths[n++] = web;
    }
    cfg->user = SERVICE_USER;
    return home_give_to_user(cfg->home, cfg->watch, watch_is_ours, paths, n, err);
}

static enum status prepare(struct supervisor_config *cfg, struct arena *a,
                           struct settings *settings, char *home, char *watch, int *lock_fd,
                           struct error *err)
{
    bool wrote_config = false;
    bool watch_is_ours = false;
    char absolute[PATH_MAX];
    char path[PATH_MAX];

    enum status s = home_prepare(home, &wrote_config, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (realpath(home, absolute) != NULL && strlen(absolute) <= 900) {
        (void)snprintf(home, PATH_MAX, "%s", absolute);
    }
    if (wrote_config) {
        (void)printf("new data directory %s (settings in carrel.yaml there)\n", home);
    }
    s = settings_load(home, a, settings, err);
    if (s == STATUS_OK) {
        s = home_lock(home, lock_fd, &cfg->alive_fd, err);
    }
    if (s == STATUS_OK) {
        s = check_port(settings, cfg->port, err);
    }
    if (s == STATUS_OK) {
        s = home_watch(home, settings, watch, PATH_MAX, &watch_is_ours, err);
    }
    if (s == STATUS_OK) {
        s = become_root_free(cfg, watch_is_ours, err);
    }
    if (s == STATUS_OK) {
        s = file_join(path, sizeof(path), home, "admin.key", err);
    }
    cfg->show_key = s == STATUS_OK && access(path, F_OK) != 0;
    (void)fflush(stdout);
    return s;
}

static enum exit_code run(const struct options *o)
{
    char home[PATH_MAX];
    char watch[PATH_MAX];
    char bin[PATH_MAX];
    struct arena a;
    struct settings settings;
    struct error err = {0};
    int lock_fd = -1;
    struct supervisor_config cfg = {.home = home,
                                    .bin_dir = bin,
                                    .watch = watch,
                                    .settings = &settings,
                                    .port = o->port,
                                    .alive_fd = -1,
                                    .quiet = o->quiet};

    (void)snprintf(home, sizeof(home), "%s", o->home);
    arena_init(&a, SETTINGS_ARENA_MAX);
    enum status s = paths_bin(bin, sizeof(bin), &err);
    if (s == STATUS_OK) {
        s = prepare(&cfg, &a, &settings, home, watch, &lock_fd, &err);
    }
    if (s == STATUS_OK) {
        s = supervisor_run(&cfg, &err);
    }
    arena_reset(&a);
    if (s != STATUS_OK) {
        term_complain("carrel up: %s", err.text);
        return EXIT_FAILED;
    }
    (void)printf("stopped\n"); /* the lock is let go by the process's end */
    return EXIT_OK;
}

const struct command cmd_up = {
    .name = "up",
    .args = "",
    .summary = "Start the appliance and stay with it; Ctrl-C stops it.",
    .help = "Makes the data directory at the first start, starts the services and starts again "
            "what dies.\n"
            "When all answer, run/ready.json in the data directory says where (for scripts).\n"
            "Started as root, the services run as the system user carrel.",
    .options = OPT_HOME | OPT_PORT | OPT_QUIET,
    .run = run,
};
