/* carrel docs: every file and its state; with --watch, a progress bar until all is read. carrel
 * docs versions ID: what is kept of a document's past. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

#define POLL_NS 300000000L

struct counts {
    uint64_t queued, working, ready, failed;
};

static void count(const json_t *list, struct counts *c)
{
    *c = (struct counts){0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *state = json_field(json_array_get(list, i), "state");
        c->queued += strcmp(state, "queued") == 0;
        c->working += strcmp(state, "working") == 0;
        c->ready += strcmp(state, "ready") == 0;
        c->failed += strcmp(state, "failed") == 0;
    }
}

/* At most `width` characters, filled up with spaces. */
static void put_column(const char *text, size_t width)
{
    char cut[200];
    size_t n = 0, points = 0;
    while (text[n] != '\0' && n + 5 < sizeof cut) {
        bool begins = ((unsigned char)text[n] & 0xC0U) != 0x80U;
        if (begins && points == width) {
            break;
        }
        points += begins;
        cut[n] = text[n];
        n++;
    }
    cut[n] = '\0';
    term_put_clean(stdout, cut);
    (void)printf("%*s", (int)(width > points ? width - points : 0), "");
}

static void print_said(const json_t *d)
{
    const char *path = json_field(d, "path");
    const char *title = json_field(d, "title");
    const char *slash = strrchr(path, '/');
    json_int_t pages = json_integer_value(json_object_get(d, "pages"));
    if (pages > 0) {
        (void)printf("%6" JSON_INTEGER_FORMAT "  ", pages);
    } else {
        (void)printf("%6s  ", "");
    }
    (void)printf("%-10s  %-4s  ", json_field(d, "date"), json_field(d, "language"));
    put_column(json_field(d, "author"), 24);
    (void)printf("  ");
    term_put_clean(stdout, path);
    if (title[0] != '\0' && strcmp(title, slash == NULL ? path : slash + 1) != 0) {
        (void)printf("  ");
        term_put_clean(stdout, title);
    }
}

static void print(const json_t *list)
{
    bool colour = term_colour(stdout);
    struct counts c;

    (void)printf("%-8s %7s %6s  %-10s  %-4s  %-24s  %s\n", "state", "chunks", "pages", "date",
                 "lang", "author", "file, title");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *d = json_array_get(list, i);
        const char *state = json_field(d, "state");
        const char *paint = strcmp(state, "ready") == 0    ? "\x1b[32m"
                            : strcmp(state, "failed") == 0 ? "\x1b[31m"
                                                           : "\x1b[33m";
        (void)printf("%s%-8s%s %7" JSON_INTEGER_FORMAT " ", colour ? paint : "", state,
                     colour ? "\x1b[0m" : "", json_integer_value(json_object_get(d, "chunks")));
        print_said(d);
        const char *why = json_field(d, json_field(d, "error")[0] != '\0' ? "error" : "note");
        if (why[0] != '\0') {
            (void)printf("  (");
            term_put_clean(stdout, why);
            (void)printf(")");
        }
        (void)printf("\n");
    }
    count(list, &c);
    (void)printf("\n%" PRIu64 " ready, %" PRIu64 " waiting, %" PRIu64 " failed\n", c.ready,
                 c.queued + c.working, c.failed);
}

/* Asks until nothing waits; the last answer is the caller's. */
static enum status follow(const struct http *h, json_t **out, struct error *err)
{
    struct counts c;

    for (;;) {
        enum status s = http_json(h, "/api/documents", NULL, out, err);
        if (s != STATUS_OK) {
            term_progress_end(stderr);
            return s;
        }
        count(json_object_get(*out, "documents"), &c);
        if (c.queued + c.working == 0) {
            term_progress_end(stderr);
            return STATUS_OK;
        }
        term_progress(stderr, c.ready + c.failed, c.ready + c.failed + c.queued + c.working,
                      c.failed == 0 ? "" : "(some failed)");
        json_decref(*out);
        *out = NULL;
        (void)nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    }
}

static void print_time(const json_t *seconds)
{
    char text[32] = "now";
    time_t t = (time_t)json_integer_value(seconds);
    struct tm utc;

    if (seconds != NULL && gmtime_r(&t, &utc) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%SZ", &utc);
    }
    (void)printf("%-21s", text);
}

static enum exit_code versions(const struct options *o)
{
    struct error err = {0};
    json_t *answer = NULL;
    char path[160];

    if (strcmp(o->args[0], "versions") != 0 || o->n_args != 2 ||
        strcspn(o->args[1], "/?#% ") != strlen(o->args[1])) {
        (void)fprintf(stderr, "carrel docs: nothing, or: versions ID\n");
        return EXIT_USAGE;
    }
    (void)snprintf(path, sizeof(path), "/api/documents/%.100s/versions", o->args[1]);
    enum status s = http_ask(o, path, NULL, &answer, &err);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    const json_t *list = json_object_get(answer, "versions");
    for (size_t i = 0; !o->json && i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        print_time(json_object_get(v, "from"));
        print_time(json_object_get(v, "until"));
        (void)printf("%-9s", json_is_true(json_object_get(v, "stored")) ? "kept" : "");
        term_put_clean(stdout, json_field(v, "path"));
        (void)printf("\n");
    }
    if (o->json) {
        json_print(answer);
    }
    bool none = json_array_size(list) == 0;
    json_decref(answer);
    return none ? EXIT_NOTHING : EXIT_OK;
}

static enum exit_code run(const struct options *o)
{
    if (o->n_args > 0) {
        return versions(o);
    }
    struct http h;
    struct error err = {0};
    struct counts c = {0};
    json_t *answer = NULL;

    enum status s = http_open(o, &h, &err);
    if (s == STATUS_OK) {
        s = o->watch ? follow(&h, &answer, &err)
                     : http_json(&h, "/api/documents", NULL, &answer, &err);
    }
    explicit_bzero(h.key, sizeof(h.key));
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    const json_t *list = json_object_get(answer, "documents");
    count(list, &c);
    if (o->json) {
        json_print(answer);
    } else if (json_array_size(list) == 0) {
        (void)printf(
            "no documents yet: put some into the watched folder (`carrel status` names it)\n");
    } else {
        print(list);
    }
    bool none = json_array_size(list) == 0;
    json_decref(answer);
    return none ? EXIT_NOTHING : o->watch && c.failed > 0 ? EXIT_FAILED : EXIT_OK;
}

const struct command cmd_docs = {
    .name = "docs",
    .args = "[versions ID]",
    .summary = "List the documents and their states, or the versions kept of one.",
    .help = "Exit code 4: there are none; with --watch, 1: some failed.",
    .max_args = 2,
    .options = OPT_HOME | OPT_JSON | OPT_WATCH | OPT_KEY_FILE,
    .run = run,
};
