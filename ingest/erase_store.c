/* What of an erasure lies with the store: out of search, then out of contents, postings, vectors
 * and fits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/erased.h"
#include "ingest/erase_internal.h"
#include "ingest/migrate.h"

#define HIDE_BATCH 256U

/* ---- HIDE ---- */

static void hide_next(struct erasing *z);

static void on_hidden(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Vs__EraseReply *reply = vs_erase_reply(m);
    z->n += reply == NULL ? 0 : reply->locations;
    z->freed += reply == NULL ? 0 : reply->contents;
}

static void on_hide_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    if (!erasing_call_ended(z, err)) {
        return;
    }
    if (z->hidden < z->n_items) {
        hide_next(z);
    } else {
        erasing_step(z, ERASURE_SOURCES, "places in search");
    }
}

static void hide_next(struct erasing *z)
{
    char *list[HIDE_BATCH];
    protobuf_c_boolean stays[HIDE_BATCH];
    Vs__EraseRequest q = VS__ERASE_REQUEST__INIT;
    q.sequence = z->e.sequence;
    q.documents = list;
    q.content_stays = stays;
    for (; z->hidden < z->n_items && q.n_documents < HIDE_BATCH; z->hidden++) {
        stays[q.n_content_stays++] = z->items[z->hidden].content_stays;
        list[q.n_documents++] = z->items[z->hidden].document;
    }
    struct rpc_options o = erasing_options(z);
    struct rpc_callbacks cb = {.on_reply = on_hidden, .on_finish = on_hide_end};
    erasing_called(z, vs_erase(service_client(z->t->in->svc, PEER_VECTORSTORE), &o, &q, &cb, z));
}

/* Contents come first, of versions too, under the name of one document: of lines about the same
 * document the last holds. */
static void list_line(const struct erasing *z, size_t i, struct erased *out)
{
    size_t n_banned = z->n_items > 0 ? z->n_banned : 0;
    memcpy(out->erasure, z->e.id, ID_CAP);
    out->wall_ms = z->e.created_ms;
    out->sequence = z->e.sequence;
    if (i < n_banned) {
        memcpy(out->document, z->items[0].document, ID_CAP);
        out->content = true;
        memcpy(out->keyed, z->banned[i], KEYED_BYTES);
    } else if (i < n_banned + z->n_items) {
        const struct erasure_item *it = &z->items[i - n_banned];
        memcpy(out->document, it->document, ID_CAP);
        out->content = it->has_hash && !it->content_stays;
        if (out->content) {
            keyed_hash(z->key, it->hash, sizeof it->hash, out->keyed);
        }
    } else {
        out->subject = true;
        out->sequence = 0;
        subject_mark_pack(&z->subject.marks[i - n_banned - z->n_items], out->mark);
    }
}

/* Before anything goes the list knows of it: a backup put back at any moment is put right. */
static void list_work(void *data)
{
    struct erasing *z = data;
    size_t n = (z->n_items > 0 ? z->n_banned : 0) + z->n_items + z->subject.n_marks;
    struct erased *list = calloc(n + 1, sizeof *list);
    if (list == NULL) {
        z->err.code = error_set(&z->err, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        list_line(z, i, &list[i]);
    }
    z->err.code = erased_append(z->t->in->svc->home, z->t->id, list, n, &z->err);
    free(list);
}

static void list_done(void *data)
{
    struct erasing *z = data;
    if (erasing_lane_ended(z)) {
        hide_next(z);
    }
}

void erase_hide(struct erasing *z)
{
    (void)erasing_lane(z, list_work, list_done);
}

/* ---- the store's steps ---- */

static void on_scrubbed(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Vs__ScrubReply *reply = vs_scrub_reply(m);
    z->scrub_done = reply != NULL && reply->done;
    z->n += reply == NULL ? 0 : reply->n;
}

static void scrub_next(struct erasing *z);

static void on_scrub_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    if (!erasing_call_ended(z, err)) {
        return;
    }
    z->begun = true;
    if (!z->scrub_done) {
        if (z->scrub == VS__SCRUB_REQUEST__STEP__FILE) {
            erasing_later(z, ERASE_WAIT_MS); /* a search holds the log */
        } else {
            scrub_next(z);
        }
        return;
    }
    switch (z->scrub) {
    case VS__SCRUB_REQUEST__STEP__CONTENTS:
        z->n = z->n > z->freed ? z->n : z->freed; /* housekeeping may have been quicker */
        erasing_step(z, ERASURE_POSTINGS, "contents");
        return;
    case VS__SCRUB_REQUEST__STEP__POSTINGS:
        erasing_step(z, ERASURE_VECTORS, NULL);
        return;
    case VS__SCRUB_REQUEST__STEP__ENCODERS:
        erasing_step(z, ERASURE_ANSWERS, "fits of the encoder");
        return;
    case VS__SCRUB_REQUEST__STEP__FILE:
        z->store_clean = true;
        erase_journal(z);
        return;
    case _VS__SCRUB_REQUEST__STEP_IS_INT_SIZE:
        break;
    }
}

