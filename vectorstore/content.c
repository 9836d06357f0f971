/* The life of contents and locations but for the putting: moving, removing, dying, shrinking away.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectorstore/store_internal.h"

/* A content leaves the counts of what is kept. */
static enum status uncount(struct store *s, const struct content *k, struct error *err)
{
    enum status st = catalogue_content_encoders_count(s->writer, k->pk, -1, err);
    return st == STATUS_OK
               ? catalogue_language_add(s->writer, k->language, -(int64_t)k->chunks, err)
               : st;
}

enum status content_unlocated(struct store *s, struct catalogue_state *state, int64_t content,
                              struct error *err)
{
    struct arena a;
    arena_init(&a, (size_t)1024 * 1024);
    bool any = false;
    bool versions = false;
    struct content k;
    enum status st = catalogue_content_located(s->writer, content, &any, err);
    if (st == STATUS_OK && !any && (atomic_load(&s->retain_ms) > 0 || holds_keep(s))) {
        st = catalogue_content_versioned(s->writer, content, &versions, err);
    }
    if (st == STATUS_OK && !any) {
        st = catalogue_content_by_pk(s->writer, content, &a, &k, err);
        bool published = st == STATUS_OK && k.state == CONTENT_PUBLISHED;
        bool retained = st == STATUS_OK && k.state == CONTENT_RETAINED;
        if (published || (retained && !versions)) {
            state->visible -= published ? k.chunks : 0;
            state->retained -= retained ? k.chunks : 0;
            state->retained += versions ? k.chunks : 0;
            k.state = versions ? CONTENT_RETAINED : CONTENT_DEAD;
            st = catalogue_content_update(s->writer, &k, err);
            if (st == STATUS_OK && !versions) {
                st = uncount(s, &k, err);
            }
        }
        st = st == STATUS_NOT_FOUND ? STATUS_OK : st; /* gone already */
    }
    arena_reset(&a);
    return st;
}

/* ---- shrinking ---- */

struct doomed {
    chunk_no chunks[STORE_BATCH_CHUNKS];
    size_t n;
};

static enum status doom(const struct stored_chunk *k, void *data, struct error *err)
{
    (void)err;
    struct doomed *d = data;
    d->chunks[d->n++] = k->no;
    return STATUS_OK;
}

static enum status drop_rows(struct store *s, const struct content *k, struct error *err)
{
    enum status st = catalogue_span_delete(s->writer, k->pk, err);
    if (st == STATUS_OK) {
        st = catalogue_content_encoders_delete(s->writer, k->pk, err);
    }
    return st == STATUS_OK ? catalogue_content_delete(s->writer, k->pk, err) : st;
}

enum status content_drop_blobs(struct store *s, const struct content *k, struct error *err)
{
    char path[1300];
    int64_t original = 0;
    int64_t structure = 0;
    enum status st =
        catalogue_content_uses(s->writer, k->hash, k->pipeline, &original, &structure, err);
    for (int kind = BLOB_ORIGINAL; kind <= BLOB_BLOCKS && st == STATUS_OK; kind++) {
        if ((kind == BLOB_ORIGINAL ? original : structure) == 0) {
            st = blobs_path(&s->blobs, k->hash, k->pipeline, (enum blob_kind)kind, path,
                            sizeof path, err);
            if (st == STATUS_OK) {
                blob_remove(path);
            }
        }
    }
    return st;
}

