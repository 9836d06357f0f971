/* retrieve.Forget: the evaluations' side of an erasure by data subject. An evaluation under way may
 * have read the names of collections before their documents left search, and writes them when it
 * ends: until then the answer is "not yet". */
#include "retrieve/evaluate_internal.h"

struct forgetting {
    struct rpc_call *call;
    struct retrieve *r;
    struct subject_set *set; /* owned */
    const char *tenant;
    bool whole, clean;
    uint32_t n;
    struct error error;
};

static void forget_work(void *job)
{
    struct forgetting *f = job;
    f->error.code =
        eval_db_forget(f->r->svc->home, f->tenant, f->set, f->whole, &f->n, &f->clean, &f->error);
}

static void forget_done(void *job)
{
    struct forgetting *f = job;
    struct retrieve *r = f->r;
    struct error err = f->error;
    Rt__ForgetReply reply = RT__FORGET_REPLY__INIT;
    reply.figures = f->n;
    reply.done = f->clean;
    subject_set_free(f->set);
    if (err.code == STATUS_OK) {
        rt_forget_return(f->call, &reply);
    } else {
        rpc_call_fail(f->call, &err);
    }
    retrieve_call_over(r);
}

static enum status take_marks(const Rt__ForgetRequest *q, struct subject_set **out,
                              struct error *err)
{
    struct str packed[SUBJECTS_MAX];
    if (q->n_marks == 0 || q->n_marks > SUBJECTS_MAX || q->key.len != KEYED_KEY_BYTES) {
        return error_set(err, STATUS_INVALID, "1 to %u marks, with their key", SUBJECTS_MAX);
    }
    for (size_t i = 0; i < q->n_marks; i++) {
        packed[i] = (struct str){.ptr = (const char *)q->marks[i].data, .len = q->marks[i].len};
    }
    return subject_set_unpack(q->key.data, packed, q->n_marks, out, err);
}

void evaluate_forget(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct retrieve *r = service_state(call);
    const Rt__ForgetRequest *q = rt_forget_request(m);
    struct forgetting *f = arena_alloc(rpc_call_arena(call), sizeof *f);
    Rt__ForgetReply later = RT__FORGET_REPLY__INIT;
    struct subject_set *set = NULL;
    struct error err;
    enum status s =
        r == NULL || r->stopping ? error_set(&err, STATUS_UNAVAILABLE, "retrieve is stopping")
        : q == NULL || f == NULL ? error_set(&err, STATUS_NO_MEMORY, "forget: out of memory")
        : rpc_call_tenant(call)[0] == '\0'
            ? error_set(&err, STATUS_INVALID, "forget: the call names no tenant")
            : take_marks(q, &set, &err);
    if (s == STATUS_OK && evaluation_running(r->evaluations, rpc_call_tenant(call))) {
        subject_set_free(set);
        rt_forget_return(call, &later);
        return;
    }
    if (s == STATUS_OK) {
        *f = (struct forgetting){.call = call,
                                 .r = r,
                                 .set = set,
                                 .tenant = rpc_call_tenant(call),
                                 .whole = q->has_whole && q->whole};
        s = lane_submit(&r->evaluations->lane, forget_work, forget_done, f, &err);
    }
    if (s != STATUS_OK) {
        subject_set_free(set);
        rpc_call_fail(call, &err);
        return;
    }
    r->n_calls++;
}
