/* carrel queue: what waits to be read, how fast it goes and when it will be done; pause and resume.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

#define POLL_NS 500000000L

static uint64_t number(const json_t *o, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(o, key));

    return n < 0 ? 0 : (uint64_t)n;
}

static uint64_t waiting(const json_t *p)
{
    return number(p, "queued") + number(p, "working");
}

/* "3.2 files a second, 4 min left" */
static void pace(const json_t *p, char out[96])
{
    double files = json_number_value(json_object_get(p, "files_per_second"));
    char left[16] = "";

    out[0] = '\0';
    if (json_object_get(p, "seconds_left") != NULL) {
        term_duration((int64_t)number(p, "seconds_left") * 1000, left);
    }
    if (files > 0) {
        (void)snprintf(out, 96, "%.1f files a second%s%s%s", files, left[0] != '\0' ? ", " : "",
                       left, left[0] != '\0' ? " left" : "");
    }
}

static void print(const json_t *p)
{
    char bytes[16], text[96];

    term_bytes(number(p, "waiting_bytes"), bytes);
    pace(p, text);
    (void)printf("waiting  %" PRIu64 " %s (%s)%s\n", waiting(p),
                 term_word(waiting(p), "file", "files"), bytes,
                 json_is_true(json_object_get(p, "paused")) ? ", paused" : "");
    (void)printf("ready    %" PRIu64 " %s, %" PRIu64 " %s, %" PRIu64 " %s\n", number(p, "ready"),
                 term_word(number(p, "ready"), "file", "files"), number(p, "pages"),
                 term_word(number(p, "pages"), "page", "pages"), number(p, "chunks"),
                 term_word(number(p, "chunks"), "chunk", "chunks"));
    (void)printf("failed   %" PRIu64 " %s\n", number(p, "failed"),
                 term_word(number(p, "failed"), "file", "files"));
    term_bytes(number(p, "bytes"), bytes);
    if (json_object_get(p, "quota_bytes") != NULL) {
        char most[16];
        term_bytes(number(p, "quota_bytes"), most);
        (void)printf("room     %s of %s taken", bytes, most);
        if (number(p, "without_room") > 0) {
            (void)printf(", %" PRIu64 " %s for room", number(p, "without_room"),
                         term_word(number(p, "without_room"), "file waits", "files wait"));
        }
        (void)printf("\n");
    }
    if (waiting(p) > 0 && text[0] != '\0') {
        (void)printf("pace     %s\n", text);
    }
    if (number(p, "recut_left") > 0) {
        (void)printf("recut    %" PRIu64 " %s still to be cut anew\n", number(p, "recut_left"),
                     term_word(number(p, "recut_left"), "file is", "files are"));
    }
    if (json_field(p, "doing")[0] != '\0') {
        (void)printf("now      ");
        term_put_clean(stdout, json_field(p, "doing"));
        (void)printf("\n");
    }
}

/* Asks until nothing waits; the last answer is the caller's. */
static enum status follow(const struct http *h, json_t **out, struct error *err)
{
    for (;;) {
        enum status s = http_json(h, "/api/progress", NULL, out, err);
        if (s != STATUS_OK || waiting(*out) == 0) {
            term_progress_end(stderr);
            return s;
        }
        char text[96];
        uint64_t ended = number(*out, "ready") + number(*out, "failed");
        pace(*out, text);
        term_progress(stderr, ended, ended + waiting(*out),
                      json_is_true(json_object_get(*out, "paused")) ? "paused" : text);
        json_decref(*out);
        *out = NULL;
        (void)nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    }
}

static enum exit_code run(const struct options *o)
{
    struct http h;
    struct error err = {0};
    json_t *answer = NULL;
    json_t *body = NULL;
    const char *what = o->n_args > 0 ? o->args[0] : "";
    bool pause = strcmp(what, "pause") == 0;

    if (what[0] != '\0' && !pause && strcmp(what, "resume") != 0) {
        (void)fprintf(stderr, "carrel queue: nothing, pause or resume\n");
        return EXIT_USAGE;
    }
    enum status s = http_open(o, &h, &err);
    if (s == STATUS_OK && what[0] != '\0') {
        body = json_pack("{s:b}", "paused", pause);
        s = http_json(&h, "/api/progress", body, &answer, &err);
        json_decref(body);
        json_decref(answer);
        answer = NULL;
    }
    if (s == STATUS_OK) {
        s = o->watch ? follow(&h, &answer, &err)
                     : http_json(&h, "/api/progress", NULL, &answer, &err);
    }
    explicit_bzero(h.key, sizeof(h.key));
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    if (o->json) {
        json_print(answer);
    } else {
        print(answer);
    }
    json_decref(answer);
    return EXIT_OK;
}

const struct command cmd_queue = {
    .name = "queue",
    .args = "[pause|resume]",
    .summary = "Show what waits to be read and when it will be done; pause or resume reading.",
    .help =
        "While paused nothing new is read: what is deleted or moved, and rights, take effect all "
        "the\nsame. It stays paused over restarts. ingest.backlog_hours in carrel.yaml keeps "
        "heavy work\nfor hours of the night.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_WATCH,
    .min_args = 0,
    .max_args = 1,
    .run = run,
};
