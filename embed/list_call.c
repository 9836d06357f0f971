/* embed.ListEncoders: the tenant's fits, those at hand and those that the store has, and, read on a
 * lane, what was imported. */
#include <stdlib.h>

#include "embed/embed.h"
#include "vectorstore/vectorstore_rpc.h"

#define STORED_MAX 16U
#define STORED_MS 2000
#define HASHED_NAME "carrel-hash"
#define FIT_PREFIX "carrel-lsa-"
#define IMPORTED_MAX REGISTRY_MAX

struct list_call {
    struct embed *embed;
    struct rpc_call *call;
    struct arena *arena;
    Em__EncoderInfo *items[FITS_MAX + 1 + STORED_MAX + IMPORTED_MAX];
    size_t n;
    double weight;
    bool failed;
    struct model_record *imported; /* ours */
    size_t n_imported;
    struct error problem;
};

static Em__EncoderInfo *list_add(struct list_call *l, const char *name, const char *version,
                                 uint32_t dimensions, const char *state, double weight)
{
    Em__EncoderInfo *item = arena_alloc(l->arena, sizeof *item);
    char *own_name = arena_strdup(l->arena, name);
    char *own_version = arena_strdup(l->arena, version);
    char *own_state = arena_strdup(l->arena, state);
    if (item == NULL || own_name == NULL || own_version == NULL || own_state == NULL) {
        l->failed = true;
        return NULL;
    }
    em__encoder_info__init(item);
    item->name = own_name;
    item->version = own_version;
    item->state = own_state;
    item->dimensions = dimensions;
    item->weight = (float)weight;
    l->items[l->n++] = item;
    return item;
}

static void list_fit(const struct lsa_info *info, void *data)
{
    struct list_call *l = data;
    if (l->n <= FITS_MAX) {
        /* the version of a fit is what tells it from other fits: the hash in its name */
        (void)list_add(l, info->encoder, info->encoder + strlen(FIT_PREFIX), info->dimensions,
                       "fitted", l->weight);
    }
}

/* The store knows which there are, also those that nobody has asked for since the start. Where it
 * is down only those at hand are told. */
static void on_stored(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct list_call *l = data;
    const Vs__ListEncodersReply *reply = vs_list_encoders_reply(m);
    for (size_t i = 0; reply != NULL && i < reply->n_encoders; i++) {
        const Vs__ListEncodersReply__Item *e = reply->encoders[i];
        bool wanted = strncmp(e->name, FIT_PREFIX, strlen(FIT_PREFIX)) == 0 &&
                      strcmp(e->state, "retired") != 0 && l->n <= FITS_MAX + STORED_MAX;
        for (size_t k = 0; k < l->n && wanted; k++) {
            wanted = strcmp(l->items[k]->name, e->name) != 0;
        }
        if (wanted) {
            (void)list_add(l, e->name, e->name + strlen(FIT_PREFIX), e->dimensions, "fitted",
                           l->weight);
        }
    }
}

static void list_imported(struct list_call *l)
{
    const struct settings *settings = l->embed->svc->settings;
    bool found = settings->encoder.model[0] == '\0';
    for (size_t i = 0; i < l->n_imported; i++) {
        const struct model_record *r = &l->imported[i];
        bool wanted = strcmp(r->name, settings->encoder.model) == 0;
        if (r->role == MODEL_ENCODER) {
            Em__EncoderInfo *item = list_add(l, r->encoder, r->encoder + strlen("gguf-"), r->width,
                                             "imported", settings->retrieve.encoder_weight);
            if (item == NULL) {
                return;
            }
            item->model = arena_strdup(l->arena, r->name);
            item->has_wanted = 1;
            item->wanted = wanted;
            l->failed = l->failed || item->model == NULL;
            found = found || wanted;
        } else if (wanted) {
            found = true;
            (void)error_set(&l->problem, STATUS_UNSUPPORTED, "encoder.model: %s was imported as %s",
                            r->name, model_role_name(r->role));
        }
    }
    if (!found && l->problem.code == STATUS_OK) {
        (void)error_set(&l->problem, STATUS_NOT_FOUND,
                        "encoder.model: no model is imported under the name %.64s",
                        settings->encoder.model);
    }
}

static void list_work(void *job) /* on the lane */
{
    struct list_call *l = job;
    l->imported = calloc(REGISTRY_MAX, sizeof *l->imported);
    if (l->imported == NULL) {
        (void)error_set(&l->problem, STATUS_NO_MEMORY, "out of memory");
    } else if (registry_list(l->embed->svc->home, l->imported, &l->n_imported, &l->problem) !=
               STATUS_OK) {
        l->n_imported = 0;
    }
}

static void list_done(void *job)
{
    struct list_call *l = job;
    struct embed *e = l->embed;
    list_imported(l);
    free(l->imported);
    if (l->failed) {
        rpc_call_finish(l->call, STATUS_NO_MEMORY, NULL);
    } else {
        Em__ListEncodersReply reply = EM__LIST_ENCODERS_REPLY__INIT;
        reply.n_encoders = l->n;
        reply.encoders = l->items;
        reply.problem = l->problem.code == STATUS_OK ? NULL : l->problem.text;
        em_list_encoders_return(l->call, &reply);
    }
    /* l lay in the call's arena and is gone with the call */
    embed_call_over(e);
}

static void on_stored_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    (void)err;
    struct list_call *l = data;
    struct embed *e = l->embed;
    struct error why = {0};
    if (lane_submit(&e->loading, list_work, list_done, l, &why) != STATUS_OK) {
        rpc_call_fail(l->call, &why);
        embed_call_over(e);
    }
}

void list_call_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct embed *e = service_state(call);
    struct list_call *l = arena_alloc(rpc_call_arena(call), sizeof *l);
    if (l == NULL || e->stopping) {
        rpc_call_finish(call, l == NULL ? STATUS_NO_MEMORY : STATUS_UNAVAILABLE, NULL);
        return;
    }
    *l = (struct list_call){.embed = e,
                            .call = call,
                            .arena = rpc_call_arena(call),
                            .weight = e->svc->settings->retrieve.lsa_weight};
    (void)list_add(l, HASHED_NAME, "1", ENCODE_HASHED_DIMENSIONS, "hashed", 0);
    fits_each(e->fits, rpc_call_tenant(call), list_fit, l);
    Vs__ListEncodersRequest ask = VS__LIST_ENCODERS_REQUEST__INIT;
    struct rpc_options o = {.tenant = rpc_call_tenant(call), .timeout_ms = STORED_MS};
    static const struct rpc_callbacks cb = {.on_reply = on_stored, .on_finish = on_stored_end};
    if (vs_list_encoders(service_client(e->svc, PEER_VECTORSTORE), &o, &ask, &cb, l) == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    e->n_calls++;
}
