/* The upstream engine. A job goes: prompt -> request -> (wait and try again)* -> pieces -> finish.
 * job_end is the only way out; the sink hears of it when both timers are closed, so never from
 * inside start or cancel. A try may be repeated only while nothing of the answer has been passed
 * on. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/destination.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/outgoing/outgoing.h"
#include "generate/engine.h"
#include "generate/upstream/openai.h"
#include "generate/upstream/sse.h"

#define BYTES_A_TOKEN 3 /* seldom fewer, in any language */
#define KEY_BYTES_MAX ((size_t)4096)
#define REQUEST_BYTES_MAX (PROMPT_BYTES_MAX * 3)
#define ANSWER_BYTES_MAX ((size_t)2 * 1024 * 1024)
#define RESPONSE_BYTES_MAX ((size_t)32 * 1024 * 1024)
#define JOBS_MAX 64
#define RETRY_FIRST_MS 500
#define RETRY_WAIT_MAX_MS 30000

struct upstream_engine {
    struct engine engine;
    uv_loop_t *loop;
    const struct upstream_settings *settings;
    struct outgoing *http;
    struct buf url;
    struct buf authorization; /* "Authorization: Bearer ...": never logged */
    struct destination destination;
    char place[DESTINATION_CAP];
    char unready[sizeof((struct error *)0)->text];
    size_t n_jobs;
    void (*closed)(void *data);
    void *closed_data;
};

enum upstream_phase { UP_ASKING, UP_WAITING, UP_ENDED };

struct engine_job {
    struct upstream_engine *owner;
    const struct engine_sink *sink;
    void *data;
    enum upstream_phase phase;
    struct buf body;
    struct outgoing_transfer *transfer;
    struct sse sse;
    struct buf piece;
    struct openai_calls calls;
    bool tools; /* functions were offered */
    struct engine_result result;
    char version[OPENAI_VERSION_CAP]; /* "" until told */
    size_t received, said;
    size_t pieces; /* of its answer */
    bool heard;    /* it has begun to answer */
    bool finished; /* [DONE], or a finish reason has come */
    bool held;
    bool reading; /* inside libcurl's callback, where the transfer must not be freed */
    unsigned tries;
    int64_t started_ms;
    uv_timer_t idle; /* silence, or the wait before the next try */
    uv_timer_t total;
    unsigned open;
};

static void ask(struct engine_job *j);

/* ---- the end ---- */

