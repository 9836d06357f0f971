#include "ingest/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/snapshot_call.h"
#include "ingest/access.h"
#include "ingest/clamd.h"
#include "ingest/documents.h"
#include "ingest/erase.h"
#include "ingest/migrate.h"
#include "ingest/progress.h"
#include "ingest/queue.h"
#include "ingest/sources.h"
#include "ingest/stored.h"
#include "ingest/worked.h"

#define TICK_MS 500
#define WORK_WIDTH 3
#define WORK_QUEUED 1024
#define SCANNER_WIDTH 2 /* of the four threads */

static const struct rpc_handler handlers[] = {
    {.method = &ig_list_method,
     .on_request = documents_list,
     .on_ready = documents_list_ready,
     .on_cancel = documents_list_cancel},
    {.method = &ig_get_method, .on_request = documents_get},
    {.method = &ig_events_method, .on_request = documents_events},
    {.method = &ig_progress_method, .on_request = progress_tell},
    {.method = &ig_worked_method, .on_request = worked_tell, .on_cancel = worked_cancel},
    {.method = &ig_stored_method, .on_request = stored_tell, .on_cancel = stored_cancel},
    {.method = &ig_pause_method, .on_request = progress_pause, .on_cancel = progress_pause_cancel},
    {.method = &ig_list_sources_method, .on_request = sources_list},
    {.method = &ig_poll_source_method, .on_request = sources_poll},
    {.method = &ig_upload_method,
     .on_request = upload_message,
     .on_end = upload_end,
     .on_cancel = upload_cancel},
    {.method = &ig_delete_method,
     .on_request = documents_delete,
     .on_cancel = documents_delete_cancel},
    {.method = &ig_snapshot_method,
     .on_request = backup_snapshot,
     .on_cancel = snapshot_call_cancel},
    {.method = &ig_build_encoder_method, .on_request = migration_build_encoder},
    {.method = &ig_erase_method, .on_request = erase_ask},
    {.method = &ig_get_erasure_method, .on_request = erase_get},
    {.method = &ig_list_erasures_method, .on_request = erase_list},
    {.method = &ig_add_hold_method, .on_request = hold_rpc_add},
    {.method = &ig_list_holds_method, .on_request = hold_rpc_list},
    {.method = &ig_remove_hold_method, .on_request = hold_rpc_remove},
    {.method = &ig_list_quarantine_method,
     .on_request = quarantine_rpc_list,
     .on_cancel = quarantine_rpc_cancel},
    {.method = &ig_release_quarantine_method,
     .on_request = quarantine_rpc_release,
     .on_cancel = quarantine_rpc_cancel},
    {.method = &ig_allow_erased_method, .on_request = erase_allow},
    {.method = &ig_render_method,
     .on_request = pages_render,
     .on_ready = pages_ready,
     .on_cancel = pages_cancel},
};

/* ---- open ---- */

static void on_tick(uv_timer_t *timer)
{
    struct ingest *in = container_of(timer, struct ingest, tick);
    if (!in->closing) {
        tenants_tick(in);
        sources_tick(in);
    }
}

/* carrel-extract lies beside this program. */
static enum status extractor_path(char out[PATH_MAX], struct error *err)
{
    size_t cap = PATH_MAX;
    if (uv_exepath(out, &cap) != 0) {
        return error_set(err, STATUS_INTERNAL, "the program does not know where it lies");
    }
    char *slash = strrchr(out, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - out);
    int n = snprintf(out + len, PATH_MAX - len, "/carrel-extract");
    if (n < 0 || (size_t)n >= PATH_MAX - len) {
        return error_set(err, STATUS_TOO_LARGE, "the program's path is too long");
    }
    return access(out, X_OK) == 0 ? STATUS_OK
                                  : error_errno(err, errno, "%s: the extractor is missing", out);
}

static enum status open_watch_dir(struct ingest *in, struct error *err)
{
    const char *set = in->settings->ingest.watch_dir;
    if (set == NULL || set[0] == '\0') {
        return file_join(in->watch_dir, sizeof in->watch_dir, in->svc->home, "watch", err);
    }
    int n = set[0] == '/'
                ? snprintf(in->watch_dir, sizeof in->watch_dir, "%s", set)
                : snprintf(in->watch_dir, sizeof in->watch_dir, "%s/%s", in->svc->home, set);
    return n < 0 || (size_t)n >= sizeof in->watch_dir
               ? error_set(err, STATUS_TOO_LARGE, "ingest.watch_dir: path too long")
               : STATUS_OK;
}

