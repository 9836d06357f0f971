/* Sending one document to the store: begin, original, text, boxes, chunks, commit; each piece waits
 * for the stream's window, so that a job holds no more than it has. */
#include <errno.h>
#include <unistd.h>

#include "ingest/job_internal.h"
#include "ingest/meta.h"
#include "ingest/queue.h"

#define PIECE_BYTES ((size_t)256 << 10)
#define BOXES_A_MESSAGE 2000
#define CHUNKS_A_MESSAGE 100

static void pump(struct job *j);

static char *text_of(struct job *j, const char *z)
{
    return arena_strdup(&j->arena, z == NULL ? "" : z);
}

/* What the list shows is what the store has: also of content that was there before, and was not
 * read. */
static void keep_stored(struct job *j, const Vs__DocumentInfo *d)
{
    if (d == NULL) {
        return;
    }
    j->stored.title = text_of(j, d->title);
    j->stored.author = text_of(j, d->author);
    j->stored.language = text_of(j, d->language);
    j->stored.pages = d->has_pages ? d->pages : 0;
    j->stored.dated = meta_own_date(d->has_modified_ms, d->modified_ms, d->has_created_ms,
                                    d->created_ms, &j->stored.own_ms);
}

static void on_put_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct job *j = data;
    const Vs__PutReply *reply = vs_put_reply(m);
    if (reply != NULL && reply->applied) {
        j->applied = true;
        j->stored_chunks = reply->chunks;
        keep_stored(j, reply->stored);
    }
}

static void on_put_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct job *j = data;
    j->request = NULL;
    if (j->in_lane) { /* a piece is being read: its end looks at the request */
        j->err = *err;
        j->stage = PUT_SENT;
        return;
    }
    if (j->row.op == FILE_OP_RECUT) {
        if (err->code != STATUS_OK) {
            job_recut_failed(j, err);
        } else { /* not applied: it has changed, its own job is to come */
            job_finish(j, j->applied ? OUTCOME_DONE : OUTCOME_HELD);
        }
    } else if (err->code == STATUS_OK) {
        queue_release(j->t->queue);
        job_finish(j, OUTCOME_DONE);
    } else if (j->known && (err->code == STATUS_NOT_FOUND || err->code == STATUS_CONFLICT)) {
        job_put_unknown(j); /* the content left the store between the two calls */
    } else {
        job_store_failed(j, err);
    }
}

static void on_put_ready(struct rpc_request *r, void *data)
{
    (void)r;
    struct job *j = data;
    if (!j->in_lane) {
        pump(j);
    }
}

/* ---- the pieces; each returns the status of sending ---- */

static void read_work(void *data)
{
    struct job *j = data;
    ssize_t n;
    do {
        n = pread(j->snap.fd, j->piece, PIECE_BYTES, (off_t)j->offset);
    } while (n < 0 && errno == EINTR);
    j->piece_err.code = STATUS_OK;
    if (n < 0) {
        (void)error_errno(&j->piece_err, errno, "reading the copy of the file");
    } else if (n == 0) {
        (void)error_set(&j->piece_err, STATUS_IO, "the copy of the file is short");
    }
    j->piece_len = n < 0 ? 0 : (size_t)n;
}

static void read_done(void *data)
{
    struct job *j = data;
    j->in_lane = false;
    if (j->cancelled) {
        if (j->request != NULL) {
            rpc_request_cancel(j->request);
            j->request = NULL;
        }
        job_finish(j, OUTCOME_HELD);
    } else if (j->request == NULL) { /* the call ended meanwhile */
        struct error err = j->err;
        if (err.code == STATUS_OK) {
            err.code = STATUS_PROTOCOL;
        }
        job_store_failed(j, &err);
    } else {
        pump(j);
    }
}

