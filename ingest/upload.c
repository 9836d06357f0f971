/* An upload: begin (a hidden file beside the place it will have), data, end (fsync, rename into
 * place, look at it, reply). The file is in the journal before the reply. Disk work runs on a lane,
 * one step at a time; the call is paused meanwhile, so that no more than one message is held. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/access.h"
#include "ingest/documents.h"
#include "ingest/queue.h"
#include "ingest/quota.h"

#define OWNER_CAP 65

struct upload {
    struct rpc_call *call;
    struct tenant *t;
    struct journal_op op;
    int root, dir, fd;
    char name[256];
    char temp[64];
    char *path; /* NULL until the first message */
    size_t path_len;
    char user[OWNER_CAP], key[OWNER_CAP], team[OWNER_CAP]; /* to whom it is charged */
    bool replace, placed;
    bool held_back; /* asked to replace, and may not: it is put where nothing is */
    uint64_t received, max;
    uint64_t replaced; /* bytes of the file that it takes the place of; written by the lane */
    uint8_t *data;
    size_t data_len;
    bool busy, ended, gone;
    struct error err;
    struct arena arena;
    struct file_row row;
};

static struct str path_of(const struct upload *u)
{
    return (struct str){.ptr = u->path, .len = u->path_len};
}

static void upload_free(struct upload *u)
{
    if (u->fd >= 0) {
        (void)close(u->fd);
    }
    if (u->dir >= 0) {
        if (!u->placed) {
            (void)unlinkat(u->dir, u->temp, 0);
        }
        (void)close(u->dir);
    }
    u->t->uploads--;
    u->t->upload_bytes -= u->received;
    free(u->path);
    free(u->data);
    arena_reset(&u->arena);
    free(u);
}

static void finish(struct upload *u, const struct error *err)
{
    struct rpc_call *call = u->call;
    struct error e = *err;
    *rpc_call_data(call) = NULL;
    upload_free(u);
    rpc_call_fail(call, &e);
}

static void submit(struct upload *u, lane_work_fn work, lane_done_fn done)
{
    u->busy = true;
    rpc_call_pause(u->call);
    if (lane_submit(&u->t->in->work, work, done, u, &u->err) != STATUS_OK) {
        finish(u, &u->err);
    }
}

/* ---- data ---- */

/* The name is taken, by a file that this caller may not replace or did not ask to. */
static enum status taken(struct upload *u, const char *shown)
{
    if (u->held_back) {
        return error_set(&u->err, STATUS_FORBIDDEN,
                         "%s is already there, and while rules say who reads what, only an "
                         "administrator replaces files",
                         shown);
    }
    return error_set(&u->err, STATUS_CONFLICT,
                     "%s is already there: choose another name, or ask to replace it", shown);
}

