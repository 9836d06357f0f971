/* embed.Fit, in the order things happen:
 *   on_request  copies a batch of passages, holds further ones, and has it read on a lane
 *   on_end      starts the solving thread (of low priority: it may run for a minute)
 *   on_tick     says how far it is
 *   on_solved   joins the thread and sends the blob in pieces, as fast as the caller takes them
 *   finish      is the only exit; memory goes after both handles are closed
 * One fit at a time in the process, because of its memory: others are told STATUS_BUSY. */
#include <endian.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "embed/embed.h"

#define BATCH_BYTES_MAX ((size_t)16 * 1024 * 1024)
#define PIECE_BYTES ((size_t)128 * 1024)
#define TICK_MS 500
#define SOLVER_NICENESS 10
#define SEED 0x43617272656cU

enum fit_phase { FIT_COLLECTING, FIT_READING, FIT_SOLVING, FIT_SENDING, FIT_OVER };

struct fit_call {
    struct embed *embed;
    struct rpc_call *call;
    enum fit_phase phase;
    bool ended;
    struct lsa_fit *fit;
    struct arena batch;
    struct encode_text *texts;
    size_t n_texts;
    uv_async_t solved;
    uv_timer_t tick;
    unsigned handles_open;
    uv_thread_t thread;
    _Atomic bool stop;
    _Atomic uint32_t permille;
    uint8_t *blob;
    size_t blob_len, sent;
    struct error error;
    int64_t started_ms;
};

static void on_closed(uv_handle_t *h)
{
    struct fit_call *f = h->data;
    if (--f->handles_open == 0) {
        struct embed *e = f->embed;
        e->fit = NULL;
        free(f);
        (void)malloc_trim(0); /* a fit is by far the largest use of memory here: give it back */
        embed_call_over(e);
    }
}

/* f->error tells how it went; on success everything has been sent. */
static void finish(struct fit_call *f)
{
    f->phase = FIT_OVER;
    if (f->error.code == STATUS_OK) {
        rpc_call_finish(f->call, STATUS_OK, NULL);
    } else {
        LOG_WARN("fit ended", LOG_STR("tenant", rpc_call_tenant(f->call)),
                 LOG_STR("status", status_name(f->error.code)), LOG_STR("err", f->error.text),
                 LOG_END);
        rpc_call_fail(f->call, &f->error);
    }
    f->call = NULL;
    lsa_fit_free(f->fit);
    free(f->blob);
    arena_reset(&f->batch);
    uv_close((uv_handle_t *)&f->tick, on_closed);
    uv_close((uv_handle_t *)&f->solved, on_closed);
}

static void cancelled(struct fit_call *f)
{
    error_set(&f->error, STATUS_CANCELLED, "the fit was stopped");
    finish(f);
}

/* ---- sending ------------------------------------------------------------------------------------- */

static void send_pieces(struct fit_call *f)
{
    while (f->sent < f->blob_len) {
        size_t left = f->blob_len - f->sent;
        Em__FitReply piece = EM__FIT_REPLY__INIT;
        piece.has_blob = true;
        piece.blob.data = f->blob + f->sent;
        piece.blob.len = left < PIECE_BYTES ? left : PIECE_BYTES;
        enum status s = em_fit_respond(f->call, &piece);
        if (s == STATUS_BUSY) {
            return; /* on_ready */
        }
        if (s != STATUS_OK) {
            error_set(&f->error, s, "the fit could not be sent: %s", status_text(s));
            finish(f);
            return;
        }
        f->sent += piece.blob.len;
    }
    char encoder[LSA_ENCODER_CAP];
    lsa_encoder_of(f->blob, f->blob_len, encoder);
    uint32_t numbers[3]; /* dimensions, terms, passages: as the blob's header has them */
    memcpy(numbers, f->blob + 12, sizeof numbers);
    Em__FitReply last = EM__FIT_REPLY__INIT;
    last.encoder = encoder;
    last.has_dimensions = last.has_terms = last.has_passages = last.has_progress = true;
    last.dimensions = le32toh(numbers[0]);
    last.terms = le32toh(numbers[1]);
    last.passages = le32toh(numbers[2]);
    last.progress = 1;
    enum status s = em_fit_respond(f->call, &last);
    if (s == STATUS_BUSY) {
        return;
    }
    if (s == STATUS_OK) {
        f->embed->fits_made++;
        LOG_INFO("fit made", LOG_STR("tenant", rpc_call_tenant(f->call)), LOG_STR("encoder", encoder),
                 LOG_INT("passages", last.passages), LOG_INT("terms", last.terms),
                 LOG_INT("bytes", f->blob_len),
                 LOG_INT("dur_ms", clock_monotonic_ms() - f->started_ms), LOG_END);
    } else {
        error_set(&f->error, s, "the fit could not be sent: %s", status_text(s));
    }
    finish(f);
}

