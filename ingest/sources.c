#include "ingest/sources.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "ingest/documents.h"
#include "ingest/quota.h"
#include "ingest/sources/fetch.h"
#include "ingest/sources/poll.h"

#define AT_ONCE 4
#define FIRST_LOOK_MS 500 /* a folder made by hand has its tenant by then */
#define LATER_MS 30000

struct source {
    const struct source_settings *s;
    struct ingest *in;
    bool running, asked, looked;
    _Atomic bool done;
    uv_thread_t thread;
    struct source_job job; /* the thread's while it runs */
    int64_t due_ms;        /* wall time */

    /* as of the last look */
    struct source_poll poll;
    struct source_counts counts;
    uint64_t passed_over;
    uint64_t requests_total, bytes_total, fetched_total, deleted_total;
    char error[256];
};

struct sources {
    struct source *items;
    size_t n, running;
    bool closing;
    char trouble[200];
};

enum status sources_open(struct ingest *in, struct error *err)
{
    const struct settings *st = in->settings;
    struct sources *s = calloc(1, sizeof *s);
    in->sources = s;
    if (s != NULL) {
        s->items = calloc(st->n_sources + 1, sizeof *s->items);
    }
    if (s == NULL || s->items == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    s->n = st->n_sources;
    for (size_t i = 0; i < s->n; i++) {
        s->items[i].s = &st->sources[i];
        s->items[i].in = in;
        s->items[i].due_ms = clock_wall_ms() + FIRST_LOOK_MS;
    }
    return s->n == 0 ? STATUS_OK : fetch_init(err);
}

/* ---- threads ---- */

static void run(void *data)
{
    struct source *s = data;
    source_poll_run(&s->job);
    s->done = true;
}

static void later(struct source *s, const char *why)
{
    (void)snprintf(s->error, sizeof s->error, "%s", why);
    s->due_ms = clock_wall_ms() + LATER_MS;
    s->asked = false;
}

static void start(struct source *s)
{
    struct sources *all = s->in->sources;
    const struct tenant *t = tenant_find(s->in, s->s->tenant);
    if (t == NULL) {
        later(s, "its tenant is not there: `carrel tenant create` makes it");
        return;
    }
    s->job.source = s->s;
    s->job.home = s->in->svc->home;
    (void)snprintf(s->job.root, sizeof s->job.root, "%.4095s", t->root);
    s->job.forced = s->asked;
    s->job.first = !s->looked;
    s->looked = true;
    s->job.room = quota_room(t);
    s->job.cancelled = false;
    s->job.progress.listing = false;
    s->job.progress.listed = s->job.progress.fetched = s->job.progress.deleted = 0;
    s->done = false;
    s->asked = false;
    if (uv_thread_create(&s->thread, run, s) != 0) {
        later(s, "no thread can be made");
        return;
    }
    s->running = true;
    all->running++;
}

static void take(struct source *s)
{
    const struct source_job *j = &s->job;
    (void)uv_thread_join(&s->thread);
    s->running = false;
    s->in->sources->running--;
    s->poll = j->poll;
    s->counts = j->counts;
    s->due_ms = j->poll.due_ms;
    if (j->ran || j->err.code != STATUS_OK) {
        bool failed = j->err.code != STATUS_OK && j->err.code != STATUS_CANCELLED;
        if (failed && strcmp(s->error, j->err.text) != 0) {
            LOG_WARN("a source cannot be read: what is here of it is kept",
                     LOG_STR("source", s->s->name), LOG_STR("tenant", s->s->tenant),
                     LOG_STR("err", j->err.text), LOG_END);
        }
        (void)snprintf(s->error, sizeof s->error, "%s", failed ? j->err.text : "");
        s->passed_over = j->passed_over;
        s->requests_total += j->requests;
        s->bytes_total += j->bytes;
        s->fetched_total += j->progress.fetched;
        s->deleted_total += j->progress.deleted;
    }
}

void sources_tick(struct ingest *in)
{
    struct sources *all = in->sources;
    int64_t now = clock_wall_ms();
    all->trouble[0] = '\0';
    for (size_t i = 0; i < all->n; i++) {
        struct source *s = &all->items[i];
        if (s->running && s->done) {
            take(s);
        }
        bool due = s->asked || now >= s->due_ms ||
                   s->due_ms > now + 2 * s->s->interval_ms + (int64_t)86400000;
        if (!s->running && !all->closing && due && all->running < AT_ONCE) {
            start(s);
        }
        if (s->error[0] != '\0' && all->trouble[0] == '\0') {
            (void)snprintf(all->trouble, sizeof all->trouble, "source %.64s: %.120s", s->s->name,
                           s->error);
        }
    }
}

void sources_close(struct ingest *in)
{
    struct sources *all = in->sources;
    all->closing = true;
    for (size_t i = 0; i < all->n; i++) {
        all->items[i].job.cancelled = true;
    }
}

bool sources_closed(struct ingest *in)
{
    sources_tick(in);
    return in->sources->running == 0;
}

void sources_free(struct ingest *in)
{
    if (in->sources != NULL) {
        free(in->sources->items);
        free(in->sources);
        in->sources = NULL;
    }
}

const char *sources_trouble(const struct ingest *in)
{
    return in->sources == NULL ? "" : in->sources->trouble;
}

void sources_metrics(const struct ingest *in, struct buf *out)
{
    for (size_t i = 0; in->sources != NULL && i < in->sources->n; i++) {
        const struct source *s = &in->sources->items[i]; /* names hold nothing to be escaped */
        const struct {
            const char *name;
            uint64_t value;
        } rows[] = {{"files", s->counts.files},         {"files_failed", s->counts.failed},
                    {"failing", s->error[0] != '\0'},   {"requests_total", s->requests_total},
                    {"bytes_total", s->bytes_total},    {"fetched_total", s->fetched_total},
                    {"deleted_total", s->deleted_total}};
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            buf_printf(out, "carrel_source_%s{source=\"%s\",tenant=\"%s\"} %llu\n", rows[k].name,
                       s->s->name, s->s->tenant, (unsigned long long)rows[k].value);
        }
    }
}