static enum status begin(struct upload *u)
{
    char shown[160];
    path_show(path_of(u), shown, sizeof shown);
    enum tree_kind kind = TREE_MISSING;
    struct file_stamp stamp;
    struct disk_view said;
    enum status s = disk_look(u->t->disk, path_folder(path_of(u)), &said, &u->err);
    if (s == STATUS_OK && disk_view_ignores(&said, path_of(u), false, 0)) {
        s = error_set(&u->err, STATUS_FORBIDDEN, "%s: a .carrelignore keeps it out", shown);
    }
    if (s == STATUS_OK) {
        disk_view_release(&said);
    } else if (s == STATUS_NOT_FOUND) {
        s = STATUS_OK; /* its folder is yet to be made */
    }
    if (s == STATUS_OK) {
        s = tree_stat(u->root, path_of(u), &kind, &stamp, &u->err);
    }
    u->replaced = s == STATUS_OK && kind == TREE_FILE ? stamp.size : 0;
    if (s == STATUS_OK && kind == TREE_FILE && !u->replace) {
        s = taken(u, shown);
    } else if (s == STATUS_OK && kind != TREE_MISSING && kind != TREE_FILE) {
        s = error_set(&u->err, STATUS_CONFLICT, "%s: a folder or link stands there", shown);
    }
    if (s == STATUS_OK) {
        s = tree_open_parent(u->root, path_of(u), true, &u->dir, u->name, &u->err);
    }
    if (s == STATUS_OK) {
        char id[ID_CAP];
        id_new(id);
        (void)snprintf(u->temp, sizeof u->temp, INGEST_UPLOAD_TEMP "%s", id);
        u->fd = openat(u->dir, u->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (u->fd < 0) {
            s = error_errno(&u->err, errno, "%s: cannot be written into the watched folder", shown);
        }
    }
    return s;
}

static void write_work(void *job)
{
    struct upload *u = job;
    u->err = (struct error){.code = STATUS_OK};
    enum status s = STATUS_OK;
    if (u->fd < 0) {
        s = begin(u);
    }
    if (s == STATUS_OK && u->data_len > 0) {
        s = file_write_all(u->fd, u->data, u->data_len, &u->err);
    }
    u->err.code = s;
}

static void start_place(struct upload *u);

static void write_done(void *job)
{
    struct upload *u = job;
    u->busy = false;
    free(u->data);
    u->data = NULL;
    u->data_len = 0;
    if (u->gone) {
        u->err.code = STATUS_CANCELLED;
    }
    if (u->err.code != STATUS_OK) {
        finish(u, &u->err);
    } else if (quota_check_upload(u->t, 0, u->replaced, &u->err) != STATUS_OK) {
        finish(u, &u->err);
    } else if (u->ended) {
        start_place(u);
    } else {
        rpc_call_resume(u->call);
    }
}

/* The store says who may read a document, but here is a file: a key that is held to collections
 * puts it into one of those, and where rules say that not everybody reads everything, what is there
 * is replaced by administrators only: whoever else asks to replace puts new files and no other. */
static enum status may_put(struct upload *u, struct str path, struct error *err)
{
    const struct caller *who = rpc_call_caller(u->call);
    char collection[INGEST_COLLECTION_CAP];
    if (who == NULL || who->admin) {
        return STATUS_OK;
    }
    path_collection(path, collection);
    bool held = who->n_collections > 0;
    for (size_t i = 0; i < who->n_collections; i++) {
        held = held && strcmp(who->collections[i], collection) != 0;
    }
    if (held) {
        return error_set(err, STATUS_FORBIDDEN, "this key puts nothing into the collection \"%s\"",
                         collection);
    }
    u->held_back = u->replace && access_restricted(u->t);
    u->replace = u->replace && !u->held_back;
    return STATUS_OK;
}

static enum status first_message(struct upload *u, const Ig__UploadRequest *q)
{
    if (!q->has_path) {
        return error_set(&u->err, STATUS_INVALID, "the first message names no path");
    }
    struct str path = {.ptr = (const char *)q->path.data, .len = q->path.len};
    enum status s = path_check_upload(path, &u->err);
    u->replace = q->has_replace && q->replace;
    if (s == STATUS_OK) {
        s = may_put(u, path, &u->err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    u->root = follow_root(u->t->follow);
    if (u->root < 0) {
        return error_set(&u->err, STATUS_UNAVAILABLE, "the watched folder is missing");
    }
    u->path = malloc(path.len + 1);
    if (u->path == NULL) {
        return error_set(&u->err, STATUS_NO_MEMORY, "out of memory");
    }
    memcpy(u->path, path.ptr, path.len);
    u->path[path.len] = '\0';
    u->path_len = path.len;
    const struct caller *who = rpc_call_caller(u->call);
    (void)snprintf(u->user, sizeof u->user, "%s", who == NULL ? "" : who->user);
    (void)snprintf(u->key, sizeof u->key, "%s", q->key == NULL ? "" : q->key);
    (void)snprintf(u->team, sizeof u->team, "%s", q->team == NULL ? "" : q->team);
    return STATUS_OK;
}

static struct upload *upload_new(struct rpc_call *call)
{
    struct tenant *t = documents_tenant(call);
    if (t == NULL) {
        return NULL;
    }
    struct upload *u = calloc(1, sizeof *u);
    if (u == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return NULL;
    }
    const struct settings *st = t->in->settings;
    u->call = call;
    u->t = t;
    t->uploads++;
    u->fd = u->dir = -1;
    u->max = (uint64_t)(st->http.max_upload_bytes < st->ingest.max_file_bytes
                            ? st->http.max_upload_bytes
                            : st->ingest.max_file_bytes);
    arena_init(&u->arena, 1 << 20);
    *rpc_call_data(call) = u;
    return u;
}

void upload_message(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__UploadRequest *q = ig_upload_request(m);
    struct upload *u = *rpc_call_data(call);
    enum status s = STATUS_OK;
    if (u == NULL && q == NULL) {
        rpc_call_finish(call, STATUS_INVALID, NULL);
        return;
    }
    if (q == NULL) {
        return;
    }
    if (u == NULL) {
        u = upload_new(call);
        if (u == NULL) {
            return;
        }
        s = first_message(u, q);
    } else if (u->busy) {
        s = error_set(&u->err, STATUS_PROTOCOL, "data came while the call was paused");
        u->gone = true; /* ends when the lane is done with it */
        return;
    }
    if (s == STATUS_OK && q->has_data && q->data.len > 0) {
        u->received += q->data.len;
        u->t->upload_bytes += q->data.len;
        if (u->received > u->max) {
            s = error_set(&u->err, STATUS_TOO_LARGE, "the file is larger than the limit of %llu MB",
                          (unsigned long long)(u->max >> 20));
        }
        u->data = s == STATUS_OK ? malloc(q->data.len) : NULL;
        if (s == STATUS_OK && u->data == NULL) {
            s = error_set(&u->err, STATUS_NO_MEMORY, "out of memory");
        } else if (s == STATUS_OK) {
            memcpy(u->data, q->data.data, q->data.len);
            u->data_len = q->data.len;
        }
    }
    if (s != STATUS_OK) {
        finish(u, &u->err);
        return;
    }
    submit(u, write_work, write_done);
}

/* ---- end ---- */

static enum status run_look(struct journal *j, struct journal_op *op, struct error *err)
{
    struct upload *u = container_of(op, struct upload, op);
    enum checked found;
    bool more;
    enum status s = journal_check(j, u->t->disk, path_of(u), 1, &found, &more, err);
    if (s == STATUS_OK) {
        s = journal_get_path(j, path_of(u), &u->arena, &u->row, err);
    }
    if (s == STATUS_OK) {
        struct journal_owner owner = {u->user, u->key, u->team};
        s = journal_owned(j, u->row.id, &owner, err);
    }
    return s;
}

static void look_done(struct journal_op *op)
{
    struct upload *u = container_of(op, struct upload, op);
    struct tenant *t = u->t;
    Ig__DocumentState state;
    u->busy = false;
    if (op->err.code != STATUS_OK) {
        if (t->follow != NULL) {
            follow_touch(t->follow, path_of(u), true); /* the file is there: found all the same */
        }
        finish(u, &op->err);
        return;
    }
    t->counts.waiting_bytes += u->received;
    t->counted_late = true;
    queue_changed(t->queue);
    struct rpc_call *call = u->call;
    *rpc_call_data(call) = NULL;
    if (u->gone) {
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
    } else if (!document_state(t, &u->row, &u->arena, &state)) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
    } else {
        Ig__UploadReply reply = IG__UPLOAD_REPLY__INIT;
        reply.document = &state;
        ig_upload_return(call, &reply);
    }
    upload_free(u);
}

static void place_work(void *job)
{
    struct upload *u = job;
    u->err = (struct error){.code = STATUS_OK};
    enum status s = STATUS_OK;
    if (fsync(u->fd) != 0) {
        s = error_errno(&u->err, errno, "the upload");
    } else if (renameat2(u->dir, u->temp, u->dir, u->name, u->replace ? 0 : RENAME_NOREPLACE) !=
               0) {
        s = errno == EEXIST ? taken(u, "a file of this name")
                            : error_errno(&u->err, errno, "the upload");
    } else {
        u->placed = true;
        (void)fsync(u->dir);
    }
    u->err.code = s;
}

static void place_done(void *job)
{
    struct upload *u = job;
    if (u->err.code != STATUS_OK) {
        finish(u, &u->err);
        return;
    }
    u->op.run = run_look;
    u->op.done = look_done;
    journal_submit(&u->t->journal, &u->op);
}

static void start_place(struct upload *u)
{
    u->busy = true;
    if (lane_submit(&u->t->in->work, place_work, place_done, u, &u->err) != STATUS_OK) {
        finish(u, &u->err);
    }
}

void upload_end(struct rpc_call *call)
{
    struct upload *u = *rpc_call_data(call);
    if (u == NULL) {
        rpc_call_finish(call, STATUS_INVALID, "the upload was empty");
        return;
    }
    u->ended = true;
    if (!u->busy) {
        start_place(u);
    }
}

void upload_cancel(struct rpc_call *call)
{
    struct upload *u = *rpc_call_data(call);
    if (u == NULL) {
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
        return;
    }
    u->gone = true;
    if (!u->busy) {
        u->err.code = STATUS_CANCELLED;
        finish(u, &u->err);
    }
}