void fit_call_on_ready(struct rpc_call *call)
{
    struct fit_call *f = *rpc_call_data(call);
    if (f != NULL && f->phase == FIT_SENDING) {
        send_pieces(f);
    }
}

/* ---- solving ------------------------------------------------------------------------------------- */

static bool on_progress(float done, void *data) /* on the solving thread */
{
    struct fit_call *f = data;
    atomic_store(&f->permille, (uint32_t)(done * 1000));
    return !atomic_load(&f->stop);
}

static void solve(void *data)
{
    struct fit_call *f = data;
    /* Linux counts niceness by thread. Failing to lower it costs others some speed, nothing else. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), SOLVER_NICENESS);
    enum status s = lsa_fit_solve(f->fit, on_progress, f, &f->blob, &f->blob_len, &f->error);
    (void)s; /* f->error carries it to the loop thread */
    (void)uv_async_send(&f->solved);
}

static void on_solved(uv_async_t *h)
{
    struct fit_call *f = h->data;
    (void)uv_thread_join(&f->thread);
    (void)uv_timer_stop(&f->tick);
    lsa_fit_free(f->fit);
    f->fit = NULL;
    if (f->error.code != STATUS_OK) {
        finish(f);
    } else if (atomic_load(&f->stop)) {
        cancelled(f);
    } else {
        f->phase = FIT_SENDING;
        send_pieces(f);
    }
}

static void on_tick(uv_timer_t *h)
{
    struct fit_call *f = h->data;
    Em__FitReply reply = EM__FIT_REPLY__INIT;
    reply.has_progress = true;
    reply.progress = (float)atomic_load(&f->permille) / 1000;
    /* a full window only means that this one is not told */
    enum status s = em_fit_respond(f->call, &reply);
    (void)s;
}

static void start_solving(struct fit_call *f)
{
    f->phase = FIT_SOLVING;
    if (uv_thread_create(&f->thread, solve, f) != 0) {
        error_set(&f->error, STATUS_NO_MEMORY, "no thread could be started for the fit");
        finish(f);
        return;
    }
    (void)uv_timer_start(&f->tick, on_tick, TICK_MS, TICK_MS);
}

/* ---- collecting ---------------------------------------------------------------------------------- */

static void read_batch(void *job) /* on a lane */
{
    struct fit_call *f = job;
    struct encode_scratch *scratch;
    if (embed_take_scratch(f->embed, &scratch, &f->error) != STATUS_OK) {
        return;
    }
    enum status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < f->n_texts && !atomic_load(&f->stop); i++) {
        s = encode_into_fit(scratch, f->fit, &f->texts[i], &f->error);
    }
    embed_give_scratch(f->embed, scratch);
}

static void on_batch_read(void *job)
{
    struct fit_call *f = job;
    arena_reset(&f->batch);
    f->phase = FIT_COLLECTING;
    if (f->error.code != STATUS_OK) {
        finish(f);
    } else if (atomic_load(&f->stop)) {
        cancelled(f);
    } else if (f->ended) {
        start_solving(f);
    } else {
        rpc_call_resume(f->call);
    }
}

