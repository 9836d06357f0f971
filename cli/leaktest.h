/* carrel leaktest: documents that only some may read are planted, and every door is tried as
 * everybody else. */
#ifndef CARREL_CLI_LEAKTEST_H
#define CARREL_CLI_LEAKTEST_H

#include "base/settings/rules.h"
#include "cli/http.h"

#define LEAK_MARK "carrel-leaktest-" /* begins the name of every file and key it makes */
#define LEAK_TENANTS 16
#define LEAK_CANARIES 64 /* of all tenants */
#define LEAK_READERS 64
#define LEAK_GROUPS 16
#define LEAK_FOUND 32 /* leaks that are described */

struct canary {
    char tenant[65];
    char path[700], name[80];
    char asked[24],
        told[24]; /* words of its text: one that probes ask for, one that they never say */
    char id[64], answer[64]; /* the document, and an answer from it that a reader got */
    struct verdict verdict;  /* what the rules say of it */
};

struct leak_reader {
    char tenant[65]; /* "" nobody: no key */
    const char *groups[RULES_VALUES];
    size_t n_groups;
    bool admin;
    char id[64];
    struct http http;
};

struct leaktest {
    struct http admin;
    char run[24];
    struct arena arena;
    struct rules rules;
    struct canary canaries[LEAK_CANARIES];
    size_t n_canaries;
    struct leak_reader readers[LEAK_READERS];
    size_t n_readers;
    const char *groups[LEAK_GROUPS]; /* of the rules; from n_ruled on only of keys */
    size_t n_groups, n_ruled;
    bool groups_left_out;
    json_t *keys;  /* that there are, as /api/keys tells them */
    json_t *paths; /* by probe: {"probes", "leaks", "untried"} */
    json_t *leaks; /* sentences */
    json_t *notes;
    size_t n_leaks, n_probes, n_untried;
    size_t n_unplanted; /* canaries that there was no room for */
};

/* leak_keys.c */
/* Every group that rules or keys name. */
enum status leak_groups(struct leaktest *t, struct error *err) MUST_CHECK;
/* Once; a second time is passed over. */
void leak_note(struct leaktest *t, const char *text);
/* Says in words what was not tried for want of an occasion or of room. */
void leak_untried(struct leaktest *t, size_t tenants);
/* Readers of the first LEAK_TENANTS of these tenants, and nobody. */
enum status leak_keys(struct leaktest *t, const json_t *tenants, struct error *err) MUST_CHECK;
/* Never NULL for a tenant that leak_keys had. */
const struct leak_reader *leak_admin(const struct leaktest *t, const char *tenant);
/* Keys of this run, or of one that was killed. Its documents are found once there are
 * administrators' keys. */
enum status leak_sweep_keys(const struct leaktest *t, struct error *err) MUST_CHECK;

/* leak_probes.c */
bool leak_may_read(const struct leak_reader *r, const struct canary *c);
/* A reader finds it: otherwise silence elsewhere would prove nothing. Where chat gives him no
 * answer, the answers of that document are not tried, and a note says so. */
enum status leak_control(struct leaktest *t, struct canary *c, const struct leak_reader *r,
                         struct error *err) MUST_CHECK;
/* The record of the answer, as somebody else who may read its document too. */
enum status leak_probe_answer(struct leaktest *t, const struct canary *c,
                              const struct leak_reader *r, struct error *err) MUST_CHECK;
/* Every door, as this reader who may not. A door that answers 429 to the end, or 5xx, without
 * having told anything, was not tried: it is counted apart. */
enum status leak_probe(struct leaktest *t, const struct canary *c, const struct leak_reader *r,
                       struct error *err) MUST_CHECK;

#endif
