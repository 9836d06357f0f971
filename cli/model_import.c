/* carrel model import|list|verify|remove: the models of a data directory. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/settings/settings.h"
#include "base/tenant.h"
#include "cli/cmd_model.h"
#include "cli/home.h"
#include "cli/http.h"
#include "cli/json_field.h"
#include "cli/rpc_once.h"
#include "cli/term.h"
#include "vectorstore/vectorstore_rpc.h"

#define SETTINGS_ARENA_MAX ((size_t)4 * 1024 * 1024)

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* NULL: out of memory. */
static json_t *model_json(const char *home, const struct model_record *r)
{
    json_t *j = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:i, s:s, s:s, s:i, s:i, s:I}", "name", r->name, "role",
        model_role_name(r->role), "sha256", r->sha256, "bytes", (json_int_t)r->bytes,
        "packed_bytes", (json_int_t)registry_packed_bytes(home, r), "parts", (int)r->parts,
        "architecture", r->architecture, "title", r->title, "width", (int)r->width, "context",
        (int)r->context, "imported", (json_int_t)r->imported);
    if (j != NULL && r->role == MODEL_ENCODER &&
        (json_object_set_new(j, "encoder", json_string(r->encoder)) != 0 ||
         json_object_set_new(j, "query_prefix", json_string(r->query_prefix)) != 0 ||
         json_object_set_new(j, "passage_prefix", json_string(r->passage_prefix)) != 0)) {
        json_decref(j);
        j = NULL;
    }
    return j;
}