/* A scanner that cannot be what is meant: better no service than files that nobody looked at. */
static enum status open_scanner(struct ingest *in, struct error *err)
{
    const char *address = in->settings->ingest.scanner;
    in->scan_cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (in->scan_cancel < 0) {
        return error_errno(err, errno, "eventfd");
    }
    return address[0] == '\0' || clamd_address_valid(address)
               ? STATUS_OK
               : error_set(err, STATUS_INVALID,
                           "ingest.scanner: neither the path of a socket nor host:port: %s",
                           address);
}

static enum status ingest_open(struct service *svc, struct error *err)
{
    char program[PATH_MAX];
    struct ingest *in = calloc(1, sizeof *in);
    if (in == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    in->svc = svc;
    in->loop = svc->loop;
    in->settings = svc->settings;
    list_init(&in->tenants);
    list_init(&in->want_extractor);
    list_init(&in->want_extractor_large);
    list_init(&in->reading);
    lane_init(&in->work, svc->loop, WORK_WIDTH, WORK_QUEUED);
    lane_init(&in->scans, svc->loop, 1, 64);
    lane_init(&in->scanner, svc->loop, SCANNER_WIDTH, INGEST_ACTIVE_MAX);
    /* of each kind two for every worker: the pool always has the next one at hand */
    in->extracting_max = 2 * extractor_places(svc->settings);
    in->pages_max = in->extracting_max / 2;
    svc->state = in;
    in->renders = renders_new();
    enum status s = in->renders == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                        : open_watch_dir(in, err);
    if (s == STATUS_OK) {
        s = open_scanner(in, err);
    }
    if (s == STATUS_OK) {
        s = extractor_path(program, err);
    }
    if (s == STATUS_OK) {
        s = extractor_pool_new(svc->loop, svc->settings, program, &in->pool, err);
    }
    if (s == STATUS_OK) {
        s = access_open(in, err); /* before the first document goes anywhere */
    }
    if (s == STATUS_OK) {
        s = sources_open(in, err);
    }
    if (s == STATUS_OK) {
        s = tenants_open(in, err);
    }
    if (s == STATUS_OK) {
        (void)uv_timer_init(svc->loop, &in->tick);
        (void)uv_timer_start(&in->tick, on_tick, 1, TICK_MS);
    }
    return s;
}

/* ---- health ---- */

static void metric(struct buf *b, const char *name, const char *labels, uint64_t value)
{
    buf_printf(b, "carrel_ingest_%s%s %llu\n", name, labels, (unsigned long long)value);
}

static void tenant_metrics(struct buf *b, const struct tenant *t, const struct follow_status *f)
{
    /* a tenant's name holds nothing that would need escaping */
    static const char *const states[] = {"queued", "ready", "failed", "excluded"};
    const uint64_t values[] = {t->counts.queued, t->counts.ready, t->counts.failed,
                               t->counts.excluded};
    char labels[160];
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        (void)snprintf(labels, sizeof labels, "{tenant=\"%s\",state=\"%s\"}", t->id, states[i]);
        metric(b, "files", labels, values[i]);
    }
    (void)snprintf(labels, sizeof labels, "{tenant=\"%s\"}", t->id);
    metric(b, "bytes", labels, t->counts.bytes);
    metric(b, "quota_bytes", labels, t->quota);
    metric(b, "without_room", labels, t->quota_waiting);
    metric(b, "working", labels, queue_working(t->queue));
    metric(b, "watched_folders", labels, f->watched);
    metric(b, "watch_limit_reached", labels, f->watch_limit);
    metric(b, "watch_folder_missing", labels, f->missing);
    metric(b, "watch_on_network", labels, f->network);
    metric(b, "mounts_away", labels, disk_away(t->disk, NULL, 0));
    metric(b, "folder_settings_wrong", labels, disk_trouble(t->disk, NULL, 0));
    metric(b, "events_lost_total", labels, f->lost);
    metric(b, "passed_over", labels, f->passed_over);
    metric(b, "ignored", labels, f->ignored);
}

