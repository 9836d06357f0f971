/* carrel audit: checks and shows the audit, from the files, with no service running. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/audit_print.h"
#include "cli/command.h"
#include "cli/term.h"

#define TAIL_DEFAULT 20

struct place {
    char chain[PATH_MAX], payload[PATH_MAX];
    struct audit_box_key secret;
    const struct audit_box_key *key; /* NULL: none was given */
    sqlite3 *db;                     /* NULL: there are no texts */
};

static enum status read_secret(const char *path, struct audit_box_key *out, struct error *err)
{
    struct buf b;
    buf_init(&b, 4096);
    enum status s = file_read(path, &b, err);
    struct str hex = s == STATUS_OK ? buf_view(&b) : STR("");
    char text[2 * AUDIT_BOX_SECRET_BYTES + 1] = "";
    if (hex.len >= sizeof text - 1) {
        memcpy(text, hex.ptr, sizeof text - 1);
    }
    if (s == STATUS_OK && !hex_decode(text, out->secret, sizeof out->secret)) {
        s = error_set(err, STATUS_INVALID, "%s: is no secret key of `carrel audit key`", path);
    }
    if (s == STATUS_OK) {
        audit_box_public(out->secret, out->public);
    }
    explicit_bzero(text, sizeof text);
    buf_deinit(&b);
    return s;
}

static enum status find_place(const struct options *o, struct place *p, struct error *err)
{
    const char *tenant = o->tenant == NULL ? "main" : o->tenant;
    char folder[PATH_MAX];
    int n = o->folder != NULL ? snprintf(folder, sizeof folder, "%s", o->folder)
                              : snprintf(folder, sizeof folder, "%s/tenants/%s", o->home, tenant);
    enum status s = n > 0 && (size_t)n < sizeof folder
                        ? STATUS_OK
                        : error_set(err, STATUS_TOO_LARGE, "the folder's name is too long");
    if (s == STATUS_OK) {
        s = file_join(p->chain, sizeof p->chain, folder, "audit", err);
    }
    if (s == STATUS_OK) {
        s = file_join(p->payload, sizeof p->payload, folder, "payload.db", err);
    }
    if (s == STATUS_OK && o->secret != NULL) {
        s = read_secret(o->secret, &p->secret, err);
        p->key = &p->secret;
    }
    if (s == STATUS_OK && access(p->payload, F_OK) == 0) {
        s = audit_payload_open(p->payload, DB_READONLY, &p->db, err);
    }
    return s;
}

/* ---- verify ---- */

