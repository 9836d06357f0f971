#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "generate/route.h"

struct row {
    const char *name;
    enum route_engine asked, configured;
    const char *destination, *unready;
    const char *may[3];
    const char *labels[4];
    size_t n_labels;
    enum route_verdict verdict;
    const char *strictest, *reason;
    bool held_back;
};

#define A ROUTE_ENGINE_AUTO
#define X ROUTE_ENGINE_EXTRACTIVE
#define U ROUTE_ENGINE_UPSTREAM
#define L ROUTE_LOCAL
#define E ROUTE_EXTERNAL
#define R ROUTE_REFUSE
#define HOST "api.example.com:443"

static const struct row rows[] = {
    {"none configured", A, A, "", NULL, {0}, {"public"}, 1, L, "public", "no upstream", false},
    {"none, but asked for", U, A, "", NULL, {0}, {"public"}, 1, R, "public", "no upstream", false},
    {"empty list", A, A, HOST, NULL, {0}, {"public"}, 1, L, "public", "labelled public", true},
    {"on the list", A, A, HOST, NULL, {"public"}, {"public", "public"}, 2, E, "public", "all 2", false},
    {"both on the list", A, A, HOST, NULL, {"public", "internal"}, {"public", "internal"}, 2, E,
     "internal", "all 2", false},
    {"the strictest decides", A, A, HOST, NULL, {"public"}, {"public", "restricted", "internal"}, 3, L,
     "restricted", "passage 2 is labelled restricted", true},
    {"a list need not be a ladder", A, A, HOST, NULL, {"confidential"}, {"confidential", "internal"}, 2,
     L, "confidential", "labelled internal", true},
    {"unlabelled", A, A, HOST, NULL, {"public"}, {"public", ""}, 2, L, "", "passage 2 has no label", true},
    {"unlabelled by null", A, A, HOST, NULL, {"public"}, {NULL, "public"}, 2, L, "",
     "passage 1 has no label", true},
    {"an empty label on the list lets nothing out", A, A, HOST, NULL, {""}, {""}, 1, L, "", "no label",
     true},
    {"an unknown label is strict", A, A, HOST, NULL, {"public"}, {"public", "secret-x", "restricted"}, 3,
     L, "secret-x", "secret-x", true},
    {"an unknown label may be listed", A, A, HOST, NULL, {"secret-x"}, {"secret-x"}, 1, E, "secret-x",
     "all 1", false},
    {"labels are compared whole", A, A, HOST, NULL, {"public"}, {"Public"}, 1, L, "Public", "Public", true},
    {"no passages", A, A, HOST, NULL, {"public"}, {0}, 0, L, "", "no passage", true},
    {"no passages, asked for", U, A, HOST, NULL, {"public"}, {0}, 0, L, "", "no passage", true},
    {"asked for quotes", X, U, HOST, NULL, {"public"}, {"public"}, 1, L, "public", "asked for quoted",
     false},
    {"configured for quotes", A, X, HOST, NULL, {"public"}, {"public"}, 1, L, "public",
     "generate.engine", false},
    {"asking does not override policy", U, X, HOST, NULL, {"public"}, {"internal"}, 1, L, "internal",
     "labelled internal", true},
    {"not usable", A, A, HOST, "no key", {"public"}, {"public"}, 1, L, "public", "no key", true},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        size_t n_may = 0;
        while (n_may < 3 && r->may[n_may] != NULL) {
            n_may++;
        }
        struct route_request request = {
            .engine = r->asked, .labels = r->labels, .n_passages = r->n_labels};
        struct route_policy policy = {.engine = r->configured,
                                      .destination = r->destination,
                                      .unready = r->unready,
                                      .may_receive = r->may,
                                      .n_may_receive = n_may};
        struct route out;
        route_decide(&request, &policy, &out);
        if (out.verdict != r->verdict || out.held_back != r->held_back ||
            strcmp(out.strictest_label, r->strictest) != 0 ||
            strstr(out.reason, r->reason) == NULL || out.rule == NULL || out.rule[0] == '\0' ||
            (strcmp(out.rule, "may-receive") == 0) != (r->verdict == E) ||
            strcmp(out.destination, r->verdict == E ? r->destination : "") != 0) {
            fail_msg("%s: %s, strictest \"%s\", to \"%s\", held back %d: %s", r->name,
                     route_verdict_name(out.verdict), out.strictest_label, out.destination,
                     out.held_back, out.reason);
        }
    }
}

/* A model of this machine beside everything else. */
static void test_model(void **state)
{
    (void)state;
    static const char *const labels[] = {"public"};
    static const struct {
        const char *name;
        enum route_engine asked, configured;
        bool model;
        const char *unready, *destination;
        size_t n_labels;
        enum route_verdict verdict;
        bool by_model, held_back;
        const char *reason;
    } cases[] = {
        {"ready", A, A, true, NULL, "", 1, L, true, false, "a model on this machine"},
        {"before an upstream", A, A, true, NULL, HOST, 1, L, true, false, "a model on this machine"},
        {"asked for", ROUTE_ENGINE_LOCAL, A, true, NULL, HOST, 1, L, true, false, "a model on this"},
        {"asked for, none", ROUTE_ENGINE_LOCAL, A, false, NULL, "", 1, R, false, false, "generate.model"},
        {"loading", A, A, true, "the model is loading", "", 1, L, false, true, "is loading"},
        {"loading, the upstream may", A, A, true, "the model is loading", HOST, 1, E, false, false,
         "all 1"},
        {"loading, this one wanted", A, ROUTE_ENGINE_LOCAL, true, "the model is loading", HOST, 1, L,
         false, true, "is loading"},
        {"quotes wanted", X, A, true, NULL, HOST, 1, L, false, false, "quoted"},
        {"the upstream wanted", U, A, true, NULL, HOST, 1, E, false, false, "all 1"},
        {"the upstream wanted, none there", A, U, true, NULL, "", 1, L, true, false, "no upstream"},
        {"nothing to answer from", A, A, true, NULL, "", 0, L, false, false, "no passage"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct route_request request = {
            .engine = cases[i].asked, .labels = labels, .n_passages = cases[i].n_labels};
        struct route_policy policy = {.engine = cases[i].configured,
                                      .model = cases[i].model,
                                      .model_unready = cases[i].unready,
                                      .destination = cases[i].destination,
                                      .may_receive = labels,
                                      .n_may_receive = 1};
        struct route out;
        route_decide(&request, &policy, &out);
        if (out.verdict != cases[i].verdict || out.model != cases[i].by_model ||
            out.held_back != cases[i].held_back || strstr(out.reason, cases[i].reason) == NULL) {
            fail_msg("%s: %s, by model %d, held back %d: %s", cases[i].name,
                     route_verdict_name(out.verdict), out.model, out.held_back, out.reason);
        }
    }
}

static void test_engine_names(void **state)
{
    (void)state;
    enum route_engine e;
    assert_true(route_engine_parse(NULL, &e) && e == A);
    assert_true(route_engine_parse("", &e) && e == A);
    assert_true(route_engine_parse("extractive", &e) && e == X);
    assert_true(route_engine_parse("upstream", &e) && e == U);
    assert_false(route_engine_parse("gpt", &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_model),
                                       cmocka_unit_test(test_engine_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