enum status content_shrink(struct store *s, const struct content *k, bool *gone, struct error *err)
{
    struct doomed d = {.n = 0};
    struct catalogue_state state;
    *gone = false;
    enum status st = store_mark(s, err);
    if (st == STATUS_OK) {
        st = catalogue_begin_write(s->writer, &state, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_chunks_of(s->writer, k->pk, 0, STORE_BATCH_CHUNKS, doom, &d, err);
    }
    for (size_t i = 0; i < d.n && st == STATUS_OK; i++) {
        st = catalogue_vectors_delete_chunk(s->writer, d.chunks[i], err);
        if (st == STATUS_OK) {
            st = catalogue_chunk_delete(s->writer, d.chunks[i], err);
        }
    }
    bool last = d.n < STORE_BATCH_CHUNKS;
    if (st == STATUS_OK && last) {
        st = drop_rows(s, k, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_commit(s->writer, &state, err);
    }
    catalogue_end(s->writer);
    if (st == STATUS_OK && last) {
        *gone = true;
        st = content_drop_blobs(s, k, err);
    }
    return st;
}

/* ---- moving and removing ---- */

enum status store_move(struct store *s, const Vs__MoveRequest *m, Vs__MoveReply *out,
                       struct error *err)
{
    struct arena a;
    arena_init(&a, (size_t)1024 * 1024);
    struct location_names names = {0};
    struct catalogue_state state;
    struct location old;
    struct location l;
    struct content k;
    bool applied = false;
    enum status st = location_read(m->location, "move", &names, &l, err);
    if (st == STATUS_OK) {
        st = catalogue_begin_write(s->writer, &state, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_location_get(s->writer, str_from(l.document), &a, &old, err);
    }
    if (st == STATUS_OK && old.content == 0 && old.sequence <= l.sequence) {
        st = error_set(err, STATUS_NOT_FOUND, "the document to move is not stored: put it whole");
    }
    if (st == STATUS_OK && old.sequence <= l.sequence && old.content != 0) {
        l.content = old.content;
        applied = true;
        st = catalogue_content_by_pk(s->writer, l.content, &a, &k, err);
        if (st == STATUS_OK) {
            st = catalogue_location_set(s->writer, &l, err);
        }
        if (st == STATUS_OK) {
            st = version_begin(s, &state, &l, k.hash, err);
        }
        state.generation++;
        if (st == STATUS_OK) {
            st = catalogue_commit(s->writer, &state, err);
        }
    }
    catalogue_end(s->writer);
    if (st == STATUS_OK) {
        out->applied = applied;
    }
    location_names_deinit(&names);
    arena_reset(&a);
    return st;
}

/* An unknown document leaves a tombstone too: its put may still be on the way. */
enum status store_remove(struct store *s, const Vs__RemoveRequest *m, Vs__RemoveReply *out,
                         struct error *err)
{
    struct arena a;
    arena_init(&a, (size_t)1024 * 1024);
    struct catalogue_state state;
    struct location l;
    enum status st = catalogue_begin_write(s->writer, &state, err);
    if (st == STATUS_OK) {
        st = catalogue_location_get(s->writer, str_from(m->document), &a, &l, err);
        if (st == STATUS_NOT_FOUND) {
            l = (struct location){.document = m->document,
                                  .source = "",
                                  .collection = "",
                                  .label = "",
                                  .path = STR(""),
                                  .readers = STR(""),
                                  .tags = STR("")};
            st = STATUS_OK;
        }
    }
    bool applied = st == STATUS_OK && l.sequence <= m->sequence;
    if (st == STATUS_OK && applied) {
        int64_t content = l.content;
        bool keep = m->has_excluded && m->excluded; /* hidden, and remembered as such */
        l.sequence = m->sequence;
        l.excluded = keep;
        l.content = keep ? content : 0;
        if (content != 0 && !keep) {
            state.documents--;
            st = version_begin(s, &state, &l, NULL, err);
        }
        if (st == STATUS_OK) {
            st = catalogue_location_set(s->writer, &l, err);
        }
        if (st == STATUS_OK && content != 0 && !keep) {
            st = content_unlocated(s, &state, content, err);
        }
        state.generation++;
        if (st == STATUS_OK) {
            st = catalogue_commit(s->writer, &state, err);
        }
    }
    catalogue_end(s->writer);
    if (st == STATUS_OK) {
        out->applied = applied;
        atomic_store(&s->documents, (uint32_t)state.documents);
        atomic_store(&s->chunks, (uint32_t)state.visible);
    }
    arena_reset(&a);
    return st;
}

/* ---- keeping house ---- */

static enum status maintain_contents(struct store *s, struct arena *a, bool *more,
                                     struct error *err)
{
    struct content k;
    bool gone;
    enum status st = catalogue_content_unsettled(s->writer, CONTENT_DEAD, a, &k, err);
    if (st == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (st == STATUS_OK) {
        *more = true;
        st = content_shrink(s, &k, &gone, err);
    }
    return st;
}

static enum status maintain_encoders(struct store *s, int64_t now, struct arena *a, bool *more,
                                     struct error *err)
{
    struct encoder e = {0};
    struct catalogue_state state;
    enum status st = catalogue_begin_write(s->writer, &state, err);
    bool due = false;
    bool expired = false;
    while (st == STATUS_OK && !due && !expired) { /* the first retired one past its grace */
        st = catalogue_encoder_after(s->writer, e.pk, a, &e, err);
        expired = st == STATUS_OK && e.state == ENCODER_KEPT &&
                  now - e.retired_ms >= atomic_load(&s->keep_ms);
        due = st == STATUS_OK && e.state == ENCODER_RETIRED && now - e.retired_ms >= STORE_GRACE_MS;
    }
    int64_t n = 0;
    if (st == STATUS_NOT_FOUND) {
        st = STATUS_OK;
    } else if (st == STATUS_OK && expired) {
        e.state = ENCODER_RETIRED;
        e.retired_ms = now;
        st = catalogue_encoder_set(s->writer, &e, err);
        if (st == STATUS_OK) {
            st = catalogue_commit(s->writer, &state, err);
        }
    } else if (st == STATUS_OK) {
        st = catalogue_vectors_delete_some(s->writer, e.pk, 1024, &n, err);
        if (st == STATUS_OK && n == 0) {
            st = catalogue_encoder_delete(s->writer, e.pk, err);
        }
        if (st == STATUS_OK) {
            st = catalogue_commit(s->writer, &state, err);
        }
        *more = st == STATUS_OK;
    }
    catalogue_end(s->writer);
    if (st == STATUS_OK && due && n == 0) {
        char path[1300];
        (void)snprintf(path, sizeof path, "%s/encoder/%s", s->dir, e.name);
        blob_remove(path);
    }
    return st;
}

enum status content_forget_segments(struct store *s, struct arena *a, struct error *err)
{
    int64_t pks[64];
    size_t n = 0;
    struct encoder e = {0};
    enum status st = STATUS_OK;
    while (st == STATUS_OK && n < 64) {
        st = catalogue_encoder_after(s->writer, e.pk, a, &e, err);
        if (st == STATUS_OK) {
            pks[n++] = e.pk;
        }
    }
    if (st == STATUS_NOT_FOUND) {
        vectors_retain(s->vectors, pks, n);
        st = STATUS_OK;
    }
    return st;
}

enum status store_maintain(struct store *s, int64_t now_wall_ms, bool *more, struct error *err)
{
    struct arena a;
    arena_init(&a, (size_t)1024 * 1024);
    *more = false;
    enum status st = maintain_contents(s, &a, more, err);
    if (st == STATUS_OK && !*more) {
        st = maintain_versions(s, now_wall_ms, more, err);
    }
    if (st == STATUS_OK && !*more) {
        st = maintain_encoders(s, now_wall_ms, &a, more, err);
        if (st == STATUS_OK && *more) {
            st = content_forget_segments(s, &a, err);
        }
    }
    if (st == STATUS_OK && !*more) {
        st = index_forget_runs(s, more, err);
    }
    arena_reset(&a);
    return st;
}