static enum exit_code out_of_memory(void)
{
    struct error err;
    (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
    return command_failed(&err);
}

static enum exit_code dump(json_t *j)
{
    if (j == NULL) {
        return out_of_memory();
    }
    json_print(j);
    json_decref(j);
    return EXIT_OK;
}

static void print_prefix(const char *which, const char *prefix)
{
    if (prefix[0] != '\0') {
        (void)printf("  %s are read behind \"", which);
        for (const char *p = prefix; *p != '\0'; p++) {
            char one[2] = {*p, '\0'};
            if (*p == '\n') {
                (void)printf("\\n");
            } else {
                term_put_clean(stdout, one);
            }
        }
        (void)printf("\"\n");
    }
}

static void print_record(const char *home, const struct model_record *r)
{
    char size[16];
    uint64_t packed = registry_packed_bytes(home, r);
    term_bytes(r->bytes, size);
    (void)printf("%-8s  %-28s %9s  %s", model_role_name(r->role), r->name, size, r->architecture);
    if (r->role == MODEL_ENCODER) {
        (void)printf(", %u dimensions, vectors %s", r->width, r->encoder);
    }
    if (packed > 0) {
        term_bytes(packed, size);
        (void)printf(", packed %s", size);
    }
    (void)printf("\n");
    print_prefix("questions", r->query_prefix);
    print_prefix("passages", r->passage_prefix);
}

/* ---- import ---- */

static bool on_progress(uint64_t done, uint64_t total, void *data)
{
    (void)data;
    term_progress(stderr, done < total ? done : total, total, "copying");
    return interrupted == 0;
}

static bool on_packing(uint64_t done, uint64_t total, void *data)
{
    (void)data;
    term_progress(stderr, done < total ? done : total, total, "packing");
    return interrupted == 0;
}

/* Where it fails the model is imported all the same: its weights are packed when it is used. */
static void pack(const struct options *o, const struct model_record *r)
{
    struct error err = {0};
    enum status s = registry_pack(o->home, r, on_packing, NULL, &err);
    term_progress_end(stderr);
    if (s != STATUS_OK) {
        term_complain("carrel: imported, but its packed weights were not written (%s): it will be "
                      "slower to start and take more memory until there is room for them",
                      err.text);
    }
}

/* A running appliance begins to embed the key's tenant with it, beside what is searched with now.
 */
static bool start_candidate(const struct options *o, const struct model_record *r)
{
    struct error err = {0};
    char name[REGISTRY_NAME_CAP + 8];
    json_t *answer = NULL;
    if (r->role != MODEL_ENCODER || !home_is_running(o->home)) {
        return false;
    }
    (void)snprintf(name, sizeof name, "model:%s", r->name);
    json_t *body = json_pack("{s:s}", "encoder", name);
    enum status s = http_ask(o, "/api/encoders/build", body, &answer, &err);
    json_decref(body);
    json_decref(answer);
    if (s != STATUS_OK) {
        term_complain("carrel: imported, but not made a candidate: %s", err.text);
    }
    return s == STATUS_OK;
}

/* What brings it into use. */
static void say_next(const struct model_record *r, bool candidate)
{
    static const char *const settings[] = {"generate.model", "encoder.model", "reranker.model"};
    if (candidate) {
        (void)printf("It is being filled beside the encoder in use: `carrel encoder list`, then "
                     "compare and promote.\n");
    }
    (void)printf(
        "%s: %s in carrel.yaml %s (takes effect at the next start).\n", settings[r->role], r->name,
        r->role == MODEL_ENCODER ? "embeds every tenant with it and publishes it" : "uses it");
}

enum exit_code model_import(const struct options *o)
{
    struct registry_import how = {.home = o->home,
                                  .path = o->args[1],
                                  .name = o->model_name,
                                  .query_prefix = o->query_prefix,
                                  .passage_prefix = o->passage_prefix,
                                  .on_progress = on_progress};
    struct model_record r;
    struct error err = {0};
    if (o->as == NULL || !model_role_parse(o->as, &how.role)) {
        (void)fprintf(stderr, "carrel model import: say what it is for: --as chat, --as encoder or "
                              "--as reranker\n");
        return EXIT_USAGE;
    }
    struct sigaction stop = {.sa_handler = on_interrupt};
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    enum status s = registry_import(&how, &r, &err);
    term_progress_end(stderr);
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    pack(o, &r);
    bool candidate = start_candidate(o, &r);
    if (o->json) {
        json_t *j = model_json(o->home, &r);
        if (j != NULL && r.role == MODEL_ENCODER) {
            (void)json_object_set_new(j, "candidate", json_boolean(candidate));
        }
        return dump(j);
    }
    print_record(o->home, &r);
    say_next(&r, candidate);
    return EXIT_OK;
}

/* ---- list, verify ---- */

static json_t *list_json(const char *home, const struct model_record *all, size_t n)
{
    json_t *models = json_array();
    for (size_t i = 0; models != NULL && i < n; i++) {
        if (json_array_append_new(models, model_json(home, &all[i])) != 0) {
            json_decref(models);
            models = NULL;
        }
    }
    return models == NULL ? NULL : json_pack("{s:o}", "models", models);
}

enum exit_code model_list(const struct options *o)
{
    struct model_record *all = NULL;
    struct error err = {0};
    size_t n = 0;
    enum exit_code code = EXIT_OK;
    if (registry_list_new(o->home, &all, &n, &err) != STATUS_OK) {
        return command_failed(&err);
    }
    if (o->json) {
        code = dump(list_json(o->home, all, n));
    }
    for (size_t i = 0; !o->json && i < n; i++) {
        print_record(o->home, &all[i]);
    }
    free(all);
    return code == EXIT_OK && n == 0 ? EXIT_NOTHING : code;
}

enum exit_code model_verify(const struct options *o)
{
    struct model_record *all = NULL;
    struct error err = {0};
    size_t n = 0;
    enum status s = STATUS_OK;
    enum exit_code code = EXIT_OK;
    if (o->n_args == 2) {
        all = calloc(1, sizeof *all);
        n = 1;
        s = all == NULL ? error_set(&err, STATUS_NO_MEMORY, "out of memory")
                        : registry_find(o->home, o->args[1], all, &err);
    } else {
        s = registry_list_new(o->home, &all, &n, &err);
    }
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        if (registry_verify(o->home, &all[i], &err) == STATUS_OK &&
            registry_verify_packed(o->home, &all[i], &err) == STATUS_OK) {
            (void)printf("%s: every byte is right\n", all[i].name);
        } else {
            code = command_failed(&err);
        }
    }
    free(all);
    return s == STATUS_OK ? code : command_failed(&err);
}

/* ---- remove ---- */

/* A model that a setting names stays: the next start would not find it. */
static enum status check_unnamed(const char *home, const char *name, struct error *err)
{
    struct arena a;
    struct settings settings;
    arena_init(&a, SETTINGS_ARENA_MAX);
    enum status s = settings_load(home, &a, &settings, err);
    if (s == STATUS_OK) {
        const struct {
            const char *key, *value;
        } named[] = {{"encoder.model", settings.encoder.model},
                     {"reranker.model", settings.reranker.model},
                     {"generate.model", settings.generate.model}};
        for (size_t i = 0; s == STATUS_OK && i < sizeof named / sizeof named[0]; i++) {
            if (strcmp(named[i].value, name) == 0) {
                s = error_set(err, STATUS_CONFLICT,
                              "%s in %s/carrel.yaml names %s: take it out there first, or --force",
                              named[i].key, home, name);
            }
        }
    }
    arena_reset(&a);
    return s;
}