static enum status more_room(struct audit_anchor **list, size_t n, size_t *room, struct error *err)
{
    if (n < *room) {
        return STATUS_OK;
    }
    struct audit_anchor *more = realloc(*list, 2 * *room * sizeof **list);
    if (more == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *list = more;
    *room *= 2;
    return STATUS_OK;
}

static enum status read_anchors(const char *given, struct audit_anchor **out, size_t *n,
                                struct error *err)
{
    struct audit_anchor *list = calloc(1, sizeof *list);
    struct buf b;
    enum status s = STATUS_OK;
    *n = 0;
    if (list == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    buf_init(&b, (size_t)256 << 20);
    if (audit_anchor_read(str_from(given), &list[0])) {
        *n = 1;
    } else if (given[0] >= '0' && given[0] <= '9' && strchr(given, ':') != NULL &&
               access(given, F_OK) != 0) {
        s = error_set(err, STATUS_INVALID,
                      "--head %s: a head is a record's number above 0, a colon and the 64 "
                      "hexadecimal digits of its hash, as `carrel audit head` prints it; or a file "
                      "of such lines",
                      given);
    } else {
        s = file_read(given, &b, err);
        s = s == STATUS_OK ? s : error_prefix(err, "--head %s", given);
    }
    size_t room = 1;
    for (const char *at = b.ptr, *stop = at + b.len; s == STATUS_OK && at < stop;) {
        const char *end = memchr(at, '\n', (size_t)(stop - at));
        struct str line = {at, (size_t)((end == NULL ? stop : end) - at)};
        s = more_room(&list, *n, &room, err);
        *n += s == STATUS_OK && audit_anchor_read(line, &list[*n]);
        at = end == NULL ? stop : end + 1;
    }
    buf_deinit(&b);
    if (s == STATUS_OK && *n == 0) {
        s = error_set(err, STATUS_INVALID,
                      "--head %s: no head stands in this file: lines of \"12:HASH\", or as "
                      "audit.anchor has them",
                      given);
    }
    *out = list;
    return s;
}

static enum exit_code verify(const struct options *o, struct place *p)
{
    uint8_t key[SIGN_PUBLIC_BYTES];
    struct audit_anchor *anchors = NULL;
    struct audit_report *r = calloc(1, sizeof *r);
    struct error err = {.code = STATUS_OK};
    enum status s = r == NULL ? error_set(&err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    struct audit_verify_options v = {.folder = p->chain, .payload = p->payload, .open = p->key};
    if (s == STATUS_OK && o->public_key != NULL) {
        v.keys = key;
        v.n_keys = 1;
        s = hex_decode(o->public_key, key, sizeof key)
                ? STATUS_OK
                : error_set(&err, STATUS_INVALID, "--public-key must be 64 hexadecimal digits");
    }
    if (s == STATUS_OK && o->head != NULL) {
        s = read_anchors(o->head, &anchors, &v.n_anchors, &err);
        v.anchors = anchors;
    }
    if (s == STATUS_OK) {
        s = audit_verify(&v, r, &err);
    }
    enum exit_code code = EXIT_FAILED;
    if (s == STATUS_OK) {
        audit_print_report(r, o->json, o->head != NULL);
        code = r->broken || r->older > 0 || r->texts_beyond > 0 ? EXIT_FAILED : EXIT_OK;
    } else {
        code = command_failed(&err);
    }
    free(anchors);
    free(r);
    return code;
}

/* ---- show, export, tail ---- */

struct listing {
    const struct options *o;
    struct place *p;
    const char *wanted; /* a record's number or a call's id; NULL: all */
    int64_t from;       /* only records from here on */
    bool json;
    int64_t shown, last;
    bool bad;
};

static bool is_wanted(const struct listing *l, const struct audit_record *r)
{
    char number[24];
    if (l->wanted == NULL) {
        return r->seq >= l->from;
    }
    (void)snprintf(number, sizeof number, "%" PRId64, r->seq);
    return strcmp(number, l->wanted) == 0 || str_eq(audit_text(r, "call"), str_from(l->wanted));
}

static bool list_one(unsigned segment, struct str line, const struct audit_record *r,
                     const struct error *why, void *data)
{
    struct listing *l = data;
    if (r == NULL) {
        term_complain("carrel audit: file %08u.log, after record %" PRId64 ": %s", segment, l->last,
                      why->text);
        l->bad = true;
        return true;
    }
    l->last = r->seq;
    if (!is_wanted(l, r)) {
        return true;
    }
    l->shown++;
    if (!l->json) {
        audit_print_line(r);
    }
    if (l->json || l->wanted != NULL) {
        json_t *j = audit_as_json(r, line, l->p->db, l->p->key);
        const json_t *text = l->json ? j : json_object_get(j, "text");
        if (text != NULL && !json_is_null(text)) {
            (void)json_dumpf(text, stdout, l->json ? JSON_COMPACT : JSON_INDENT(2));
            (void)printf("\n");
        } else if (j != NULL) {
            (void)printf("          text: %s\n",
                         json_string_value(json_object_get(j, "text_state")));
        }
        json_decref(j);
    }
    return true;
}

static bool note_last(unsigned segment, struct str line, const struct audit_record *r,
                      const struct error *why, void *data)
{
    struct listing *l = data;
    (void)segment;
    (void)line;
    (void)why;
    l->last = r == NULL ? l->last : r->seq;
    return true;
}

static enum exit_code list(const struct options *o, struct place *p, const char *what)
{
    struct listing l = {.o = o, .p = p, .json = o->json || strcmp(what, "export") == 0};
    struct error err;
    size_t torn;
    enum status s = STATUS_OK;
    if (strcmp(what, "show") == 0) {
        l.wanted = o->args[1];
    } else if (strcmp(what, "tail") == 0) {
        s = audit_walk(p->chain, note_last, &l, &torn, &err);
        l.from = l.last - (o->count == 0 ? TAIL_DEFAULT : o->count) + 1;
    }
    if (s == STATUS_OK) {
        s = audit_walk(p->chain, list_one, &l, &torn, &err);
    }
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    if (!l.bad && l.shown == 0 && l.wanted != NULL) {
        term_complain("carrel: %s: there is no such record or call; `carrel audit tail`", l.wanted);
    }
    return l.bad ? EXIT_FAILED : l.shown == 0 ? EXIT_NOTHING : EXIT_OK;
}

/* ---- head, key ---- */

struct head {
    int64_t seq, at;
    uint8_t hash[SHA256_BYTES];
};

static bool note_head(unsigned segment, struct str line, const struct audit_record *r,
                      const struct error *why, void *data)
{
    struct head *h = data;
    (void)segment;
    (void)line;
    (void)why;
    if (r != NULL) {
        h->seq = r->seq;
        memcpy(h->hash, r->hash, sizeof h->hash);
    }
    return true;
}

static enum exit_code head(struct place *p)
{
    struct head h = {0};
    struct error err;
    char hex[SHA256_HEX_CAP];
    size_t torn;
    if (audit_walk(p->chain, note_head, &h, &torn, &err) != STATUS_OK) {
        return command_failed(&err);
    }
    sha256_hex(h.hash, hex);
    (void)printf("%" PRId64 ":%s\n", h.seq, hex);
    return h.seq == 0 ? EXIT_NOTHING : EXIT_OK;
}

static enum exit_code make_key(const struct options *o)
{
    struct audit_box_key k;
    struct error err;
    char hex[2 * AUDIT_BOX_SECRET_BYTES + 2];
    audit_box_new(&k);
    hex_encode(k.secret, sizeof k.secret, hex);
    hex[sizeof hex - 2] = '\n';
    enum status s = file_write_new(o->args[1], hex, sizeof hex - 1, 0600, NULL, &err);
    explicit_bzero(hex, sizeof hex);
    explicit_bzero(k.secret, sizeof k.secret);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    hex_encode(k.public, sizeof k.public, hex);
    (void)fprintf(stderr,
                  "The secret key lies in %s: keep it away from this machine.\n"
                  "carrel.yaml takes the public key:\n",
                  o->args[1]);
    (void)printf("audit:\n  payload: encrypted\n  auditor_key: %.*s\n", (int)(2 * sizeof k.public),
                 hex);
    return EXIT_OK;
}

static enum exit_code run(const struct options *o)
{
    static struct place p; /* large */
    struct error err;
    const char *what = o->args[0];
    bool one = strcmp(what, "show") == 0 || strcmp(what, "key") == 0;
    bool many = strcmp(what, "verify") == 0 || strcmp(what, "export") == 0 ||
                strcmp(what, "tail") == 0 || strcmp(what, "head") == 0;
    enum exit_code code = EXIT_FAILED;
    if (!(one && o->n_args == 2) && !(many && o->n_args == 1)) {
        return command_misread(&cmd_audit, o);
    }
    if (strcmp(what, "key") == 0) {
        return make_key(o);
    }
    if (find_place(o, &p, &err) != STATUS_OK) {
        code = command_failed(&err);
    } else if (strcmp(what, "verify") == 0) {
        code = verify(o, &p);
    } else if (strcmp(what, "head") == 0) {
        code = head(&p);
    } else {
        code = list(o, &p, what);
    }
    db_close(p.db);
    explicit_bzero(p.secret.secret, sizeof p.secret.secret);
    return code;
}

const struct command cmd_audit = {
    .name = "audit",
    .args = "verify|show|export|tail|head|key [SEQ|CALL|FILE]",
    .summary = "Check, show or export the record of what was asked and done.",
    .help = "audit verify          does the chain hold, and do the texts fit it? Exit code 1: no.\n"
            "                      With --head it also tells whether the end was cut off or an\n"
            "                      older backup was put in its place.\n"
            "audit show SEQ|CALL   a record, or all of a call, with its text\n"
            "audit export          every record with its text, one JSON object a line\n"
            "audit tail            the last records\n"
            "audit head            the last record's number and hash, to be written down\n"
            "audit key FILE        makes the auditor's key pair; the secret half goes to FILE\n"
            "All read files only, and work on a copy of the tenant's folder (--folder).",
    .options = OPT_HOME | OPT_JSON | OPT_TENANT | OPT_AUDIT,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
