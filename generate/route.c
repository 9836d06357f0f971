#include "generate/route.h"

#include <stdio.h>
#include <string.h>

#include "base/settings/rules.h"

static bool unlabelled(const char *label)
{
    return label == NULL || label[0] == '\0';
}

static bool may_leave(const struct route_policy *p, const char *label)
{
    if (unlabelled(label)) {
        return false;
    }
    for (size_t i = 0; i < p->n_may_receive; i++) {
        if (strcmp(label, p->may_receive[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The passage that keeps the prompt here: the strictest of those that may not leave; n_passages if
 * none. */
static size_t find_blocker(const struct route_request *r, const struct route_policy *p)
{
    size_t worst = r->n_passages;
    for (size_t i = 0; i < r->n_passages; i++) {
        if (!may_leave(p, r->labels[i]) &&
            (worst == r->n_passages ||
             rules_label_strictness(r->labels[i]) > rules_label_strictness(r->labels[worst]))) {
            worst = i;
        }
    }
    return worst;
}

static void say(struct route *out, enum route_verdict verdict, const char *rule, const char *reason)
{
    out->verdict = verdict;
    out->rule = rule;
    (void)snprintf(out->reason, sizeof out->reason, "%s", reason);
}

static void decide_external(const struct route_request *r, const struct route_policy *p,
                            struct route *out)
{
    size_t blocker = find_blocker(r, p);
    if (r->n_passages == 0) {
        out->held_back = true;
        say(out, ROUTE_LOCAL, "no-passages",
            "no passage with a label is in the prompt, and unlabelled text stays on this machine");
    } else if (blocker < r->n_passages && unlabelled(r->labels[blocker])) {
        out->held_back = true;
        (void)snprintf(out->reason, sizeof out->reason,
                       "passage %zu has no label, and unlabelled text stays on this machine",
                       blocker + 1);
        out->verdict = ROUTE_LOCAL;
        out->rule = "unlabelled";
    } else if (blocker < r->n_passages) {
        out->held_back = true;
        (void)snprintf(
            out->reason, sizeof out->reason,
            "passage %zu is labelled %.64s, which generate.upstream.may_receive does not "
            "list",
            blocker + 1, r->labels[blocker]);
        out->verdict = ROUTE_LOCAL;
        out->rule = "label";
    } else {
        out->destination = p->destination;
        out->model = false;
        (void)snprintf(out->reason, sizeof out->reason,
                       "all %zu passages carry labels that %.100s may receive", r->n_passages,
                       p->destination);
        out->verdict = ROUTE_EXTERNAL;
        out->rule = "may-receive";
    }
}

static void decide_model(const struct route_request *r, const struct route_policy *p, bool here,
                         struct route *out)
{
    out->model = here;
    if (here) {
        say(out, ROUTE_LOCAL, "model", "a model on this machine answers");
    } else if (!p->model) {
        say(out, r->engine == ROUTE_ENGINE_LOCAL ? ROUTE_REFUSE : ROUTE_LOCAL, "no-model",
            "no model is configured (generate.model)");
    } else if (p->model_unready != NULL) {
        out->held_back = true;
        (void)snprintf(out->reason, sizeof out->reason, "%.250s", p->model_unready);
        out->verdict = ROUTE_LOCAL;
        out->rule = "model-unready";
    } else {
        say(out, ROUTE_LOCAL, "no-passages", "there is no passage that a model could answer from");
    }
}

void route_decide(const struct route_request *request, const struct route_policy *policy,
                  struct route *out)
{
    *out = (struct route){.strictest_label = "", .destination = ""};
    for (size_t i = 0; i < request->n_passages; i++) {
        if (i == 0 || rules_label_strictness(request->labels[i]) >
                          rules_label_strictness(out->strictest_label)) {
            out->strictest_label = unlabelled(request->labels[i]) ? "" : request->labels[i];
        }
    }
    enum route_engine engine =
        request->engine == ROUTE_ENGINE_AUTO ? policy->engine : request->engine;
    bool configured = policy->destination[0] != '\0';
    bool here = policy->model && policy->model_unready == NULL &&
                (request->n_passages > 0 || request->model_alone);
    if (engine == ROUTE_ENGINE_EXTRACTIVE) {
        say(out, ROUTE_LOCAL, request->engine == ROUTE_ENGINE_EXTRACTIVE ? "asked" : "settings",
            request->engine == ROUTE_ENGINE_EXTRACTIVE ? "the caller asked for quoted sentences"
                                                       : "generate.engine is extractive");
        return;
    }
    if (engine == ROUTE_ENGINE_LOCAL ||
        (engine == ROUTE_ENGINE_AUTO && policy->model && (here || !configured))) {
        decide_model(request, policy, here, out);
        return;
    }
    out->model = here; /* should the prompt have to stay */
    if (!configured) {
        say(out, request->engine == ROUTE_ENGINE_UPSTREAM ? ROUTE_REFUSE : ROUTE_LOCAL,
            "no-upstream", "no upstream is configured (generate.upstream.url)");
    } else if (policy->unready != NULL) {
        out->held_back = true;
        (void)snprintf(out->reason, sizeof out->reason, "the upstream cannot be used: %.180s",
                       policy->unready);
        out->verdict = ROUTE_LOCAL;
        out->rule = "upstream-unready";
    } else {
        decide_external(request, policy, out);
    }
}

const char *route_verdict_name(enum route_verdict v)
{
    static const char *const names[] = {"local", "external", "refuse"};
    return (unsigned)v < 3 ? names[v] : "refuse";
}

bool route_engine_parse(const char *name, enum route_engine *out)
{
    if (name == NULL || name[0] == '\0' || strcmp(name, "auto") == 0) {
        *out = ROUTE_ENGINE_AUTO;
    } else if (strcmp(name, "extractive") == 0) {
        *out = ROUTE_ENGINE_EXTRACTIVE;
    } else if (strcmp(name, "local") == 0) {
        *out = ROUTE_ENGINE_LOCAL;
    } else if (strcmp(name, "upstream") == 0) {
        *out = ROUTE_ENGINE_UPSTREAM;
    } else {
        return false;
    }
    return true;
}