static void scrub_next(struct erasing *z)
{
    Vs__ScrubRequest q = VS__SCRUB_REQUEST__INIT;
    q.step = z->scrub;
    q.has_begin = 1;
    q.begin = !z->begun;
    q.has_whole = 1;
    q.whole = erase_found_before(z);
    if (z->scrub == VS__SCRUB_REQUEST__STEP__ENCODERS) {
        q.encoders = z->fits;
        q.n_encoders = z->n_fits;
    }
    struct rpc_options o = erasing_options(z);
    struct rpc_callbacks cb = {.on_reply = on_scrubbed, .on_finish = on_scrub_end};
    z->scrub_done = false;
    erasing_called(z, vs_scrub(service_client(z->t->in->svc, PEER_VECTORSTORE), &o, &q, &cb, z));
}

void erase_scrub(struct erasing *z, Vs__ScrubRequest__Step what)
{
    z->scrub = what;
    scrub_next(z);
}

/* ---- VECTORS ---- */

static void on_purged(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Vs__PurgeVectorsReply *reply = vs_purge_vectors_reply(m);
    z->n += reply == NULL ? 0 : reply->segments;
}

static void on_purge_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    if (erasing_call_ended(z, err)) {
        erasing_step(z, ERASURE_FIT, "vector segments written anew");
    }
}

void erase_vectors(struct erasing *z)
{
    Vs__PurgeVectorsRequest q = VS__PURGE_VECTORS_REQUEST__INIT;
    struct rpc_options o = erasing_options(z);
    struct rpc_callbacks cb = {.on_reply = on_purged, .on_finish = on_purge_end};
    erasing_called(
        z, vs_purge_vectors(service_client(z->t->in->svc, PEER_VECTORSTORE), &o, &q, &cb, z));
}

/* ---- FIT ---- */

static void on_fits(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Vs__ListEncodersReply *reply = vs_list_encoders_reply(m);
    z->n_fits = 0;
    z->fits_intact = reply != NULL;
    z->fits = reply == NULL ? NULL : arena_array(&z->arena, reply->n_encoders + 1, sizeof *z->fits);
    for (size_t i = 0; z->fits != NULL && i < reply->n_encoders; i++) {
        const char *name = reply->encoders[i]->name;
        /* what is no fit of the tenant's text (fitted_on 0) knows none of its words */
        if (reply->encoders[i]->fitted_on > 0 && strcmp(name, z->clean) != 0) {
            z->fits[z->n_fits] = arena_strdup(&z->arena, name);
            z->n_fits += z->fits[z->n_fits] != NULL ? 1 : 0;
            z->fits_intact =
                z->fits_intact && reply->encoders[i]->has_intact && reply->encoders[i]->intact;
        }
    }
}

static void on_refitted(const char *name, void *data)
{
    struct erasing *z = data;
    z->waiting_fit = false;
    (void)snprintf(z->clean, sizeof z->clean, "%s", name);
    erasing_go_on(z);
}

static void on_fits_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    if (!erasing_call_ended(z, err)) {
        return;
    }
    if (z->fits == NULL) {
        erasing_no_memory(z);
    } else if (!z->begun && z->fits_intact && !migration_fitting(z->t->migration) &&
               !erase_found_before(z)) {
        z->n = 0; /* what was erased came after them: nothing of it is in any */
        erasing_step(z, ERASURE_ANSWERS, "fits of the encoder");
    } else if (!z->begun) { /* fit anew, then list once more */
        z->begun = true;
        z->waiting_fit = true;
        migration_refit(z->t->migration, on_refitted, z);
    } else {
        z->n = 0;
        erase_scrub(z, VS__SCRUB_REQUEST__STEP__ENCODERS);
    }
}

void erase_fit(struct erasing *z)
{
    Vs__ListEncodersRequest q = VS__LIST_ENCODERS_REQUEST__INIT;
    struct rpc_options o = erasing_options(z);
    struct rpc_callbacks cb = {.on_reply = on_fits, .on_finish = on_fits_end};
    z->fits = NULL;
    erasing_called(
        z, vs_list_encoders(service_client(z->t->in->svc, PEER_VECTORSTORE), &o, &q, &cb, z));
}
