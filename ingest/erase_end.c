/* The end of an erasure: answers, the free space of databases, and the look through every file that
 * the certificate is about. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/db.h"
#include "base/log.h"
#include "ingest/erase_internal.h"
#include "retrieve/retrieve_rpc.h"
#include "serve/serve_rpc.h"

#define VERIFY_MAX 3
#define FIGURES_WAIT_MS 1000 /* for the end of an evaluation, minutes perhaps */
#define AGAIN_PLACE "times verified again"

static int64_t verified_before(const struct erasing *z)
{
    for (size_t i = 0; i < z->n_places; i++) {
        if (strcmp(z->places[i].place, AGAIN_PLACE) == 0) {
            return z->places[i].n;
        }
    }
    return 0;
}

bool erase_found_before(const struct erasing *z)
{
    return verified_before(z) > 0;
}

/* ---- ANSWERS ---- */

/* Figures of evaluations stand under the names of collections: those may name the subject. */
static void on_figures(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Rt__ForgetReply *reply = rt_forget_reply(m);
    z->forgotten_clean = reply != NULL && reply->done;
}

static void on_figures_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    if (!erasing_call_ended(z, err)) {
        return;
    }
    if (z->forgotten_clean) {
        erasing_step(z, ERASURE_FILES, "answers");
    } else {
        erasing_later(z, FIGURES_WAIT_MS);
    }
}

static void forget_figures(struct erasing *z)
{
    Rt__ForgetRequest q = RT__FORGET_REQUEST__INIT;
    ProtobufCBinaryData marks[SUBJECTS_MAX];
    uint8_t packed[SUBJECTS_MAX][SUBJECT_MARK_BYTES];
    q.marks = marks;
    q.n_marks = subject_messages(z->subject.marks, z->subject.n_marks, packed, marks);
    q.key = (ProtobufCBinaryData){.data = z->key, .len = sizeof z->key};
    q.has_whole = 1;
    q.whole = erase_found_before(z);
    struct rpc_options o = erasing_options(z);
    struct rpc_callbacks cb = {.on_reply = on_figures, .on_finish = on_figures_end};
    z->forgotten_clean = false;
    erasing_called(z, rt_forget(service_client(z->t->in->svc, PEER_RETRIEVE), &o, &q, &cb, z));
}

static void on_forgotten(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Se__ForgetReply *reply = se_forget_reply(m);
    z->n += reply == NULL ? 0 : reply->answers;
    z->forgotten_clean = reply != NULL && reply->done;
}

static void on_forget_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    if (!erasing_call_ended(z, err)) {
        return;
    }
    if (!z->forgotten_clean) {
        erasing_later(z, ERASE_WAIT_MS);
    } else if (z->subject.n_marks > 0) {
        forget_figures(z);
    } else {
        erasing_step(z, ERASURE_FILES, "answers");
    }
}

void erase_answers(struct erasing *z)
{
    Se__ForgetRequest q = SE__FORGET_REQUEST__INIT;
    q.documents = arena_array(&z->arena, z->n_items + 1, sizeof *q.documents);
    if (q.documents == NULL) {
        erasing_no_memory(z);
        return;
    }
    for (size_t i = 0; i < z->n_items; i++) {
        q.documents[q.n_documents++] = z->items[i].document;
    }
    ProtobufCBinaryData marks[SUBJECTS_MAX];
    uint8_t packed[SUBJECTS_MAX][SUBJECT_MARK_BYTES];
    q.marks = marks;
    q.n_marks = subject_messages(z->subject.marks, z->subject.n_marks, packed, marks);
    q.has_whole = 1;
    q.whole = erase_found_before(z);
    q.has_key = q.n_marks > 0;
    q.key = (ProtobufCBinaryData){.data = z->key, .len = sizeof z->key};
    if (q.n_documents + q.n_marks == 0) {
        erasing_step(z, ERASURE_FILES, NULL);
        return;
    }
    struct rpc_options o = erasing_options(z);
    struct rpc_callbacks cb = {.on_reply = on_forgotten, .on_finish = on_forget_end};
    z->forgotten_clean = false;
    erasing_called(z, se_forget(service_client(z->t->in->svc, PEER_SERVE), &o, &q, &cb, z));
}

/* ---- FILES: the store's database was cleaned, now the journal's own ---- */

static void journal_scrub_work(void *data)
{
    struct erasing *z = data;
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    bool clean = false;
    int n = snprintf(path, sizeof path, "%s/tenants/%s/ingest.db", z->t->in->svc->home, z->t->id);
    enum status s = n < 0 || (size_t)n >= sizeof path
                        ? error_set(&z->err, STATUS_TOO_LARGE, "path too long")
                        : db_open(path, 0, NULL, 0, &db, &z->err);
    if (s == STATUS_OK) {
        s = db_scrub(db, erase_found_before(z), &clean, &z->err);
    }
    db_close(db);
    if (s == STATUS_OK && !clean) {
        s = error_set(&z->err, STATUS_BUSY, "the journal is in use; cleaned again shortly");
    }
    z->err.code = s;
}

