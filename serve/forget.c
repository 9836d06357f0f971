/* serve.Forget: the answers' side of an erasure. */
#include "serve/serve_rpc.h"
#include "serve/service.h"

#define FORGET_MAX 10000U

static void on_forgotten(const struct error *err, uint32_t answers, bool clean, void *data)
{
    struct rpc_call *call = data;
    Se__ForgetReply reply = SE__FORGET_REPLY__INIT;
    if (err->code != STATUS_OK) {
        rpc_call_fail(call, err);
        return;
    }
    reply.answers = answers;
    reply.done = clean;
    se_forget_return(call, &reply);
}

void serve_forget(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct serve *s = service_state(call);
    const Se__ForgetRequest *r = se_forget_request(m);
    struct arena *a = rpc_call_arena(call);
    if (s == NULL || r == NULL || r->n_documents == 0 || r->n_documents > FORGET_MAX) {
        rpc_call_finish(call, STATUS_INVALID, "1 to 10000 documents at once");
        return;
    }
    const char **list = arena_array(a, r->n_documents, sizeof *list);
    for (size_t i = 0; list != NULL && i < r->n_documents; i++) {
        list[i] = arena_strdup(a, r->documents[i]);
        list = list[i] == NULL ? NULL : list;
    }
    if (list == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    answers_forget(s->answers, rpc_call_tenant(call), list, r->n_documents, on_forgotten, call);
}
