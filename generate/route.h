/* Where a prompt may go: decided here and nowhere else, from written policy. Pure. The verdict and
 * its reason travel in the first reply, and serve records them. docs/decisions/routing.md tells the
 * rules. */
#ifndef CARREL_GENERATE_ROUTE_H
#define CARREL_GENERATE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum route_verdict {
    ROUTE_LOCAL,    /* nothing leaves: an engine of this machine answers */
    ROUTE_EXTERNAL, /* the upstream may have the prompt */
    ROUTE_REFUSE,   /* what was asked for cannot be had */
};

enum route_engine {
    ROUTE_ENGINE_AUTO,
    ROUTE_ENGINE_EXTRACTIVE,
    ROUTE_ENGINE_UPSTREAM,
    ROUTE_ENGINE_LOCAL
};

struct route_request {
    enum route_engine engine;  /* what the caller asked for; AUTO: the configured default */
    const char *const *labels; /* of each passage in the prompt; "" or NULL: unlabelled */
    size_t n_passages;
    bool model_alone; /* a model of this machine may answer without passages */
};

struct route_policy {
    enum route_engine engine;  /* generate.engine */
    bool model;                /* generate.model names one */
    const char *model_unready; /* why it cannot answer (yet); NULL when it can */
    const char *destination;   /* host[:port] of the upstream; "" when none is configured */
    const char *unready;       /* why the configured upstream cannot be used; NULL when it can */
    const char *const *may_receive; /* labels whose text may leave; "" never matches */
    size_t n_may_receive;
};

#define ROUTE_REASON_CAP 256

struct route {
    enum route_verdict verdict;
    char reason[ROUTE_REASON_CAP]; /* a sentence for people */
    const char *rule;              /* its name, static (generate.proto) */
    const char *strictest_label;   /* of the passages; "" when one is unlabelled or there is none.
                                      Borrowed   from the request */
    const char *destination;       /* "" unless external; borrowed from the policy */
    bool model;                    /* local: a language model answers, not quoted sentences */
    bool held_back; /* local only because policy keeps the prompt from a wanted upstream */
};

void route_decide(const struct route_request *request, const struct route_policy *policy,
                  struct route *out);
const char *route_verdict_name(enum route_verdict v); /* "local", "external", "refuse" */
/* false for an unknown name; "" and "auto" are AUTO */
bool route_engine_parse(const char *name, enum route_engine *out);

#endif
