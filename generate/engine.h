/* What answers: the same small interface for quoted sentences, an upstream server and local models.
 * Loop thread only; an engine does its own work elsewhere if it takes long. */
#ifndef CARREL_GENERATE_ENGINE_H
#define CARREL_GENERATE_ENGINE_H

#include <uv.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/settings/settings.h"
#include "generate/cite.h"
#include "generate/generate_rpc.h"
#include "generate/prompt.h"

struct engine;
struct engine_job;

struct engine_description {
    const char *name;
    const char *model;  /* what the answer record names; lives as long as the engine */
    const char *sha256; /* of the model's file, hexadecimal; "" or NULL: not known */
    bool ready;
    /* a line for people: where, or why not ready; lives as long as the engine */
    const char *detail;
};

struct engine_result {
    struct error error;        /* code STATUS_OK when the answer is complete */
    const char *finish_reason; /* "stop", "length", "refused", "tool_calls"; static */
    const char *stop;    /* the stop string that has come, of the request; NULL: none is known of */
    const char *note;    /* for the asker; borrowed during finish; NULL: none */
    const char *version; /* of the model, as an upstream told; borrowed during finish; NULL: none */
    bool refused;
    /* Engines that know their citations say so, and their text is passed on untouched; the others
     * write [n] marks, which generate/cite.h turns into citations. */
    const struct citation *citations; /* borrowed during finish */
    size_t n_citations;
    uint32_t prompt_tokens, completion_tokens; /* 0: unknown */
    Ge__TokenLogprob **logprobs;               /* in the sink's room; NULL: none */
    size_t n_logprobs;
};

struct engine_spent { /* so far */
    uint32_t prompt_tokens, completion_tokens;
    int64_t cpu_us, gpu_us; /* of a core, of the GPU */
    /* of a model elsewhere, by bytes, as long as it has not told its own count; 0: it has, or none
     * was asked */
    uint32_t guessed_prompt, guessed_completion;
};

struct engine_sink {
    /* A piece of the answer, whole UTF-8 characters. false: enough for now, wait for resume (what
     * was given has been taken). */
    bool (*text)(void *data, const char *p, size_t len);
    /* The answer calls a function that was offered. The strings are borrowed during the call; id
     * NULL: none of its own. Holds as text does. */
    bool (*call)(void *data, const char *id, struct str name, struct str arguments);
    /* Exactly once and last, never from inside start or cancel. The job is gone when it returns. */
    void (*finish)(void *data, const struct engine_result *result);
    /* Before the first text: only the first n passages are in the prompt. */
    void (*given)(void *data, size_t n_passages);
    /* What the answer has cost so far; before text and before finish. May be NULL. */
    void (*spent)(void *data, const struct engine_spent *spent);
    /* During start, before the prompt leaves this machine: what it does not tell. May be NULL. */
    void (*leaves)(void *data, const struct prompt_masks *masks);
    /* Memory that lives as long as the answer. */
    struct arena *(*room)(void *data);
};

struct engine_ops {
    bool cites; /* its text needs no scanning for marks */
    void (*describe)(const struct engine *e, struct engine_description *out);
    /* Borrows ask until finish. On failure finish does not come. */
    enum status (*start)(struct engine *e, const Ge__ChatRequest *ask,
                         const struct engine_sink *sink, void *data, struct engine_job **out,
                         struct error *err);
    void (*resume)(struct engine_job *j);
    /* Stop soon; finish still comes (STATUS_CANCELLED), no text any more. */
    void (*cancel)(struct engine_job *j);
    /* No job may be under way. closed runs last. */
    void (*close)(struct engine *e, void (*closed)(void *data), void *data);
};

struct engine {
    const struct engine_ops *ops;
};

enum status extractive_engine_new(uv_loop_t *loop, const struct settings *settings,
                                  struct engine **out, struct error *err) MUST_CHECK;

/* An imported chat model (settings generate.model), loaded in the background: describe tells how
 * far it is. */
enum status local_engine_new(uv_loop_t *loop, const char *home, const struct settings *settings,
                             struct engine **out, struct error *err) MUST_CHECK;
/* Counters and gauges of the batch. */
void local_engine_metrics(const struct engine *e, struct buf *out);

/* proxy: path of the egress process's socket. The settings' upstream url must not be empty. */
enum status upstream_engine_new(uv_loop_t *loop, const struct settings *settings, const char *proxy,
                                struct engine **out, struct error *err) MUST_CHECK;
/* Why this engine cannot be used (a bad key file, say); NULL when it can. */
const char *upstream_engine_unready(const struct engine *e);
/* host[:port] for route records. */
const char *upstream_engine_destination(const struct engine *e);

#endif