static void journal_scrub_done(void *data)
{
    struct erasing *z = data;
    if (erasing_lane_ended(z)) {
        z->n = 0;
        erasing_step(z, ERASURE_VERIFY, NULL);
    }
}

void erase_journal(struct erasing *z)
{
    (void)erasing_lane(z, journal_scrub_work, journal_scrub_done);
}

/* ---- VERIFY: is the subject named by anything that was not to stay? Then a look through every
 * file
 * ---- */

static void verify_work(void *data)
{
    struct erasing *z = data;
    const char *home = z->t->in->svc->home;
    struct erase_contents contents = erasing_contents(z);
    enum status s = erase_verify(home, z->t->id, z->items, z->n_items, &contents, z->traces,
                                 z->n_traces, &z->scan, &z->err);
    if (s == STATUS_OK && (z->scan.n_residue == 0 || verified_before(z) >= VERIFY_MAX)) {
        s = erase_certificate(home, z->t->id, &z->e, z->items, z->n_items, z->places, z->n_places,
                              &z->scan, &z->subject, z->named_since, &z->certificate, &z->err);
    }
    z->err.code = s;
}

static enum status run_finish(struct journal *j, struct journal_op *op, struct error *err)
{
    struct erasing *z = container_of(op, struct erasing, op);
    return erasure_finish(j, z->e.id, z->certificate, err);
}

static void on_finished(struct journal_op *op)
{
    struct erasing *z = container_of(op, struct erasing, op);
    if (op->err.code == STATUS_OK) {
        LOG_INFO("erasure done", LOG_STR("tenant", z->t->id), LOG_STR("erasure", z->e.id),
                 LOG_INT("documents", z->n_items), LOG_INT("found", z->scan.n_residue), LOG_END);
    }
    free(z->certificate);
    z->certificate = NULL;
    erasing_step_done(op);
}

static void verify_done(void *data)
{
    struct erasing *z = data;
    z->busy = false;
    if (z->closing) {
        return;
    }
    if (z->err.code != STATUS_OK) {
        struct error err = z->err;
        erasing_failed(z, &err);
    } else if (z->certificate == NULL) {
        LOG_WARN("something of an erased document is still there: cleaned again",
                 LOG_STR("tenant", z->t->id), LOG_STR("file", z->scan.residue[0]), LOG_END);
        z->n = 1;
        erasing_step(z, ERASURE_CONTENTS, AGAIN_PLACE);
    } else {
        z->busy = true;
        z->op.run = run_finish;
        z->op.done = on_finished;
        journal_submit(&z->t->journal, &z->op);
    }
}

static void ask_again(struct erasing *z);

static bool was_to_stay(const struct erasing *z, const char *document)
{
    for (size_t i = 0; i < z->subject.n_kept; i++) {
        if (strcmp(z->subject.kept[i].document, document) == 0) {
            return true;
        }
    }
    return false;
}

static void on_named(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Vs__FindSubjectReply *reply = vs_find_subject_reply(m);
    for (size_t i = 0; reply != NULL && i < reply->n_items; i++) {
        const Vs__FindSubjectReply__Item *it = reply->items[i];
        z->named_since += !it->unread && !was_to_stay(z, it->document) ? 1 : 0;
    }
    if (reply != NULL) {
        subject_cursor_take(&z->cursor, reply);
    }
}

static void on_named_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    if (!erasing_call_ended(z, err)) {
        return;
    }
    if (z->cursor.done) {
        (void)erasing_lane(z, verify_work, verify_done);
    } else {
        ask_again(z);
    }
}

static void ask_again(struct erasing *z)
{
    Vs__FindSubjectRequest q = VS__FIND_SUBJECT_REQUEST__INIT;
    ProtobufCBinaryData marks[SUBJECTS_MAX];
    uint8_t packed[SUBJECTS_MAX][SUBJECT_MARK_BYTES];
    q.key = (ProtobufCBinaryData){.data = z->key, .len = sizeof z->key};
    q.marks = marks;
    q.n_marks = subject_messages(z->subject.marks, z->subject.n_marks, packed, marks);
    subject_cursor_ask(&z->cursor, &q);
    struct rpc_options o = erasing_options(z);
    struct rpc_callbacks cb = {.on_reply = on_named, .on_finish = on_named_end};
    erasing_called(
        z, vs_find_subject(service_client(z->t->in->svc, PEER_VECTORSTORE), &o, &q, &cb, z));
}

void erase_prove(struct erasing *z)
{
    z->named_since = 0;
    z->cursor = (struct subject_cursor){.after = 0};
    if (z->subject.n_marks > 0) {
        ask_again(z);
    } else {
        (void)erasing_lane(z, verify_work, verify_done);
    }
}