const char *sources_label(const struct settings *s, const char *tenant, struct str path)
{
    for (size_t i = 0; i < s->n_sources; i++) {
        const struct source_settings *one = &s->sources[i];
        struct str folder = str_from(one->folder);
        if (one->label[0] != '\0' && strcmp(one->tenant, tenant) == 0 && str_starts(path, folder) &&
            path.len > folder.len && path.ptr[folder.len] == '/') {
            return one->label;
        }
    }
    return "";
}

bool sources_have_labels(const struct settings *s, const char *tenant)
{
    for (size_t i = 0; i < s->n_sources; i++) {
        if (s->sources[i].label[0] != '\0' && strcmp(s->sources[i].tenant, tenant) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- RPCs ---- */

static const char *state_of(const struct source *s)
{
    if (s->running) {
        return s->job.progress.listing ? "listing" : "fetching";
    }
    return s->error[0] != '\0' ? "failing" : s->poll.number == 0 ? "new" : "waiting";
}

static void tell(const struct source *s, Ig__SourceState *out)
{
    ig__source_state__init(out);
    out->name = (char *)(uintptr_t)s->s->name;
    out->kind = (char *)(uintptr_t)s->s->kind;
    out->url = (char *)(uintptr_t)s->s->url;
    out->folder = (char *)(uintptr_t)s->s->folder;
    out->state = (char *)(uintptr_t)state_of(s);
    out->files = s->counts.files;
    out->failed = s->counts.failed;
    out->gone = s->counts.gone;
    out->bytes = s->counts.bytes;
    out->passed_over = s->passed_over;
    out->has_listed = out->has_fetched = s->running;
    out->listed = s->running ? s->job.progress.listed : 0;
    out->fetched = s->running ? s->job.progress.fetched : 0;
    out->ended_wall_ms = s->poll.ended_ms;
    out->ok_wall_ms = s->poll.ok_ms;
    out->due_wall_ms = s->due_ms;
    out->polls = s->poll.number;
    out->error = s->error[0] == '\0' ? NULL : (char *)(uintptr_t)s->error;
    out->file_error = s->counts.error[0] == '\0' ? NULL : (char *)(uintptr_t)s->counts.error;
}

void sources_list(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct tenant *t = documents_tenant(call);
    if (t == NULL) {
        return;
    }
    const struct sources *all = t->in->sources;
    Ig__SourceState *states = calloc(all->n + 1, sizeof *states);
    Ig__SourceState **list = calloc(all->n + 1, sizeof *list);
    Ig__ListSourcesReply reply = IG__LIST_SOURCES_REPLY__INIT;
    if (states == NULL || list == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
    } else {
        for (size_t i = 0; i < all->n; i++) {
            if (strcmp(all->items[i].s->tenant, t->id) == 0) {
                tell(&all->items[i], &states[i]);
                list[reply.n_sources++] = &states[i];
            }
        }
        reply.sources = list;
        ig_list_sources_return(call, &reply);
    }
    free(states);
    free(list);
}

void sources_poll(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__PollSourceRequest *q = ig_poll_source_request(m);
    struct tenant *t = documents_tenant(call);
    if (t == NULL || q == NULL) {
        if (t != NULL) {
            rpc_call_finish(call, STATUS_INVALID, NULL);
        }
        return;
    }
    struct sources *all = t->in->sources;
    for (size_t i = 0; i < all->n; i++) {
        struct source *s = &all->items[i];
        if (strcmp(s->s->tenant, t->id) == 0 && strcmp(s->s->name, q->name) == 0) {
            Ig__PollSourceReply reply = IG__POLL_SOURCE_REPLY__INIT;
            s->asked = true; /* one under way may have passed what has changed: again after it */
            reply.polls = (s->running ? s->job.progress.number : s->poll.number) + 1;
            ig_poll_source_return(call, &reply);
            return;
        }
    }
    struct error err;
    (void)error_set(&err, STATUS_NOT_FOUND, "carrel.yaml names no source %.64s of this tenant",
                    q->name);
    rpc_call_fail(call, &err);
}