/* Asking the running store: vectors of an encoder that was dropped wait for the end of their grace,
 * nobody uses them. */
struct use {
    const char *encoder;
    bool used;
};

static void on_encoders(const ProtobufCMessage *m, void *data)
{
    struct use *u = data;
    const Vs__ListEncodersReply *reply = vs_list_encoders_reply(m);
    u->used = reply == NULL;
    for (size_t i = 0; reply != NULL && i < reply->n_encoders; i++) {
        const Vs__ListEncodersReply__Item *e = reply->encoders[i];
        u->used = u->used || (strcmp(e->name, u->encoder) == 0 && strcmp(e->state, "retired") != 0);
    }
}

/* Has the tenant vectors of that encoder, searched with, kept or being made? */
static enum status tenant_uses(const char *home, const char *tenant, const char *encoder,
                               bool *used, struct error *err)
{
    char path[PATH_MAX];
    struct use u = {.encoder = encoder, .used = true};
    Vs__ListEncodersRequest q = VS__LIST_ENCODERS_REQUEST__INIT;
    int n = snprintf(path, sizeof path, "%s/tenants/%s/encoder/%s", home, tenant, encoder);
    *used = false;
    if (n < 0 || (size_t)n >= sizeof path) {
        return error_set(err, STATUS_TOO_LARGE, "the data directory's name is too long");
    }
    if (access(path, F_OK) != 0) { /* the store has a file for each encoder that it knows */
        return errno == ENOENT || errno == ENOTDIR ? STATUS_OK
                                                   : error_errno(err, errno, "%s", path);
    }
    enum status s = !home_is_running(home)
                        ? STATUS_OK
                        : rpc_once(home, PEER_VECTORSTORE, &vs_list_encoders_method, tenant, 0,
                                   &q.base, on_encoders, &u, err);
    *used = u.used;
    return s;
}

static int is_tenant(const struct dirent *e)
{
    return tenant_name_valid(str_from(e->d_name));
}

/* An encoder whose vectors a tenant has stays: without it no question could be asked of them. Not
 * so when the same is imported under another name. */
static enum status check_unused(const char *home, const char *name, struct error *err)
{
    char path[PATH_MAX];
    struct model_record r;
    struct model_record *all = NULL;
    struct dirent **tenants = NULL;
    size_t same = 0;
    size_t n_all = 0;
    int n = 0;
    enum status s = registry_find(home, name, &r, err);
    if (s != STATUS_OK || r.role != MODEL_ENCODER) {
        return s;
    }
    s = registry_list_new(home, &all, &n_all, err);
    for (size_t i = 0; s == STATUS_OK && i < n_all; i++) {
        same += all[i].role == MODEL_ENCODER && strcmp(all[i].encoder, r.encoder) == 0 ? 1 : 0;
    }
    free(all);
    if (s == STATUS_OK && same < 2) {
        (void)snprintf(path, sizeof path, "%.1000s/tenants", home);
        n = scandir(path, &tenants, is_tenant, alphasort);
    }
    for (int i = 0; i < n; i++) {
        bool used = false;
        if (s == STATUS_OK) {
            s = tenant_uses(home, tenants[i]->d_name, r.encoder, &used, err);
        }
        if (used && s == STATUS_OK) {
            s = error_set(err, STATUS_CONFLICT,
                          "tenant %s has vectors of %s (%s): publish another encoder there and "
                          "remove this one (`carrel encoder`), or --force",
                          tenants[i]->d_name, name, r.encoder);
        }
        free(tenants[i]);
    }
    free(tenants);
    return s;
}

enum exit_code model_remove(const struct options *o)
{
    struct error err = {0};
    enum status s = o->force ? STATUS_OK : check_unnamed(o->home, o->args[1], &err);
    if (s == STATUS_OK && !o->force) {
        s = check_unused(o->home, o->args[1], &err);
    }
    if (s == STATUS_OK) {
        s = registry_remove(o->home, o->args[1], &err);
    }
    if (s != STATUS_OK) {
        return command_failed(&err);
    }
    if (o->json) {
        return dump(json_pack("{s:s}", "removed", o->args[1]));
    }
    (void)printf("%s is removed\n", o->args[1]);
    return EXIT_OK;
}
