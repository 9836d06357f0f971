/* carrel verify: has the store of each tenant compare its documents, texts, postings and vectors.
 */
#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tenant.h"
#include "cli/command.h"
#include "cli/rpc_once.h"
#include "cli/term.h"
#include "vectorstore/vectorstore_rpc.h"

#define TIMEOUT_MS 600000
#define TENANTS_MAX 4096

struct report {
    uint64_t documents, chunks, problems;
    uint64_t keyed, clear; /* tenants; their segments that are not encrypted yet */
    const char *tenant;
    json_t *texts;
};

static void take(const ProtobufCMessage *m, void *data)
{
    struct report *r = data;
    const Vs__VerifyReply *v = vs_verify_reply(m);

    if (v == NULL) {
        return;
    }
    r->documents += v->documents;
    r->chunks += v->chunks;
    r->problems += v->problems;
    r->keyed += v->keyed ? 1 : 0;
    r->clear += v->clear_segments;
    for (size_t i = 0; i < v->n_problem; i++) {
        (void)json_array_append_new(r->texts, json_sprintf("%s: %s", r->tenant, v->problem[i]));
    }
}

static int is_tenant(const struct dirent *e)
{
    return tenant_name_valid(str_from(e->d_name));
}

static void print(const struct options *o, const struct report *r)
{
    if (o->json) {
        json_t *j = json_pack(
            "{s:I, s:I, s:I, s:I, s:I, s:O}", "documents", (json_int_t)r->documents, "chunks",
            (json_int_t)r->chunks, "keyed_tenants", (json_int_t)r->keyed, "clear_segments",
            (json_int_t)r->clear, "problems", (json_int_t)r->problems, "problem", r->texts);
        if (j != NULL) {
            (void)json_dumpf(j, stdout, 0);
            (void)printf("\n");
        }
        json_decref(j);
        return;
    }
    (void)printf("%" PRIu64 " %s, %" PRIu64 " %s: %s\n", r->documents,
                 term_word(r->documents, "document", "documents"), r->chunks,
                 term_word(r->chunks, "chunk", "chunks"),
                 r->problems == 0 ? "all agree" : "something is wrong");
    if (r->keyed > 0) {
        (void)printf("%" PRIu64 " %s a key; %" PRIu64 " of their segments %s not encrypted yet\n",
                     r->keyed, term_word(r->keyed, "tenant has", "tenants have"), r->clear,
                     term_word(r->clear, "is", "are"));
    }
    for (size_t i = 0; i < json_array_size(r->texts); i++) {
        (void)printf("  ");
        term_put_clean(stdout, json_string_value(json_array_get(r->texts, i)));
        (void)printf("\n");
    }
}

static enum exit_code run(const struct options *o)
{
    char path[1200];
    struct dirent **names = NULL;
    struct error err = {0};
    struct report r = {.texts = json_array()};
    Vs__VerifyRequest request = VS__VERIFY_REQUEST__INIT;
    enum status s = STATUS_OK;

    (void)snprintf(path, sizeof(path), "%.1000s/tenants", o->home);
    int n = scandir(path, &names, is_tenant, alphasort);
    if (n <= 0) {
        n = 0;
        r.tenant = "main";
        s = rpc_once(o->home, PEER_VECTORSTORE, &vs_verify_method, r.tenant, TIMEOUT_MS,
                     &request.base, take, &r, &err);
    }
    for (int i = 0; i < n; i++) {
        if (s == STATUS_OK && i < TENANTS_MAX) {
            r.tenant = names[i]->d_name;
            if (!o->json) {
                term_progress(stderr, (uint64_t)i, (uint64_t)n, r.tenant);
            }
            s = rpc_once(o->home, PEER_VECTORSTORE, &vs_verify_method, r.tenant, TIMEOUT_MS,
                         &request.base, take, &r, &err);
        }
        r.tenant = NULL;
        free(names[i]);
    }
    free(names);
    if (!o->json) {
        term_progress_end(stderr);
    }
    if (s == STATUS_OK) {
        print(o, &r);
    }
    json_decref(r.texts);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    return r.problems == 0 ? EXIT_OK : EXIT_FAILED;
}

const struct command cmd_verify = {
    .name = "verify",
    .args = "",
    .summary = "Check that documents, full-text index and vectors of every tenant agree.",
    .help = "Exit code 1 when something does not.",
    .options = OPT_HOME | OPT_JSON,
    .run = run,
};
