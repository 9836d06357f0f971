/* The thread goes: load -> (take what arrived -> sweep -> admit -> pass)* -> end. */
#include "generate/local/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "generate/local/runner_internal.h"
#include "model/plan.h"
#include "model/registry.h"

#define IDLE_NS UINT64_C(1000000000)

/* ---- loading ---- */

static uint64_t memory_here(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && bytes > 0 ? (uint64_t)pages * (uint64_t)bytes : 0;
}

static uint32_t cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > (long)POOL_THREADS_MAX ? POOL_THREADS_MAX : (uint32_t)n;
}

static enum status find_template(struct runner *r, struct error *err)
{
    struct str jinja = STR("");
    enum status s = STATUS_OK;
    if (strcmp(r->family_name, "auto") == 0) {
        s = template_of_file(model_file(r->model), &r->family, err);
    } else if (!template_parse(r->family_name, &r->family)) {
        s = error_set(err, STATUS_INVALID, "generate.chat_template: there is no %s",
                      r->family_name);
    }
    /* a family that was chosen by hand may still be the file's own, with its tools */
    if (s == STATUS_OK && gguf_string(model_file(r->model), "tokenizer.chat_template", &jinja)) {
        r->tools = template_tools_of(r->family, jinja);
    } else if (s == STATUS_OK) {
        r->tools = template_tools_of(r->family, STR(""));
    }
    return s;
}

/* The memory that the model needs, and how long its texts may be. */
static enum status budget(struct runner *r, struct plan *p, uint64_t memory, struct error *err)
{
    const struct model_info *i = model_info(r->model);
    r->context =
        r->config.context == 0 || r->config.context > i->context ? i->context : r->config.context;
    struct plan_request ask = {.info = i,
                               .kv_type = r->config.kv_type,
                               .context = r->context,
                               .users = r->config.users,
                               .pass_tokens = RUNNER_PASS_TOKENS,
                               .weights = plan_packed_weights(r->model),
                               .vocabulary = plan_vocabulary(r->model),
                               .memory = memory};
    enum status s = plan_make(&ask, p, err);
    r->pages = s == STATUS_OK ? p->pages : 0;
    return s;
}

/* On a GPU where settings want one and there is one; else on the processor, or refused with the
 * plan's figures. */
static enum status open_backend(struct runner *r, struct error *err)
{
    uint64_t memory = memory_here();
    struct plan p;
    struct error why = {0};
    enum status s = budget(r, &p, memory, err);
    struct backend_options where = {.tokens = RUNNER_PASS_TOKENS,
                                    .sequences = r->config.users,
                                    .context = r->context,
                                    .kv_type = r->config.kv_type,
                                    .choices = r->config.users,
                                    .pool = r->threads,
                                    .device = BACKEND_CUDA,
                                    .gpu_layers = r->config.gpu_layers,
                                    .memory = memory};
    if (s != STATUS_OK || r->config.device == BACKEND_CUDA) {
        return s != STATUS_OK ? s : backend_open(r->model, &where, &r->backend, err);
    }
    if (r->config.device == BACKEND_AUTO && where.gpu_layers > 0) {
        if (backend_open(r->model, &where, &r->backend, &why) == STATUS_OK) {
            return STATUS_OK;
        }
        LOG_INFO("the model runs on the processor", LOG_STR("no_gpu", why.text), LOG_END);
    }
    if (!p.fits) {
        return error_set(err, STATUS_NO_MEMORY,
                         "needs %.1f GiB of %.1f GiB for %u users at %u tokens: lower "
                         "generate.users or generate.context, or keep keys and values as q8_0 "
                         "(generate.kv_type; carrel model plan)",
                         (double)p.total * 0x1p-30, (double)memory * 0x1p-30, p.users, p.context);
    }
    where.device = BACKEND_CPU;
    return backend_open(r->model, &where, &r->backend, err);
}

