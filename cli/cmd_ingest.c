/* carrel ingest: files, folders or standard input into the watched folder, through the API: from
 * another machine's key file, from a script, without rights on the folder itself. */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/term.h"

#define POLL_NS 300000000L

struct ingest {
    const struct options *o;
    struct http h;
    json_t *list; /* what was taken, as the API tells it */
    json_t *refused;
    size_t n_refused;
    uint64_t done, total;
    struct error fatal; /* the appliance is gone */
};

/* The request's path for a file under its name below the watched folder. */
static enum status request_path(const struct ingest *in, const char *name, struct buf *out)
{
    const char *to = in->o->to == NULL ? "" : in->o->to;
    const char *parts[] = {to, to[0] != '\0' ? "/" : "", name};

    buf_printf(out, "/api/documents?%spath=", in->o->replace ? "replace=true&" : "");
    for (size_t k = 0; k < 3; k++) {
        for (const char *p = parts[k]; *p != '\0'; p++) {
            unsigned char c = (unsigned char)*p;
            bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || strchr("-._~/", c) != NULL;
            buf_printf(out, plain ? "%c" : "%%%02X", c);
        }
    }
    buf_char(out, '\0');
    return buf_status(out);
}

static void refuse(struct ingest *in, const char *name, const char *why)
{
    json_t *told = json_pack("{s:s,s:s}", "path", name, "error", why);

    if (told == NULL) { /* a name that is no text */
        char shown[1024];
        size_t n = 0;
        for (const char *p = name; *p != '\0' && n + 5 < sizeof(shown); p++) {
            unsigned char c = (unsigned char)*p;
            n += (size_t)snprintf(shown + n, 5, c < ' ' || c > '~' ? "\\x%02x" : "%c", c);
        }
        told = json_pack("{s:s,s:s}", "path", shown, "error", "its name is not UTF-8");
    }
    in->n_refused++;
    (void)json_array_append_new(in->refused, told);
    if (!in->o->json) {
        term_progress_end(stderr);
        (void)fprintf(stderr, "carrel ingest: ");
        term_put_clean(stderr, name);
        (void)fprintf(stderr, ": ");
        term_put_clean(stderr, why);
        (void)fprintf(stderr, "\n");
    }
}

static void send_one(struct ingest *in, int fd, int64_t bytes, const char *name)
{
    struct buf path;
    struct error err = {0};
    json_t *answer = NULL;

    buf_init(&path, 65536);
    enum status s = request_path(in, name, &path);
    if (s == STATUS_OK) {
        s = http_upload(&in->h, buf_view(&path).ptr, fd, bytes, &answer, &err);
    } else {
        s = error_set(&err, s, "the name is too long");
    }
    if (s == STATUS_OK) {
        (void)json_array_extend(in->list, json_object_get(answer, "documents"));
    } else {
        refuse(in, name, err.text);
    }
    if (s == STATUS_UNAVAILABLE || s == STATUS_UNAUTHENTICATED) {
        in->fatal = err; /* the others would fare no better */
        in->fatal.code = s;
    }
    json_decref(answer);
    buf_deinit(&path);
    in->done++;
    term_progress(stderr, in->done, in->total > in->done ? in->total : in->done, "");
}

