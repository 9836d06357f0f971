/* What the files of the service share. */
#ifndef CARREL_RETRIEVE_SEARCH_H
#define CARREL_RETRIEVE_SEARCH_H

#include "base/service.h"
#include "base/text/text.h"
#include "embed/embed_rpc.h"
#include "retrieve/fuse.h"
#include "retrieve/query.h"
#include "retrieve/retrieve_rpc.h"
#include "vectorstore/vectorstore_rpc.h"

#define ENCODERS_KNOWN 256
#define ENCODER_NAME_MAX 128

/* The encoder each tenant last had, so that the question can be encoded while full-text search
 * runs. */
struct known_encoder {
    char tenant[65];
    char encoder[ENCODER_NAME_MAX];
    uint64_t used; /* 0: free */
};

struct retrieve {
    struct service *svc;
    struct text_analyzer *text; /* loop thread only */
    struct known_encoder known[ENCODERS_KNOWN];
    uint64_t tick;
    uint32_t n_calls;
    uint64_t searches, failed, without_dense, folded;
    uint64_t total_us;
    bool stopping;
    struct evaluations *evaluations;
};

void search_on_request(struct rpc_call *call, const ProtobufCMessage *m);
void search_on_cancel(struct rpc_call *call);
/* A search of our own; it fails where vectors are wanted and cannot be searched. done runs once, also after search_cancel, perhaps before search_start
 * returns; reply is valid until it returns. All in a, which outlives it. NULL: it did not begin. */
struct search;
struct search_job {
    struct rpc_options options; /* with a tenant */
    const Rt__SearchRequest *request;
    const char *encoder; /* instead of the published one; NULL: that */
    struct arena *a;
    void (*done)(void *data, const struct error *err, const Rt__SearchReply *reply);
    void *data;
};
struct search *search_start(struct retrieve *r, const struct search_job *job,
                            struct error *err) MUST_CHECK;
void search_cancel(struct search *s);
/* A call has ended; may end the service. */
void retrieve_call_over(struct retrieve *r);

/* "" when unknown. */
const char *encoder_known(struct retrieve *r, const char *tenant);
void encoder_learn(struct retrieve *r, const char *tenant, const char *encoder);

/* Reads the query of a request: conditions go into `filter` beside those it has (both hold),
 * demands into `text`, and how it was read into *shown (NULL: as plain text). *impossible: the
 * conditions exclude each other. */
enum status interpret(struct text_analyzer *t, const Rt__SearchRequest *q, struct arena *a,
                      Vs__Filter *filter, Vs__SearchTextRequest *text, Rt__Interpreted **shown,
                      bool *impossible, struct error *err) MUST_CHECK;
/* Puts what the store tells into the passages of reply, and why_not where it was asked. */
enum status explain_fill(const Vs__ExplainReply *from, bool why_not, const struct fuse_hit *dense,
                         size_t n_dense, struct arena *a, Rt__SearchReply *reply,
                         struct error *err) MUST_CHECK;
/* Typed demands, or none. */
bool interpret_demands(const Vs__SearchTextRequest *text);

/* One text hit with what Why tells of it. */
struct text_hit {
    float words, sdm, char4;
};

struct answer {
    const struct fuse_hit *text, *dense;
    const struct text_hit *text_why;
    const struct fused *fused;
    size_t n_fused;
    uint32_t top_k;
    bool fold;
};
/* Passages with their reasons, near-duplicates folded; into `reply`, all in a. `folded` counts. */
enum status answer_fill(struct text_analyzer *t, const struct answer *in,
                        const Vs__FetchReply *fetched, struct arena *a, Rt__SearchReply *reply,
                        uint64_t *folded, struct error *err) MUST_CHECK;

/* Puts the widened passages (of the same chunks, some may be missing) in place of the reply's; what lies
 * within one before it is told by that one's `folded` and goes. */
enum status answer_widen(const Vs__FetchReply *widened, struct arena *a, Rt__SearchReply *reply,
                         struct error *err) MUST_CHECK;

#endif
