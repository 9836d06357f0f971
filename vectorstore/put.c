/* Putting one version of a document. In order:
 *
 *   store_put_begin    checks; decides whether it is ignored (a later sequence is there), a
 * repetition, a new location of a content that is stored, or a new content store_put_add original
 * and extracted text into files under temporary names (hashed on the way), boxes beside; chunks
 * gathered, and stored and indexed in batches under an unpublished content store_put_commit   the
 * original's hash must match; files fsynced and renamed; the last batch and the flip of the
 *                      location in one transaction (the flip alone when there was more than one
 * batch) store_put_end      what was not committed is marked dead, for store_maintain to remove;
 * after a crash store_open does that
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text/text.h"
#include "vectorstore/put_internal.h"

#define PUT_ARENA ((size_t)1024 * 1024)
#define BATCH_ARENA ((size_t)16 * 1024 * 1024)
#define NAME_BYTES 256U
#define TITLE_BYTES ((size_t)64 * 1024)
#define SAID_BYTES ((size_t)4096)
#define UNIT_BYTES 1024U

/* ---- checks ---- */

static bool name_ok(const char *z)
{
    size_t n = strlen(z);
    return n > 0 && n <= NAME_BYTES;
}

static enum status check(const Vs__PutRequest__Begin *b, struct error *err)
{
    bool recut = b->has_recut && b->recut;
    if (!recut && b->hash.len != SHA256_BYTES) {
        return error_set(err, STATUS_INVALID, "put: the hash must be 32 bytes");
    }
    if (!blobs_name_ok(b->pipeline) || (!recut && !name_ok(b->format))) {
        return error_set(err, STATUS_INVALID, "put: pipeline and format must be short plain names");
    }
    if ((b->title != NULL && strlen(b->title) > TITLE_BYTES) ||
        (b->language != NULL && strlen(b->language) > 16) ||
        (b->language_hint != NULL && strlen(b->language_hint) > 16)) {
        return error_set(err, STATUS_INVALID, "put: title or language is too long");
    }
    if ((b->author != NULL && strlen(b->author) > SAID_BYTES) ||
        (b->keywords != NULL && strlen(b->keywords) > SAID_BYTES)) {
        return error_set(err, STATUS_INVALID, "put: author or keywords are too long");
    }
    return STATUS_OK;
}

static enum status copy_begin(struct put *p, const Vs__PutRequest__Begin *b, struct error *err)
{
    struct location in;
    struct arena *a = &p->arena;
    enum status s = location_read(b->location, "put", &p->names, &in, err);
    if (s != STATUS_OK) {
        return s;
    }
    p->location = in;
    p->location.document = arena_strdup(a, in.document);
    p->location.path.ptr = arena_strndup(a, in.path.ptr, in.path.len);
    p->location.source = arena_strdup(a, in.source);
    p->location.collection = arena_strdup(a, in.collection);
    p->location.label = arena_strdup(a, in.label);
    p->content =
        (struct content){.pipeline = arena_strdup(a, b->pipeline),
                         .format = arena_strdup(a, b->format),
                         .title = arena_strdup(a, b->title == NULL ? "" : b->title),
                         .language = arena_strdup(a, b->language == NULL ? "" : b->language),
                         .author = arena_strdup(a, b->author == NULL ? "" : b->author),
                         .keywords = arena_strdup(a, b->keywords == NULL ? "" : b->keywords),
                         .has_created = b->has_created_ms,
                         .created_ms = b->created_ms,
                         .has_modified = b->has_modified_ms,
                         .modified_ms = b->modified_ms,
                         .pages = b->has_pages ? b->pages : 0,
                         .size = b->size,
                         .state = CONTENT_STAGED};
    p->language_hint = arena_strdup(a, b->language_hint == NULL ? "" : b->language_hint);
    memcpy(p->content.hash, b->hash.data, SHA256_BYTES);
    id_new(p->content.id);
    if (p->location.document == NULL || p->location.path.ptr == NULL ||
        p->location.source == NULL || p->location.collection == NULL || p->location.label == NULL ||
        p->language_hint == NULL || p->content.pipeline == NULL || p->content.format == NULL ||
        p->content.title == NULL || p->content.language == NULL || p->content.author == NULL ||
        p->content.keywords == NULL) {
        return error_set(err, STATUS_TOO_LARGE,
                         "put: the description of the document is too large");
    }
    return STATUS_OK;
}

