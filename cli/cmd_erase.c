/* carrel erase: documents go for good, after showing what would go; the certificate is printed, and
 * can be checked without an appliance. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/sign.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/subject.h"
#include "cli/term.h"

#define POLL_NS 300000000L
#define SHOWN_MAX 50
#define CERTIFICATE_MAX ((size_t)64 * 1024 * 1024)

/* ---- what would go ---- */

static void print_documents(FILE *to, const json_t *list)
{
    size_t n = json_array_size(list);

    for (size_t i = 0; i < n && i < SHOWN_MAX; i++) {
        const json_t *d = json_array_get(list, i);
        size_t copies = json_array_size(json_object_get(d, "copies"));
        (void)fprintf(to, "  %s  ", json_field(d, "id"));
        term_put_clean(to, json_field(d, "path"));
        if (copies > 0) {
            (void)fprintf(to, "  (the same content lies under %zu other %s)", copies,
                          term_word(copies, "path", "paths"));
        }
        (void)fprintf(to, "\n");
    }
    if (n > SHOWN_MAX) {
        (void)fprintf(to, "  and %zu more\n", n - SHOWN_MAX);
    }
}

static json_t *request_body(const struct options *o, struct error *err)
{
    json_t *body = json_pack("{s:b}", "dry_run", 1);
    enum status s = STATUS_OK;

    if (body != NULL && o->document != NULL) {
        (void)json_object_set_new(body, "documents", json_pack("[s]", o->document));
    }
    if (body != NULL && o->path != NULL) {
        s = json_object_set_new(body, "path", json_string(o->path)) == 0
                ? STATUS_OK
                : error_set(err, STATUS_INVALID, "the path is not UTF-8");
    }
    if (body != NULL && (o->all_copies || o->keep_copies)) {
        (void)json_object_set_new(body, "copies", json_string(o->all_copies ? "erase" : "keep"));
    }
    if (body == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    } else if (s == STATUS_OK && subject_given(o)) {
        s = subject_ask(o, body, err);
    }
    if (s != STATUS_OK) {
        json_decref(body);
        body = NULL;
    }
    return body;
}

/* The list as it stood when it was shown is what is erased, whatever comes into the folder
 * meanwhile; with a data subject the appliance refuses when it has changed. */
static void fix_list(json_t *body, const json_t *list)
{
    json_t *ids = json_array();

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *d = json_array_get(list, i);
        if (!json_is_true(json_object_get(d, "in_trash"))) {
            (void)json_array_append(ids, json_object_get(d, "id"));
        }
    }
    (void)json_object_del(body, "dry_run");
    (void)json_object_del(body, "path");
    (void)json_object_set_new(body, "documents", ids);
}

static bool confirmed(const struct options *o, size_t n)
{
    char line[32] = "";

    if (o->yes) {
        return true;
    }
    if (isatty(STDIN_FILENO) != 1) {
        (void)fprintf(stderr, "carrel erase: nobody is there to confirm it: say --yes\n");
        return false;
    }
    (void)fprintf(stderr, "Erase %zu %s for good? Type \"erase\": ", n,
                  term_word(n, "document", "documents"));
    return fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "erase\n") == 0;
}

/* ---- waiting for it ---- */

static enum status follow(const struct http *h, const char *id, bool quiet, json_t **out,
                          struct error *err)
{
    char path[64];
    char last[256] = "";

    (void)snprintf(path, sizeof(path), "/api/erasures/%.26s", id);
    for (;;) {
        enum status s = http_json(h, path, NULL, out, err);
        if (s != STATUS_OK || strcmp(json_field(*out, "state"), "done") == 0) {
            return s;
        }
        char now[256];
        (void)snprintf(now, sizeof(now), "%s%s%.180s", json_field(*out, "step"),
                       json_field(*out, "error")[0] == '\0' ? "" : ": ", json_field(*out, "error"));
        if (!quiet && strcmp(now, last) != 0) {
            term_complain("%s", now);
            memcpy(last, now, sizeof(last));
        }
        json_decref(*out);
        *out = NULL;
        (void)nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    }
}

static enum exit_code finished(const json_t *erasure)
{
    const json_t *certificate = json_object_get(erasure, "certificate");
    const json_t *scan =
        json_object_get(json_object_get(certificate, "certificate"), "verification");

