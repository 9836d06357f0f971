/* One chat model and the thread that owns it: loading in the background, then one continuous batch
 * for everybody who asks. A task's tokens depend on its own prompt, options and seed alone, not on
 * who else is in the batch (model/model.h).
 *
 * All functions are called on the loop thread and return at once. `notify` is called on the model's
 * thread whenever there may be something to take. */
#ifndef CARREL_GENERATE_LOCAL_RUNNER_H
#define CARREL_GENERATE_LOCAL_RUNNER_H

#include <stdatomic.h>

#include "base/hash.h"
#include "base/list.h"
#include "generate/local/beginnings.h"
#include "generate/local/text_out.h"
#include "model/backend.h"
#include "model/grammar.h"
#include "model/model.h"
#include "model/sampler.h"
#include "model/template.h"

#define RUNNER_USERS_MAX 64U
#define RUNNER_QUEUE_MAX 1024U
#define RUNNER_PASS_TOKENS 256U
#define RUNNER_TEXT_MAX ((size_t)4 * 1024 * 1024)

struct runner_config {
    const char *home, *model;  /* data directory; name of an imported model */
    const char *chat_template; /* a family's name, or "auto": the file's own */
    uint32_t context; /* tokens of one answer with its prompt; 0: as the model was trained */
    enum tensor_type kv_type; /* of keys and values */
    enum backend_device device;
    uint32_t gpu_layers; /* at most; BACKEND_LAYERS_FIT: as many as fit */
    uint32_t users;      /* answers at once, 1 to RUNNER_USERS_MAX */
    uint32_t threads;    /* 0: one a core */
    uint32_t queue;      /* that may wait besides, to RUNNER_QUEUE_MAX */
    void (*notify)(void *data);
    void *data;
};

enum runner_state { RUNNER_LOADING, RUNNER_READY, RUNNER_FAILED, RUNNER_OVER };

struct runner_logprob {
    uint32_t token;
    float logprob;
    struct token_logprob top[SAMPLER_LOGPROBS_MAX]; /* as many as were asked for */
};

struct runner_task { /* the caller's, untouched by it from submit until it is told done */
    struct token_list prompt;
    uint32_t max_tokens; /* of the answer; with the prompt within the context */
    struct sampler_options sampling;
    const struct str *stops;
    size_t n_stops;
    char scope[SCOPE_CAP];              /* whose computed beginnings it may use; "": nobody's */
    int64_t deadline_ms;                /* clock_monotonic_ms */
    const struct grammar *grammar;      /* the answer is one of its texts; NULL: free */
    const struct grammar *call_grammar; /* a call is, once the model has opened it; NULL: free */
    enum template_tools shown;          /* whose marks are part of the text */
    bool logprobs;
    uint32_t n_top; /* likelier tokens beside each, at most SAMPLER_LOGPROBS_MAX */
    /* the runner's */
    struct list link;
    _Atomic bool cancelled;
    /* out, behind the runner's lock until done */
    struct buf text;
    bool done;
    struct error error;
    const char *finish_reason; /* "stop", "length"; static */
    const struct str *stopped; /* which of stops has come; NULL: none */
    uint32_t shared_tokens;    /* of the prompt, not computed again */
    uint32_t completion_tokens;
    uint32_t read_tokens;   /* of the prompt, so far, shared ones too */
    int64_t cpu_us, gpu_us; /* its part of the passes so far */
    struct runner_logprob
        *probs; /* malloc'd, one a token but for the end's; the caller's once done */
    size_t n_probs;
};

struct runner_status {
    enum runner_state state;
    char detail[256];            /* why it failed, or what runs */
    char model[160];             /* "name (sha256 prefix, kernels)"; the name alone before */
    char sha256[SHA256_HEX_CAP]; /* of its file; "" before */
    uint32_t active, waiting, pages, pages_free, pages_kept;
    uint64_t tokens_read, tokens_written, tokens_shared, passes;
};

struct runner;

/* Starts the thread and returns; what is wrong with the model is in the status later. */
enum status runner_new(const struct runner_config *c, struct runner **out,
                       struct error *err) MUST_CHECK;
void runner_status(struct runner *r, struct runner_status *out);
/* Fixed once the state is READY; NULL before. */
const struct tokenizer *runner_tokenizer(struct runner *r);
enum template_family runner_template(struct runner *r);
enum template_tools runner_tools(struct runner *r);
uint32_t runner_context(struct runner *r);

/* BUSY: as many wait as may. INVALID: it could never fit. UNAVAILABLE: not ready. */
enum status runner_submit(struct runner *r, struct runner_task *t, struct error *err) MUST_CHECK;
/* Stops soon; the task is still told done, with CANCELLED. Its pages are free before that. */
void runner_cancel(struct runner *r, struct runner_task *t);
/* Moves the text that has come to out; true once when all has been taken and the task is over. */
bool runner_take(struct runner *r, struct runner_task *t, struct buf *out);

struct runner_spent {
    uint32_t read_tokens, completion_tokens;
    int64_t cpu_us, gpu_us;
};
/* What a task has cost so far. */
void runner_spent(struct runner *r, const struct runner_task *t, struct runner_spent *out);

/* Tells the thread to end: tasks are told done (CANCELLED), notify is called, the state becomes
 * OVER. */
void runner_stop(struct runner *r);
/* After OVER: waits for the thread, which is on its last lines. */
void runner_free(struct runner *r);

#endif