/* Against what is stored for the document; in a transaction. */
static enum status compare(struct put *p, struct location *old, enum put_kind *kind,
                           struct error *err)
{
    enum status s =
        catalogue_location_get(p->s->writer, str_from(p->location.document), &p->arena, old, err);
    *kind = PUT_NEW;
    if (s == STATUS_NOT_FOUND) {
        *old = (struct location){0};
        return STATUS_OK;
    }
    if (s != STATUS_OK) {
        return s;
    }
    if (old->sequence > p->location.sequence ||
        (old->sequence == p->location.sequence && old->content == 0)) {
        *kind = PUT_IGNORED;
    } else if (old->sequence == p->location.sequence) {
        struct content k;
        s = catalogue_content_by_pk(p->s->writer, old->content, &p->arena, &k, err);
        if (s == STATUS_OK && memcmp(k.hash, p->content.hash, SHA256_BYTES) == 0 &&
            strcmp(k.pipeline, p->content.pipeline) == 0) {
            *kind = PUT_SAME;
            p->content.chunks = k.chunks;
        }
    }
    return s;
}

static enum status decide(struct put *p, const Vs__PutRequest__Begin *b, struct error *err)
{
    struct catalogue_state state;
    struct location old;
    struct content k;
    struct catalogue *c = p->s->writer;
    enum status s = catalogue_begin_read(c, &state, err);
    if (s == STATUS_OK) {
        s = compare(p, &old, &p->kind, err);
    }
    if (s == STATUS_OK && p->kind == PUT_NEW) {
        s = catalogue_content_find(c, p->content.hash, p->content.pipeline, &p->arena, &k, err);
        if (s == STATUS_OK) {
            p->kind = PUT_KNOWN;
        } else if (s == STATUS_NOT_FOUND && b->has_known && b->known) {
            s = error_set(err, STATUS_BUSY,
                          "put: the content is not stored any more; put it whole");
        } else if (s == STATUS_NOT_FOUND) {
            s = STATUS_OK;
        }
    }
    if (s == STATUS_OK) {
        s = put_find_encoder(p, b, err);
    }
    catalogue_end(c);
    return s;
}

enum status put_find_encoder(struct put *p, const Vs__PutRequest__Begin *b, struct error *err)
{
    if (b->encoder == NULL || b->encoder[0] == '\0') {
        return STATUS_OK;
    }
    enum status s =
        catalogue_encoder_by_name(p->s->writer, str_from(b->encoder), &p->arena, &p->encoder, err);
    if (s == STATUS_NOT_FOUND || (s == STATUS_OK && p->encoder.state == ENCODER_RETIRED)) {
        p->encoder = (struct encoder){0}; /* embedded again by a scan for what is missing */
        s = STATUS_OK;
    }
    return s;
}

static enum status open_files(struct put *p, struct error *err)
{
    p->hash = sha256_new();
    enum status s = p->hash == NULL ? error_set(err, STATUS_NO_MEMORY, "put: out of memory")
                                    : blob_begin(&p->s->blobs, &p->original, err);
    return s == STATUS_OK ? blob_begin(&p->s->blobs, &p->text, err) : s;
}