static void send_file(struct ingest *in, const char *file, const char *name)
{
    struct error err = {0};
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a pipe has no end */

    if (fd < 0 || fstat(fd, &st) != 0) {
        (void)error_errno(&err, errno, "cannot be read");
        refuse(in, name, err.text);
    } else if (!S_ISREG(st.st_mode)) {
        refuse(in, name, "is no file (standard input goes with - and --as NAME)");
    } else {
        send_one(in, fd, (int64_t)st.st_size, name);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* Files below a folder go under its own name, as with cp -r; hidden ones and links do not go. */
static void send_tree(struct ingest *in, const char *root, bool count)
{
    char *const paths[] = {(char *)(uintptr_t)root, NULL};
    char *copy = realpath(root, NULL);
    const char *slash = copy == NULL ? NULL : strrchr(copy, '/');
    const char *base = slash == NULL ? root : slash + 1;
    size_t skip = strlen(root);
    errno = 0;
    FTS *t = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *e;

    for (e = t == NULL ? NULL : fts_read(t); e != NULL && in->fatal.code == STATUS_OK;
         e = fts_read(t)) {
        if (e->fts_level > 0 && e->fts_name[0] == '.') {
            (void)fts_set(t, e, FTS_SKIP);
        } else if (e->fts_info == FTS_F && count) {
            in->total++;
        } else if (e->fts_info == FTS_F) {
            char name[8192];
            const char *below = e->fts_path + skip;
            below += strspn(below, "/");
            int n =
                snprintf(name, sizeof(name), "%s%s%s", base, below[0] == '\0' ? "" : "/", below);
            if (n < 0 || (size_t)n >= sizeof(name)) {
                refuse(in, e->fts_path, "the name is too long");
            } else {
                send_file(in, e->fts_accpath, name);
            }
        } else if (!count && (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR ||
                              e->fts_info == FTS_NS || e->fts_info == FTS_DC)) {
            refuse(in, e->fts_path,
                   e->fts_info == FTS_DC ? "leads back into itself" : strerror(e->fts_errno));
        }
    }
    if (e == NULL && errno != 0 && !count) { /* it could not go on; at the end errno is 0 */
        refuse(in, root, strerror(errno));
    }
    if (t != NULL) {
        (void)fts_close(t);
    }
    free(copy);
}

static void send_argument(struct ingest *in, const char *arg, bool count)
{
    struct stat st;

    if (strcmp(arg, "-") == 0) {
        in->total += count;
        if (!count) {
            send_one(in, STDIN_FILENO, -1, in->o->as);
        }
    } else if (stat(arg, &st) != 0) {
        if (!count) {
            refuse(in, arg, strerror(errno));
        }
    } else if (S_ISDIR(st.st_mode)) {
        send_tree(in, arg, count);
    } else if (count) {
        in->total++;
    } else {
        const char *slash = strrchr(arg, '/');
        send_file(in, arg, in->o->as != NULL ? in->o->as : slash == NULL ? arg : slash + 1);
    }
}

/* Until what was sent is read; each is then as it is now. */
static enum status wait_read(struct ingest *in, struct error *err)
{
    size_t n = json_array_size(in->list);

    for (size_t i = 0; i < n;) {
        char path[128];
        json_t *d = NULL;
        (void)snprintf(path, sizeof(path), "/api/documents/%.64s",
                       json_field(json_array_get(in->list, i), "id"));
        enum status s = http_json(&in->h, path, NULL, &d, err);
        if (s != STATUS_OK) {
            term_progress_end(stderr);
            return s;
        }
        const char *state = json_field(d, "state");
        if (strcmp(state, "queued") != 0 && strcmp(state, "working") != 0) {
            (void)json_array_set_new(in->list, i++, d);
        } else {
            json_decref(d);
            term_progress(stderr, i, n, "reading");
            (void)nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
        }
    }
    term_progress_end(stderr);
    return STATUS_OK;
}

/* How many could not be read. */
static size_t print(const struct ingest *in)
{
    size_t failed = 0;

    for (size_t i = 0; i < json_array_size(in->list); i++) {
        const json_t *d = json_array_get(in->list, i);
        failed += strcmp(json_field(d, "state"), "failed") == 0;
        if (!in->o->json) {
            (void)printf("%-8s ", json_field(d, "state"));
            term_put_clean(stdout, json_field(d, "path"));
            if (json_field(d, "error")[0] != '\0') {
                (void)printf("  (");
                term_put_clean(stdout, json_field(d, "error"));
                (void)printf(")");
            }
            (void)printf("\n");
        }
    }
    if (in->o->json) {
        json_t *out = json_pack("{s:O,s:O}", "documents", in->list, "refused", in->refused);
        json_print(out);
        json_decref(out);
    }
    return failed;
}

static enum exit_code run(const struct options *o)
{
    struct ingest in = {.o = o};
    struct error err = {0};
    bool from_input = false;

    for (int i = 0; i < o->n_args; i++) {
        from_input = from_input || strcmp(o->args[i], "-") == 0;
    }
    if ((from_input && o->as == NULL) || (o->as != NULL && o->n_args > 1)) {
        term_complain("carrel ingest: %s", from_input ? "- needs --as NAME, and comes alone"
                                                      : "--as names one file, not several");
        return EXIT_USAGE;
    }
    enum status s = http_open(o, &in.h, &err);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    in.list = json_array();
    in.refused = json_array();
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < o->n_args && in.fatal.code == STATUS_OK; i++) {
            send_argument(&in, o->args[i], pass == 0);
        }
    }
    term_progress_end(stderr);
    if (in.fatal.code == STATUS_OK && o->watch) {
        s = wait_read(&in, &err);
    }
    explicit_bzero(in.h.key, sizeof(in.h.key));
    size_t failed = print(&in);
    bool all = in.n_refused == 0 && failed == 0;
    json_decref(in.list);
    json_decref(in.refused);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    return in.fatal.code != STATUS_OK ? command_failed(&in.fatal) : all ? EXIT_OK : EXIT_FAILED;
}

const struct command cmd_ingest = {
    .name = "ingest",
    .args = "PATH...|-",
    .summary = "Put files, folders or standard input into the watched folder.",
    .help =
        "Goes through the API: no rights on the watched folder are needed. A folder goes with all "
        "below\nit under its own name; hidden files and links stay. With --watch it stays until "
        "everything sent\nis read, and fails when something could not be.",
    .options = OPT_HOME | OPT_JSON | OPT_KEY_FILE | OPT_WATCH | OPT_INGEST,
    .min_args = 1,
    .max_args = OPTIONS_ARGS_MAX,
    .run = run,
};
