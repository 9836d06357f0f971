/* Cutting a stored document anew: its content is put again under another pipeline's name, with the
 * original, text, boxes and blocks that it has and with other chunks. The old chunks are found
 * until the flip, the new ones from it on, in one transaction; where the document stands, who may
 * read it and since when does not change. Versions of the document that have the old content have
 * the new one then (their text is the same); versions of others keep it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "vectorstore/put_internal.h"

static enum status take_content(struct put *p, const struct content *k, const char *pipeline,
                                struct error *err)
{
    p->from = *k;
    p->content = *k;
    p->content.pk = 0;
    p->content.chunks = 0;
    p->content.state = CONTENT_STAGED;
    p->content.pipeline = arena_strdup(&p->arena, pipeline);
    id_new(p->content.id);
    return p->content.pipeline != NULL ? STATUS_OK
                                       : error_set(err, STATUS_NO_MEMORY, "put: out of memory");
}

/* In a transaction: what is stored, if it is still what was asked for. */
static enum status find(struct put *p, const Vs__PutRequest__Begin *b, struct error *err)
{
    struct catalogue *c = p->s->writer;
    struct content k;
    p->kind = PUT_IGNORED;
    enum status s =
        catalogue_location_get(c, str_from(b->location->document), &p->arena, &p->location, err);
    if (s == STATUS_NOT_FOUND ||
        (s == STATUS_OK &&
         (p->location.content == 0 || p->location.sequence != b->location->sequence))) {
        return STATUS_OK;
    }
    if (s == STATUS_OK) {
        s = catalogue_content_by_pk(c, p->location.content, &p->arena, &k, err);
    }
    if (s == STATUS_OK) {
        s = take_content(p, &k, b->pipeline, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    if (strcmp(k.pipeline, b->pipeline) == 0) {
        p->kind = PUT_SAME;
        p->content.chunks = k.chunks;
        return STATUS_OK;
    }
    s = catalogue_content_find(c, k.hash, b->pipeline, &p->arena, &k, err);
    p->kind = s == STATUS_OK ? PUT_KNOWN : PUT_NEW;
    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

enum status put_recut_begin(struct put *p, const Vs__PutRequest__Begin *b, struct error *err)
{
    struct catalogue_state state;
    char path[1300];
    p->recut = true;
    p->text.fd = -1;
    enum status s = catalogue_begin_read(p->s->writer, &state, err);
    if (s == STATUS_OK) {
        s = find(p, b, err);
    }
    if (s == STATUS_OK) {
        s = put_find_encoder(p, b, err);
    }
    catalogue_end(p->s->writer);
    if (s == STATUS_OK && p->kind == PUT_NEW) {
        s = blobs_path(&p->s->blobs, p->from.hash, p->from.pipeline, BLOB_TEXT, path, sizeof path,
                       err);
    }
    if (s == STATUS_OK && p->kind == PUT_NEW) {
        p->text.fd = open(path, O_RDONLY | O_CLOEXEC);
        s = p->text.fd >= 0 ? STATUS_OK : error_errno(err, errno, "%s", path);
    }
    return s;
}

enum status put_recut_files(struct put *p, struct error *err)
{
    enum status s = STATUS_OK;
    for (int kind = BLOB_TEXT; kind <= BLOB_BLOCKS && s == STATUS_OK; kind++) {
        char from[1300], to[1300];
        s = blobs_path(&p->s->blobs, p->from.hash, p->from.pipeline, (enum blob_kind)kind, from,
                       sizeof from, err);
        if (s == STATUS_OK) {
            s = blobs_path(&p->s->blobs, p->from.hash, p->content.pipeline, (enum blob_kind)kind,
                           to, sizeof to, err);
        }
        p->linked = true;
        if (s == STATUS_OK && link(from, to) != 0 && errno != EEXIST && errno != ENOENT) {
            s = error_errno(err, errno, "%s", to);
        }
    }
    return s == STATUS_OK ? blobs_sync(&p->s->blobs, err) : s;
}

enum status put_recut_locate(struct put *p, struct catalogue_state *state,
                             const struct location *old, int64_t pk, struct error *err)
{
    struct catalogue *c = p->s->writer;
    struct location l = *old;
    l.content = pk;
    enum status s = catalogue_location_set(c, &l, err);
    if (s == STATUS_OK) {
        s = catalogue_version_recut(c, l.document, old->content, pk, err);
    }
    if (s == STATUS_OK) {
        s = content_unlocated(p->s, state, old->content, err);
    }
    state->generation++;
    return s;
}