enum status store_put_begin(struct store *s, const Vs__PutRequest__Begin *begin, struct put **out,
                            struct error *err)
{
    enum status st = check(begin, err);
    if (st == STATUS_OK) {
        st = store_mark(s, err);
    }
    struct put *p = st == STATUS_OK ? calloc(1, sizeof *p) : NULL;
    if (st == STATUS_OK && p == NULL) {
        st = error_set(err, STATUS_NO_MEMORY, "put: out of memory");
    }
    if (st != STATUS_OK || p == NULL) {
        return st;
    }
    p->s = s;
    arena_init(&p->arena, PUT_ARENA);
    arena_init(&p->batch, BATCH_ARENA);
    if (begin->has_recut && begin->recut) {
        st = put_recut_begin(p, begin, err);
    } else {
        st = copy_begin(p, begin, err);
        st = st == STATUS_OK ? decide(p, begin, err) : st;
    }
    if (st == STATUS_OK && p->kind == PUT_NEW) {
        p->chunks = calloc(STORE_BATCH_CHUNKS, sizeof *p->chunks);
        st = p->chunks == NULL ? error_set(err, STATUS_NO_MEMORY, "put: out of memory")
             : p->recut        ? STATUS_OK
                               : open_files(p, err);
    }
    if (st != STATUS_OK) {
        store_put_end(p);
        return st;
    }
    *out = p;
    return STATUS_OK;
}

/* ---- pieces ---- */

static void put_u32(unsigned char *out, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++) {
        out[i] = (unsigned char)(v >> (8 * i));
    }
}

static enum status add_boxes(struct put *p, const Vs__PutRequest *m, struct error *err)
{
    enum status s = STATUS_OK;
    if (m->n_boxes > 0 && !p->boxes.open) {
        s = blob_begin(&p->s->blobs, &p->boxes, err);
    }
    for (size_t i = 0; i < m->n_boxes && s == STATUS_OK; i++) {
        const Vs__Box *b = m->boxes[i];
        unsigned char rec[BOX_BYTES];
        const float xy[4] = {b->x0, b->y0, b->x1, b->y1};
        put_u32(rec, b->page);
        for (size_t j = 0; j < 4; j++) {
            uint32_t bits;
            memcpy(&bits, &xy[j], sizeof bits);
            put_u32(rec + 4 + 4 * j, bits);
        }
        put_u32(rec + 20, b->has_start ? b->start : 0);
        put_u32(rec + 24, b->has_end ? b->end : 0);
        s = blob_add(&p->boxes, rec, sizeof rec, err);
        p->content.boxes++;
    }
    return s;
}

static enum status add_blocks(struct put *p, ProtobufCBinaryData piece, struct error *err)
{
    enum status s = STATUS_OK;
    if (!p->blocks.open) {
        s = blob_begin(&p->s->blobs, &p->blocks, err);
    }
    if (s == STATUS_OK && piece.len > STORE_TEXT_BYTES - p->blocks.size) {
        s = error_set(err, STATUS_TOO_LARGE, "put: the table of blocks is longer than 256 MiB");
    }
    return s == STATUS_OK ? blob_add(&p->blocks, piece.data, piece.len, err) : s;
}

static enum status take_vector(struct put *p, const Vs__Chunk *m, struct put_chunk *k,
                               struct error *err)
{
    if (!m->has_vector || m->vector.len == 0 || p->encoder.pk == 0) {
        return STATUS_OK;
    }
    struct str in = {.ptr = (const char *)m->vector.data, .len = m->vector.len};
    uint16_t *unit = arena_array(&p->batch, p->encoder.dimensions, sizeof *unit);
    if (in.len != (size_t)p->encoder.dimensions * sizeof *unit) {
        return error_set(err, STATUS_INVALID, "put: a vector of %zu bytes, %s has %u dimensions",
                         in.len, p->encoder.name, p->encoder.dimensions);
    }
    if (unit == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "put: out of memory");
    }
    if (!vector_normalise(in, unit, p->encoder.dimensions)) {
        return error_set(err, STATUS_INVALID, "put: a vector holds a value that is not a number");
    }
    k->vector = (struct str){.ptr = (const char *)unit, .len = in.len};
    return STATUS_OK;
}

/* Stored as one: context is indexed, encoded and scored as headings are. In the batch's arena. */
static const char *heading_with_context(struct put *p, const Vs__Chunk *m)
{
    const char *context = m->context == NULL ? "" : m->context;
    char *heading = arena_strdup(&p->batch, m->heading_path == NULL ? "" : m->heading_path);
    for (char *c = heading; c != NULL && *c != '\0'; c++) {
        *c = *c == '\n' ? ' ' : *c;
    }
    return heading == NULL || context[0] == '\0'
               ? heading
               : arena_printf(&p->batch, "%s\n%s", heading, context);
}

