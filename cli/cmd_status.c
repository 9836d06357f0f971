/* carrel status: each service's state, age, memory, queue and last error. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/rpc_once.h"
#include "cli/supervisor_rpc.h"
#include "cli/term.h"

struct view {
    const struct options *options;
    bool failed; /* a service is not ready */
};

static const char *or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static json_t *service_json(const Sv__ServiceStatus *s)
{
    json_t *o = json_pack("{s:s, s:s, s:i}", "name", s->name, "state", s->state, "restarts",
                          (int)s->restarts);

    if (o == NULL) {
        return NULL;
    }
    if (s->has_pid) {
        (void)json_object_set_new(o, "pid", json_integer(s->pid));
        (void)json_object_set_new(o, "up_since_ms", json_integer(s->up_since_wall_ms));
        (void)json_object_set_new(o, "memory_bytes", json_integer((json_int_t)s->memory_bytes));
    }
    (void)json_object_set_new(o, "hung", json_integer(s->hung));
    if (s->has_silent_s) {
        (void)json_object_set_new(o, "silent_s", json_integer(s->silent_s));
    }
    if (s->has_queue) {
        (void)json_object_set_new(o, "queue", json_integer(s->queue));
    }
    if (s->detail != NULL) {
        (void)json_object_set_new(o, "detail", json_string(s->detail));
    }
    if (s->last_error != NULL) {
        (void)json_object_set_new(o, "last_error", json_string(s->last_error));
        (void)json_object_set_new(o, "last_error_ms", json_integer(s->last_error_wall_ms));
    }
    return o;
}

static void print_json(const Sv__StatusReply *r)
{
    json_t *list = json_array();
    json_t *o = json_pack("{s:b, s:b, s:i, s:I, s:s, s:s}", "running", 1, "ready", (int)r->ready,
                          "pid", (int)r->pid, "up_since_ms", (json_int_t)r->up_since_wall_ms, "url",
                          or_empty(r->url), "watch", or_empty(r->watch));

    for (size_t i = 0; i < r->n_services; i++) {
        (void)json_array_append_new(list, service_json(r->services[i]));
    }
    if (o != NULL) {
        (void)json_object_set_new(o, "services", list);
        (void)json_dumpf(o, stdout, JSON_INDENT(2));
        (void)printf("\n");
    }
    json_decref(o);
}

static void print_service(const Sv__ServiceStatus *s, bool colour, int64_t now)
{
    char age[16] = "-";
    char memory[16] = "-";
    char queue[16] = "-";
    const char *paint = strcmp(s->state, "ready") == 0    ? "\x1b[32m"
                        : strcmp(s->state, "failed") == 0 ? "\x1b[31m"
                                                          : "\x1b[33m";

    if (s->has_pid) {
        term_duration(now - s->up_since_wall_ms, age);
        term_bytes(s->memory_bytes, memory);
    }
    if (s->has_queue) {
        (void)snprintf(queue, sizeof(queue), "%" PRIu32, s->queue);
    }
    (void)printf("%-12s %s%-9s%s %7" PRIu32 "  %-13s %10s %6s %9" PRIu32 "  ", s->name,
                 colour ? paint : "", s->state, colour ? "\x1b[0m" : "", s->pid, age, memory, queue,
                 s->restarts);
    term_put_clean(stdout, or_empty(s->detail));
    (void)printf("\n");
    if (s->has_silent_s) {
        (void)printf("             no heartbeat for %" PRIu32 " s\n", s->silent_s);
    }
    if (s->hung > 0) {
        (void)printf("             %" PRIu32 " of its restarts because it hung\n", s->hung);
    }
    if (s->last_error != NULL && s->last_error[0] != '\0') {
        char ago[16];
        term_duration(now - s->last_error_wall_ms, ago);
        (void)printf("             last error %s ago: ", ago);
        term_put_clean(stdout, s->last_error);
        (void)printf("\n");
    }
}

static void take(const ProtobufCMessage *m, void *data)
{
    struct view *v = data;
    const Sv__StatusReply *r = sv_status_reply(m);
    int64_t now = clock_wall_ms();
    uint64_t memory = 0;
    char total[16];

    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->n_services; i++) {
        v->failed = v->failed || strcmp(r->services[i]->state, "ready") != 0 ||
                    r->services[i]->has_silent_s;
        memory += r->services[i]->memory_bytes;
    }
    if (v->options->json) {
        print_json(r);
        return;
    }
    (void)printf("web     %s\nfolder  %s\n\n", or_empty(r->url), or_empty(r->watch));
    (void)printf("%-12s %-9s %7s  %-13s %10s %6s %9s\n", "service", "state", "process", "up",
                 "memory", "queue", "restarts");
    for (size_t i = 0; i < r->n_services; i++) {
        print_service(r->services[i], term_colour(stdout), now);
    }
    term_bytes(memory, total);
    (void)printf("\nmemory of all services %s\n", total);
}

static enum exit_code run(const struct options *o)
{
    struct error err = {0};
    struct view v = {.options = o};
    Sv__StatusRequest request = SV__STATUS_REQUEST__INIT;

    enum status s = rpc_once(o->home, PEER_SUPERVISOR, &sv_status_method, NULL, 0, &request.base,
                             take, &v, &err);
    if (s == STATUS_UNAVAILABLE && o->json) {
        (void)printf("{\"running\": false, \"ready\": false, \"services\": []}\n");
        return EXIT_NOT_RUNNING;
    }
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    return v.failed ? EXIT_FAILED : EXIT_OK;
}

const struct command cmd_status = {
    .name = "status",
    .args = "",
    .summary = "Show each service: state, age, memory, queue, last error.",
    .help = "Exit code 0: every service is ready; 1: one is not, or hangs; 3: the appliance is not "
            "running.",
    .options = OPT_HOME | OPT_JSON,
    .run = run,
};