/* BUSY with in_lane set: the piece is being read. */
static enum status send_original(struct job *j)
{
    if (j->offset >= j->row.stamp.size) {
        j->stage = PUT_TEXT;
        j->offset = 0;
        return STATUS_OK;
    }
    if (j->piece == NULL) {
        j->piece = arena_alloc(&j->arena, PIECE_BYTES);
        if (j->piece == NULL) {
            return error_set(&j->err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    if (j->piece_len == 0 && j->snap.in_memory) {
        read_work(j);
    } else if (j->piece_len == 0 && j->piece_err.code == STATUS_OK) {
        j->in_lane = true;
        enum status busy =
            lane_submit_for(&j->t->in->work, &j->effort, read_work, read_done, j, &j->err);
        j->in_lane = busy == STATUS_OK;
        return busy == STATUS_OK ? STATUS_BUSY : STATUS_NO_MEMORY;
    }
    if (j->piece_len == 0) {
        j->err = j->piece_err;
        return j->err.code;
    }
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    m.has_original = 1;
    m.original.data = j->piece;
    m.original.len = j->piece_len;
    enum status s = vs_put_send(j->request, &m);
    if (s == STATUS_OK) {
        j->offset += j->piece_len;
        j->piece_len = 0;
    }
    return s;
}

static enum status send_text(struct job *j)
{
    size_t left = j->doc.text.len - j->offset;
    if (left == 0) {
        j->stage = PUT_BOXES;
        j->offset = 0;
        return STATUS_OK;
    }
    size_t n = left < PIECE_BYTES ? left : PIECE_BYTES;
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    m.has_text = 1;
    m.text.data = (uint8_t *)(uintptr_t)j->doc.text.ptr + j->offset;
    m.text.len = n;
    enum status s = vs_put_send(j->request, &m);
    if (s == STATUS_OK) {
        j->offset += n;
    }
    return s;
}

static enum status send_boxes(struct job *j)
{
    size_t left = j->doc.n_boxes - j->offset;
    if (left == 0) {
        j->stage = PUT_BLOCKS;
        j->offset = 0;
        return STATUS_OK;
    }
    size_t n = left < BOXES_A_MESSAGE ? left : BOXES_A_MESSAGE;
    struct arena a;
    arena_init(&a, 4 << 20);
    Vs__Box *boxes = arena_array(&a, n, sizeof *boxes);
    Vs__Box **list = arena_array(&a, n, sizeof(Vs__Box *));
    enum status s = STATUS_OK;
    if (boxes == NULL || list == NULL) {
        s = error_set(&j->err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        const struct chunk_box *b = &j->doc.boxes[j->offset + i];
        vs__box__init(&boxes[i]);
        boxes[i].page = b->page;
        boxes[i].x0 = b->x0;
        boxes[i].y0 = b->y0;
        boxes[i].x1 = b->x1;
        boxes[i].y1 = b->y1;
        boxes[i].has_start = boxes[i].has_end = 1;
        boxes[i].start = b->start;
        boxes[i].end = b->end;
        list[i] = &boxes[i];
    }
    if (s == STATUS_OK) {
        Vs__PutRequest m = VS__PUT_REQUEST__INIT;
        m.boxes = list;
        m.n_boxes = n;
        s = vs_put_send(j->request, &m);
    }
    if (s == STATUS_OK) {
        j->offset += n;
    }
    arena_reset(&a);
    return s;
}

static enum status send_blocks(struct job *j)
{
    size_t left = j->table.len - j->offset;
    if (left == 0) {
        j->stage = PUT_CHUNKS;
        j->offset = 0;
        return STATUS_OK;
    }
    size_t n = left < PIECE_BYTES ? left : PIECE_BYTES;
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    m.has_blocks = 1;
    m.blocks.data = (uint8_t *)(uintptr_t)j->table.ptr + j->offset;
    m.blocks.len = n;
    enum status s = vs_put_send(j->request, &m);
    if (s == STATUS_OK) {
        j->offset += n;
    }
    return s;
}

static void fill_chunk(const struct job *j, size_t i, Vs__Chunk *out)
{
    const struct chunk *c = &j->doc.chunks[i];
    vs__chunk__init(out);
    out->ordinal = (uint32_t)i;
    out->start = c->start;
    out->end = c->end;
    out->text.data = (uint8_t *)(uintptr_t)c->text.ptr;
    out->text.len = c->text.len;
    out->heading_path = (char *)(uintptr_t)(c->heading_path == NULL ? "" : c->heading_path);
    out->context = c->context[0] == '\0' ? NULL : (char *)(uintptr_t)c->context;
    out->unit = c->unit[0] == '\0' ? NULL : (char *)(uintptr_t)c->unit;
    out->has_page = out->has_page_end = c->page != 0;
    out->page = c->page;
    out->page_end = c->page_end;
    if (j->encoder[0] != '\0') {
        out->has_vector = 1;
        out->vector.data = j->vectors + i * j->dimensions * 2;
        out->vector.len = (size_t)j->dimensions * 2;
    }
}

static enum status send_chunks(struct job *j)
{
    size_t left = j->doc.n_chunks - j->offset;
    if (left == 0) {
        j->stage = PUT_COMMIT;
        j->offset = 0;
        return STATUS_OK;
    }
    size_t n = left < CHUNKS_A_MESSAGE ? left : CHUNKS_A_MESSAGE;
    Vs__Chunk chunks[CHUNKS_A_MESSAGE];
    Vs__Chunk *list[CHUNKS_A_MESSAGE];
    for (size_t i = 0; i < n; i++) {
        fill_chunk(j, j->offset + i, &chunks[i]);
        list[i] = &chunks[i];
    }
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    m.chunks = list;
    m.n_chunks = n;
    enum status s = vs_put_send(j->request, &m);
    if (s == STATUS_OK) {
        j->offset += n;
    }
    return s;
}

static enum status send_commit(struct job *j)
{
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    m.has_commit = 1;
    m.commit = 1;
    enum status s = vs_put_send(j->request, &m);
    if (s == STATUS_OK) {
        j->stage = PUT_SENT;
        rpc_request_end(j->request);
    }
    return s;
}

static void pump(struct job *j)
{
    enum status s = STATUS_OK;
    while (s == STATUS_OK && j->stage != PUT_SENT) {
        switch (j->stage) {
        case PUT_ORIGINAL:
            s = send_original(j);
            break;
        case PUT_TEXT:
            s = send_text(j);
            break;
        case PUT_BOXES:
            s = send_boxes(j);
            break;
        case PUT_BLOCKS:
            s = send_blocks(j);
            break;
        case PUT_CHUNKS:
            s = send_chunks(j);
            break;
        case PUT_COMMIT:
            s = send_commit(j);
            break;
        case PUT_SENT:
            break;
        }
    }
    if (s == STATUS_OK || s == STATUS_BUSY) {
        return; /* on_ready, read_done or the reply goes on */
    }
    if (s == STATUS_UNAVAILABLE || s == STATUS_CANCELLED) {
        return; /* the connection is gone: on_finish tells */
    }
    rpc_request_cancel(j->request);
    j->request = NULL;
    struct error err = j->err;
    err.code = s;
    if (j->row.op == FILE_OP_RECUT) {
        job_recut_failed(j, &err);
    } else {
        job_store_failed(j, &err);
    }
}

/* Begins the stream; its first piece is of `stage`. */
static void put_start(struct job *j, Vs__PutRequest__Begin *begin, enum put_stage stage)
{
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    struct rpc_options o;
    struct rpc_callbacks cb = {
        .on_reply = on_put_reply, .on_ready = on_put_ready, .on_finish = on_put_end};
    m.begin = begin;
    job_options(j, &o);
    j->request = vs_put(service_client(j->t->in->svc, PEER_VECTORSTORE), &o, &m, &cb, j);
    if (j->request == NULL) {
        job_store_unasked(j);
        return;
    }
    j->stage = stage;
    j->offset = 0;
    pump(j);
}

static void put_begin(struct job *j)
{
    Vs__Location l;
    if (job_location(j, &l, &j->err) != STATUS_OK) {
        job_finish(j, OUTCOME_HELD);
        return;
    }
    Vs__PutRequest__Begin begin = VS__PUT_REQUEST__BEGIN__INIT;
    begin.location = &l;
    begin.hash.data = j->snap.hash;
    begin.hash.len = sizeof j->snap.hash;
    begin.size = j->row.stamp.size;
    begin.format = (char *)(uintptr_t)j->format;
    begin.pipeline = j->pipeline;
    begin.title = j->info == NULL ? NULL : j->info->title;
    const char *said = disk_view_language(&j->folders);
    begin.language = (char *)(uintptr_t)said;
    if (j->info != NULL) {
        begin.language_hint = j->info->language;
        begin.author = j->info->author;
        begin.keywords = j->info->keywords;
        begin.has_created_ms = j->info->has_created_ms;
        begin.created_ms = j->info->created_ms;
        begin.has_modified_ms = j->info->has_modified_ms;
        begin.modified_ms = j->info->modified_ms;
        begin.has_pages = j->info->has_pages;
        begin.pages = j->info->pages;
    }
    begin.encoder = j->encoder;
    begin.has_known = 1;
    begin.known = j->known;
    put_start(j, &begin, j->known ? PUT_COMMIT : PUT_ORIGINAL);
}

/* Only chunks: where it stands and who may read it does not change. */
static void put_recut(struct job *j)
{
    Vs__Location l = VS__LOCATION__INIT;
    Vs__PutRequest__Begin begin = VS__PUT_REQUEST__BEGIN__INIT;
    l.document = j->row.document;
    l.source = l.collection = begin.format = (char *)(uintptr_t) "";
    l.sequence = j->row.wanted;
    begin.location = &l;
    begin.pipeline = j->pipeline;
    begin.encoder = j->encoder;
    begin.has_recut = 1;
    begin.recut = 1;
    put_start(j, &begin, PUT_CHUNKS);
}

static void look_done(void *data)
{
    struct job *j = data;
    if (!job_looked(j)) {
        return;
    }
    if (!job_rules_changed(j)) {
        put_begin(j);
    } else if (job_look(j, look_done) != STATUS_OK) {
        job_finish(j, OUTCOME_HELD);
    }
}

/* Reading and encoding may have taken minutes, in which a folder has said that fewer may read. */
void job_put(struct job *j)
{
    j->phase = JOB_PUT;
    if (j->row.op == FILE_OP_RECUT) {
        put_recut(j);
        return;
    }
    if (job_look(j, look_done) != STATUS_OK) {
        job_finish(j, OUTCOME_HELD);
    }
}
