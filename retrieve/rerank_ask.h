/* Asking embed for the scores of the best passages, in the time that is left. Loop thread only. */
#ifndef CARREL_RETRIEVE_RERANK_ASK_H
#define CARREL_RETRIEVE_RERANK_ASK_H

#include "retrieve/search.h"

#define RERANK_MAX 64U

struct rerank_ask {
    /* in; borrowed until done ran or rerank_ask_stop */
    struct retrieve *r;
    struct arena *a;
    const struct rpc_options *options;
    int64_t spent_ms; /* of its time */
    ProtobufCBinaryData query;
    Vs__FetchReply *fetched; /* the best first; put into the new order */
    struct fused *fused;     /* the same */
    size_t n_fused;
    void (*done)(void *data, struct rerank_ask *ask);
    void *data;
    /* out */
    char *model; /* of the reranker; NULL: nothing was reordered */
    char *line;  /* the same with its sum and what computed it */
    char *note;  /* why not, or why not all; NULL: nothing to say */
    uint32_t n_reranked;
    /* private */
    struct rpc_request *request;
    size_t asked;
    float *scores;
    size_t n_scores;
};

/* How many of the best are to be read again; 0: no reranker is configured. */
uint32_t rerank_wanted(const struct settings *s);
/* done runs later, exactly once; false: out of memory, or nothing to ask, and it never runs. */
bool rerank_ask_start(struct rerank_ask *ask);
void rerank_ask_stop(struct rerank_ask *ask);

#endif
