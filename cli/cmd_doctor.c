/* carrel doctor: what is wrong and how to mend it, in plain words. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/doctor.h"
#include "cli/home.h"
#include "cli/rpc_once.h"
#include "cli/supervisor_rpc.h"
#include "cli/term.h"

#define SETTINGS_ARENA_MAX ((size_t)4 * 1024 * 1024)

static const char *const verdicts[] = {
    [FINDING_OK] = "ok", [FINDING_NOTE] = "note", [FINDING_WRONG] = "wrong"};

static void take_status(const ProtobufCMessage *m, void *data)
{
    struct doctor *d = data;
    const Sv__StatusReply *r = sv_status_reply(m);

    for (size_t i = 0; r != NULL && i < r->n_services; i++) {
        const Sv__ServiceStatus *s = r->services[i];
        bool ready = strcmp(s->state, "ready") == 0;
        struct finding *f =
            doctor_add(d, "services", ready && !s->has_silent_s ? FINDING_OK : FINDING_WRONG);
        if (ready && s->has_silent_s) {
            (void)snprintf(f->text, sizeof(f->text),
                           "%s hangs: no heartbeat for %" PRIu32 " s, though its process is there",
                           s->name, s->silent_s);
            (void)snprintf(f->mend, sizeof(f->mend),
                           "after supervisor.patience it is killed and started again by itself");
            continue;
        }
        if (s->hung > 0) {
            struct finding *n = doctor_add(d, "services", FINDING_NOTE);
            (void)snprintf(n->text, sizeof(n->text),
                           "%s hung and was started again (%" PRIu32 " times): %.200s", s->name,
                           s->hung, s->last_error == NULL ? "" : s->last_error);
        }
        (void)snprintf(f->text, sizeof(f->text), "%s is %s%s%.200s", s->name, s->state,
                       s->last_error == NULL || ready ? "" : ": ",
                       s->last_error == NULL || ready ? "" : s->last_error);
        if (strcmp(s->state, "failed") == 0) {
            (void)snprintf(
                f->mend, sizeof(f->mend),
                "its lines in the output of `carrel up` say why; mend that, then `carrel stop` and "
                "`carrel up`");
        }
    }
}

static void check_services(struct doctor *d)
{
    struct error err = {0};
    Sv__StatusRequest request = SV__STATUS_REQUEST__INIT;

    if (!d->running) {
        struct finding *f = doctor_add(d, "services", FINDING_NOTE);
        (void)snprintf(f->text, sizeof(f->text), "the appliance is not running");
        (void)snprintf(f->mend, sizeof(f->mend), "`carrel up` starts it");
        return;
    }
    if (rpc_once(d->home, PEER_SUPERVISOR, &sv_status_method, NULL, 0, &request.base, take_status,
                 d, &err) != STATUS_OK) {
        struct finding *f = doctor_add(d, "services", FINDING_WRONG);
        (void)snprintf(f->text, sizeof(f->text), "the supervisor does not answer: %.250s",
                       err.text);
    }
}

static bool print_json(const struct doctor *d, bool wrong)
{
    json_t *list = json_array();

    for (size_t i = 0; i < d->n; i++) {
        const struct finding *f = &d->findings[i];
        json_t *one = json_pack("{s:s, s:s, s:s}", "area", f->area, "state", verdicts[f->verdict],
                                "text", f->text);
        if (one != NULL && f->mend[0] != '\0') {
            (void)json_object_set_new(one, "mend", json_string(f->mend));
        }
        (void)json_array_append_new(list, one);
    }
    json_t *o = json_pack("{s:b, s:o}", "ok", !wrong, "checks", list);
    bool ok = o != NULL && json_dumpf(o, stdout, JSON_INDENT(2)) == 0;
    (void)printf("\n");
    json_decref(o);
    return ok;
}

static void print_text(const struct doctor *d, size_t wrong)
{
    static const char *const paint[] = {
        [FINDING_OK] = "\x1b[32m", [FINDING_NOTE] = "\x1b[33m", [FINDING_WRONG] = "\x1b[31m"};
    bool colour = term_colour(stdout);

    for (size_t i = 0; i < d->n; i++) {
        const struct finding *f = &d->findings[i];
        (void)printf("%s%-5s%s %-9s ", colour ? paint[f->verdict] : "", verdicts[f->verdict],
                     colour ? "\x1b[0m" : "", f->area);
        term_put_clean(stdout, f->text);
        (void)printf("\n");
        if (f->mend[0] != '\0') {
            (void)printf("                -> ");
            term_put_clean(stdout, f->mend);
            (void)printf("\n");
        }
    }
    (void)printf(wrong == 0 ? "\nall is well\n" : "\n%zu wrong\n", wrong);
}

static enum exit_code run(const struct options *o)
{
    struct arena a;
    struct settings settings;
    struct error err = {0};
    struct doctor d = {.home = o->home, .running = home_is_running(o->home)};
    size_t wrong = 0;

    arena_init(&a, SETTINGS_ARENA_MAX);
    if (settings_load(o->home, &a, &settings, &err) == STATUS_OK) {
        d.settings = &settings;
    }
    struct finding *f = doctor_add(&d, "settings", d.settings == NULL ? FINDING_WRONG : FINDING_OK);
    (void)snprintf(f->text, sizeof(f->text), "%s",
                   d.settings == NULL ? err.text : "carrel.yaml is right");
    if (d.settings == NULL) {
        (void)snprintf(f->mend, sizeof(f->mend),
                       "correct that line; `carrel config check` tries again");
    }
    doctor_machine(&d);
    doctor_home(&d);
    doctor_tools(&d);
    doctor_ocr(&d);
    doctor_models(&d);
    doctor_sources(&d);
    doctor_port(&d);
    doctor_tenants(&d);
    check_services(&d);
    doctor_keys(&d, o);
    arena_reset(&a);
    for (size_t i = 0; i < d.n; i++) {
        wrong += d.findings[i].verdict == FINDING_WRONG;
    }
    bool printed = true;
    if (o->json) {
        printed = print_json(&d, wrong > 0);
    } else {
        print_text(&d, wrong);
    }
    return wrong > 0 || !printed ? EXIT_FAILED : EXIT_OK;
}

const struct command cmd_doctor = {
    .name = "doctor",
    .args = "",
    .summary = "Check machine, data directory, settings, tools, ports and services.",
    .help = "Exit code 1: something is wrong; the text says how to mend it.",
    .options = OPT_HOME | OPT_JSON,
    .run = run,
};
