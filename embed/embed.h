/* What the files of the embed service share: one struct embed per process, made by service.c. */
#ifndef CARREL_EMBED_EMBED_H
#define CARREL_EMBED_EMBED_H

#include "base/lane.h"
#include "base/service.h"
#include "embed/embed_rpc.h"
#include "embed/encode.h"
#include "embed/fits.h"
#include "embed/models.h"
#include "embed/neural.h"

/* Pool threads that may analyse at once: passages, queries, the fit's own reading, the checking of
 * blobs. */
#define EMBED_SCRATCHES 4

struct fit_call;

/* One thread at a time works with an imported model here; the model last used stays, with its
 * workspace. */
struct model_lane {
    struct lane lane;
    struct neural_scratch scratch;
    struct open_model *held; /* NULL: none yet */
    uint32_t threads;        /* of its passes */
};

struct embed {
    struct service *svc;
    struct lane passages; /* ingest's batches */
    struct lane queries;  /* never behind a batch of passages */
    struct lane fitting;  /* reading passages into a fit */
    struct lane loading;  /* checking fetched blobs, reading the registry */
    struct models *models;
    struct model_lane model_passages; /* re-embedding */
    struct model_lane model_queries;  /* never behind a batch of passages */
    struct model_lane reranking;
    struct fits *fits;
    struct fit_call *fit; /* the one fit under way, or NULL */
    size_t n_calls;       /* calls whose work is not over */
    bool stopping;
    uint64_t texts, words, fits_made;
    uint64_t cut; /* texts that were longer than an imported model reads */
    uint64_t reranked, rerank_us;
    uv_mutex_t lock; /* guards scratches */
    struct encode_scratch *scratches[EMBED_SCRATCHES];
};

/* Pool threads: a scratch of one's own until given back. */
enum status embed_take_scratch(struct embed *e, struct encode_scratch **out,
                               struct error *err) MUST_CHECK;
void embed_give_scratch(struct embed *e, struct encode_scratch *s);
/* A call's work is over; ends the service when it was the last one and it is stopping. */
void embed_call_over(struct embed *e);

/* On the lane's thread: makes o, which the caller holds, the lane's model; the lane keeps it. */
void model_lane_use(struct embed *e, struct model_lane *l, struct open_model *o);

/* embed.Encode (encode_call.c), embed.Rerank (rerank_call.c), embed.ListEncoders (list_call.c). */
void encode_call_on_request(struct rpc_call *call, const ProtobufCMessage *m);
void rerank_call_on_request(struct rpc_call *call, const ProtobufCMessage *m);
void list_call_on_request(struct rpc_call *call, const ProtobufCMessage *m);

/* embed.Fit (fit_call.c). */
void fit_call_on_request(struct rpc_call *call, const ProtobufCMessage *m);
void fit_call_on_end(struct rpc_call *call);
void fit_call_on_ready(struct rpc_call *call);
void fit_call_on_cancel(struct rpc_call *call);
/* Stops the fit under way; its call ends by itself. */
void fit_call_stop(struct fit_call *f);

#endif
