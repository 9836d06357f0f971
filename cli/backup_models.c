#include "cli/backup_models.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/settings/settings.h"
#include "cli/book.h"
#include "cli/json_field.h"
#include "cli/rpc_once.h"
#include "vectorstore/vectorstore_rpc.h"

#define SETTINGS_ARENA ((size_t)4 * 1024 * 1024)
#define COMMAND_CAP 2048

/* ---- which ---- */

struct finding {
    const struct model_record *all;
    size_t n;
    bool needed[REGISTRY_MAX];
};

static void take_encoders(const ProtobufCMessage *m, void *data)
{
    struct finding *f = data;
    const Vs__ListEncodersReply *r = vs_list_encoders_reply(m);
    for (size_t i = 0; r != NULL && i < r->n_encoders; i++) {
        for (size_t k = 0; k < f->n; k++) {
            f->needed[k] = f->needed[k] || (f->all[k].role == MODEL_ENCODER &&
                                            strcmp(f->all[k].encoder, r->encoders[i]->name) == 0);
        }
    }
}

static enum status ask_settings(const char *home, struct finding *f, struct error *err)
{
    struct arena a;
    struct settings cfg;
    arena_init(&a, SETTINGS_ARENA);
    enum status s = settings_load(home, &a, &cfg, err);
    for (size_t k = 0; s == STATUS_OK && k < f->n; k++) {
        const char *name = f->all[k].name;
        f->needed[k] = strcmp(name, cfg.generate.model) == 0 ||
                       strcmp(name, cfg.encoder.model) == 0 ||
                       strcmp(name, cfg.reranker.model) == 0;
    }
    arena_reset(&a);
    return s;
}

enum status backup_models_find(const char *home, char *const *tenants, size_t n_tenants,
                               struct model_record out[REGISTRY_MAX], size_t *n, struct error *err)
{
    struct finding f = {.all = out};
    enum status s = registry_list(home, out, &f.n, err);
    *n = 0;
    s = s != STATUS_OK || f.n == 0 ? s : ask_settings(home, &f, err);
    for (size_t i = 0; i < n_tenants && s == STATUS_OK && f.n > 0; i++) {
        Vs__ListEncodersRequest m = VS__LIST_ENCODERS_REQUEST__INIT;
        s = rpc_once(home, PEER_VECTORSTORE, &vs_list_encoders_method, tenants[i], 0, &m.base,
                     take_encoders, &f, err);
    }
    for (size_t k = 0; k < f.n && s == STATUS_OK; k++) {
        if (f.needed[k]) {
            out[(*n)++] = out[k];
        }
    }
    return s;
}

/* ---- their files ---- */

/* "<sha256>.gguf", "<sha256>-00001-of-00003.gguf": what can be made of them is made again. */
static bool belongs(const char *file, const struct model_record *r)
{
    size_t n = strlen(r->name), len = strlen(file);
    return (strncmp(file, r->name, n) == 0 && strcmp(file + n, ".model") == 0) ||
           (strncmp(file, r->sha256, strlen(r->sha256)) == 0 && len > 5 &&
            strcmp(file + len - 5, ".gguf") == 0);
}

static int by_name(const void *a, const void *b)
{
    return book_compare(a, b);
}

enum status backup_models_files(const char *home, const struct model_record *models, size_t n,
                                char (*out)[REGISTRY_PATH_CAP], size_t *n_files, struct error *err)
{
    char dir[PATH_MAX];
    *n_files = 0;
    enum status s = file_join(dir, sizeof dir, home, REGISTRY_FOLDER, err);
    DIR *d = s == STATUS_OK && n > 0 ? opendir(dir) : NULL;
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        bool wanted = false;
        for (size_t k = 0; k < n; k++) {
            wanted = wanted || belongs(e->d_name, &models[k]);
        }
        if (wanted && *n_files < BACKUP_MODEL_FILES_MAX) {
            (void)snprintf(out[(*n_files)++], REGISTRY_PATH_CAP, REGISTRY_FOLDER "/%s", e->d_name);
        } else if (wanted) {
            s = error_set(err, STATUS_TOO_LARGE, "%s: more than %d files", dir,
                          BACKUP_MODEL_FILES_MAX);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    qsort(out, *n_files, sizeof out[0], by_name);
    return s;
}

/* ---- the book's head ---- */

int backup_models_describe(json_t *head, const struct model_record *models, size_t n)
{
    json_t *list = json_array();
    int bad = json_object_set_new(head, "models", list);
    for (size_t k = 0; k < n && bad == 0; k++) {
        const struct model_record *r = &models[k];
        bad = json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:I,s:s,s:s}", "name", r->name,
                                                    "role", model_role_name(r->role), "sha256",
                                                    r->sha256, "bytes", (json_int_t)r->bytes,
                                                    "query_prefix", r->query_prefix,
                                                    "passage_prefix", r->passage_prefix));
        if (bad == 0 && json_dumpb(head, NULL, 0, JSON_COMPACT) >= BOOK_HEAD_BYTES) {
            return json_array_remove(list, json_array_size(list) - 1);
        }
    }
    return bad;
}

/* ---- after a restore ---- */

/* One shell word. */
static void put_word(struct buf *out, const char *z)
{
    buf_char(out, '\'');
    for (; *z != '\0'; z++) {
        buf_z(out, *z == '\'' ? "'\\''" : (char[]){*z, '\0'});
    }
    buf_char(out, '\'');
}

static json_t *with_command(const json_t *model)
{
    struct buf b;
    buf_init(&b, COMMAND_CAP);
    buf_printf(&b, "carrel model import FILE --as %s --name %s", json_field(model, "role"),
               json_field(model, "name"));
    if (strcmp(json_field(model, "role"), model_role_name(MODEL_ENCODER)) == 0) {
        buf_z(&b, " --query-prefix ");
        put_word(&b, json_field(model, "query_prefix"));
        buf_z(&b, " --passage-prefix ");
        put_word(&b, json_field(model, "passage_prefix"));
    }
    json_t *copy = json_deep_copy(model);
    bool ok = buf_status(&b) == STATUS_OK && copy != NULL &&
              json_object_set_new(copy, "import", json_stringn(b.ptr, b.len)) == 0;
    buf_deinit(&b);
    if (!ok) {
        json_decref(copy);
        copy = NULL;
    }
    return copy;
}

json_t *backup_models_missing(const json_t *head, const char *home)
{
    json_t *out = json_array();
    size_t i;
    json_t *model;
    json_array_foreach(json_object_get(head, "models"), i, model)
    {
        struct model_record r;
        struct error ignored;
        bool here = registry_find(home, json_field(model, "name"), &r, &ignored) == STATUS_OK &&
                    strcmp(r.sha256, json_field(model, "sha256")) == 0;
        if (!here && json_array_append_new(out, with_command(model)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}
