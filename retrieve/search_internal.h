/* One search on its way, between search.c (begins and ends it), search_text.c, search_dense.c and
 * search_answer.c. Loop thread. */
#ifndef CARREL_RETRIEVE_SEARCH_INTERNAL_H
#define CARREL_RETRIEVE_SEARCH_INTERNAL_H

#include "retrieve/rerank_ask.h"
#include "retrieve/search.h"

#define NOTES_MAX 5

enum side {
    SIDE_OFF, /* not part of this search, or ended without a result */
    SIDE_RUNNING,
    SIDE_DONE,
};

struct search {
    struct retrieve *r;
    struct rpc_call *call; /* NULL: a job */
    struct search_job job;
    const char *tenant;
    struct arena *a; /* the call's */
    struct rpc_options options;
    Rt__SearchRequest *request; /* our copy */
    Vs__Filter filter;
    Vs__SearchTextRequest ask; /* the query as read */
    uint32_t top_k, limit;
    int64_t started_us;

    enum side text, dense;
    enum side
        second; /* full text by the rewritten question: helps, and is never waited for in vain */
    struct fuse_hit *second_hits;
    struct text_hit *second_why;
    size_t n_second;
    float second_share;
    struct rpc_request *second_rpc;
    struct rpc_request *text_rpc, *dense_rpc, *fetch_rpc, *explain_rpc;
    char encoder[ENCODER_NAME_MAX]; /* of the dense side */
    bool dense_restarted;

    struct fuse_hit *text_hits, *dense_hits;
    struct text_hit *text_why;
    size_t n_text, n_dense;
    float *vector;
    size_t n_vector;
    struct fused *fused;
    size_t n_fused;
    Vs__FetchReply *fetched;
    struct rerank_ask rerank;
    Vs__ExplainReply *explained;
    Rt__SearchReply reply;
    char *notes[NOTES_MAX];
    char *dense_note; /* why the dense side gave nothing */
    struct error error;
};

/* The only way out; s is gone afterwards. */
void search_finish(struct search *s, enum status status);
void search_fail(struct search *s, const struct error *err);
void search_no_memory(struct search *s);
/* Told to whoever asked; NULL (out of memory) is passed over. */
void search_note(struct search *s, char *text);
/* Cancels a call unless it has ended. */
void search_drop(struct rpc_request **r);
/* Messages are gone when their callback returns: copies in the arena. False, NULL: no memory. */
bool search_copy(struct arena *a, const void *p, size_t len, struct str *out);
ProtobufCMessage *search_copy_message(const ProtobufCMessage *m, struct arena *a);
/* Each side begins; false: no memory, and s has ended. */
bool search_text_start(struct search *s);
bool search_second_start(struct search *s);
void search_dense_start(struct search *s);
/* For a search by vectors alone: asks the store which encoder there is, then begins. */
bool search_encoder_start(struct search *s);
/* Are vectors part of this search, and with what weight in the fusion? */
bool search_wants_dense(const struct search *s);
float search_encoder_weight(const struct search *s);
/* Is there a question rewritten to stand alone, to be searched too? */
bool search_rewritten(const struct search *s);
/* Its hits join those of the question as it was typed. */
bool search_join_second(struct search *s);
/* Goes on to fusing once no side runs. */
void search_sides_ended(struct search *s);

#endif