static void ingest_health(struct service *svc, struct service_health *out)
{
    struct ingest *in = svc->state;
    const char *trouble = "";
    char said[240] = "";
    const char *held = "";
    const char *doing = "";
    uint64_t queued = 0;
    uint64_t ready = 0;
    uint64_t failed = 0;
    list_for_each(it, &in->tenants)
    {
        struct tenant *t = list_entry(it, struct tenant, link);
        struct follow_status f = {0};
        if (t->follow == NULL) {
            continue;
        }
        follow_status(t->follow, &f);
        tenant_metrics(out->metrics, t, &f);
        queued += t->counts.queued;
        ready += t->counts.ready;
        failed += t->counts.failed;
        char folder[160] = "";
        if (f.missing) {
            trouble = "a watched folder is missing";
        } else if (disk_away(t->disk, folder, sizeof folder) > 0) {
            (void)snprintf(said, sizeof said, "not mounted, its documents are kept: %s",
                           folder[0] == '\0' ? t->id : folder);
            trouble = said;
        } else if (disk_trouble(t->disk, folder, sizeof folder) > 0) {
            (void)snprintf(said, sizeof said, "%s", folder);
            trouble = said;
        } else if (t->quota_waiting > 0) {
            (void)snprintf(said, sizeof said,
                           "tenant %s is at its quota: %llu documents wait for room", t->id,
                           (unsigned long long)t->quota_waiting);
            trouble = said;
        } else if (f.watch_limit) {
            trouble = "raise fs.inotify.max_user_watches: rescanning all the time instead";
        } else if (f.network) {
            doing = "a folder on a network is looked through every few seconds";
        }
        held = queue_held(t->queue)[0] != '\0' ? queue_held(t->queue) : held;
        doing = migration_doing(t->migration)[0] != '\0' ? migration_doing(t->migration) : doing;
    }
    sources_metrics(in, out->metrics);
    metric(out->metrics, "jobs_done_total", "", in->jobs_done);
    metric(out->metrics, "jobs_failed_total", "", in->jobs_failed);
    metric(out->metrics, "jobs_retried_total", "", in->jobs_retried);
    metric(out->metrics, "bytes_done_total", "", in->bytes_done);
    metric(out->metrics, "chunks_done_total", "", in->chunks_done);
    metric(out->metrics, "extractions_total", "", in->extractions);
    metric(out->metrics, "unknown_folders", "", in->n_unknown_folders);
    out->queue = (uint32_t)queued;
    char unknown[220] = "";
    if (in->n_unknown_folders > 0) {
        (void)snprintf(unknown, sizeof unknown, "ignored in watch/: %s", in->unknown_folders);
    }
    trouble = trouble[0] == '\0' ? sources_trouble(in) : trouble;
    trouble = access_trouble(in)[0] != '\0' ? access_trouble(in) : trouble;
    const char *more = trouble[0] != '\0'   ? trouble
                       : held[0] != '\0'    ? held
                       : unknown[0] != '\0' ? unknown
                                            : doing;
    char line[400];
    (void)snprintf(line, sizeof line, "%llu ready, %llu queued, %llu failed%s%s",
                   (unsigned long long)ready, (unsigned long long)queued,
                   (unsigned long long)failed, more[0] == '\0' ? "" : "; ", more);
    path_show(str_from(line), out->detail, sizeof out->detail);
}

/* ---- close: jobs are cancelled, their rows stay as they are and are taken again at the next start
 * ---- */

static void on_pool_closed(void *data)
{
    struct ingest *in = data;
    in->pool_closed = true;
}

static void on_tick_closed(uv_handle_t *h)
{
    struct ingest *in = container_of(h, struct ingest, tick);
    struct service *svc = in->svc;
    tenants_free(in);
    sources_free(in);
    access_close(in);
    renders_free(in->renders);
    (void)close(in->scan_cancel);
    free(in);
    svc->state = NULL;
    service_closed(svc);
}

static void on_closing(uv_timer_t *timer)
{
    struct ingest *in = container_of(timer, struct ingest, tick);
    if (!sources_closed(in) || !tenants_closed(in) || !lane_idle(&in->work) ||
        !lane_idle(&in->scans) || !lane_idle(&in->scanner)) {
        return;
    }
    if (in->pool != NULL) {
        struct extractor_pool *pool = in->pool;
        in->pool = NULL;
        extractor_pool_close(pool, on_pool_closed, in);
        return;
    }
    if (in->pool_closed && !uv_is_closing((uv_handle_t *)timer)) {
        uv_close((uv_handle_t *)timer, on_tick_closed);
    }
}

static void ingest_close(struct service *svc)
{
    struct ingest *in = svc->state;
    in->closing = true;
    (void)eventfd_write(in->scan_cancel, 1);
    sources_close(in);
    tenants_close(in);
    (void)uv_timer_start(&in->tick, on_closing, 1, 5);
}

const struct service_definition ingest_definition = {
    .self = PEER_INGEST,
    .handlers = handlers,
    .n_handlers = sizeof handlers / sizeof handlers[0],
    .open = ingest_open,
    .health = ingest_health,
    .close = ingest_close,
};