static uint32_t guess(size_t bytes)
{
    size_t n = (bytes + BYTES_A_TOKEN - 1) / BYTES_A_TOKEN;
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* The other side may bill what it has read and written, also where nobody waits for the end, at
 * which alone it tells its count. Until then we guess, rather too high: by the bytes, and at least
 * a token a piece. A request that was refused, or reached nobody, costs nothing. */
static void guess_spent(const struct engine_job *j, struct engine_spent *out)
{
    enum status s = j->result.error.code;
    bool taken = j->heard || s == STATUS_OK || s == STATUS_CANCELLED || s == STATUS_DEADLINE;
    if (!taken || j->result.prompt_tokens > 0 || j->result.completion_tokens > 0) {
        return;
    }
    size_t bytes = j->said;
    for (size_t i = 0; i < j->calls.n; i++) {
        bytes += strlen(j->calls.items[i].name) + j->calls.items[i].arguments.len;
    }
    out->guessed_prompt = guess(j->body.len);
    out->guessed_completion = guess(bytes);
    if (j->pieces > out->guessed_completion && j->pieces < UINT32_MAX) {
        out->guessed_completion = (uint32_t)j->pieces;
    }
}

/* What the upstream told, whether or not the answer came to its end. */
static void tell_spent(const struct engine_job *j)
{
    if (j->sink->spent != NULL) {
        struct engine_spent spent = {.prompt_tokens = j->result.prompt_tokens,
                                     .completion_tokens = j->result.completion_tokens};
        guess_spent(j, &spent);
        j->sink->spent(j->data, &spent);
    }
}

static void on_timer_closed(uv_handle_t *h)
{
    struct engine_job *j = h->data;
    if (--j->open > 0) {
        return;
    }
    j->owner->n_jobs--;
    tell_spent(j);
    j->result.version = j->version[0] == '\0' ? NULL : j->version;
    j->sink->finish(j->data, &j->result);
    sse_deinit(&j->sse);
    buf_deinit(&j->body);
    buf_deinit(&j->piece);
    openai_calls_deinit(&j->calls);
    free(j);
}

/* They come in pieces and go on whole, as the upstream wrote them. */
static void give_calls(struct engine_job *j)
{
    for (size_t i = 0; i < j->calls.n; i++) {
        const struct openai_call *c = &j->calls.items[i];
        (void)j->sink->call(j->data, c->id, str_from(c->name), buf_view(&c->arguments));
    }
    if (j->calls.n > 0 && strcmp(j->result.finish_reason, "stop") == 0) {
        j->result.finish_reason = "tool_calls"; /* some say "stop" */
    }
}

/* j->result says how. Not from inside libcurl's callbacks: it frees the transfer. */
static void job_end(struct engine_job *j)
{
    if (j->phase == UP_ENDED) {
        return;
    }
    j->phase = UP_ENDED;
    if (j->result.error.code == STATUS_OK) {
        give_calls(j);
    }
    if (j->transfer != NULL) {
        outgoing_free(j->transfer);
        j->transfer = NULL;
    }
    LOG_INFO("upstream answered", LOG_STR("to", j->owner->place),
             LOG_STR("status", status_name(j->result.error.code)), LOG_INT("tries", j->tries),
             LOG_INT("bytes", j->said), LOG_INT("dur_ms", clock_monotonic_ms() - j->started_ms),
             LOG_END);
    uv_close((uv_handle_t *)&j->idle, on_timer_closed);
    uv_close((uv_handle_t *)&j->total, on_timer_closed);
}

static void on_idle(uv_timer_t *h)
{
    struct engine_job *j = h->data;
    error_set(&j->result.error, STATUS_DEADLINE,
              "the upstream sent nothing for %lld ms (generate.upstream.idle_timeout_ms)",
              (long long)j->owner->settings->idle_timeout_ms);
    job_end(j);
}

static void on_total(uv_timer_t *h)
{
    struct engine_job *j = h->data;
    error_set(&j->result.error, STATUS_DEADLINE,
              "the upstream was not done after %lld ms (generate.upstream.total_timeout_ms)",
              (long long)j->owner->settings->total_timeout_ms);
    job_end(j);
}

/* Held-back text is our own doing: silence counts only while the upstream may speak. */
static void watch_silence(struct engine_job *j)
{
    if (j->held) {
        (void)uv_timer_stop(&j->idle);
    } else {
        (void)uv_timer_start(&j->idle, on_idle, (uint64_t)j->owner->settings->idle_timeout_ms, 0);
    }
}

/* ---- reading ---- */

static bool on_event(struct str event, void *data)
{
    struct engine_job *j = data;
    buf_reset(&j->piece);
    j->heard = true;
    j->pieces++;
    struct openai_piece piece = {
        .text = &j->piece, .calls = j->tools ? &j->calls : NULL, .version = j->version};
    if (openai_piece(event, &piece, &j->result.error) != STATUS_OK) {
        return false;
    }
    if (piece.finish_reason != NULL) {
        j->result.finish_reason = piece.finish_reason;
        j->finished = true;
    }
    if (piece.prompt_tokens > 0 || piece.completion_tokens > 0) {
        j->result.prompt_tokens = piece.prompt_tokens;
        j->result.completion_tokens = piece.completion_tokens;
    }
    if (piece.done) {
        j->finished = true;
        return false;
    }
    if (j->said + j->piece.len > ANSWER_BYTES_MAX || buf_status(&j->piece) != STATUS_OK) {
        error_set(&j->result.error, STATUS_TOO_LARGE, "the upstream's answer is over %zu bytes",
                  ANSWER_BYTES_MAX);
        return false;
    }
    j->said += j->piece.len;
    tell_spent(j);
    if (j->piece.len > 0) {
        j->held = !j->sink->text(j->data, j->piece.ptr, j->piece.len);
    }
    return j->result.error.code == STATUS_OK; /* cancelled by the listener? */
}

static bool on_data(void *data, const char *p, size_t len)
{
    struct engine_job *j = data;
    bool was_held = j->held;
    j->received += len;
    if (j->received > RESPONSE_BYTES_MAX) {
        error_set(&j->result.error, STATUS_TOO_LARGE, "the upstream sent over %zu bytes",
                  RESPONSE_BYTES_MAX);
        return false;
    }
    j->reading = true;
    enum status s = sse_add(&j->sse, p, len, on_event, j, &j->result.error);
    j->reading = false;
    if (s != STATUS_OK || j->sse.stopped || j->result.error.code != STATUS_OK) {
        return false; /* on_done follows */
    }
    if (j->held && !was_held) {
        outgoing_hold(j->transfer, true);
    }
    watch_silence(j);
    return true;
}

/* ---- trying again ---- */

static void on_waited(uv_timer_t *h)
{
    struct engine_job *j = h->data;
    ask(j);
}

/* How long to wait before the next try; -1: there is none. */
static int64_t wait_before_retry(const struct engine_job *j, const struct outgoing_outcome *o)
{
    const struct upstream_settings *s = j->owner->settings;
    bool worth = o->error.code == STATUS_UNAVAILABLE || o->status == 429 || o->status >= 500;
    if (!worth || j->said > 0 || j->tries > (unsigned)s->max_retries) {
        return -1;
    }
    unsigned doublings = j->tries < 7 ? j->tries - 1 : 6;
    uint16_t jitter;
    random_bytes(&jitter, sizeof jitter);
    int64_t wait = ((int64_t)RETRY_FIRST_MS << doublings) + jitter % 250;
    wait = o->retry_after_s > 0 ? (int64_t)o->retry_after_s * 1000 : wait;
    int64_t left = j->started_ms + s->total_timeout_ms - clock_monotonic_ms();
    return wait > RETRY_WAIT_MAX_MS || wait >= left ? -1 : wait;
}

static void explain(struct engine_job *j, const struct outgoing_outcome *o)
{
    struct error *e = &j->result.error;
    if (e->code != STATUS_OK) {
        return; /* reading the answer went wrong, and said why */
    }
    if (j->finished && (j->said > 0 || j->calls.n > 0)) {
        return; /* complete; how the connection ended after that is nobody's concern */
    }
    if (o->error.code != STATUS_OK) {
        *e = o->error;
        if (j->said > 0) {
            error_prefix(e, "the answer broke off");
        }
    } else if (o->status == 429) {
        error_set(e, STATUS_BUSY, "the upstream is busy (HTTP 429), %u tries", j->tries);
    } else if (o->status == 401 || o->status == 403) {
        error_set(e, STATUS_UNAVAILABLE,
                  "the upstream refused the key (HTTP %ld): check generate.upstream.key_file",
                  o->status);
    } else if (o->status == 404) {
        error_set(e, STATUS_UNAVAILABLE,
                  "the upstream has no such address or model (HTTP 404): check "
                  "generate.upstream.url and model");
    } else if (o->status != 200) {
        error_set(e, STATUS_UNAVAILABLE, "the upstream answered HTTP %ld, %u tries", o->status,
                  j->tries);
    } else if (!j->finished) {
        error_set(e, STATUS_UNAVAILABLE,
                  j->said > 0 ? "the answer broke off: the upstream closed the connection"
                              : "the upstream did not stream an answer");
    } else if (j->said == 0) {
        error_set(e, STATUS_UNAVAILABLE, "the upstream's answer is empty");
    }
}

static void on_done(void *data, const struct outgoing_outcome *o)
{
    struct engine_job *j = data;
    outgoing_free(j->transfer);
    j->transfer = NULL;
    int64_t wait = j->result.error.code == STATUS_OK && !j->finished ? wait_before_retry(j, o) : -1;
    if (wait < 0) {
        explain(j, o);
        job_end(j);
        return;
    }
    LOG_WARN("upstream tried again", LOG_STR("to", j->owner->place), LOG_INT("http", o->status),
             LOG_INT("wait_ms", wait), LOG_STR("err", o->error.text), LOG_END);
    j->phase = UP_WAITING;
    (void)uv_timer_start(&j->idle, on_waited, (uint64_t)wait, 0);
}

static void ask(struct engine_job *j)
{
    struct upstream_engine *e = j->owner;
    const char *headers[4] = {"Content-Type: application/json", "Accept: text/event-stream",
                              "Expect:"};
    size_t n = 3;
    if (e->authorization.len > 0) {
        headers[n++] = e->authorization.ptr;
    }
    struct outgoing_request r = {.what = "the upstream",
                                 .method = "POST",
                                 .url = e->url.ptr,
                                 .headers = headers,
                                 .n_headers = n,
                                 .body = buf_view(&j->body),
                                 .connect_timeout_ms = e->settings->connect_timeout_ms,
                                 .on_data = on_data,
                                 .on_done = on_done,
                                 .data = j};
    j->phase = UP_ASKING;
    j->tries++;
    tell_spent(j);
    sse_deinit(&j->sse);
    sse_init(&j->sse);
    openai_calls_deinit(&j->calls);
    if (outgoing_start(e->http, &r, &j->transfer, &j->result.error) != STATUS_OK) {
        job_end(j);
        return;
    }
    /* connecting has its own limit; then silence counts */
    (void)uv_timer_start(&j->idle, on_idle,
                         (uint64_t)(e->settings->connect_timeout_ms + e->settings->idle_timeout_ms),
                         0);
}

/* ---- the engine ---- */

static enum status write_body(struct engine_job *j, const Ge__ChatRequest *request,
                              struct error *err)
{
    struct prompt prompt;
    prompt_init(&prompt);
    enum status s = prompt_build(request, &prompt, err);
    s = s != STATUS_OK ? s
                       : openai_request(request, &prompt, j->owner->settings->model, &j->body, err);
    if (s == STATUS_OK && j->sink->leaves != NULL) {
        tell_spent(j);
        j->sink->leaves(j->data, &prompt.masks);
    }
    prompt_deinit(&prompt);
    return s;
}

static enum status start(struct engine *engine, const Ge__ChatRequest *request,
                         const struct engine_sink *sink, void *data, struct engine_job **out,
                         struct error *err)
{
    struct upstream_engine *e = container_of(engine, struct upstream_engine, engine);
    if (e->unready[0] != '\0') {
        return error_set(err, STATUS_UNAVAILABLE, "%s", e->unready);
    }
    if (e->n_jobs >= JOBS_MAX) {
        return error_set(err, STATUS_BUSY, "%d answers are under way at the upstream", JOBS_MAX);
    }
    struct engine_job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    j->owner = e;
    j->sink = sink;
    j->data = data;
    j->started_ms = clock_monotonic_ms();
    j->result.finish_reason = "stop";
    j->tools = request->n_tools > 0;
    buf_init(&j->body, REQUEST_BYTES_MAX);
    buf_init(&j->piece, SSE_EVENT_MAX);
    sse_init(&j->sse);
    enum status s = write_body(j, request, err);
    if (s != STATUS_OK) {
        buf_deinit(&j->body);
        free(j);
        return s;
    }
    e->n_jobs++;
    (void)uv_timer_init(e->loop, &j->idle); /* these never fail */
    (void)uv_timer_init(e->loop, &j->total);
    j->idle.data = j->total.data = j;
    j->open = 2;
    (void)uv_timer_start(&j->total, on_total, (uint64_t)e->settings->total_timeout_ms, 0);
    ask(j);
    *out = j;
    return STATUS_OK;
}

static void resume(struct engine_job *j)
{
    if (j->held) {
        j->held = false;
        if (j->transfer != NULL) {
            watch_silence(j);
            /* on_data may run in here; j stays: it ends in on_done */
            outgoing_hold(j->transfer, false);
        }
    }
}

static void cancel(struct engine_job *j)
{
    error_set(&j->result.error, STATUS_CANCELLED, "the caller went away");
    if (!j->reading) {
        job_end(j);
    }
}

static void describe(const struct engine *engine, struct engine_description *out)
{
    const struct upstream_engine *e =
        container_of((struct engine *)(uintptr_t)engine, struct upstream_engine, engine);
    *out = (struct engine_description){.name = "upstream",
                                       .model = e->settings->model,
                                       .ready = e->unready[0] == '\0',
                                       .detail = e->unready[0] == '\0' ? e->place : e->unready};
}

const char *upstream_engine_unready(const struct engine *engine)
{
    struct engine_description d;
    describe(engine, &d);
    return d.ready ? NULL : d.detail;
}

const char *upstream_engine_destination(const struct engine *engine)
{
    const struct upstream_engine *e =
        container_of((struct engine *)(uintptr_t)engine, struct upstream_engine, engine);
    return e->place;
}

static void on_http_closed(void *data)
{
    struct upstream_engine *e = data;
    void (*closed)(void *) = e->closed;
    void *closed_data = e->closed_data;
    buf_deinit(&e->url);
    buf_deinit(&e->authorization);
    free(e);
    closed(closed_data);
}

static void close_engine(struct engine *engine, void (*closed)(void *data), void *data)
{
    struct upstream_engine *e = container_of(engine, struct upstream_engine, engine);
    e->closed = closed;
    e->closed_data = data;
    outgoing_close(e->http, on_http_closed, e);
}

static const struct engine_ops ops = {.describe = describe,
                                      .start = start,
                                      .resume = resume,
                                      .cancel = cancel,
                                      .close = close_engine};

/* The key must be a file that only its owner can read: a looser one is refused, not warned about.
 */
static enum status read_key(const struct settings *settings, struct buf *out, struct error *err)
{
    const char *name = settings->generate.upstream.key_file;
    char path[4096];
    struct buf key;
    struct stat st;
    enum status s = STATUS_OK;
    buf_init(&key, KEY_BYTES_MAX);
    if (name[0] == '/') {
        s = file_join(path, sizeof path, "", name + 1, err);
    } else {
        s = file_join(path, sizeof path, settings->home, name, err);
    }
    if (s == STATUS_OK && stat(path, &st) != 0) {
        s = error_set(err, STATUS_NOT_FOUND, "generate.upstream.key_file: %.120s is not there",
                      path);
    } else if (s == STATUS_OK && (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)) {
        s = error_set(err, STATUS_FORBIDDEN,
                      "generate.upstream.key_file: others can read %.100s; run chmod 600 on it",
                      path);
    }
    s = s != STATUS_OK ? s : file_read(path, &key, err);
    if (s == STATUS_OK) {
        size_t len = key.len;
        while (len > 0 && (unsigned char)key.ptr[len - 1] <= ' ') {
            len--;
        }
        bool plain = len > 0;
        for (size_t i = 0; i < len; i++) {
            plain = plain && key.ptr[i] > ' ' && key.ptr[i] < 0x7f;
        }
        buf_z(out, "Authorization: Bearer ");
        buf_append(out, key.ptr, len);
        s = plain ? buf_status(out)
                  : error_set(err, STATUS_INVALID,
                              "generate.upstream.key_file: %.100s must hold one line of printable "
                              "characters",
                              path);
    }
    if (key.ptr != NULL) {
        explicit_bzero(key.ptr, key.cap);
    }
    buf_deinit(&key);
    return s;
}

enum status upstream_engine_new(uv_loop_t *loop, const struct settings *settings, const char *proxy,
                                struct engine **out, struct error *err)
{
    const struct upstream_settings *u = &settings->generate.upstream;
    struct upstream_engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    e->engine.ops = &ops;
    e->loop = loop;
    e->settings = u;
    buf_init(&e->url, 4096);
    buf_init(&e->authorization, KEY_BYTES_MAX + 64);
    buf_z(&e->url, u->url);
    buf_z(&e->url, str_ends(str_from(u->url), STR("/")) ? "chat/completions" : "/chat/completions");
    enum status s = destination_of_url(u->url, &e->destination, err);
    if (s != STATUS_OK) {
        (void)error_prefix(err, "generate.upstream.url");
    }
    s = s != STATUS_OK ? s : buf_status(&e->url);
    s = s != STATUS_OK ? s : outgoing_new(loop, proxy, &e->http, err);
    if (s != STATUS_OK) {
        buf_deinit(&e->url);
        free(e);
        return s;
    }
    destination_format(&e->destination, e->place);
    struct error why = {0};
    if (u->model[0] == '\0') {
        error_set(&why, STATUS_INVALID, "generate.upstream.model is empty");
    } else if (u->key_file[0] != '\0') {
        /* not fatal: the engine says why it is not ready */
        s = read_key(settings, &e->authorization, &why);
    }
    if (why.code != STATUS_OK) {
        (void)snprintf(e->unready, sizeof e->unready, "%s", why.text);
        LOG_ERROR("upstream not usable", LOG_STR("err", why.text), LOG_END);
    }
    *out = &e->engine;
    return STATUS_OK;
}
