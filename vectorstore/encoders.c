/* Encoders as they arrive, the scan that feeds them, their vectors, and sealing. Which of them is
 * published: promote.c. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "vectorstore/background.h"
#include "vectorstore/store_internal.h"

#define CANDIDATES_MAX 3U /* vectors.c has memory for so many beside the others */
#define SCAN_PAGE 256U
#define SCAN_BYTES ((size_t)1024 * 1024)

/* The first candidate with passages that lack its vector; pk 0: none. */
static enum status lacking_candidate(struct reader *r, int64_t all, struct arena *a,
                                     struct encoder *out, struct error *err)
{
    struct encoder e = {0};
    enum status st = STATUS_OK;
    while (st == STATUS_OK && out->pk == 0) {
        st = catalogue_encoder_after(r->db, e.pk, a, &e, err);
        if (st == STATUS_OK && e.state == ENCODER_CANDIDATE && e.vectors < all) {
            *out = e;
        }
    }
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

enum status store_status(struct store *s, struct arena *a, Vs__StatusReply *out, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct encoder published = {.name = ""};
    struct encoder building = {0};
    struct encoder lacking = {0};
    vs__status_reply__init(out);
    enum status st = reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = catalogue_encoder_by_state(r->db, ENCODER_PUBLISHED, a, &published, err);
        st = st == STATUS_NOT_FOUND ? STATUS_OK : st;
    }
    if (st == STATUS_OK) {
        st = catalogue_encoder_by_state(r->db, ENCODER_BUILDING, a, &building, err);
        st = st == STATUS_NOT_FOUND ? STATUS_OK : st;
    }
    int64_t all = state.visible + state.retained;
    if (st == STATUS_OK) {
        st = lacking_candidate(r, all, a, &lacking, err);
    }
    reader_give(s, r);
    if (st != STATUS_OK) {
        return st;
    }
    int64_t have = building.pk != 0 ? building.vectors : published.vectors;
    out->generation = (uint64_t)state.generation;
    out->documents = (uint32_t)state.documents;
    out->chunks = (uint32_t)state.visible;
    out->encoder = arena_strdup(a, published.name);
    out->dimensions = published.dimensions;
    out->fitted_on = published.fitted_on;
    out->building = building.pk == 0 ? NULL : arena_strdup(a, building.name);
    out->intent = building.pk == 0 ? NULL : (char *)(uintptr_t)encoder_intent(&building);
    out->candidate = lacking.pk == 0 ? NULL : arena_strdup(a, lacking.name);
    out->has_candidate_missing = lacking.pk != 0;
    out->candidate_missing = (uint32_t)(all > lacking.vectors ? all - lacking.vectors : 0);
    out->has_missing = building.pk != 0 || published.pk != 0;
    out->missing = out->has_missing && all > have ? (uint32_t)(all - have) : 0;
    out->has_retained_chunks = true;
    out->retained_chunks = (uint32_t)state.retained;
    int64_t retain = atomic_load(&s->retain_ms);
    int64_t from = clock_wall_ms() - retain;
    out->has_versions_from_ms = retain > 0;
    out->versions_from_ms = from > state.versions_from ? from : state.versions_from;
    return out->encoder == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

enum status store_encoder_path(struct store *s, const char *encoder, char *path, size_t cap,
                               struct error *err)
{
    if (!blobs_name_ok(encoder)) {
        return error_set(err, STATUS_INVALID, "not a name of an encoder");
    }
    int n = snprintf(path, cap, "%s/encoder/%s", s->dir, encoder);
    if (n < 0 || (size_t)n >= cap) {
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", s->dir);
    }
    if (access(path, R_OK) != 0) {
        return error_set(err, STATUS_NOT_FOUND, "the encoder %s is not stored", encoder);
    }
    return STATUS_OK;
}

/* In a transaction. What is being built and would come back as one is one. */
static enum status count_candidates(struct store *s, struct arena *a, size_t *n, struct error *err)
{
    struct encoder e = {0};
    enum status st = STATUS_OK;
    *n = 0;
    while (st == STATUS_OK) {
        st = catalogue_encoder_after(s->writer, e.pk, a, &e, err);
        bool back = st == STATUS_OK && e.state == ENCODER_BUILDING && e.retired_ms == 0 &&
                    e.intent != ENCODER_BY_GROWTH;
        *n += back || (st == STATUS_OK && e.state == ENCODER_CANDIDATE) ? 1 : 0;
    }
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

/* In a transaction. *e: what is to be stored, then what is. One that is gone or stood aside comes
 * back; as a candidate nothing that is published, kept or under way changes. */
static enum status add_encoder(struct store *s, struct encoder *e, struct arena *a,
                               struct error *err)
{
    struct encoder in = *e;
    size_t candidates = 0;
    bool candidate = in.state == ENCODER_CANDIDATE;
    enum status st = STATUS_OK;
    if (candidate) {
        st = count_candidates(s, a, &candidates, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_encoder_by_name(s->writer, str_from(in.name), a, e, err);
    }
    bool known = st == STATUS_OK;
    bool back =
        known && (e->state == ENCODER_RETIRED ||
                  (!candidate && (e->state == ENCODER_KEPT || e->state == ENCODER_CANDIDATE)));
    if (candidate && (st == STATUS_NOT_FOUND || back) && candidates >= CANDIDATES_MAX) {
        st = error_set(err, STATUS_CONFLICT,
                       "%u candidates are stored already: remove one (`carrel encoder remove`)",
                       CANDIDATES_MAX);
    } else if (st == STATUS_NOT_FOUND) {
        *e = in;
        st = catalogue_encoder_add(s->writer, e, err);
    } else if (known && e->dimensions != in.dimensions) {
        st = error_set(err, STATUS_CONFLICT, "the encoder %s is stored with %u dimensions", in.name,
                       e->dimensions);
    } else if (back) {
        e->state = in.state;
        e->intent = in.intent;
        e->fitted_on = in.fitted_on;
        e->retired_ms = 0;
        st = catalogue_encoder_set(s->writer, e, err);
    }
    return st == STATUS_OK && !candidate ? encoder_put_back_others(s, in.name, a, err) : st;
}

static enum status put_encoder(struct store *s, struct encoder *e, struct str blob,
                               struct error *err)
{
    struct arena a;
    struct catalogue_state state;
    char path[1300];
    if (!blobs_name_ok(e->name) || e->dimensions == 0 || e->dimensions > VECTOR_MAX_DIMENSIONS) {
        return error_set(err, STATUS_INVALID,
                         "an encoder needs a plain name and 1 to %u dimensions",
                         VECTOR_MAX_DIMENSIONS);
    }
    arena_init(&a, (size_t)1024 * 1024);
    int n = snprintf(path, sizeof path, "%s/encoder/%s", s->dir, e->name);
    enum status st = n < 0 || (size_t)n >= sizeof path
                         ? error_set(err, STATUS_TOO_LARGE, "%s: path too long", s->dir)
                         : catalogue_begin_write(s->writer, &state, err);
    if (st == STATUS_OK) {
        st = add_encoder(s, e, &a, err);
    }
    if (st == STATUS_OK) { /* what is refused leaves nothing, and a row is never without its fit */
        st = file_write_atomic(path, blob.ptr, blob.len, 0600, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_commit(s->writer, &state, err);
    }
    catalogue_end(s->writer);
    arena_reset(&a);
    return st;
}

enum status store_put_encoder(struct store *s, const char *name, uint32_t dimensions,
                              uint32_t fitted_on, struct str blob, struct error *err)
{
    struct encoder e = {
        .name = name, .dimensions = dimensions, .fitted_on = fitted_on, .state = ENCODER_BUILDING};
    return put_encoder(s, &e, blob, err);
}

enum status store_put_candidate(struct store *s, const char *name, uint32_t dimensions,
                                uint32_t fitted_on, struct str blob, const char **state,
                                struct error *err)
{
    struct encoder e = {.name = name,
                        .dimensions = dimensions,
                        .fitted_on = fitted_on,
                        .state = ENCODER_CANDIDATE,
                        .intent = ENCODER_ASKED};
    enum status st = put_encoder(s, &e, blob, err);
    *state = encoder_state_name(e.state);
    return st;
}

/* ---- scanning ---- */

struct scanning {
    struct catalogue *db;
    struct arena *a;
    Vs__ScanReply *out;
    int64_t content; /* of the title below */
    const char *title;
    chunk_no last;
    size_t bytes;
};

static enum status scan_item(const struct stored_chunk *k, void *data, struct error *err)
{
    struct scanning *sc = data;
    if (sc->bytes >= SCAN_BYTES) {
        return STATUS_TOO_LARGE; /* the page is full */
    }
    Vs__ScanReply__Item *m = arena_alloc(sc->a, sizeof *m);
    char *text = arena_strndup(sc->a, k->text.ptr, k->text.len);
    struct content c;
    char id[ID_CAP];
    uint32_t ordinal;
    if (m == NULL || text == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    vs__scan_reply__item__init(m);
    enum status st = catalogue_chunk_name(sc->db, k->no, id, &ordinal, err);
    if (st == STATUS_OK && sc->content != k->content) {
        st = catalogue_content_by_pk(sc->db, k->content, sc->a, &c, err);
        sc->content = k->content;
        sc->title = st == STATUS_OK ? c.title : "";
    }
    if (st == STATUS_OK) {
        st = chunk_id_make(id, ordinal, sc->a, &m->key, err);
    }
    if (st != STATUS_OK) {
        return st;
    }
    m->text = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = k->text.len};
    m->title = arena_printf(sc->a, "%s%s%.*s", sc->title, k->heading.len > 0 ? "\n" : "",
                            STR_ARG(k->heading));
    if (m->title == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    sc->out->items[sc->out->n_items++] = m;
    sc->last = k->no;
    sc->bytes += k->text.len + k->heading.len;
    return STATUS_OK;
}

/* The cursor is the id of the last passage: where that is gone, the scan starts again, which is
 * only slower. */
static enum status scan_from(struct reader *r, ProtobufCBinaryData after, struct arena *a,
                             chunk_no *from, struct error *err)
{
    struct str id;
    uint32_t ordinal;
    struct content k;
    struct stored_chunk chunk;
    *from = 0;
    if (after.len == 0) {
        return STATUS_OK;
    }
    if (!chunk_id_parse(after, &id, &ordinal)) {
        return error_set(err, STATUS_INVALID, "not a cursor of a scan");
    }
    enum status st = catalogue_content_by_id(r->db, id, a, &k, err);
    if (st == STATUS_OK) {
        st = catalogue_chunk_by_ordinal(r->db, k.pk, ordinal, a, &chunk, err);
    }
    if (st == STATUS_OK) {
        *from = chunk.no + 1;
    }
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

enum status store_scan(struct store *s, const char *missing_encoder, ProtobufCBinaryData after,
                       uint32_t page, struct arena *a, Vs__ScanReply *out, bool *last,
                       struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct encoder e = {0};
    chunk_no from = 0;
    page = page == 0 || page > SCAN_PAGE ? SCAN_PAGE : page;
    vs__scan_reply__init(out);
    struct scanning sc = {.a = a, .out = out, .title = ""};
    out->items = arena_array(a, page, sizeof *out->items);
    enum status st = out->items == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                        : reader_take(s, &r, &state, err);
    if (st == STATUS_OK && missing_encoder != NULL && missing_encoder[0] != '\0') {
        st = catalogue_encoder_by_name(r->db, str_from(missing_encoder), a, &e, err);
    }
    if (st == STATUS_OK) {
        st = scan_from(r, after, a, &from, err);
    }
    if (st == STATUS_OK) {
        sc.db = r->db;
        st = catalogue_chunks_scan(r->db, from, page, e.pk, scan_item, &sc, err);
    }
    reader_give(s, r);
    bool full = st == STATUS_TOO_LARGE || out->n_items == page;
    if (st == STATUS_OK || st == STATUS_TOO_LARGE) {
        out->cursor = out->n_items == 0 ? after : out->items[out->n_items - 1]->key;
        *last = !full;
        st = STATUS_OK;
    }
    return st;
}

/* ---- what a fit may know ---- */

enum status store_scan_basis(struct store *s, struct arena *a, ProtobufCBinaryData *out,
                             struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    int64_t basis[2] = {0, 0}; /* the last content there ever was, how many there are */
    int64_t alive = 0;
    enum status st = reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = catalogue_contents_ever(r->db, &basis[0], err);
    }
    if (st == STATUS_OK) {
        st = catalogue_contents_to(r->db, basis[0], &basis[1], &alive, err);
    }
    reader_give(s, r);
    out->data =
        st == STATUS_OK ? (uint8_t *)arena_strndup(a, (const char *)basis, sizeof basis) : NULL;
    out->len = sizeof basis;
    return st == STATUS_OK && out->data == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                                : st;
}

/* Contents that came since are counted as known too: the scan may have met them. Nothing went when
 * those of then are all there, and as many more as numbers were given out since. */
static enum status contents_since(struct store *s, const int64_t basis[2], int64_t *last,
                                  int64_t *all, struct error *err)
{
    int64_t then = 0;
    int64_t alive = 0;
    enum status st = catalogue_contents_to(s->writer, basis[0], &then, &alive, err);
    if (st == STATUS_OK) {
        st = catalogue_contents_ever(s->writer, last, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_contents_to(s->writer, *last, all, &alive, err);
    }
    if (st == STATUS_OK && (then != basis[1] || *all - then != *last - basis[0])) {
        *last = -1;
        *all = 0;
    }
    return st;
}

enum status store_encoder_basis(struct store *s, const char *encoder, ProtobufCBinaryData basis,
                                struct error *err)
{
    struct catalogue_state state;
    int64_t from[2];
    int64_t last = -1;
    int64_t all = 0;
    if (basis.len != sizeof from) {
        return error_set(err, STATUS_INVALID, "not the basis of a scan");
    }
    memcpy(from, basis.data, sizeof from);
    enum status st = catalogue_begin_write(s->writer, &state, err);
    if (st == STATUS_OK) {
        st = contents_since(s, from, &last, &all, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_encoder_fitted(s->writer, encoder, last, all, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_commit(s->writer, &state, err);
    }
    catalogue_end(s->writer);
    return st;
}

/* ---- vectors ---- */

static enum status put_vector(struct store *s, struct catalogue_state *state,
                              const struct encoder *e, const Vs__PutVectorsRequest__Item *m,
                              bool *stored, struct error *err)
{
    struct arena a;
    struct str id;
    uint32_t ordinal;
    struct content k;
    struct stored_chunk chunk;
    uint16_t unit[VECTOR_MAX_DIMENSIONS];
    struct str in = {.ptr = (const char *)m->vector.data, .len = m->vector.len};
    *stored = false;
    bool good = in.len == (size_t)e->dimensions * sizeof(float)
                    ? vector_normalise_floats(in, unit, e->dimensions)
                    : in.len == (size_t)e->dimensions * sizeof unit[0] &&
                          vector_normalise(in, unit, e->dimensions);
    if (!good) {
        return error_set(err, STATUS_INVALID, "a vector of %s must be %u numbers of 2 or 4 bytes",
                         e->name, e->dimensions);
    }
    in.len = (size_t)e->dimensions * sizeof unit[0];
    if (!chunk_id_parse(m->key, &id, &ordinal)) {
        return error_set(err, STATUS_INVALID, "not a key of a scan");
    }
    arena_init(&a, (size_t)1024 * 1024);
    enum status st = catalogue_content_by_id(s->writer, id, &a, &k, err);
    if (st == STATUS_OK && (k.state == CONTENT_PUBLISHED || k.state == CONTENT_RETAINED)) {
        st = catalogue_chunk_by_ordinal(s->writer, k.pk, ordinal, &a, &chunk, err);
        if (st == STATUS_OK) {
            st = catalogue_vector_add(s->writer, e->pk, state->next_vector++, chunk.no,
                                      (struct str){.ptr = (const char *)unit, .len = in.len},
                                      stored, err);
        }
        if (st == STATUS_OK && *stored) {
            st = catalogue_content_encoder_add(s->writer, k.pk, e->pk, 1, err);
        }
    }
    arena_reset(&a);
    return st == STATUS_NOT_FOUND ? STATUS_OK : st; /* removed meanwhile */
}

enum status store_put_vectors(struct store *s, const Vs__PutVectorsRequest *m,
                              Vs__PutVectorsReply *out, struct error *err)
{
    struct arena a;
    struct catalogue_state state;
    struct encoder e = {0};
    uint32_t n = 0;
    arena_init(&a, (size_t)1024 * 1024);
    enum status st = encoder_begin(s, m->encoder, &a, &state, &e, err);
    for (size_t i = 0; i < m->n_items && st == STATUS_OK; i++) {
        bool stored;
        st = put_vector(s, &state, &e, m->items[i], &stored, err);
        n += st == STATUS_OK && stored ? 1 : 0;
    }
    if (st == STATUS_OK && n > 0) {
        st = catalogue_encoder_count(s->writer, e.pk, n, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_commit(s->writer, &state, err);
    }
    catalogue_end(s->writer);
    if (st == STATUS_OK) {
        out->stored = n;
    }
    arena_reset(&a);
    return st;
}

/* ---- sealing ---- */

struct seal_job {
    struct store *s;
    bool *sealed;
    enum status status;
    struct error *err;
};

static void seal_all(void *data)
{
    struct seal_job *j = data;
    struct store *s = j->s;
    struct arena a;
    struct catalogue_state state;
    struct encoder e = {0};
    enum status st = STATUS_OK;
    arena_init(&a, (size_t)1024 * 1024);
    while (st == STATUS_OK) {
        bool done = false;
        st = catalogue_begin_read(s->sealer, &state, j->err);
        if (st == STATUS_OK) {
            st = catalogue_encoder_after(s->sealer, e.pk, &a, &e, j->err);
        }
        catalogue_end(s->sealer);
        if (st == STATUS_OK && e.state != ENCODER_RETIRED) {
            st = vectors_seal(s->vectors, s->sealer, &e, &done, j->err);
            *j->sealed = *j->sealed || done;
        }
    }
    arena_reset(&a);
    st = st == STATUS_NOT_FOUND ? STATUS_OK : st;
    struct error why;
    bool done = false;
    enum status text = index_seal(s, &done, st == STATUS_OK ? j->err : &why);
    *j->sealed = *j->sealed || done;
    text = text == STATUS_CANCELLED ? STATUS_OK : text; /* the store is closing */
    j->status = st == STATUS_OK ? text : st;
}

enum status sealer_open(struct store *s, struct error *err)
{
    char path[1100];
    if (s->sealer != NULL) {
        return STATUS_OK;
    }
    enum status st = file_join(path, sizeof path, s->dir, "store.db", err);
    return st == STATUS_OK ? catalogue_open(path, false, &s->sealer, err) : st;
}

enum status store_seal(struct store *s, bool *sealed, struct error *err)
{
    struct seal_job job = {.s = s, .sealed = sealed, .err = err};
    *sealed = false;
    enum status st = segment_keys_look(s->keys, err);
    if (st == STATUS_OK) {
        st = sealer_open(s, err);
    }
    if (st != STATUS_OK) {
        return st;
    }
    background_run(seal_all, &job);
    return job.status;
}

void store_closing(struct store *s)
{
    atomic_store(&s->closing, true);
    vectors_stop(s->vectors);
}

void store_purge_waits(struct store *s, bool waits)
{
    vectors_yield(s->vectors, waits);
}