static struct fit_call *begin(struct rpc_call *call, const Em__FitRequest *first, struct error *err)
{
    struct embed *e = service_state(call);
    if (e->stopping || e->fit != NULL) {
        error_set(err, STATUS_BUSY, "another fit is under way: try again when it is done");
        return NULL;
    }
    const struct settings *settings = e->svc->settings;
    int64_t dimensions = first->has_dimensions ? first->dimensions : settings->encoder.dimensions;
    int64_t frequency = first->has_min_document_frequency
                            ? first->min_document_frequency
                            : settings->encoder.min_document_frequency;
    struct lsa_fit_options options = {
        .dimensions = (uint32_t)dimensions, .min_document_frequency = (uint32_t)frequency, .seed = SEED};
    struct fit_call *f = calloc(1, sizeof *f);
    if (f == NULL) {
        error_set(err, STATUS_NO_MEMORY, "out of memory");
        return NULL;
    }
    if (lsa_fit_new(&options, &f->fit, err) != STATUS_OK) {
        free(f);
        return NULL;
    }
    if (uv_async_init(e->svc->loop, &f->solved, on_solved) != 0) {
        error_set(err, STATUS_NO_MEMORY, "no event could be made for the fit");
        lsa_fit_free(f->fit);
        free(f);
        return NULL;
    }
    (void)uv_timer_init(e->svc->loop, &f->tick); /* never fails */
    f->solved.data = f->tick.data = f;
    f->handles_open = 2;
    f->embed = e;
    f->call = call;
    f->started_ms = clock_monotonic_ms();
    arena_init(&f->batch, BATCH_BYTES_MAX);
    e->fit = f;
    e->n_calls++;
    *rpc_call_data(call) = f;
    return f;
}

static enum status copy_batch(struct fit_call *f, const Em__FitRequest *ask, struct error *err)
{
    if (ask->n_titles != 0 && ask->n_titles != ask->n_texts) {
        return error_set(err, STATUS_INVALID, "%zu titles for %zu passages", ask->n_titles,
                         ask->n_texts);
    }
    f->n_texts = ask->n_texts;
    f->texts = arena_array(&f->batch, ask->n_texts + 1, sizeof *f->texts);
    bool enough = f->texts != NULL;
    for (size_t i = 0; enough && i < ask->n_texts; i++) {
        const char *title = i < ask->n_titles ? ask->titles[i] : "";
        f->texts[i] = (struct encode_text){
            .text = {.ptr = arena_strndup(&f->batch, (const char *)ask->texts[i].data,
                                          ask->texts[i].len),
                     .len = ask->texts[i].len},
            .title = {.ptr = arena_strdup(&f->batch, title), .len = strlen(title)}};
        enough = f->texts[i].text.ptr != NULL && f->texts[i].title.ptr != NULL;
    }
    return enough ? STATUS_OK : error_set(err, STATUS_NO_MEMORY, "out of memory for the passages");
}

void fit_call_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Em__FitRequest *ask = em_fit_request(m);
    struct fit_call *f = *rpc_call_data(call);
    struct error err = {0};
    if (ask == NULL) {
        error_set(&err, STATUS_INVALID, "not a fit request");
    } else if (f == NULL) {
        f = begin(call, ask, &err);
    }
    if (f == NULL) {
        rpc_call_fail(call, &err);
        return;
    }
    if (err.code == STATUS_OK && f->phase != FIT_COLLECTING) {
        error_set(&err, STATUS_PROTOCOL, "a passage came while the call was held");
    }
    if (err.code == STATUS_OK && copy_batch(f, ask, &err) == STATUS_OK && f->n_texts > 0 &&
        lane_submit(&f->embed->fitting, read_batch, on_batch_read, f, &err) == STATUS_OK) {
        f->phase = FIT_READING;
        rpc_call_pause(call);
        return;
    }
    arena_reset(&f->batch);
    if (err.code != STATUS_OK) {
        f->error = err;
        finish(f);
    }
}

void fit_call_on_end(struct rpc_call *call)
{
    struct fit_call *f = *rpc_call_data(call);
    if (f == NULL) {
        rpc_call_finish(call, STATUS_INVALID, "a fit needs passages");
    } else if (f->phase == FIT_READING) {
        f->ended = true;
    } else if (f->phase == FIT_COLLECTING) {
        start_solving(f);
    }
}

/* A thread or lane at work sees `stop` and reports back; otherwise the call can end here. */
void fit_call_stop(struct fit_call *f)
{
    atomic_store(&f->stop, true);
    if (f->phase == FIT_COLLECTING || f->phase == FIT_SENDING) {
        cancelled(f);
    }
}

void fit_call_on_cancel(struct rpc_call *call)
{
    struct fit_call *f = *rpc_call_data(call);
    if (f != NULL) {
        fit_call_stop(f);
    }
}