static enum status add_chunk(struct put *p, const Vs__Chunk *m, struct error *err)
{
    struct str text = {.ptr = (const char *)m->text.data, .len = m->text.len};
    const char *heading = heading_with_context(p, m);
    const char *unit = m->unit == NULL ? "" : m->unit;
    if (heading == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "put: out of memory");
    }
    if (m->ordinal != p->next_ordinal || m->start > m->end || text.len > STORE_CHUNK_BYTES ||
        strlen(heading) > STORE_CHUNK_BYTES || strlen(unit) > UNIT_BYTES ||
        !text_utf8_valid(text)) {
        return error_set(err, STATUS_INVALID,
                         "put: passage %u is out of order, too long or not UTF-8", m->ordinal);
    }
    struct put_chunk *k = &p->chunks[p->n_chunks];
    *k = (struct put_chunk){
        .row = {.ordinal = m->ordinal,
                .start = m->start,
                .end = m->end,
                .page = m->has_page ? m->page : 0,
                .page_end = m->has_page_end ? m->page_end : 0,
                .text = {.ptr = arena_strndup(&p->batch, text.ptr, text.len), .len = text.len},
                .heading = str_from(heading),
                .unit = str_from(arena_strdup(&p->batch, unit))},
        .vector = STR("")};
    if (k->row.text.ptr == NULL || k->row.unit.ptr == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "put: out of memory");
    }
    enum status s = take_vector(p, m, k, err);
    if (s == STATUS_OK) {
        p->next_ordinal++;
        p->n_chunks++;
        p->batch_bytes += text.len + k->row.heading.len;
    }
    return s;
}

enum status store_put_add(struct put *p, const Vs__PutRequest *m, struct error *err)
{
    enum status s = STATUS_OK;
    if (p->kind != PUT_NEW) {
        return s; /* stored already: the content only saves work */
    }
    if (p->recut && (m->has_original || m->has_text || m->has_blocks || m->n_boxes > 0)) {
        return error_set(err, STATUS_INVALID, "put: a document that is cut anew has its text");
    }
    if (m->has_original) {
        if (m->original.len > p->content.size - p->original.size) {
            return error_set(err, STATUS_INVALID, "put: the original is longer than announced");
        }
        sha256_add(p->hash, m->original.data, m->original.len);
        s = blob_add(&p->original, m->original.data, m->original.len, err);
    }
    if (s == STATUS_OK && m->has_text) {
        if (m->text.len > STORE_TEXT_BYTES - p->text.size) {
            return error_set(err, STATUS_TOO_LARGE,
                             "put: the extracted text is longer than 256 MiB");
        }
        s = blob_add(&p->text, m->text.data, m->text.len, err);
    }
    if (s == STATUS_OK) {
        s = add_boxes(p, m, err);
    }
    if (s == STATUS_OK && m->has_blocks && m->blocks.len > 0) {
        s = add_blocks(p, m->blocks, err);
    }
    for (size_t i = 0; i < m->n_chunks && s == STATUS_OK; i++) {
        if (p->n_chunks == STORE_BATCH_CHUNKS || p->batch_bytes >= STORE_BATCH_BYTES) {
            s = put_flush_batch(p, err);
        }
        if (s == STATUS_OK) {
            s = add_chunk(p, m->chunks[i], err);
        }
    }
    return s;
}

/* ---- the end ---- */

static enum status finish_one(struct put *p, struct blob_writer *w, enum blob_kind kind,
                              struct error *err)
{
    char path[1300];
    enum status s = blobs_path(&p->s->blobs, p->content.hash, p->content.pipeline, kind, path,
                               sizeof path, err);
    return s == STATUS_OK ? blob_finish(w, path, err) : s;
}

static enum status check_original(struct put *p, struct error *err)
{
    uint8_t got[SHA256_BYTES];
    sha256_end(p->hash, got);
    p->hash = NULL;
    if (p->original.size != p->content.size || memcmp(got, p->content.hash, sizeof got) != 0) {
        return error_set(err, STATUS_INVALID, "put: the original does not match its hash or size");
    }
    return STATUS_OK;
}

