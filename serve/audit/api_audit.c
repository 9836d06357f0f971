/* GET /api/audit, /api/audit/head, /api/audit/verify, /api/audit/export: the audit of the caller's
 * tenant for its auditors. Reads the files on the admin lane, beside the writer. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/audit/verify.h"
#include "base/log.h"
#include "serve/api.h"
#include "serve/audit/audit.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/service.h"

#define BYTES_MAX ((size_t)64 << 20)
#define BYTES_ENOUGH ((size_t)48 << 20)
#define LIST_DEFAULT 100
#define LIST_MAX 1000
#define EXPORT_DEFAULT 1000
#define EXPORT_MAX 100000

enum view { VIEW_LIST, VIEW_EXPORT, VIEW_HEAD, VIEW_VERIFY };

struct reading {
    struct request *q;
    struct http_request *http;
    enum view view;
    char chain[PATH_MAX], payload[PATH_MAX];
    uint64_t from, limit; /* from 0, of a list: the last ones */
    const char *type, *call;
    /* found */
    uint64_t shown;
    int64_t next;               /* where to go on; 0: there is no more */
    struct audit_report report; /* of VERIFY; head_seq and head of all */
    sqlite3 *db;
    struct buf out, text;
    struct jsonw w;
    struct error err;
};

static bool wanted(const struct reading *g, const struct audit_record *r)
{
    return (g->type == NULL || str_eq(r->type, str_from(g->type))) &&
           (g->call == NULL || str_eq(audit_text(r, "call"), str_from(g->call)));
}

static void write_one(struct reading *g, struct str line, const struct audit_record *r)
{
    struct audit_payload p = {.state = AUDIT_TEXT_ABSENT};
    uint8_t commitment[SHA256_BYTES];
    bool has = audit_hash(r, "payload", commitment);
    bool kept = !str_eq(audit_text(r, "kept"), STR("no"));
    if (has && g->db != NULL &&
        audit_payload_get(g->db, r->seq, NULL, &p, &g->text, &g->err) != STATUS_OK) {
        p.state = AUDIT_TEXT_BAD; /* verify says more */
    }
    jsonw_open(&g->w, '{');
    jsonw_key(&g->w, "record");
    jsonw_raw(&g->w, line);
    jsonw_key(&g->w, "text");
    if (p.state == AUDIT_TEXT_HERE) {
        jsonw_raw(&g->w, buf_view(&g->text));
    } else {
        jsonw_null(&g->w);
    }
    jsonw_field_z(&g->w, "text_state",
                  !has                           ? "none"
                  : !kept                        ? "not kept"
                  : p.state == AUDIT_TEXT_HERE   ? "kept"
                  : p.state == AUDIT_TEXT_SEALED ? "sealed"
                                                 : "absent");
    jsonw_close(&g->w, '}');
    if (g->view == VIEW_EXPORT) {
        buf_char(&g->out, '\n');
        jsonw_init(&g->w, &g->out);
    }
    g->shown++;
}

static bool on_record(unsigned segment, struct str line, const struct audit_record *r,
                      const struct error *why, void *data)
{
    struct reading *g = data;
    (void)segment;
    (void)why;
    if (r == NULL) {
        g->report.broken = true;
        return true;
    }
    if (r->seq >= (int64_t)g->from && wanted(g, r) && g->view != VIEW_HEAD && g->next == 0) {
        if (g->shown >= g->limit || g->out.len > BYTES_ENOUGH) {
            g->next = r->seq;
        } else {
            write_one(g, line, r);
        }
    }
    g->report.head_seq = r->seq;
    g->report.head_at_wall_ms = r->at_wall_ms;
    memcpy(g->report.head, r->hash, sizeof r->hash);
    if (str_eq(r->type, STR("checkpoint"))) {
        g->report.signed_seq = r->seq;
    } else if (str_eq(r->type, STR("begin"))) {
        (void)snprintf(g->report.chain, sizeof g->report.chain, "%.*s",
                       STR_ARG(audit_text(r, "chain")));
    }
    return true;
}

