/* carrel webhook: who is told what happens, what they were told, and a test. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

static void print_endpoint(const json_t *w)
{
    const json_t *events = json_object_get(w, "events");
    (void)printf("%s  %s  ", json_field(w, "id"),
                 json_is_true(json_object_get(w, "enabled")) ? "on " : "off");
    term_put_clean(stdout, json_field(w, "url"));
    for (size_t i = 0; i < json_array_size(events); i++) {
        (void)printf("%s%s", i == 0 ? "  " : ",", json_string_value(json_array_get(events, i)));
    }
    (void)printf("  %lld wait", (long long)json_integer_value(json_object_get(w, "waiting")));
    if (json_field(w, "why")[0] != '\0') {
        (void)printf("  (");
        term_put_clean(stdout, json_field(w, "why"));
        (void)printf(")");
    }
    (void)printf("\n");
    if (json_field(w, "secret")[0] != '\0') {
        (void)printf("secret: %s\n(shown this once)\n", json_field(w, "secret"));
    }
}

/* false, and "": there is none */
static bool time_of(const json_t *seconds, char out[32])
{
    time_t t = (time_t)json_integer_value(seconds);
    struct tm tm;
    out[0] = '\0';
    return json_is_integer(seconds) && localtime_r(&t, &tm) != NULL &&
           strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm) > 0;
}

static void print_delivery(const json_t *d)
{
    char at[32];
    (void)time_of(json_object_get(d, "created"), at);
    long long tries = (long long)json_integer_value(json_object_get(d, "attempts"));
    (void)printf("%s  %s  %-9s  %s  %lld %s  ", at, json_field(d, "id"), json_field(d, "state"),
                 json_field(d, "event"), tries, term_word((uint64_t)tries, "try", "tries"));
    if (json_is_integer(json_object_get(d, "status"))) {
        (void)printf("HTTP %lld  ", (long long)json_integer_value(json_object_get(d, "status")));
    }
    term_put_clean(stdout, json_field(d, "error"));
    (void)printf("\n");
}

/* "a,b" as an array. */
static json_t *list_of(const char *names)
{
    json_t *list = json_array();
    for (const char *p = names; list != NULL && *p != '\0';) {
        size_t n = strcspn(p, ",");
        if (n > 0) {
            (void)json_array_append_new(list, json_stringn(p, n));
        }
        p += n + (p[n] == ',' ? 1 : 0);
    }
    return list;
}

enum what { LIST, ADD, REMOVE, ON, OFF, TEST, LOG, SECRET, AGAIN, WHATS };

static const struct {
    const char *name;
    int n_args, n_args_max;
    const char *below; /* the address behind the endpoint's */
} whats[WHATS] = {
    [LIST] = {"list", 1, 1, ""},
    [ADD] = {"add", 3, 3, ""},
    [REMOVE] = {"remove", 2, 2, ""},
    [ON] = {"on", 2, 2, ""},
    [OFF] = {"off", 2, 2, ""},
    [TEST] = {"test", 2, 2, "/test"},
    [LOG] = {"log", 2, 2, "/deliveries"},
    [SECRET] = {"secret", 2, 3, "/secret"},
    [AGAIN] = {"again", 3, 3, "/deliveries/"},
};

static enum what what_of(const struct options *o)
{
    for (int i = 0; i < WHATS; i++) {
        if (strcmp(o->args[0], whats[i].name) == 0 && o->n_args >= whats[i].n_args &&
            o->n_args <= whats[i].n_args_max) {
            return (enum what)i;
        }
    }
    return WHATS;
}

/* -1, which the server refuses with its range, unless it is a whole number. */
static long hours_of(const char *text)
{
    char *end = NULL;
    long n = strtol(text, &end, 10);
    return text[0] == '\0' || *end != '\0' ? -1 : n;
}

static json_t *body_of(const struct options *o, enum what what)
{
    switch (what) {
    case ADD:
        return json_pack("{s:s, s:o}", "url", o->args[1], "events", list_of(o->args[2]));
    case ON:
    case OFF:
        return json_pack("{s:b}", "enabled", what == ON);
    case SECRET:
        if (o->n_args == 3) {
            return json_pack("{s:I}", "old_hours", (json_int_t)hours_of(o->args[2]));
        }
        return json_object();
    case TEST:
    case AGAIN:
        return json_object();
    case LIST:
    case REMOVE:
    case LOG:
    case WHATS:
        break;
    }
    return NULL;
}

static void print_answer(enum what what, const json_t *answer)
{
    const json_t *list = json_object_get(answer, what == LOG ? "deliveries" : "webhooks");
    if ((what == LIST || what == LOG) && json_array_size(list) == 0) {
        (void)printf(what == LOG ? "It was told nothing yet.\n"
                                 : "There are no webhooks; carrel webhook add makes one.\n");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (what == LOG) {
            print_delivery(json_array_get(list, i));
        } else {
            print_endpoint(json_array_get(list, i));
        }
    }
    if (what == ADD || what == ON || what == OFF) {
        print_endpoint(answer);
    } else if (what == TEST || what == AGAIN) {
        (void)printf("sent as %s; `carrel webhook log` says what came of it\n",
                     json_field(answer, "delivery"));
    } else if (what == SECRET) {
        char until[32];
        (void)printf("secret: %s\n(shown this once)\n", json_field(answer, "secret"));
        if (time_of(json_object_get(answer, "old_until"), until)) {
            (void)printf("Calls are signed with the one before too until %s.\n", until);
        }
    }
}

static enum exit_code run(const struct options *o)
{
    struct error err = {0};
    char path[192];
    json_t *answer = NULL;
    enum what what = what_of(o);
    bool one = what != LIST && what != ADD;
    if (what == WHATS) {
        return command_misread(&cmd_webhook, o);
    }
    (void)snprintf(path, sizeof(path), "/api/webhooks%s%.64s%s%.64s", one ? "/" : "",
                   one ? o->args[1] : "", whats[what].below, what == AGAIN ? o->args[2] : "");
    json_t *body = body_of(o, what);
    enum status s = what == REMOVE ? http_ask_delete(o, path, &answer, &err)
                                   : http_ask(o, path, body, &answer, &err);
    json_decref(body);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    if (o->json) {
        json_print(answer);
    } else {
        print_answer(what, answer);
    }
    json_decref(answer);
    return EXIT_OK;
}

const struct command cmd_webhook = {
    .name = "webhook",
    .args = "list|add|remove|on|off|test|log|again|secret [ID [DELIVERY|HOURS] | URL EVENTS]",
    .summary = "Have other systems told what happens.",
    .help =
        "webhook add URL EVENTS: calls the URL, whose origin must be in webhooks.allow, when one "
        "of the events\nhappens (document.ingested,document.failed,answer.flagged,budget.warning,"
        "budget.exceeded,job.done),\nand shows the secret that the calls are signed with, this "
        "once. test ID sends a ping, log ID shows what\nwas delivered, again ID DELIVERY delivers "
        "it once more, secret ID [HOURS] makes a new secret; the one\nbefore signs beside it for "
        "so many hours (24, 0 to 720).",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE,
    .min_args = 1,
    .max_args = 3,
    .run = run,
};
