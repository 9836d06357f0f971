#include "embed/models.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "base/list.h"
#include "base/log.h"

#define BY_NAME "model:"

struct open_model {
    struct list link; /* in models.open, most recently used first */
    struct model *model;
    struct model_record record;
    unsigned held; /* by the list and by each user */
};

struct models {
    const char *home;
    uv_mutex_t lock; /* guards the list and what is in it, also while a model is opened */
    struct list open;
    _Atomic size_t n_open; /* changed under the lock */
};

enum status models_new(const char *home, struct models **out, struct error *err)
{
    struct models *m = calloc(1, sizeof *m);
    if (m == NULL || uv_mutex_init(&m->lock) != 0) {
        free(m);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    m->home = home;
    list_init(&m->open);
    *out = m;
    return STATUS_OK;
}

/* Locked. */
static void let_go(struct open_model *o)
{
    if (--o->held == 0) {
        model_close(o->model);
        free(o);
    }
}

static void close_one(struct models *m, struct open_model *o)
{
    list_remove(&o->link);
    m->n_open--;
    let_go(o);
}

void models_free(struct models *m)
{
    if (m == NULL) {
        return;
    }
    while (!list_empty(&m->open)) {
        close_one(m, list_entry(m->open.next, struct open_model, link));
    }
    uv_mutex_destroy(&m->lock);
    free(m);
}

bool models_is_encoder(const char *encoder)
{
    return strncmp(encoder, "gguf-", 5) == 0 || strncmp(encoder, BY_NAME, sizeof BY_NAME - 1) == 0;
}

/* The record that makes such vectors, or the one of that name. */
static enum status look_up(const char *home, const char *encoder, struct model_record *out,
                           struct error *err)
{
    size_t skip = sizeof BY_NAME - 1;
    if (strncmp(encoder, BY_NAME, skip) != 0) {
        return registry_find_encoder(home, encoder, out, err);
    }
    enum status s = registry_find(home, encoder + skip, out, err);
    return s == STATUS_OK && out->role != MODEL_ENCODER
               ? error_set(err, STATUS_UNSUPPORTED, "%s was imported as %s, not as encoder",
                           out->name, model_role_name(out->role))
               : s;
}

/* Locked. */
static struct open_model *find(struct models *m, const char *name, enum model_role role)
{
    list_for_each(it, &m->open)
    {
        struct open_model *o = list_entry(it, struct open_model, link);
        const char *its = role == MODEL_ENCODER ? o->record.encoder : o->record.name;
        if (o->record.role == role && strcmp(its, name) == 0) {
            list_remove(&o->link);
            list_push_front(&m->open, &o->link);
            o->held++;
            return o;
        }
    }
    return NULL;
}

/* Locked: two that want the same model open it once. */
static enum status open_recorded(struct models *m, const struct model_record *r,
                                 struct open_model **out, struct error *err)
{
    struct open_model *o = calloc(1, sizeof *o);
    if (o == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = registry_open(m->home, r, &o->model, err);
    if (s != STATUS_OK) {
        free(o);
        return s;
    }
    o->record = *r;
    o->held = 2;
    list_push_front(&m->open, &o->link);
    m->n_open++;
    while (m->n_open > MODELS_OPEN_MAX) {
        close_one(m, list_entry(m->open.prev, struct open_model, link));
    }
    LOG_INFO("model opened", LOG_STR("model", r->name), LOG_STR("role", model_role_name(r->role)),
             LOG_STR("sha256", r->sha256), LOG_END);
    *out = o;
    return STATUS_OK;
}

enum status models_encoder(struct models *m, const char *encoder, struct open_model **out,
                           struct error *err)
{
    struct model_record r;
    enum status s = STATUS_OK;
    uv_mutex_lock(&m->lock);
    *out = find(m, encoder, MODEL_ENCODER);
    if (*out == NULL) {
        s = look_up(m->home, encoder, &r, err);
        *out = s == STATUS_OK ? find(m, r.encoder, MODEL_ENCODER) : NULL;
    }
    if (s == STATUS_OK && *out == NULL) {
        s = open_recorded(m, &r, out, err);
    }
    uv_mutex_unlock(&m->lock);
    return s;
}

/* The record is read each time: a name may come to stand for another file while it is open here. */
enum status models_reranker(struct models *m, const char *name, struct open_model **out,
                            struct error *err)
{
    struct model_record r;
    enum status s = registry_find(m->home, name, &r, err);
    if (s == STATUS_OK && r.role != MODEL_RERANKER) {
        s = error_set(err, STATUS_UNSUPPORTED, "reranker.model: %s was imported as %s", name,
                      model_role_name(r.role));
    }
    if (s != STATUS_OK) {
        return s;
    }
    uv_mutex_lock(&m->lock);
    *out = find(m, name, MODEL_RERANKER);
    if (*out != NULL && strcmp((*out)->record.sha256, r.sha256) != 0) {
        let_go(*out);
        close_one(m, *out);
        *out = NULL;
    }
    if (*out == NULL) {
        s = open_recorded(m, &r, out, err);
    }
    uv_mutex_unlock(&m->lock);
    return s;
}

void models_let_go(struct models *m, struct open_model *o)
{
    if (o != NULL) {
        uv_mutex_lock(&m->lock);
        let_go(o);
        uv_mutex_unlock(&m->lock);
    }
}

const struct model *open_model(const struct open_model *o)
{
    return o->model;
}

const struct model_record *open_record(const struct open_model *o)
{
    return &o->record;
}

size_t models_open(struct models *m)
{
    return atomic_load(&m->n_open); /* who asks is a loop: it does not wait for an opening */
}
