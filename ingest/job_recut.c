/* A stored document's chunks made again: text, boxes and the table of blocks come from the store,
 * are cut on a lane and go the way of every put from there (encode, put). Nothing of the document
 * is lost whatever fails: it keeps the chunks that it has. */
#include <stdlib.h>

#include "base/log.h"
#include "ingest/job_internal.h"
#include "ingest/queue.h"
#include "ingest/recut.h"

#define TEXT_BYTES ((size_t)64 << 20)
#define TABLE_BYTES ((size_t)256 << 20)
#define BOXES_MAX ((size_t)8 << 20)

struct recutting { /* as it comes */
    struct buf text, table;
    struct chunk_box *boxes;
    size_t n_boxes, cap_boxes;
    bool bad;
};

void job_recut_free(struct job *j)
{
    if (j->recutting != NULL) {
        buf_deinit(&j->recutting->text);
        buf_deinit(&j->recutting->table);
        free(j->recutting->boxes);
        free(j->recutting);
        j->recutting = NULL;
    }
}

void job_recut_failed(struct job *j, const struct error *err)
{
    j->err = *err;
    j->request = NULL;
    switch (err->code) {
    case STATUS_DISK_FULL:
    case STATUS_BUSY:
    case STATUS_UNAVAILABLE:
    case STATUS_CANCELLED:
    case STATUS_NO_MEMORY:
    case STATUS_PROTOCOL:
    case STATUS_UNAUTHENTICATED:
        job_store_failed(j, err); /* the queue waits */
        return;
    case STATUS_NOT_FOUND:
    case STATUS_CORRUPT:
    case STATUS_IO: /* what the store has does not do: the file is read again */
        job_finish(j, OUTCOME_REQUEUE);
        return;
    case STATUS_OK:
    case STATUS_INVALID:
    case STATUS_TOO_LARGE:
    case STATUS_UNSUPPORTED:
    case STATUS_FORBIDDEN:
    case STATUS_CONFLICT:
    case STATUS_DEADLINE:
    case STATUS_INTERNAL:
    case STATUS_COUNT:
        break;
    }
    LOG_WARN("a document keeps the chunks it has", LOG_STR("tenant", j->t->id),
             LOG_STR("doc", j->row.document), LOG_STR("err", err->text), LOG_END);
    job_finish(j, OUTCOME_HELD);
}

/* ---- reading ---- */

static bool add_boxes(struct recutting *in, const Vs__GetTextReply *m)
{
    if (in->n_boxes + m->n_boxes > in->cap_boxes) {
        size_t cap = (in->n_boxes + m->n_boxes) * 2;
        struct chunk_box *grown = cap > BOXES_MAX ? NULL : realloc(in->boxes, cap * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        in->boxes = grown;
        in->cap_boxes = cap;
    }
    for (size_t i = 0; i < m->n_boxes; i++) {
        const Vs__Box *b = m->boxes[i];
        in->boxes[in->n_boxes++] = (struct chunk_box){.page = b->page,
                                                      .x0 = b->x0,
                                                      .y0 = b->y0,
                                                      .x1 = b->x1,
                                                      .y1 = b->y1,
                                                      .start = b->start,
                                                      .end = b->end};
    }
    return true;
}

/* What the rest of the way asks for: format, title, language. */
static bool take_info(struct job *j, const Vs__DocumentInfo *info)
{
    Ex__Document *d = arena_alloc(&j->arena, sizeof *d);
    if (d == NULL) {
        return false;
    }
    ex__document__init(d);
    d->title = info->title == NULL ? NULL : arena_strdup(&j->arena, info->title);
    d->format = arena_strdup(&j->arena, info->format);
    j->info = d;
    return d->format != NULL && (info->title == NULL || d->title != NULL);
}

static void on_text(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct job *j = data;
    struct recutting *in = j->recutting;
    const Vs__GetTextReply *reply = vs_get_text_reply(m);
    if (reply == NULL) {
        return;
    }
    if (reply->document != NULL) {
        in->bad = in->bad || !take_info(j, reply->document);
    }
    if (reply->has_text) {
        buf_append(&in->text, reply->text.data, reply->text.len);
    }
    if (reply->has_blocks) {
        buf_append(&in->table, reply->blocks.data, reply->blocks.len);
    }
    in->bad = in->bad || !add_boxes(in, reply);
}

static void cut_work(void *data)
{
    struct job *j = data;
    struct recutting *in = j->recutting;
    struct chunk_options o;
    recut_options(j->t->in->settings, j->row.collection, &o);
    j->err = (struct error){.code = STATUS_OK};
    j->doc = (struct chunked_document){
        .text = buf_view(&in->text), .boxes = in->boxes, .n_boxes = in->n_boxes};
    enum status s = chunk_table_read(buf_view(&in->table), &j->arena, &j->doc, &j->err);
    if (s == STATUS_OK) {
        s = chunk_cut(&j->doc, &o, &j->arena, &j->err);
    }
    j->err.code = s;
}

static void cut_done(void *data)
{
    struct job *j = data;
    j->in_lane = false;
    if (j->cancelled) {
        job_finish(j, OUTCOME_HELD);
    } else if (j->err.code != STATUS_OK) {
        struct error err = j->err;
        job_recut_failed(j, &err);
    } else if (j->doc.n_chunks == 0) {
        job_finish(j, OUTCOME_REQUEUE);
    } else {
        job_encode(j);
    }
}

static void on_text_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct job *j = data;
    struct recutting *in = j->recutting;
    j->request = NULL;
    if (err->code != STATUS_OK) {
        job_recut_failed(j, err);
        return;
    }
    queue_release(j->t->queue);
    if (in->bad || j->info == NULL || buf_status(&in->text) != STATUS_OK ||
        buf_status(&in->table) != STATUS_OK) {
        struct error bad = {0};
        (void)error_set(&bad, STATUS_TOO_LARGE, "it needs more memory than there is");
        job_recut_failed(j, &bad);
        return;
    }
    j->phase = JOB_CHUNK;
    j->in_lane = true;
    if (lane_submit_for(&j->t->in->work, &j->effort, cut_work, cut_done, j, &j->err) != STATUS_OK) {
        j->in_lane = false;
        job_finish(j, OUTCOME_HELD);
    }
}

enum status job_recut(struct job *j)
{
    j->phase = JOB_RECUT;
    j->recutting = calloc(1, sizeof *j->recutting);
    if (j->recutting == NULL) {
        return error_set(&j->err, STATUS_NO_MEMORY, "out of memory");
    }
    buf_init(&j->recutting->text, TEXT_BYTES);
    buf_init(&j->recutting->table, TABLE_BYTES);
    Vs__GetTextRequest m = VS__GET_TEXT_REQUEST__INIT;
    m.document = j->row.document;
    m.has_blocks = 1;
    m.blocks = 1;
    struct rpc_options o;
    job_options(j, &o);
    struct rpc_callbacks cb = {.on_reply = on_text, .on_finish = on_text_end};
    j->request = vs_get_text(job_store(j), &o, &m, &cb, j);
    if (j->request == NULL) {
        job_recut_free(j);
        return error_set(&j->err, STATUS_UNAVAILABLE, "the store cannot be asked");
    }
    return STATUS_OK;
}