    json_print(certificate);
    if (json_array_size(json_object_get(scan, "found_in")) > 0) {
        (void)fprintf(stderr, "carrel erase: something is left; the certificate says where\n");
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

static enum exit_code erase(const struct options *o)
{
    struct http h;
    struct error err = {0};
    json_t *shown = NULL;
    json_t *begun = NULL;
    json_t *end = NULL;
    json_t *body = request_body(o, &err);
    enum exit_code code = EXIT_OK;
    bool go = false;

    enum status s = body == NULL ? err.code : http_open(o, &h, &err);
    if (s == STATUS_OK) {
        s = http_json(&h, "/api/erasures", body, &shown, &err);
    }
    const json_t *list = json_object_get(shown, "documents");
    if (s == STATUS_OK && o->dry_run && o->json) {
        json_print(shown);
    } else if (s == STATUS_OK && subject_given(o)) {
        subject_print(o->dry_run ? stdout : stderr, shown);
    } else if (s == STATUS_OK) {
        print_documents(o->dry_run ? stdout : stderr, list);
    }
    if (s == STATUS_OK && subject_given(o) && json_array_size(list) == 0 &&
        json_integer_value(json_object_get(shown, "answers")) == 0) {
        code = EXIT_NOTHING;
    }
    if (s == STATUS_OK && !o->dry_run && code == EXIT_OK) {
        go = confirmed(o, json_array_size(list));
        code = go ? EXIT_OK : EXIT_USAGE;
    }
    if (go) {
        fix_list(body, list);
        s = http_json(&h, "/api/erasures", body, &begun, &err);
    }
    if (go && s == STATUS_OK) {
        s = follow(&h, json_field(begun, "id"), o->json, &end, &err);
    }
    if (go && s == STATUS_OK) {
        code = finished(end);
    }
    explicit_bzero(h.key, sizeof(h.key));
    json_decref(body);
    json_decref(shown);
    json_decref(begun);
    json_decref(end);
    return s == STATUS_OK ? code : command_failed(&err);
}

/* ---- looking back ---- */

static enum exit_code ask(const struct options *o, const char *path, const json_t *body,
                          enum exit_code (*print)(const struct options *o, const json_t *answer))
{
    struct error err = {0};
    json_t *answer = NULL;

    enum status s = http_ask(o, path, body, &answer, &err);
    enum exit_code code = s == STATUS_OK ? print(o, answer) : command_failed(&err);
    json_decref(answer);
    return code;
}

static enum exit_code print_list(const struct options *o, const json_t *answer)
{
    const json_t *list = json_object_get(answer, "erasures");

    if (o->json) {
        json_print(answer);
        return EXIT_OK;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        time_t at = (time_t)json_integer_value(json_object_get(e, "requested"));
        struct tm tm;
        char when[32] = "";
        if (gmtime_r(&at, &tm) != NULL) {
            (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
        }
        (void)printf("%s  %s  %s%s", json_field(e, "id"), when, json_field(e, "step"),
                     json_field(e, "error")[0] == '\0' ? "" : ": ");
        term_put_clean(stdout, json_field(e, "error"));
        (void)printf("\n");
    }
    return json_array_size(list) == 0 ? EXIT_NOTHING : EXIT_OK;
}

static enum exit_code print_one(const struct options *o, const json_t *answer)
{
    const json_t *certificate = json_object_get(answer, "certificate");

    (void)o;
    json_print(certificate == NULL ? answer : certificate);
    return certificate == NULL ? EXIT_NOTHING : EXIT_OK;
}

static enum exit_code print_allowed(const struct options *o, const json_t *answer)
{
    json_int_t n = json_integer_value(json_object_get(answer, "contents"));

    if (o->json) {
        json_print(answer);
    } else {
        (void)printf("%" JSON_INTEGER_FORMAT " contents may be put into the watched folder again\n",
                     n);
    }
    return EXIT_OK;
}

/* ---- without an appliance ---- */

static enum status public_key(const struct options *o, char out[2 * SIGN_PUBLIC_BYTES + 1],
                              struct error *err)
{
    char path[4200];
    struct buf b;

    (void)snprintf(path, sizeof(path), "%s/system/signing.pub", o->home);
    buf_init(&b, 256);
    enum status s = file_read(path, &b, err);
    if (s == STATUS_NOT_FOUND) {
        s = error_set(err, s, "%.200s: not there yet; the first erasure makes it", path);
    } else if (s == STATUS_OK && b.len < 2 * (size_t)SIGN_PUBLIC_BYTES) {
        s = error_set(err, STATUS_CORRUPT, "%.200s: holds no key", path);
    }
    if (s == STATUS_OK) {
        memcpy(out, b.ptr, 2 * (size_t)SIGN_PUBLIC_BYTES);
        out[2 * SIGN_PUBLIC_BYTES] = '\0';
    }
    buf_deinit(&b);
    return s;
}

static enum exit_code print_public_key(const struct options *o)
{
    char hex[2 * SIGN_PUBLIC_BYTES + 1];
    struct error err = {0};

    if (public_key(o, hex, &err) != STATUS_OK) {
        return command_failed(&err);
    }
    (void)printf("%s\n", hex);
    return EXIT_OK;
}

/* The signature is over the compact form with sorted keys (ingest/certificate.c). */
static bool signature_holds(const json_t *whole)
{
    uint8_t public[SIGN_PUBLIC_BYTES];
    uint8_t signature[SIGN_BYTES];
    const json_t *what = json_object_get(whole, "certificate");
    char *text = what == NULL ? NULL : json_dumps(what, JSON_COMPACT | JSON_SORT_KEYS);
    bool holds = text != NULL &&
                 hex_decode(json_field(whole, "public_key"), public, sizeof(public)) &&
                 hex_decode(json_field(whole, "signature"), signature, sizeof(signature)) &&
                 sign_check(public, text, strlen(text), signature);

    free(text);
    return holds;
}

static enum exit_code verify(const struct options *o, const char *path)
{
    json_error_t why;
    struct error err = {0};
    char ours[2 * SIGN_PUBLIC_BYTES + 1] = "";
    json_t *whole = json_load_file(path, JSON_REJECT_DUPLICATES, &why);

    if (whole == NULL) {
        (void)error_set(&err, STATUS_INVALID, "%.200s: is no certificate: %s", path, why.text);
        return command_failed(&err);
    }
    bool holds = signature_holds(whole);
    const json_t *what = json_object_get(whole, "certificate");
    const char *expected = o->public_key;
    if (expected == NULL && public_key(o, ours, &err) == STATUS_OK) {
        expected = ours;
    }
    bool known = expected != NULL && strcmp(expected, json_field(whole, "public_key")) == 0;
    if (!holds) {
        (void)printf("the signature does not hold: the certificate was changed\n");
    } else if (!known) {
        (void)printf("the signature holds, but by a key that is not %s\n",
                     expected == NULL ? "known here (say --public-key)" : "the expected one");
    } else {
        (void)printf(
            "the signature holds: erasure %s, %zu %s, finished %s, %s\n",
            json_field(what, "erasure"), json_array_size(json_object_get(what, "documents")),
            term_word(json_array_size(json_object_get(what, "documents")), "document", "documents"),
            json_field(what, "finished"),
            json_field(json_object_get(what, "verification"), "result"));
    }
    json_decref(whole);
    return holds && known ? EXIT_OK : EXIT_FAILED;
}

/* ---- */

static enum exit_code run_word(const struct options *o)
{
    const char *word = o->args[0];
    const char *id = o->n_args > 1 ? o->args[1] : "";
    char path[96];

    if (strcmp(word, "list") == 0 && o->n_args == 1) {
        return ask(o, "/api/erasures", NULL, print_list);
    }
    if (strcmp(word, "public-key") == 0 && o->n_args == 1) {
        return print_public_key(o);
    }
    if (strcmp(word, "verify") == 0 && o->n_args == 2) {
        return verify(o, id);
    }
    if (strcmp(word, "show") == 0 && o->n_args == 2) {
        (void)snprintf(path, sizeof(path), "/api/erasures/%.64s", id);
        return ask(o, path, NULL, print_one);
    }
    if (strcmp(word, "allow") == 0 && o->n_args == 2) {
        json_t *none = json_object();
        (void)snprintf(path, sizeof(path), "/api/erasures/%.64s/allow", id);
        enum exit_code code = ask(o, path, none, print_allowed);
        json_decref(none);
        return code;
    }
    (void)fprintf(stderr, "carrel erase: \"%.40s\" is not understood; see `carrel erase --help`\n",
                  word);
    return EXIT_USAGE;
}

static enum exit_code run(const struct options *o)
{
    int ways = (o->document != NULL) + (o->path != NULL) + (o->n_args > 0) + subject_given(o);
    bool copies = o->all_copies || o->keep_copies;

    if (ways != 1 || (o->all_copies && o->keep_copies) || (copies && subject_given(o)) ||
        (o->n_except > 0 && !subject_given(o))) {
        (void)fprintf(stderr,
                      "carrel erase: say one of --document ID, --path PATH and --subject TERMS "
                      "(with --except ID), or a word; see "
                      "`carrel erase --help`\n");
        return EXIT_USAGE;
    }
    return o->n_args > 0 ? run_word(o) : erase(o);
}

const struct command cmd_erase = {
    .name = "erase",
    .args = "[list|show ID|allow ID|verify FILE|public-key]",
    .summary = "Erase documents for good, with a signed certificate.",
    .help =
        "Shows what would go and asks; --yes does not ask, --dry-run only shows. The original in "
        "the watched\nfolder, text, vectors, words, versions, copies in the trash and answers made "
        "from it go; every file\nis looked through; the certificate is printed. What may not be "
        "deleted is kept out by its hash.\n"
        "--subject finds every document, version, file in the trash and answer that names "
        "somebody, by "
        "exact\nidentifiers (accents, case, hyphens and line breaks do not matter); documents go "
        "whole.\n`erase allow ID` lets what an erasure removed come in "
        "again, `erase verify FILE` checks a certificate.\nExit code 1: something is left, or the "
        "certificate does not hold.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_PATH | OPT_ERASE,
    .min_args = 0,
    .max_args = 2,
    .run = run,
};
