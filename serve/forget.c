/* serve.Forget: the answers' side of an erasure. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "serve/audit/erase.h"
#include "serve/audit/internal.h"
#include "serve/serve_rpc.h"
#include "serve/service.h"

#define FORGET_MAX 10000U

struct forget_call {
    struct rpc_call *call;
    struct forgetting what;
    struct forgetting texts; /* the audit's */
    int64_t unreadable;
    char tenant[65];
    struct serve *serve;
};

static void end(struct forget_call *f)
{
    subject_set_free(f->what.subjects);
    free(f);
}

static void on_texts_forgotten(const struct error *err, void *data)
{
    struct forget_call *f = data;
    Se__ForgetReply reply = SE__FORGET_REPLY__INIT;
    if (f->unreadable > 0) {
        LOG_WARN("texts of the audit are encrypted to the auditor: whether they name the person "
                 "cannot be seen here",
                 LOG_STR("tenant", f->tenant), LOG_INT("texts", f->unreadable), LOG_END);
    }
    if (err->code != STATUS_OK) {
        rpc_call_fail(f->call, err);
    } else {
        reply.answers = f->what.answers;
        reply.done = f->what.clean && f->texts.clean;
        se_forget_return(f->call, &reply);
    }
    end(f);
}

static enum status forget_texts(struct audit *a, struct chain *c, void *data, struct error *err)
{
    struct forget_call *f = data;
    return audit_forget_now(c, audit_policy(a), &f->texts, &f->unreadable, err);
}

static void on_forgotten(const struct error *err, void *data)
{
    struct forget_call *f = data;
    if (err->code != STATUS_OK) {
        rpc_call_fail(f->call, err);
        end(f);
        return;
    }
    f->texts = f->what;
    audit_run(f->serve->audit, f->tenant, forget_texts, on_texts_forgotten, f);
}

static enum status take_documents(struct forget_call *f, const Se__ForgetRequest *r,
                                  struct error *err)
{
    struct arena *a = rpc_call_arena(f->call);
    const char **list = arena_array(a, r->n_documents + 1, sizeof *list);
    for (size_t i = 0; list != NULL && i < r->n_documents; i++) {
        list[i] = arena_strdup(a, r->documents[i]);
        list = list[i] == NULL ? NULL : list;
    }
    f->what.documents = list;
    f->what.n = r->n_documents;
    return list == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static enum status take_subjects(struct forget_call *f, const Se__ForgetRequest *r,
                                 struct error *err)
{
    struct str packed[SUBJECTS_MAX];
    if (r->n_marks > SUBJECTS_MAX || !r->has_key || r->key.len != KEYED_KEY_BYTES) {
        return error_set(err, STATUS_INVALID, "at most %u marks, with their key", SUBJECTS_MAX);
    }
    for (size_t i = 0; i < r->n_marks; i++) {
        packed[i] = (struct str){.ptr = (const char *)r->marks[i].data, .len = r->marks[i].len};
    }
    return subject_set_unpack(r->key.data, packed, r->n_marks, &f->what.subjects, err);
}

void serve_forget(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct serve *s = service_state(call);
    const Se__ForgetRequest *r = se_forget_request(m);
    struct error err;
    if (s == NULL || r == NULL || r->n_documents + r->n_marks == 0 || r->n_documents > FORGET_MAX) {
        rpc_call_finish(call, STATUS_INVALID, "1 to 10000 documents at once, or a data subject");
        return;
    }
    struct forget_call *f = calloc(1, sizeof *f);
    if (f == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    f->call = call;
    f->serve = s;
    (void)snprintf(f->tenant, sizeof f->tenant, "%s", rpc_call_tenant(call));
    f->what.dry_run = r->has_dry_run && r->dry_run;
    f->what.whole = r->has_whole && r->whole;
    enum status st = take_documents(f, r, &err);
    if (st == STATUS_OK && r->n_marks > 0) {
        st = take_subjects(f, r, &err);
    }
    if (st != STATUS_OK) {
        rpc_call_fail(call, &err);
        end(f);
        return;
    }
    answers_forget(s->answers, rpc_call_tenant(call), &f->what, on_forgotten, f);
}