/* The files stay open for reading while their names become durable: the text is still needed for
 * the last batch. */
static enum status finish_files(struct put *p, struct error *err)
{
    p->content.text_size = p->text.size;
    enum status s = finish_one(p, &p->original, BLOB_ORIGINAL, err);
    if (s == STATUS_OK) {
        s = finish_one(p, &p->text, BLOB_TEXT, err);
    }
    if (s == STATUS_OK && p->boxes.open) {
        s = finish_one(p, &p->boxes, BLOB_BOXES, err);
    }
    if (s == STATUS_OK && p->blocks.open) {
        s = finish_one(p, &p->blocks, BLOB_BLOCKS, err);
    }
    return s == STATUS_OK ? blobs_sync(&p->s->blobs, err) : s;
}

/* Within the last transaction: *pk becomes the published content of this hash and pipeline. */
static enum status publish(struct put *p, struct catalogue_state *state, int64_t *pk,
                           struct error *err)
{
    struct content there;
    struct catalogue *c = p->s->writer;
    enum status s =
        catalogue_content_find(c, p->content.hash, p->content.pipeline, &p->arena, &there, err);
    if (s == STATUS_OK) { /* someone was faster, or it was known */
        struct content mine = p->content;
        if (*pk != 0) {
            mine.pk = *pk;
            mine.state = CONTENT_DEAD;
            s = catalogue_content_update(c, &mine, err);
        }
        *pk = there.pk;
        p->content.chunks = there.chunks;
        if (s == STATUS_OK && there.state == CONTENT_RETAINED) { /* it is back: still counted */
            there.state = CONTENT_PUBLISHED;
            state->retained -= there.chunks;
            state->visible += there.chunks;
            s = catalogue_content_update(c, &there, err);
        }
        return s;
    }
    if (s != STATUS_NOT_FOUND) {
        return s;
    }
    if (*pk == 0) {
        return error_set(err, STATUS_BUSY, "put: the content went away meanwhile; put it whole");
    }
    struct content k = p->content;
    k.pk = *pk;
    k.state = CONTENT_PUBLISHED;
    state->visible += k.chunks;
    s = catalogue_content_update(c, &k, err);
    if (s == STATUS_OK) {
        s = catalogue_content_encoders_count(c, k.pk, 1, err);
    }
    return s == STATUS_OK ? catalogue_language_add(c, k.language, k.chunks, err) : s;
}

/* The flip. */
static enum status locate(struct put *p, struct catalogue_state *state, const struct location *old,
                          int64_t pk, struct error *err)
{
    struct catalogue *c = p->s->writer;
    if (p->recut) {
        return put_recut_locate(p, state, old, pk, err);
    }
    p->location.content = pk;
    enum status s = catalogue_location_set(c, &p->location, err);
    if (s == STATUS_OK) {
        s = version_begin(p->s, state, &p->location, p->content.hash, err);
    }
    if (s == STATUS_OK && old->content != 0 && old->content != pk) {
        s = content_unlocated(p->s, state, old->content, err);
    }
    state->documents += old->content == 0 ? 1 : 0;
    state->generation++;
    return s;
}

