#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/lane.h"
#include "generate/engine.h"
#include "generate/extractive.h"
#include "generate/prompt.h"

#define AT_ONCE 2
#define QUEUED_MAX 128
#define ANSWER_BYTES_MAX ((size_t)64 * 1024)

struct extractive_engine {
    struct engine engine;
    struct lane lane;
    const struct settings *settings;
    uv_mutex_t lock; /* guards analyzers */
    struct text_analyzer *analyzers[AT_ONCE];
};

struct engine_job {
    struct extractive_engine *owner;
    const struct engine_sink *sink;
    void *data;
    struct extractive_passage passages[EXTRACTIVE_PASSAGES_MAX];
    struct arena arena; /* titles */
    struct extractive_question question;
    struct extractive_answer answer;
    struct error error;
    _Atomic bool cancelled;
    int64_t cpu_us;
};

static void describe(const struct engine *e, struct engine_description *out)
{
    (void)e;
    *out = (struct engine_description){.name = "extractive",
                                       .model = "carrel-extractive-1",
                                       .ready = true,
                                       .detail = "quotes the sentences that best answer the question"};
}

static struct text_analyzer *take_analyzer(struct extractive_engine *e, struct error *err)
{
    struct text_analyzer *found = NULL;
    uv_mutex_lock(&e->lock);
    for (size_t i = 0; found == NULL && i < AT_ONCE; i++) {
        found = e->analyzers[i];
        e->analyzers[i] = NULL;
    }
    uv_mutex_unlock(&e->lock);
    return found != NULL || text_analyzer_new(&found, err) == STATUS_OK ? found : NULL;
}

static void give_analyzer(struct extractive_engine *e, struct text_analyzer *a)
{
    uv_mutex_lock(&e->lock);
    for (size_t i = 0; a != NULL && i < AT_ONCE; i++) {
        if (e->analyzers[i] == NULL) {
            e->analyzers[i] = a;
            a = NULL;
        }
    }
    uv_mutex_unlock(&e->lock);
    text_analyzer_free(a);
}

static void work(void *job) /* on the lane */
{
    struct engine_job *j = job;
    int64_t cpu = clock_thread_cpu_us();
    struct text_analyzer *a =
        atomic_load(&j->cancelled) ? NULL : take_analyzer(j->owner, &j->error);
    if (a != NULL) {
        enum status s = extractive_answer(a, &j->question, &j->answer, &j->error);
        (void)s; /* j->error carries it to the loop thread */
        give_analyzer(j->owner, a);
    }
    j->cpu_us = clock_thread_cpu_us() - cpu;
}

/* One piece a sentence: up to and with its mark. */
static void say(const struct engine_job *j)
{
    struct str text = buf_view(&j->answer.text);
    size_t from = 0;
    for (size_t i = 0; i < j->answer.n_citations; i++) {
        size_t to = text_byte_offset(text, j->answer.citations[i].end);
        if (to > from) {
            (void)j->sink->text(j->data, text.ptr + from, to - from);
            from = to;
        }
    }
    if (from < text.len) {
        (void)j->sink->text(j->data, text.ptr + from, text.len - from);
    }
}

static void done(void *job)
{
    struct engine_job *j = job;
    if (atomic_load(&j->cancelled)) {
        error_set(&j->error, STATUS_CANCELLED, "the caller went away");
    }
    struct engine_result result = {.error = j->error,
                                   .finish_reason = j->answer.refused ? "refused" : "stop",
                                   .refused = j->answer.refused,
                                   .citations = j->answer.citations,
                                   .n_citations = j->answer.n_citations};
    if (j->sink->spent != NULL) {
        struct engine_spent spent = {.cpu_us = j->cpu_us};
        j->sink->spent(j->data, &spent);
    }
    if (j->error.code == STATUS_OK) {
        say(j);
    }
    j->sink->finish(j->data, &result);
    buf_deinit(&j->answer.text);
    arena_reset(&j->arena);
    free(j);
}

static enum status take_passages(struct engine_job *j, const Ge__ChatRequest *ask, struct error *err)
{
    for (size_t i = 0; i < ask->n_passages; i++) {
        const Vs__Passage *p = ask->passages[i];
        const char *title =
            arena_printf(&j->arena, "%s %s %s", p->title == NULL ? "" : p->title,
                         p->heading_path == NULL ? "" : p->heading_path,
                         p->context == NULL ? "" : p->context);
        if (title == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        j->passages[i] = (struct extractive_passage){
            .text = {.ptr = (const char *)p->text.data, .len = p->text.len},
            .title = str_from(title)};
    }
    return STATUS_OK;
}

static enum status start(struct engine *e, const Ge__ChatRequest *ask, const struct engine_sink *sink,
                         void *data, struct engine_job **out, struct error *err)
{
    struct extractive_engine *own = container_of(e, struct extractive_engine, engine);
    const char *question = prompt_question(ask);
    if (question == NULL || ask->n_passages > EXTRACTIVE_PASSAGES_MAX) {
        return error_set(err, STATUS_INVALID, "there must be a question and at most %d passages",
                         EXTRACTIVE_PASSAGES_MAX);
    }
    struct engine_job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    j->owner = own;
    j->sink = sink;
    j->data = data;
    arena_init(&j->arena, RPC_MESSAGE_MAX);
    buf_init(&j->answer.text, ANSWER_BYTES_MAX);
    int64_t most = own->settings->generate.max_sentences;
    j->question = (struct extractive_question){
        .text = str_from(question),
        .language = ask->language == NULL ? "" : ask->language,
        .passages = j->passages,
        .n_passages = ask->n_passages,
        .upper_bound_share = ask->has_upper_bound_share ? ask->upper_bound_share : -1,
        .refuse_below = own->settings->generate.refuse_below,
        .max_sentences = most < 1 ? 1 : (size_t)most};
    enum status s = take_passages(j, ask, err);
    s = s != STATUS_OK ? s : lane_submit(&own->lane, work, done, j, err);
    if (s != STATUS_OK) {
        buf_deinit(&j->answer.text);
        arena_reset(&j->arena);
        free(j);
        return s;
    }
    *out = j;
    return STATUS_OK;
}

static void resume(struct engine_job *j)
{
    (void)j; /* the whole answer is given at once: it is small */
}

static void cancel(struct engine_job *j)
{
    atomic_store(&j->cancelled, true);
}

static void close_engine(struct engine *e, void (*closed)(void *data), void *data)
{
    struct extractive_engine *own = container_of(e, struct extractive_engine, engine);
    for (size_t i = 0; i < AT_ONCE; i++) {
        text_analyzer_free(own->analyzers[i]);
    }
    uv_mutex_destroy(&own->lock);
    free(own);
    closed(data);
}

static const struct engine_ops ops = {.cites = true,
                                      .describe = describe,
                                      .start = start,
                                      .resume = resume,
                                      .cancel = cancel,
                                      .close = close_engine};

enum status extractive_engine_new(uv_loop_t *loop, const struct settings *settings,
                                  struct engine **out, struct error *err)
{
    struct extractive_engine *e = calloc(1, sizeof *e);
    if (e == NULL || uv_mutex_init(&e->lock) != 0) {
        free(e);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    e->engine.ops = &ops;
    e->settings = settings;
    lane_init(&e->lane, loop, AT_ONCE, QUEUED_MAX);
    *out = &e->engine;
    return STATUS_OK;
}
