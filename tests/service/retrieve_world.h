/* carrel-retrieve as a process in a world of the test's making: serve above it, and a vectorstore
 * and an embed below it that answer as they are told and note what they were asked. */
#ifndef CARREL_TESTS_SERVICE_RETRIEVE_WORLD_H
#define CARREL_TESTS_SERVICE_RETRIEVE_WORLD_H

#include "embed/embed_rpc.h"
#include "retrieve/retrieve_rpc.h"
#include "tests/service/one_service.h"
#include "tests/unit/test.h"
#include "vectorstore/vectorstore_rpc.h"

struct world {
    uv_loop_t loop;
    struct one_service service;
    struct rpc_server *store, *embed;
    struct rpc_client *serve;
    /* what the fakes do */
    const char *encoder;
    bool hold_text, reject_vectors;
    const char *rewritten; /* of the requests; NULL: none */
    unsigned rewrites, last_widen;
    uint32_t widen; /* of the requests */
    bool fail_widened;
    struct rpc_call *held;
    bool text_cancelled;
    /* what they saw */
    char last_encode[64], last_vector[64], last_tenant[65];
    unsigned texts, encodes, vectors, fetches, statuses;
    uint32_t last_limit;
    size_t last_earlier, last_collections, last_fetched;
    bool last_plain;
    char last_query[64], last_demands[128];
    /* the reranker: scores by chunk, in the order of texts; how many it has time for */
    unsigned reranks;
    size_t rerank_time;
    enum status rerank_fails;
    uint32_t rerank_budget;
    char rerank_query[64], rerank_first[64];
    bool no_rerank; /* of the requests */
};

/* Without a store or an embed nobody answers at its address; `yaml` is the configuration (begin:
 * LSA alone). */
struct world *begin_with(bool store, bool embed, const char *yaml);
struct world *begin(bool store, bool embed);
void finish(struct world *w);

struct answer {
    bool finished;
    struct error error;
    char order[64], folded[128], note[200], encoder[64];
    float first, share;
    unsigned text_rank, dense_rank; /* of the first passage */
    unsigned rank_before, reranked;
    float rerank_score, fused;
    char reranker[32];
    char interpreted[128];
};

/* Fill a struct answer given as their data. */
extern const struct rpc_callbacks callbacks;

/* One search, as serve asks; waits for its end. */
struct answer ask(struct world *w, const char *query, Rt__SearchRequest__Mode mode, bool no_fold,
                  uint32_t top_k);
/* Points into z. */
ProtobufCBinaryData bytes(const char *z);

#endif