static enum status load(struct runner *r, struct error *err)
{
    struct model_record record;
    enum status s = registry_find(r->home, r->name, &record, err);
    if (s == STATUS_OK && record.role != MODEL_CHAT) {
        s = error_set(err, STATUS_INVALID, "it was imported as %s, not as chat",
                      model_role_name(record.role));
    }
    if (s == STATUS_OK) {
        s = registry_open(r->home, &record, &r->model, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    s = find_template(r, err);
    uint32_t threads = r->config.threads == 0 ? cores() : r->config.threads;
    s = s != STATUS_OK ? s : pool_new(threads, &r->threads, err);
    s = s != STATUS_OK ? s : open_backend(r, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (model_packed_note(r->model)[0] != '\0') {
        LOG_WARN("model slower to load", LOG_STR("why", model_packed_note(r->model)), LOG_END);
    }
    r->pool = r->backend->keys;
    beginnings_init(&r->beginnings, r->pool);
    uv_mutex_lock(&r->lock);
    r->shown.pages = r->shown.pages_free = r->pages;
    bool usual = r->config.kv_type == TENSOR_F16; /* what else there is changes answers */
    (void)snprintf(r->shown.model, sizeof r->shown.model, "%.64s (sha256 %.12s, %s%s%s)",
                   record.name, record.sha256, r->backend->name, usual ? "" : ", kv ",
                   usual ? "" : kv_type_name(r->config.kv_type));
    (void)snprintf(r->shown.sha256, sizeof r->shown.sha256, "%s", record.sha256);
    (void)snprintf(r->shown.detail, sizeof r->shown.detail,
                   "%s, %s template, %u users at %u tokens, %u threads",
                   model_info(r->model)->architecture, template_name(r->family), r->config.users,
                   r->context, pool_threads(r->threads));
    uv_mutex_unlock(&r->lock);
    return STATUS_OK;
}

/* ---- the thread ---- */

void runner_finish(struct runner *r, struct runner_task *t, const struct error *why,
                   const char *reason)
{
    uv_mutex_lock(&r->lock);
    t->error = why == NULL ? (struct error){0} : *why;
    t->finish_reason = reason;
    t->done = true;
    uv_mutex_unlock(&r->lock);
    r->changed = true;
}

/* Takes what arrived; sleeps when there is nothing to do. False: stop. */
static bool receive(struct runner *r)
{
    uv_mutex_lock(&r->lock);
    if (!r->stopping && list_empty(&r->arrived) && batch_active(r) == 0) {
        (void)uv_cond_timedwait(&r->wake, &r->lock, IDLE_NS);
    }
    while (!list_empty(&r->arrived)) {
        struct list *first = r->arrived.next;
        list_remove(first);
        list_push(&r->waiting, first);
    }
    bool go = !r->stopping;
    uv_mutex_unlock(&r->lock);
    return go;
}

static void show(struct runner *r)
{
    uint32_t free_pages = kv_pool_left(r->pool);
    uint32_t kept = beginnings_pages(&r->beginnings);
    uv_mutex_lock(&r->lock);
    r->shown.pages = r->pages;
    r->shown.pages_free = free_pages;
    r->shown.pages_kept = kept;
    r->shown.tokens_read = r->read;
    r->shown.tokens_written = r->written;
    r->shown.tokens_shared = r->shared;
    r->shown.passes = r->passes;
    uv_mutex_unlock(&r->lock);
}

static void work(struct runner *r)
{
    while (receive(r)) {
        int64_t now = clock_monotonic_ms();
        batch_sweep(r, now);
        beginnings_expire(&r->beginnings, now);
        batch_admit(r);
        batch_pass(r);
        show(r);
        if (r->changed) {
            r->changed = false;
            r->config.notify(r->config.data);
        }
    }
    batch_end(r);
    beginnings_deinit(&r->beginnings);
}

static void set_state(struct runner *r, enum runner_state s)
{
    uv_mutex_lock(&r->lock);
    r->state = s;
    uv_mutex_unlock(&r->lock);
    r->config.notify(r->config.data);
}

static void run(void *data)
{
    struct runner *r = data;
    struct error err = {0};
    int64_t from = clock_monotonic_ms();
    if (load(r, &err) == STATUS_OK) {
        LOG_INFO("model ready", LOG_STR("model", r->shown.model),
                 LOG_STR("detail", r->shown.detail), LOG_INT("ms", clock_monotonic_ms() - from),
                 LOG_END);
        set_state(r, RUNNER_READY);
        work(r);
    } else {
        (void)error_prefix(&err, "generate.model %s", r->name);
        LOG_ERROR("model refused", LOG_STR("err", err.text), LOG_END);
        uv_mutex_lock(&r->lock);
        (void)snprintf(r->shown.detail, sizeof r->shown.detail, "%s", err.text);
        uv_mutex_unlock(&r->lock);
        set_state(r, RUNNER_FAILED);
        uv_mutex_lock(&r->lock);
        while (!r->stopping) {
            uv_cond_wait(&r->wake, &r->lock);
        }
        uv_mutex_unlock(&r->lock);
    }
    set_state(r, RUNNER_OVER);
}

/* ---- the door ---- */

enum status runner_new(const struct runner_config *c, struct runner **out, struct error *err)
{
    struct runner *r = calloc(1, sizeof *r);
    if (r == NULL || uv_mutex_init(&r->lock) != 0) {
        free(r);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (uv_cond_init(&r->wake) != 0) {
        uv_mutex_destroy(&r->lock);
        free(r);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    r->config = *c;
    r->config.users = c->users > RUNNER_USERS_MAX ? RUNNER_USERS_MAX : c->users;
    (void)snprintf(r->home, sizeof r->home, "%s", c->home);
    (void)snprintf(r->name, sizeof r->name, "%s", c->model);
    (void)snprintf(r->family_name, sizeof r->family_name, "%s", c->chat_template);
    list_init(&r->arrived);
    list_init(&r->waiting);
    (void)snprintf(r->shown.model, sizeof r->shown.model, "%s", r->name);
    (void)snprintf(r->shown.detail, sizeof r->shown.detail, "the model is loading");
    if (uv_thread_create(&r->thread, run, r) != 0) {
        uv_cond_destroy(&r->wake);
        uv_mutex_destroy(&r->lock);
        free(r);
        return error_set(err, STATUS_NO_MEMORY, "no thread for the model");
    }
    *out = r;
    return STATUS_OK;
}

void runner_status(struct runner *r, struct runner_status *out)
{
    uv_mutex_lock(&r->lock);
    *out = r->shown;
    out->waiting = r->n_arrived;
    out->state = r->state;
    uv_mutex_unlock(&r->lock);
}

static enum runner_state state_of(struct runner *r)
{
    uv_mutex_lock(&r->lock);
    enum runner_state s = r->state;
    uv_mutex_unlock(&r->lock);
    return s;
}

const struct tokenizer *runner_tokenizer(struct runner *r)
{
    return state_of(r) == RUNNER_READY ? model_tokenizer(r->model) : NULL;
}

enum template_family runner_template(struct runner *r)
{
    return r->family;
}

enum template_tools runner_tools(struct runner *r)
{
    return r->tools;
}

uint32_t runner_context(struct runner *r)
{
    return r->context;
}

enum status runner_submit(struct runner *r, struct runner_task *t, struct error *err)
{
    enum status s = STATUS_OK;
    if (t->prompt.n == 0 || t->max_tokens == 0 || t->prompt.n + t->max_tokens > r->context) {
        return error_set(err, STATUS_INVALID, "%zu tokens and an answer of %u: the context is %u",
                         t->prompt.n, t->max_tokens, r->context);
    }
    buf_init(&t->text, RUNNER_TEXT_MAX);
    atomic_init(&t->cancelled, false);
    t->done = false;
    uv_mutex_lock(&r->lock);
    if (r->state != RUNNER_READY || r->stopping) {
        s = error_set(err, STATUS_UNAVAILABLE, "the model is not ready");
    } else if (r->shown.active + r->n_arrived >= r->config.users + r->config.queue) {
        s = error_set(err, STATUS_BUSY,
                      "%u answers are being written and %u wait: try again shortly",
                      r->shown.active, r->n_arrived);
    } else {
        list_push(&r->arrived, &t->link);
        r->n_arrived++;
        uv_cond_signal(&r->wake);
    }
    uv_mutex_unlock(&r->lock);
    return s;
}

void runner_cancel(struct runner *r, struct runner_task *t)
{
    atomic_store(&t->cancelled, true);
    uv_mutex_lock(&r->lock);
    uv_cond_signal(&r->wake);
    uv_mutex_unlock(&r->lock);
}

bool runner_take(struct runner *r, struct runner_task *t, struct buf *out)
{
    uv_mutex_lock(&r->lock);
    buf_str(out, buf_view(&t->text));
    buf_reset(&t->text);
    bool done = t->done;
    uv_mutex_unlock(&r->lock);
    return done;
}

void runner_spent(struct runner *r, const struct runner_task *t, struct runner_spent *out)
{
    uv_mutex_lock(&r->lock);
    *out = (struct runner_spent){.read_tokens = t->read_tokens,
                                 .completion_tokens = t->completion_tokens,
                                 .cpu_us = t->cpu_us,
                                 .gpu_us = t->gpu_us};
    uv_mutex_unlock(&r->lock);
}

void runner_stop(struct runner *r)
{
    uv_mutex_lock(&r->lock);
    r->stopping = true;
    uv_cond_signal(&r->wake);
    uv_mutex_unlock(&r->lock);
}

void runner_free(struct runner *r)
{
    (void)uv_thread_join(&r->thread);
    grammar_vocabulary_free(r->words);
    backend_close(r->backend);
    pool_free(r->threads);
    model_close(r->model);
    uv_cond_destroy(&r->wake);
    uv_mutex_destroy(&r->lock);
    free(r);
}
