/* Streams: the pages of replies, and the two uploads (Put, PutEncoder). An upload holds its call
 * while a message is on the writer's lane, so that at most one message a call waits there; whatever
 * ends it, the put is ended on that lane too. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vectorstore/service_internal.h"

#define PIECE_BYTES ((size_t)256 * 1024)
#define PAGE_DOCUMENTS 128U
#define PAGE_CHUNKS 64U
#define PAGE_BOXES 2048U
#define FIT_BYTES ((size_t)256 * 1024 * 1024)

/* ---- reply streams: one page a call of work ---- */

enum status work_list(struct op *op, struct store *s, struct error *err)
{
    const Vs__ListRequest *m = vs_list_request(op->request);
    Vs__ListReply *r = arena_alloc(&op->page, sizeof *r);
    if (r == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (op->after == NULL) {
        op->after = m->after == NULL ? "" : m->after;
        op->left = m->has_limit && m->limit > 0 ? m->limit : UINT32_MAX;
    }
    uint32_t want = op->left < PAGE_DOCUMENTS ? op->left : PAGE_DOCUMENTS;
    enum status st = store_list(s, &op->who, m->filter, op->after, want, &op->page, r, err);
    if (st != STATUS_OK) {
        return st;
    }
    op->left -= (uint32_t)r->n_documents;
    op->last = r->n_documents < want || op->left == 0;
    op->reply = &r->base;
    if (r->n_documents > 0) {
        op->after = arena_strdup(&op->arena, r->documents[r->n_documents - 1]->location->document);
        st = op->after == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    return st;
}

enum status work_scan(struct op *op, struct store *s, struct error *err)
{
    const Vs__ScanRequest *m = vs_scan_request(op->request);
    Vs__ScanReply *r = arena_alloc(&op->page, sizeof *r);
    if (r == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (op->phase == 0) {
        op->phase = 1;
        op->cursor = m->has_after ? m->after : (ProtobufCBinaryData){0};
        op->left = m->has_limit && m->limit > 0 ? m->limit : UINT32_MAX;
    }
    bool last = false;
    ProtobufCBinaryData basis = {0};
    bool whole =
        op->phase == 1 && op->cursor.len == 0 && !m->has_limit && m->missing_encoder == NULL;
    enum status st =
        whole ? store_scan_basis(s, &op->page, &basis, err) : STATUS_OK; /* before it is read */
    if (st == STATUS_OK) {
        st = store_scan(s, m->missing_encoder, op->cursor,
                        op->left < PAGE_CHUNKS ? op->left : PAGE_CHUNKS, &op->page, r, &last, err);
    }
    op->phase = 2;
    if (st != STATUS_OK) {
        return st;
    }
    op->left -= (uint32_t)r->n_items;
    op->last = last || op->left == 0;
    op->reply = &r->base;
    r->has_basis = whole;
    r->basis = basis;
    char *cursor = arena_strndup(&op->arena, (const char *)r->cursor.data, r->cursor.len);
    if (cursor == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    op->cursor = (ProtobufCBinaryData){.data = (uint8_t *)cursor, .len = r->cursor.len};
    return STATUS_OK;
}

enum status work_export_vectors(struct op *op, struct store *s, struct error *err)
{
    const Vs__ExportVectorsRequest *m = vs_export_vectors_request(op->request);
    Vs__ExportVectorsReply *r = arena_alloc(&op->page, sizeof *r);
    int64_t after = (int64_t)op->offset;
    if (r == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status st = store_export_vectors(s, m->encoder, &after, &op->page, r, &op->last, err);
    op->offset = (uint64_t)after;
    op->reply = st == STATUS_OK ? &r->base : NULL;
    return st;
}

/* The next piece of a file; empty at its end. */
static enum status read_piece(struct op *op, int fd, ProtobufCBinaryData *out, struct error *err)
{
    uint8_t *p = arena_alloc(&op->page, PIECE_BYTES);
    ssize_t n = p == NULL ? -1 : pread(fd, p, PIECE_BYTES, (off_t)op->offset);
    if (n < 0) {
        return error_set(err, STATUS_IO, "reading a stored file failed");
    }
    op->offset += (uint64_t)n;
    *out = (ProtobufCBinaryData){.data = p, .len = (size_t)n};
    return STATUS_OK;
}

enum status work_get_encoder(struct op *op, struct store *s, struct error *err)
{
    const Vs__GetEncoderRequest *m = vs_get_encoder_request(op->request);
    Vs__GetEncoderReply *r = arena_alloc(&op->page, sizeof *r);
    char path[1300];
    enum status st = r == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    if (st == STATUS_OK && op->files[0] < 0) {
        st = store_encoder_path(s, m->encoder, path, sizeof path, err);
        op->files[0] = st == STATUS_OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (st == STATUS_OK && op->files[0] < 0) {
            st = error_set(err, STATUS_NOT_FOUND, "the encoder %s is not stored", m->encoder);
        }
    }
    if (st == STATUS_OK) {
        vs__get_encoder_reply__init(r);
        r->has_blob = true;
        st = read_piece(op, op->files[0], &r->blob, err);
        op->last = r->blob.len < PIECE_BYTES;
        op->reply = &r->base;
    }
    return st;
}

static enum status open_files(struct op *op, struct store *s, const char *document,
                              const int64_t *as_of, Vs__DocumentInfo **info, struct error *err)
{
    *info = arena_alloc(&op->page, sizeof **info);
    if (*info == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    return store_document_files(s, &op->who, document, as_of, &op->page, *info, &op->files[0],
                                &op->files[1], &op->files[2], err);
}

/* A file that the disk has changed is not handed out as if it were the original: its last piece
 * does not go, and the call fails. */
static enum status check_sent(struct op *op, const char *document, const Vs__GetOriginalReply *r,
                              struct error *err)
{
    uint8_t got[SHA256_BYTES];
    if (op->hash == NULL) {
        return STATUS_OK;
    }
    sha256_add(op->hash, r->data.data, r->data.len);
    if (!op->last) {
        return STATUS_OK;
    }
    sha256_end(op->hash, got);
    op->hash = NULL;
    return memcmp(got, op->expected, sizeof got) == 0
               ? STATUS_OK
               : error_set(err, STATUS_CORRUPT,
                           "the stored original of %s does not match its hash: put the source file "
                           "again, or restore a backup",
                           document);
}

static bool is_part(const Vs__GetOriginalRequest *m)
{
    return m->has_offset && m->has_length;
}

/* The piece that was read, up to the end of what was asked for. */
static void cut_part(struct op *op, const Vs__GetOriginalRequest *m, Vs__GetOriginalReply *r)
{
    uint64_t sent = op->offset - m->offset; /* this piece included */
    if (sent >= m->length) {
        uint64_t over = sent - m->length;
        r->data.len -= over < r->data.len ? (size_t)over : r->data.len;
        op->last = true;
    }
}

enum status work_get_original(struct op *op, struct store *s, struct error *err)
{
    const Vs__GetOriginalRequest *m = vs_get_original_request(op->request);
    Vs__GetOriginalReply *r = arena_alloc(&op->page, sizeof *r);
    if (r == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    vs__get_original_reply__init(r);
    op->reply = &r->base;
    if (op->phase == 0) {
        op->phase = 1;
        enum status begun = open_files(op, s, m->document, m->has_as_of_ms ? &m->as_of_ms : NULL,
                                       &r->document, err);
        if (begun == STATUS_OK && is_part(m)) {
            begun = m->offset <= r->document->size
                        ? STATUS_OK
                        : error_set(err, STATUS_INVALID, "the original ends before this part");
            op->offset = m->offset;
        } else if (begun == STATUS_OK && r->document->hash.len == sizeof op->expected) {
            memcpy(op->expected, r->document->hash.data, sizeof op->expected);
            op->hash = sha256_new();
        }
        return begun;
    }
    r->has_data = true;
    enum status st = read_piece(op, op->files[0], &r->data, err);
    op->last = r->data.len < PIECE_BYTES;
    if (st == STATUS_OK && is_part(m)) {
        cut_part(op, m, r);
    }
    return st == STATUS_OK ? check_sent(op, m->document, r, err) : st;
}

/* In place of the original, which nobody asked for. */
static enum status open_blocks(struct op *op, struct store *s, const char *document,
                               Vs__GetTextReply *r, Vs__DocumentInfo *info, struct error *err)
{
    const char *pipeline = NULL;
    if (op->files[0] >= 0) {
        (void)close(op->files[0]);
        op->files[0] = -1;
    }
    enum status st =
        store_document_blocks(s, &op->who, document, &op->page, &pipeline, &op->files[0], err);
    r->document = info;
    r->pipeline = (char *)(uintptr_t)pipeline;
    return st;
}

/* Text, then chunks or blocks, then boxes. */
enum status work_get_text(struct op *op, struct store *s, struct error *err)
{
    const Vs__GetTextRequest *m = vs_get_text_request(op->request);
    Vs__GetTextReply *r = arena_alloc(&op->page, sizeof *r);
    Vs__DocumentInfo *info = NULL;
    bool blocks = m != NULL && m->has_blocks && m->blocks;
    if (r == NULL || m == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    vs__get_text_reply__init(r);
    enum status st = STATUS_OK;
    if (op->files[1] < 0) {
        st = open_files(op, s, m->document, m->has_as_of_ms ? &m->as_of_ms : NULL, &info, err);
        if (st == STATUS_OK && blocks) {
            st = open_blocks(op, s, m->document, r, info, err);
        }
    }
    if (st != STATUS_OK) {
        return st;
    }
    op->reply = &r->base;
    bool end = false;
    if (op->phase == 0) {
        r->has_text = true;
        st = read_piece(op, op->files[1], &r->text, err);
        end = r->text.len < PIECE_BYTES;
    } else if (op->phase == 1 && blocks) {
        r->has_blocks = true;
        st = read_piece(op, op->files[0], &r->blocks, err);
        end = r->blocks.len < PIECE_BYTES;
    } else if (op->phase == 1) {
        st = store_document_chunks(s, &op->who, m->document, m->has_as_of_ms ? &m->as_of_ms : NULL,
                                   (uint32_t)op->offset, PAGE_CHUNKS, &op->page, &r->chunks,
                                   &r->n_chunks, err);
        op->offset += r->n_chunks;
        end = r->n_chunks < PAGE_CHUNKS;
    } else {
        st = store_boxes_read(op->files[2], op->offset, PAGE_BOXES, &op->page, &r->boxes,
                              &r->n_boxes, err);
        op->offset += r->n_boxes;
        end = r->n_boxes < PAGE_BOXES;
    }
    if (end) {
        op->phase++;
        op->offset = 0;
        op->last = op->phase == 3 || (op->phase == 2 && op->files[2] < 0);
    }
    return st;
}

/* ---- uploads ---- */

struct upload {
    struct op *op;
    struct put *put; /* Put; the writer's lane's */
    struct buf fit;  /* PutEncoder */
    struct buf basis;
    char *name;
    uint32_t dimensions, fitted_on;
    bool begun, entered, commit, ending, candidate;
    bool whole; /* the put has its last message: its files go to the disk, then it is committed */
    Vs__PutReply put_reply;
    Vs__DocumentInfo stored; /* of it */
    Vs__PutEncoderReply encoder_reply;
};

static enum status put_piece(struct upload *u, struct store *s, struct error *err)
{
    const Vs__PutRequest *m = vs_put_request(u->op->request);
    enum status st = STATUS_OK;
    if (m == NULL || (m->begin != NULL) == u->begun) {
        return error_set(err, STATUS_INVALID, "put: it must begin once, with its first message");
    }
    if (!u->begun) {
        st = store_put_begin(s, m->begin, &u->put, err);
        u->begun = true;
    }
    if (st == STATUS_OK) {
        st = store_put_add(u->put, m, err);
    }
    u->whole = m->has_commit && m->commit;
    return st;
}

static enum status put_commit(struct upload *u, struct error *err)
{
    vs__put_reply__init(&u->put_reply);
    enum status st = store_put_commit(u->put, &u->put_reply, err);
    if (st == STATUS_OK && u->put_reply.applied) {
        st = store_put_stored(u->put, &u->op->page, &u->stored, err);
        u->put_reply.stored = st == STATUS_OK ? &u->stored : NULL;
    }
    u->commit = true;
    u->op->reply = &u->put_reply.base;
    return st;
}

static enum status encoder_piece(struct upload *u, struct store *s, struct error *err)
{
    if (u->ending) {
        if (!u->begun) {
            return error_set(err, STATUS_INVALID, "an encoder must begin with its name");
        }
        vs__put_encoder_reply__init(&u->encoder_reply);
        u->commit = true;
        u->op->reply = &u->encoder_reply.base;
        const char *state = "";
        enum status st = u->candidate ? store_put_candidate(s, u->name, u->dimensions, u->fitted_on,
                                                            buf_view(&u->fit), &state, err)
                                      : store_put_encoder(s, u->name, u->dimensions, u->fitted_on,
                                                          buf_view(&u->fit), err);
        if (st == STATUS_OK && u->basis.len > 0) {
            st = store_encoder_basis(
                s, u->name,
                (ProtobufCBinaryData){.data = (uint8_t *)u->basis.ptr, .len = u->basis.len}, err);
        }
        if (u->candidate) {
            u->encoder_reply.state = (char *)(uintptr_t)state;
        }
        return st;
    }
    const Vs__PutEncoderRequest *m = vs_put_encoder_request(u->op->request);
    if (m == NULL || (!u->begun && m->encoder == NULL)) {
        return error_set(err, STATUS_INVALID, "an encoder must begin with its name");
    }
    if (!u->begun) {
        u->name = strdup(m->encoder);
        u->dimensions = m->has_dimensions ? m->dimensions : 0;
        u->fitted_on = m->has_fitted_on ? m->fitted_on : 0;
        u->candidate = m->has_candidate && m->candidate;
        if (m->has_basis) {
            buf_append(&u->basis, m->basis.data, m->basis.len);
        }
        u->begun = u->name != NULL;
    }
    if (m->has_blob) {
        buf_append(&u->fit, m->blob.data, m->blob.len);
    }
    enum status st = u->begun ? buf_status(&u->fit) : STATUS_NO_MEMORY;
    return st == STATUS_OK ? st : error_set(err, st, "the fit of the encoder is too large");
}

static bool is_put(const struct upload *u)
{
    return u->op->row->method == &vs_put_method;
}

/* The store is entered once and left with the upload: a put may not outlive its store. */
static void upload_work(void *job)
{
    struct upload *u = job;
    struct op *op = u->op;
    struct store *s = NULL;
    op->status = tenant_enter(op->tenant, &s, &op->err);
    if (op->status == STATUS_OK) {
        op->status = is_put(u) ? put_piece(u, s, &op->err) : encoder_piece(u, s, &op->err);
        if (u->put != NULL && !u->entered) {
            u->entered = true; /* kept */
        } else {
            tenant_leave(op->tenant);
        }
    }
}

static void end_work(void *job)
{
    struct upload *u = job;
    store_put_end(u->put);
    u->put = NULL;
    if (u->entered) {
        tenant_leave(u->op->tenant);
    }
}

static void upload_free(struct upload *u)
{
    tenant_written(u->op->tenant);
    op_free(u->op);
    buf_deinit(&u->fit);
    buf_deinit(&u->basis);
    free(u->name);
    free(u);
}

static void end_done(void *job)
{
    upload_free(job);
}

/* The call is over; the put ends behind what is queued. */
static void upload_end(struct upload *u)
{
    struct error err;
    if (u->put == NULL) {
        upload_free(u);
        return;
    }
    u->op->tenant->write
        .max_queued++; /* an end always has a place: each takes one that its call had */
    enum status s = lane_submit(&u->op->tenant->write, end_work, end_done, u, &err);
    u->op->tenant->write.max_queued--;
    if (s != STATUS_OK) {
        abort(); /* no memory for a job of a few bytes; the supervisor starts afresh and the put is
                    swept */
    }
}

static void upload_fail(struct upload *u, enum status s, const char *text)
{
    struct rpc_call *call = u->op->call;
    struct error err;
    (void)error_set(&err, s, "%s", text);
    *rpc_call_data(call) = NULL;
    rpc_call_fail(call, &err);
    upload_end(u);
}

static void upload_done(void *job);

static void upload_go(struct upload *u, struct lane *lane, lane_work_fn work, lane_done_fn done)
{
    struct error err;
    enum status s = lane_submit_for(lane, rpc_call_effort(u->op->call), work, done, u, &err);
    if (s != STATUS_OK) {
        u->op->working = false;
        upload_fail(u, s, err.text);
    }
}

static void commit_work(void *job)
{
    struct upload *u = job;
    u->op->status = put_commit(u, &u->op->err);
}

static void sync_work(void *job)
{
    struct upload *u = job;
    u->op->status = store_put_sync(u->put, &u->op->err);
}

static void sync_done(void *job)
{
    struct upload *u = job;
    struct op *op = u->op;
    u->whole = false;
    if (op->status == STATUS_OK && !atomic_load(&op->cancelled)) {
        upload_go(u, &op->tenant->write, commit_work, upload_done);
    } else {
        upload_done(u);
    }
}

static void upload_done(void *job)
{
    struct upload *u = job;
    struct op *op = u->op;
    if (u->whole && op->status == STATUS_OK && !atomic_load(&op->cancelled)) {
        upload_go(u, &op->tenant->sync, sync_work, sync_done);
        return;
    }
    op->working = false;
    arena_reset(&op->arena);
    op->request = NULL;
    if (atomic_load(&op->cancelled)) {
        upload_fail(u, STATUS_CANCELLED, "the caller went away");
    } else if (op->status != STATUS_OK) {
        upload_fail(u, op->status, op->err.text);
    } else if (u->commit) {
        *rpc_call_data(op->call) = NULL;
        rpc_call_return(op->call, op->reply);
        upload_end(u);
    } else {
        rpc_call_resume(op->call);
    }
}

static void upload_run(struct upload *u)
{
    rpc_call_pause(u->op->call);
    u->op->working = true;
    upload_go(u, &u->op->tenant->write, upload_work, upload_done);
}

static const struct op_row upload_rows[] = {{&vs_put_method, NULL, true},
                                            {&vs_put_encoder_method, NULL, true}};

static struct upload *upload_new(struct rpc_call *call)
{
    bool put = strcmp(rpc_call_method(call)->name, vs_put_method.name) == 0;
    struct op *op = op_new(call, NULL, &upload_rows[put ? 0 : 1]);
    if (op == NULL) {
        return NULL;
    }
    struct upload *u = calloc(1, sizeof *u);
    if (u == NULL) {
        *rpc_call_data(call) = NULL;
        op_free(op);
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return NULL;
    }
    u->op = op;
    buf_init(&u->fit, FIT_BYTES);
    buf_init(&u->basis, 256);
    *rpc_call_data(call) = u;
    return u;
}

void put_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct upload *u = *rpc_call_data(call);
    if (u == NULL) {
        u = upload_new(call);
    }
    if (u == NULL) {
        return;
    }
    u->op->request = op_copy(m, &u->op->arena);
    if (u->op->request == NULL) {
        upload_fail(u, STATUS_TOO_LARGE, "a message of the upload is too large");
        return;
    }
    upload_run(u);
}

void put_on_end(struct rpc_call *call)
{
    struct upload *u = *rpc_call_data(call);
    if (u == NULL) {
        rpc_call_finish(call, STATUS_INVALID, "an upload without a message");
    } else if (is_put(u)) {
        upload_fail(u, STATUS_INVALID, "put: it ended without a commit");
    } else {
        u->ending = true;
        upload_run(u);
    }
}

void put_on_cancel(struct rpc_call *call)
{
    struct upload *u = *rpc_call_data(call);
    if (u == NULL) {
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
        return;
    }
    atomic_store(&u->op->cancelled, true);
    if (!u->op->working) {
        upload_fail(u, STATUS_CANCELLED, "the caller went away");
    }
}
