/* Vectors of the chunks. With embed down the document is stored without them, found by its words at
 * once, and gets them from the migration when embed is back. */
#include <stdio.h>

#include "base/half.h"
#include "base/log.h"
#include "ingest/job_internal.h"
#include "ingest/migrate.h"

#define ENCODE_BATCH 64
#define SOON_CHUNKS 8

static void encode_batch(struct job *j);

static void on_encoded(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct job *j = data;
    const Em__EncodeReply *reply = em_encode_reply(m);
    size_t n = j->doc.n_chunks - j->encoded;
    n = n < ENCODE_BATCH ? n : ENCODE_BATCH;
    if (reply == NULL || strcmp(reply->encoder, j->encoder) != 0 || reply->dimensions == 0 ||
        reply->dimensions > 8192 || reply->n_vectors != n * reply->dimensions ||
        (j->encoded > 0 && reply->dimensions != j->dimensions)) {
        j->encoder[0] = '\0';
        return;
    }
    if (j->vectors == NULL) {
        j->dimensions = reply->dimensions;
        j->vectors = arena_array(&j->arena, j->doc.n_chunks, (size_t)j->dimensions * 2);
    }
    if (j->vectors == NULL) {
        j->encoder[0] = '\0';
        return;
    }
    half_encode(reply->vectors, n * j->dimensions, j->vectors + j->encoded * j->dimensions * 2);
    j->encoded += n;
}

static void on_encode_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct job *j = data;
    j->request = NULL;
    if (err->code != STATUS_OK) {
        LOG_DEBUG("stored without vectors, they follow", LOG_STR("doc", j->row.document),
                  LOG_STR("err", err->text), LOG_END);
        j->encoder[0] = '\0';
    }
    if (j->encoder[0] == '\0' || j->encoded >= j->doc.n_chunks) {
        job_put(j);
    } else {
        encode_batch(j);
    }
}

static void encode_batch(struct job *j)
{
    ProtobufCBinaryData texts[ENCODE_BATCH];
    char *titles[ENCODE_BATCH];
    const char *title = j->info != NULL && j->info->title != NULL ? j->info->title : "";
    size_t n = 0;
    for (size_t i = j->encoded; i < j->doc.n_chunks && n < ENCODE_BATCH; i++, n++) {
        const struct chunk *c = &j->doc.chunks[i];
        const char *heading = c->heading_path == NULL ? "" : c->heading_path;
        texts[n].data = (uint8_t *)(uintptr_t)c->text.ptr;
        texts[n].len = c->text.len;
        const char *below = c->context[0] == '\0' ? "" : "\n"; /* as the store scans them */
        titles[n] =
            arena_printf(&j->arena, "%s%s%s%s%s", title,
                         title[0] != '\0' && (heading[0] != '\0' || below[0] != '\0') ? "\n" : "",
                         heading, below, c->context);
        if (titles[n] == NULL) {
            j->encoder[0] = '\0';
            job_put(j);
            return;
        }
    }
    Em__EncodeRequest m = EM__ENCODE_REQUEST__INIT;
    m.encoder = j->encoder;
    m.kind = EM__ENCODE_REQUEST__KIND__PASSAGE;
    m.has_windows = 1;
    m.windows = 1;
    m.texts = texts;
    m.n_texts = n;
    m.titles = titles;
    m.n_titles = n;
    struct rpc_options o;
    job_options(j, &o);
    struct rpc_callbacks cb = {.on_reply = on_encoded, .on_finish = on_encode_end};
    j->request = em_encode(service_client(j->t->in->svc, PEER_EMBED), &o, &m, &cb, j);
    if (j->request == NULL) {
        job_finish(j, OUTCOME_HELD);
    }
}

/* An imported model may take a second for each passage: a long document is found by its words
 * meanwhile, and the migration fills its vectors in. */
static bool soon(const struct job *j)
{
    return !encoder_is_slow(j->encoder) || j->doc.n_chunks <= SOON_CHUNKS;
}

void job_encode(struct job *j)
{
    j->phase = JOB_ENCODE;
    (void)snprintf(j->encoder, sizeof j->encoder, "%s", j->t->encoder);
    if (!soon(j)) {
        j->encoder[0] = '\0';
    }
    if (j->encoder[0] == '\0') {
        job_put(j);
    } else {
        encode_batch(j);
    }
}