static enum status last_transaction(struct put *p, bool *applied, struct error *err)
{
    struct catalogue_state state;
    struct location old;
    enum put_kind kind = PUT_IGNORED;
    int64_t pk = 0;
    enum status s = catalogue_begin_write(p->s->writer, &state, err);
    if (s == STATUS_OK) {
        s = compare(p, &old, &kind, err);
    }
    if (s == STATUS_OK && kind == PUT_SAME) {
        *applied = true;
    }
    if (p->recut && kind == PUT_NEW &&
        (old.sequence != p->location.sequence || old.content != p->from.pk)) {
        kind = PUT_IGNORED; /* it has changed meanwhile, or gone */
    }
    if (s != STATUS_OK || kind != PUT_NEW) {
        catalogue_end(p->s->writer);
        return s;
    }
    if (p->kind == PUT_NEW) {
        s = put_add_content_row(p, &pk, err);
        if (s == STATUS_OK) {
            s = put_store_batch(p, &state, pk, err);
        }
        p->content.chunks += (uint32_t)p->n_chunks;
    }
    if (s == STATUS_OK) {
        s = publish(p, &state, &pk, err);
    }
    if (s == STATUS_OK) {
        s = locate(p, &state, &old, pk, err);
    }
    if (s == STATUS_OK) {
        s = catalogue_commit(p->s->writer, &state, err);
    }
    catalogue_end(p->s->writer);
    if (s == STATUS_OK) {
        put_publish_text(p);
        *applied = p->committed = true;
        atomic_store(&p->s->documents, (uint32_t)state.documents);
        atomic_store(&p->s->chunks, (uint32_t)state.visible);
    }
    return s;
}

enum status store_put_sync(struct put *p, struct error *err)
{
    struct blob_writer *const files[] = {&p->original, &p->text, &p->boxes, &p->blocks};
    enum status s = STATUS_OK;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && s == STATUS_OK; i++) {
        s = files[i]->open ? blob_sync(files[i], err) : s;
    }
    return s;
}

enum status store_put_commit(struct put *p, Vs__PutReply *out, struct error *err)
{
    bool applied = false;
    enum status s = STATUS_OK;
    if (p->kind == PUT_NEW) {
        s = p->recut ? STATUS_OK : check_original(p, err);
        if (s == STATUS_OK && p->flushed && p->n_chunks > 0) {
            s = put_flush_batch(p, err);
        }
        if (s == STATUS_OK) {
            s = blob_flush(&p->text, err);
        }
        if (s == STATUS_OK) {
            s = put_settle_language(p, err);
        }
        if (s == STATUS_OK) {
            s = p->recut ? put_recut_files(p, err) : finish_files(p, err);
        }
    }
    if (s == STATUS_OK && (p->kind == PUT_NEW || p->kind == PUT_KNOWN)) {
        s = last_transaction(p, &applied, err);
    }
    if (s == STATUS_OK) {
        out->applied = applied || p->kind == PUT_SAME;
        out->chunks = p->content.chunks;
    }
    return s;
}

enum status store_put_stored(const struct put *p, struct arena *a, Vs__DocumentInfo *out,
                             struct error *err)
{
    static const struct asker appliance = {.caller = NULL};
    return store_document(p->s, &appliance, p->location.document, NULL, a, out, err);
}

void store_put_end(struct put *p)
{
    if (p == NULL) {
        return;
    }
    struct catalogue_state state;
    struct error err;
    if (p->content.pk != 0 && !p->committed) {
        p->content.state = CONTENT_DEAD;
        enum status st = catalogue_begin_write(p->s->writer, &state, &err);
        if (st == STATUS_OK) {
            st = catalogue_content_update(p->s->writer, &p->content, &err);
        }
        if (st == STATUS_OK) {
            st = catalogue_commit(p->s->writer, &state, &err);
        }
        catalogue_end(p->s->writer);
        if (st != STATUS_OK) {
            LOG_WARN("a put that was given up is removed at the next start",
                     LOG_STR("err", err.text), LOG_END);
        }
    }
    if ((p->original.named || p->linked) && !p->committed &&
        content_drop_blobs(p->s, &p->content, &err) != STATUS_OK) {
        LOG_WARN("files of a put that was given up stay until the next check",
                 LOG_STR("err", err.text), LOG_END);
    }
    blob_end(&p->original);
    blob_end(&p->text);
    blob_end(&p->boxes);
    blob_end(&p->blocks);
    if (p->recut && p->text.fd >= 0) {
        (void)close(p->text.fd);
    }
    if (p->hash != NULL) {
        uint8_t unused[SHA256_BYTES];
        sha256_end(p->hash, unused);
    }
    text_part_drop(p->part);
    free(p->chunks);
    location_names_deinit(&p->names);
    arena_reset(&p->batch);
    arena_reset(&p->arena);
    free(p);
}
