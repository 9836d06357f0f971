/* One evaluation on its way, between evaluate.c (the call, beginning and end), evaluate_read.c
 * (documents to questions) and evaluate_search.c (questions to figures). Loop thread. */
#ifndef CARREL_RETRIEVE_EVALUATE_INTERNAL_H
#define CARREL_RETRIEVE_EVALUATE_INTERNAL_H

#include "base/lane.h"
#include "retrieve/eval_db.h"
#include "retrieve/evaluate.h"
#include "retrieve/question_ask.h"

#define AT_ONCE 4U
#define CONFIGURATIONS_MAX 4U
#define DOCUMENTS_MAX 400U
#define JUDGED_DOCUMENTS 20U

/* A question with what answers it. */
struct asked {
    uint64_t key;
    const char *text;
    const char *collection;
    const uint64_t *passages; /* hashes of the passages that answer; one unit */
    size_t n_passages;
    char **documents; /* of a person's: each a unit */
    size_t n_documents;
    const uint64_t *bad; /* hashes of passages that do not count */
    size_t n_bad;
};

struct sampled {
    uint64_t order;
    const char *id, *title, *collection;
};

struct evaluation {
    struct evaluations *all;
    char tenant[65];
    bool running, stopped;
    struct error error; /* of the last one */
    struct arena arena, step;
    Rt__EvaluateRequest *request; /* ours */
    struct rpc_request *rpc;
    struct search *search;
    uint64_t generation;
    char *published;
    struct sampled documents[DOCUMENTS_MAX];
    size_t n_documents, at_document, used_documents;
    struct question_passage *passages; /* of the document being read */
    uint64_t *hashes;
    size_t n_passages;
    struct question_ask ask;
    size_t asked_passage, n_modelled; /* the passage asked about; questions the model made */
    bool no_model;
    struct asked *asked;
    size_t n_asked, max_asked;
    struct eval_result *results[CONFIGURATIONS_MAX];
    char *settings[CONFIGURATIONS_MAX];
    size_t n_configurations, at_configuration, at_question;
};

struct evaluations {
    struct retrieve *r;
    struct lane lane;
    struct evaluation slots[AT_ONCE];
};

/* The end; err NULL: it went well. */
void evaluation_over(struct evaluation *e, const struct error *err);
bool evaluation_running(struct evaluations *all, const char *tenant);
void evaluation_no_memory(struct evaluation *e);
/* Of its calls: the tenant's, in the background. */
struct rpc_options evaluation_options(const struct evaluation *e);
/* What a passage is known by: the beginning of its SHA-256. */
uint64_t evaluation_passage_hash(ProtobufCBinaryData sha);

/* Chooses documents and makes questions of them, then evaluation_search. The first call; NULL: out
 * of memory. */
struct rpc_request *evaluation_read(struct evaluation *e) MUST_CHECK;
/* Asks the questions in every configuration and stores the figures. */
void evaluation_search(struct evaluation *e);

#endif
