/* retrieve.Evaluate: search measured on questions made from the tenant's own documents. */
#ifndef CARREL_RETRIEVE_EVALUATE_H
#define CARREL_RETRIEVE_EVALUATE_H

#include "retrieve/search.h"

struct evaluations;

enum status evaluations_new(struct retrieve *r, struct evaluations **out,
                            struct error *err) MUST_CHECK;
/* Ends those under way; each counts among the retrieve's calls until it has ended. */
void evaluations_stop(struct evaluations *e);
void evaluations_free(struct evaluations *e); /* NULL is fine */
void evaluate_on_request(struct rpc_call *call, const ProtobufCMessage *m);
/* forget.c: retrieve.Forget */
void evaluate_forget(struct rpc_call *call, const ProtobufCMessage *m);

#endif