/* Where the last `limit` of those that are wanted begin. */
struct last {
    struct reading *g;
    int64_t *ring;
    uint64_t n;
};

static bool on_last(unsigned segment, struct str line, const struct audit_record *r,
                    const struct error *why, void *data)
{
    struct last *l = data;
    (void)segment;
    (void)line;
    (void)why;
    if (r != NULL && wanted(l->g, r)) {
        l->ring[l->n++ % l->g->limit] = r->seq;
    }
    return true;
}

static enum status find_last(struct reading *g)
{
    size_t torn;
    struct last l = {.g = g, .ring = calloc((size_t)g->limit, sizeof *l.ring)};
    if (l.ring == NULL) {
        return error_set(&g->err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = audit_walk(g->chain, on_last, &l, &torn, &g->err);
    g->from = l.n <= g->limit ? 1 : (uint64_t)l.ring[l.n % g->limit];
    free(l.ring);
    return s;
}

static enum status read_records(struct reading *g)
{
    size_t torn;
    enum status s = STATUS_OK;
    if (g->view != VIEW_HEAD) {
        s = audit_payload_open(g->payload, DB_READONLY, &g->db, &g->err);
    }
    if (s == STATUS_OK && g->view == VIEW_LIST && g->from == 0) {
        s = find_last(g);
    }
    if (s == STATUS_OK) {
        s = audit_walk(g->chain, on_record, g, &torn, &g->err);
    }
    db_close(g->db);
    return s;
}

static void work(void *data)
{
    struct reading *g = data;
    const struct audit_verify_options o = {.folder = g->chain, .payload = g->payload};
    g->err.code = STATUS_OK;
    enum status s =
        g->view == VIEW_VERIFY ? audit_verify(&o, &g->report, &g->err) : read_records(g);
    if (g->view == VIEW_LIST) {
        jsonw_close(&g->w, ']');
    }
    if (s == STATUS_OK && buf_status(&g->out) != STATUS_OK) {
        s = error_set(&g->err, STATUS_TOO_LARGE, "too much at once: ask for fewer records");
    }
    g->err.code = s;
}

/* ---- on the loop ---- */

static void head_fields(struct jsonw *w, const struct reading *g)
{
    char hex[SHA256_HEX_CAP];
    sha256_hex(g->report.head, hex);
    jsonw_field_z(w, "tenant", g->q->who->tenant);
    jsonw_field_z(w, "chain", g->report.chain);
    jsonw_field_int(w, "seq", g->report.head_seq);
    jsonw_field_z(w, "head", hex);
    jsonw_field_int(w, "at", g->report.head_at_wall_ms);
    jsonw_field_int(w, "signed_seq", g->report.signed_seq);
}

static void verify_fields(struct jsonw *w, const struct audit_report *r)
{
    jsonw_field_z(w, "verdict", audit_verdict(r));
    jsonw_field_z(w, "key", r->key);
    jsonw_field_int(w, "records", r->records);
    jsonw_field_int(w, "opens", r->opens);
    jsonw_field_int(w, "acts", r->acts);
    jsonw_field_int(w, "closes", r->closes);
    jsonw_field_int(w, "refused", r->refused);
    jsonw_field_int(w, "interrupted", r->interrupted);
    jsonw_field_int(w, "unfinished", r->unfinished);
    jsonw_field_int(w, "checkpoints", r->checkpoints);
    jsonw_field_int(w, "texts", r->texts);
    jsonw_field_int(w, "texts_sealed", r->sealed);
    jsonw_field_int(w, "texts_erased", r->erased);
    jsonw_field_int(w, "texts_erased_there_again", r->back);
    jsonw_field_int(w, "texts_beyond", r->texts_beyond);
    jsonw_key(w, "findings");
    jsonw_open(w, '[');
    for (size_t i = 0; i < r->n_findings; i++) {
        jsonw_open(w, '{');
        jsonw_field_int(w, "seq", r->findings[i].seq);
        jsonw_field_z(w, "text", r->findings[i].text);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    jsonw_field_int(w, "more_findings", (int64_t)r->n_more);
}

static void answer(struct reading *g)
{
    struct request *q = g->q;
    struct jsonw w;
    if (g->err.code != STATUS_OK) {
        api_fail(q, &g->err);
        return;
    }
    if (g->view == VIEW_EXPORT) {
        char next[24];
        (void)snprintf(next, sizeof next, "%" PRId64, g->next);
        if (g->next > 0) {
            http_header(q->http, "X-Carrel-Next", next);
        }
        http_respond_buf(q->http, 200, "application/x-ndjson", &g->out);
        return;
    }
    api_object_begin(q, &w);
    head_fields(&w, g);
    if (g->view == VIEW_VERIFY) {
        verify_fields(&w, &g->report);
    } else if (g->view == VIEW_LIST) {
        jsonw_key(&w, "records");
        jsonw_raw(&w, buf_view(&g->out));
        jsonw_key(&w, "next");
        if (g->next > 0) {
            jsonw_int(&w, g->next);
        } else {
            jsonw_null(&w);
        }
    }
    api_object_end(q, 200, &w);
}

static void done(void *data)
{
    struct reading *g = data;
    struct serve *serve = g->q->serve;
    if (!http_request_gone(g->http)) {
        answer(g);
    }
    buf_deinit(&g->out);
    buf_deinit(&g->text);
    http_request_release(g->http);
    free(g);
    serve_admin_done(serve);
}

static bool read_query(struct request *q, struct reading *g)
{
    bool has;
    uint64_t max = g->view == VIEW_EXPORT ? EXPORT_MAX : LIST_MAX;
    if (!api_query_number(q, "from", INT64_MAX, &has, &g->from)) {
        return false;
    }
    g->from = has ? g->from : 0;
    if (!api_query_number(q, "limit", max, &has, &g->limit)) {
        return false;
    }
    g->limit = has ? g->limit : g->view == VIEW_EXPORT ? EXPORT_DEFAULT : LIST_DEFAULT;
    return api_query(q, "type", &g->type) && api_query(q, "call", &g->call);
}

static void view(struct request *q, enum view v)
{
    struct serve *s = q->serve;
    struct error err;
    struct reading *g = calloc(1, sizeof *g);
    if (g == NULL) {
        api_out_of_memory(q);
        return;
    }
    g->q = q;
    g->http = q->http;
    g->view = v;
    if (!read_query(q, g)) {
        free(g);
        return;
    }
    int a =
        snprintf(g->chain, sizeof g->chain, "%s/tenants/%s/audit", s->svc->home, q->who->tenant);
    int b = snprintf(g->payload, sizeof g->payload, "%s/tenants/%s/payload.db", s->svc->home,
                     q->who->tenant);
    buf_init(&g->out, BYTES_MAX);
    buf_init(&g->text, AUDIT_TEXT_MAX + 4096);
    jsonw_init(&g->w, &g->out);
    if (v == VIEW_LIST) {
        jsonw_open(&g->w, '[');
    }
    enum status st =
        a < 0 || b < 0 || (size_t)a >= sizeof g->chain || (size_t)b >= sizeof g->payload
            ? error_set(&err, STATUS_TOO_LARGE, "path too long")
            : lane_submit(&s->admin, work, done, g, &err);
    if (st != STATUS_OK) {
        buf_deinit(&g->out);
        free(g);
        api_fail(q, &err);
        return;
    }
    http_request_hold(q->http);
}

void api_audit_list(struct request *q)
{
    view(q, VIEW_LIST);
}

void api_audit_export(struct request *q)
{
    view(q, VIEW_EXPORT);
}

void api_audit_head(struct request *q)
{
    view(q, VIEW_HEAD);
}

void api_audit_verify(struct request *q)
{
    view(q, VIEW_VERIFY);
}
