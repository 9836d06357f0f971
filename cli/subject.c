#include "cli/subject.h"

#include <errno.h>
#include <string.h>

#include "cli/json_field.h"
#include "cli/term.h"

#define LINE_CAP 1024
#define SHOWN_MAX 1000U

bool subject_given(const struct options *o)
{
    return o->n_subjects > 0 || o->subject_file != NULL;
}

static enum status add(json_t *list, const char *text, struct error *err)
{
    json_t *one = json_string(text);

    if (one == NULL) {
        return error_set(err, STATUS_INVALID, "an identifier of the data subject is not UTF-8");
    }
    if (json_array_size(list) == OPTION_SUBJECTS_MAX) {
        json_decref(one);
        return error_set(err, STATUS_INVALID, "at most %d identifiers at once",
                         OPTION_SUBJECTS_MAX);
    }
    return json_array_append_new(list, one) == 0
               ? STATUS_OK
               : error_set(err, STATUS_NO_MEMORY, "out of memory");
}

static enum status read_file(const char *path, json_t *list, struct error *err)
{
    char line[LINE_CAP];
    enum status s = STATUS_OK;
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");

    if (f == NULL) {
        return error_errno(err, errno, "%.200s", path);
    }
    while (s == STATUS_OK && fgets(line, sizeof(line), f) != NULL) {
        size_t len = strcspn(line, "\r\n");
        if (line[len] == '\0' && len == sizeof(line) - 1) {
            s = error_set(err, STATUS_TOO_LARGE, "%.200s: a line is longer than an identifier",
                          path);
        }
        line[len] = '\0';
        if (s == STATUS_OK && line[strspn(line, " \t")] != '\0') {
            s = add(list, line, err);
        }
    }
    if (s == STATUS_OK && ferror(f)) {
        s = error_errno(err, errno, "%.200s", path);
    }
    if (f != stdin) {
        (void)fclose(f);
    }
    explicit_bzero(line, sizeof(line));
    return s;
}

enum status subject_ask(const struct options *o, json_t *body, struct error *err)
{
    json_t *subjects = json_array();
    json_t *except = json_array();
    enum status s = subjects == NULL || except == NULL
                        ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                        : STATUS_OK;

    for (int i = 0; i < o->n_subjects && s == STATUS_OK; i++) {
        s = add(subjects, o->subjects[i], err);
    }
    if (s == STATUS_OK && o->subject_file != NULL) {
        s = read_file(o->subject_file, subjects, err);
    }
    for (int i = 0; i < o->n_except && s == STATUS_OK; i++) {
        s = add(except, o->except[i], err);
    }
    if (s == STATUS_OK && json_array_size(subjects) == 0) {
        s = error_set(err, STATUS_INVALID, "no identifier of the data subject is given");
    }
    if (s == STATUS_OK && (json_object_set(body, "subject", subjects) != 0 ||
                           json_object_set(body, "except", except) != 0)) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    json_decref(subjects);
    json_decref(except);
    return s;
}

/* ---- what was found ---- */

static void print_document(FILE *to, const json_t *d)
{
    json_int_t n = json_integer_value(json_object_get(d, "passages"));
    bool trash = json_is_true(json_object_get(d, "in_trash"));

    (void)fprintf(to, "  %s  ", trash ? "(a file in the trash)     " : json_field(d, "id"));
    term_put_clean(to, json_field(d, "path"));
    if (n > 0 && !trash) {
        (void)fprintf(
            to, "  (%" JSON_INTEGER_FORMAT " %s%s%s)", n,
            term_word((uint64_t)n, "passage", "passages"),
            json_is_true(json_object_get(d, "only_before")) ? ", only in what it was before" : "",
            json_is_true(json_object_get(d, "in_name")) ? ", and its name" : "");
    } else if (!trash) {
        (void)fprintf(to, "  (its name)");
    }
    (void)fprintf(to, "\n");
}

static void print_list(FILE *to, const json_t *list, const char *heading)
{
    size_t n = json_array_size(list);

    if (n > 0) {
        (void)fprintf(to, "%zu %s%s:\n", n, term_word(n, "document", "documents"), heading);
    }
    for (size_t i = 0; i < n && i < SHOWN_MAX; i++) {
        print_document(to, json_array_get(list, i));
    }
    if (n > SHOWN_MAX) {
        (void)fprintf(to, "  and %zu more (--json --dry-run shows all)\n", n - SHOWN_MAX);
    }
}

static void print_unsearched(FILE *to, const json_t *shown)
{
    const json_t *list = json_object_get(shown, "unsearched");
    size_t n = json_array_size(list);
    size_t all = (size_t)json_integer_value(json_object_get(shown, "unsearched_count"));

    if (all == 0) {
        return;
    }
    (void)fprintf(to, "Not searched, for their text is not known (%zu); look at these yourself:\n",
                  all);
    for (size_t i = 0; i < n; i++) {
        const json_t *u = json_array_get(list, i);
        (void)fprintf(to, "  ");
        term_put_clean(to, json_field(u, "path"));
        (void)fprintf(to, "  (");
        term_put_clean(to, json_field(u, "why"));
        (void)fprintf(to, ")\n");
    }
    if (all > n) {
        (void)fprintf(to, "  and %zu more\n", all - n);
    }
}

/* They stay: whoever is named in documents may still work here. */
static void print_accounts(FILE *to, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i);
        bool user = strcmp(json_field(a, "kind"), "user") == 0;
        (void)fprintf(to, "%s %s (", user ? "User" : "Key", json_field(a, "id"));
        term_put_clean(to, json_field(a, "name"));
        (void)fprintf(to,
                      user ? ") has an account here, which stays: `carrel user remove` takes name, "
                             "password, keys and sessions; DELETE /api/users/ID/conversations "
                             "takes what was asked.\n"
                           : ") is named so, and stays: carrel key revoke ID.\n");
    }
}

void subject_print(FILE *to, const json_t *shown)
{
    const json_t *list = json_object_get(shown, "documents");
    json_int_t answers = json_integer_value(json_object_get(shown, "answers"));

    if (json_array_size(list) == 0) {
        (void)fprintf(to, "No document names the subject.\n");
    }
    print_list(to, list, ", to be erased whole, also where others are named too");
    print_list(to, json_object_get(shown, "kept"), " that name the subject and stay");
    (void)fprintf(
        to, "%" JSON_INTEGER_FORMAT " %s, which name%s the subject or %s made from these.\n",
        answers,
        term_word((uint64_t)answers, "answer with its question", "answers with their questions"),
        term_word((uint64_t)answers, "s", ""), term_word((uint64_t)answers, "was", "were"));
    print_unsearched(to, shown);
    print_accounts(to, json_object_get(shown, "accounts"));
}
