/* The catalogue: one tenant's store.db, as operations. Knows SQL and nothing of documents' meaning:
 * put.c, index.c, search.c and encoders.c say what happens, in transactions they open here.
 *
 * One connection; one thread at a time. There is one writer a tenant (and process); readers see a
 * consistent snapshot between catalogue_begin_read and catalogue_end. What an operation returns
 * lives in the arena given to it, or, where it visits rows, until the visit returns. Visiting
 * functions may not start the same operation again from inside the visit. */
#ifndef CARREL_VECTORSTORE_CATALOGUE_H
#define CARREL_VECTORSTORE_CATALOGUE_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/status.h"
#include "base/str.h"
#include "vectorstore/lexical.h"

struct catalogue;

/* retained: without a location, kept for its versions */
enum content_state { CONTENT_STAGED, CONTENT_PUBLISHED, CONTENT_DEAD, CONTENT_RETAINED };
/* kept: it was published before, and a rollback may want it again */
enum encoder_state {
    ENCODER_BUILDING, /* to be published as soon as nothing stands against it */
    ENCODER_PUBLISHED,
    ENCODER_RETIRED,
    ENCODER_KEPT,      /* published before */
    ENCODER_CANDIDATE, /* filled, and published when somebody promotes it */
};
/* Why an encoder is being built. */
enum encoder_intent { ENCODER_BY_GROWTH, ENCODER_ASKED, ENCODER_FORCED };

struct catalogue_state { /* the one row of counters */
    int64_t generation;  /* grows with every visible change */
    int64_t documents;   /* locations that have a content */
    int64_t visible;     /* chunks of published contents */
    int64_t next_chunk, next_vector;
    int64_t retained;      /* chunks of retained contents */
    int64_t versions_from; /* versions are complete from this time (ms) on */
};

struct content {
    int64_t pk;
    char id[ID_CAP];
    uint8_t hash[SHA256_BYTES];
    const char *pipeline, *format, *title, *language;
    const char *author, *keywords; /* "": it says none, as its dates */
    int64_t created_ms, modified_ms;
    bool has_created, has_modified;
    uint32_t pages, boxes, chunks;
    uint64_t size, text_size;
    enum content_state state;
};

struct location {
    const char *document, *source, *collection, *label;
    struct str path;
    struct str readers, tags; /* names, each ended by NUL */
    bool dated; /* by a rule; else date_ms is modified_ms, and its own date goes before it */
    int64_t date_ms;
    uint64_t sequence;
    int64_t modified_ms;
    bool excluded;
    int64_t content; /* 0: removed */
};

/* A version of a document as a place where its content stood: what it was called then, who may read
 * it today. */
struct doc_place {
    int64_t content;
    const char *document, *collection, *label, *label_now, *language, *format, *author;
    struct str path, tags, readers;
    uint32_t pages;
    uint64_t hash; /* its first eight bytes, the first one highest */
    int64_t date_ms;
    int64_t from_ms, to_ms; /* to_ms INT64_MAX while it is the latest */
    bool excluded;          /* today */
    bool current;           /* the document stands there now */
};

struct version {
    int64_t from_ms, to_ms; /* to_ms INT64_MAX: until now */
    uint8_t hash[SHA256_BYTES];
    const char *title, *collection, *label;
    struct str path, tags;
    int64_t date_ms;
    bool stored; /* its text is kept */
};

struct stored_chunk {
    chunk_no no;
    int64_t content;
    uint32_t ordinal, start, end, page, page_end, length, gram_length;
    int64_t byte;       /* offset of its text in the content's text blob; -1 unknown */
    struct str heading; /* heading path; on further lines context, see chunk_context */
    struct str text, unit;
};

struct encoder {
    int64_t pk;
    const char *name;
    uint32_t dimensions, fitted_on;
    enum encoder_state state;
    int64_t vectors; /* of published contents */
    int64_t retired_ms;
    enum encoder_intent intent;
    struct str comparison; /* packed; empty: none */
    int64_t fitted_to, fitted_contents;
};

/* The first eight bytes as a number that orders as they do; what is missing counts as 0. */
static inline uint64_t hash_head(const void *p, size_t len)
{
    uint64_t h = 0;
    for (size_t i = 0; i < 8; i++) {
        h = h << 8 | (i < len ? ((const uint8_t *)p)[i] : 0);
    }
    return h;
}

/* Opens (creating, migrating) for the one writer, or an existing file for a reader. */
enum status catalogue_open(const char *path, bool writer, struct catalogue **out,
                           struct error *err) MUST_CHECK;
void catalogue_close(struct catalogue *c); /* NULL is fine */
/* Room for pages during a walk over everything; false: as before, the surplus given back. */
void catalogue_roomy(struct catalogue *c, bool roomy);

enum status catalogue_begin_read(struct catalogue *c, struct catalogue_state *out,
                                 struct error *err) MUST_CHECK;
enum status catalogue_begin_write(struct catalogue *c, struct catalogue_state *out,
                                  struct error *err) MUST_CHECK;
/* Saves the counters and commits; rolls back when that fails. */
enum status catalogue_commit(struct catalogue *c, const struct catalogue_state *state,
                             struct error *err) MUST_CHECK;
/* Ends a read, or rolls back a write; does nothing outside a transaction. */
void catalogue_end(struct catalogue *c);

/* ---- contents; NOT_FOUND (with a text) where nothing is there ---- */
enum status catalogue_content_find(struct catalogue *c, const uint8_t hash[SHA256_BYTES],
                                   const char *pipeline, struct arena *a, struct content *out,
                                   struct error *err) MUST_CHECK;
enum status catalogue_content_by_pk(struct catalogue *c, int64_t pk, struct arena *a,
                                    struct content *out, struct error *err) MUST_CHECK;
enum status catalogue_content_by_id(struct catalogue *c, struct str id, struct arena *a,
                                    struct content *out, struct error *err) MUST_CHECK;
enum status catalogue_content_after(struct catalogue *c, int64_t pk, struct arena *a,
                                    struct content *out, struct error *err) MUST_CHECK;
enum status catalogue_content_unsettled(struct catalogue *c, enum content_state state,
                                        struct arena *a, struct content *out,
                                        struct error *err) MUST_CHECK;
enum status catalogue_content_add(struct catalogue *c, const struct content *in, int64_t *pk,
                                  struct error *err) MUST_CHECK;
/* language, text_size, boxes, chunks and state */
enum status catalogue_content_update(struct catalogue *c, const struct content *in,
                                     struct error *err) MUST_CHECK;
enum status catalogue_content_delete(struct catalogue *c, int64_t pk, struct error *err) MUST_CHECK;
/* How many contents (of any state) use the original, and its structure by this pipeline. */
enum status catalogue_content_uses(struct catalogue *c, const uint8_t hash[SHA256_BYTES],
                                   const char *pipeline, int64_t *original, int64_t *structure,
                                   struct error *err) MUST_CHECK;

/* ---- locations and versions ---- */
enum status catalogue_location_get(struct catalogue *c, struct str document, struct arena *a,
                                   struct location *out, struct error *err) MUST_CHECK;
/* For a question that may be refused: the same work whether there is such a document or not. *same
 * false: there is none, and out is another's. NOT_FOUND only where there is no document at all. */
enum status catalogue_location_asked(struct catalogue *c, struct str document, struct arena *a,
                                     struct location *out, bool *same,
                                     struct error *err) MUST_CHECK;
enum status catalogue_location_set(struct catalogue *c, const struct location *in,
                                   struct error *err) MUST_CHECK;
/* The first document after this id that has a content. */
enum status catalogue_location_after(struct catalogue *c, struct str document, struct arena *a,
                                     struct location *out, struct error *err) MUST_CHECK;
enum status catalogue_content_located(struct catalogue *c, int64_t content, bool *any,
                                      struct error *err) MUST_CHECK;
enum status catalogue_location_count(struct catalogue *c, int64_t *locations,
                                     int64_t *open_versions, struct error *err) MUST_CHECK;
/* Closes the open version of the document, if any; opens a new one of l->content when hash is not
 * NULL. Times of one document never go back. */
enum status catalogue_version(struct catalogue *c, const struct location *l, const uint8_t *hash,
                              int64_t now_ms, struct error *err) MUST_CHECK;
struct version_key {
    int64_t no, content; /* content 0: none */
    int64_t to_ms;
    char hold[ID_CAP]; /* the legal hold over it; "": none */
};
/* At most cap closed versions: the oldest beyond `keep` of a document; those closed by `before_ms`
 * that come after the end and number of `after`, in that order. */
enum status catalogue_versions_excess(struct catalogue *c, const char *document, uint32_t keep,
                                      struct version_key *out, size_t cap, size_t *n,
                                      struct error *err) MUST_CHECK;
enum status catalogue_versions_expired(struct catalogue *c, int64_t before_ms,
                                       const struct version_key *after, struct version_key *out,
                                       size_t cap, size_t *n, struct error *err) MUST_CHECK;
/* The document's versions that have content `from` have `to`. */
enum status catalogue_version_recut(struct catalogue *c, const char *document, int64_t from,
                                    int64_t to, struct error *err) MUST_CHECK;
enum status catalogue_version_delete(struct catalogue *c, int64_t no, struct error *err) MUST_CHECK;
enum status catalogue_content_versioned(struct catalogue *c, int64_t content, bool *any,
                                        struct error *err) MUST_CHECK;
/* ---- legal holds over versions: catalogue_holds.c ---- */
enum hold_target { HOLD_ON_DOCUMENT = 1, HOLD_ON_PATH = 2, HOLD_ON_COLLECTION = 3 }; /* stored */
/* known: ingest has told them; n: how many. */
enum status catalogue_holds(struct catalogue *c, bool *known, int64_t *n,
                            struct error *err) MUST_CHECK;
enum status catalogue_holds_known(struct catalogue *c, bool known, struct error *err) MUST_CHECK;
enum status catalogue_hold_set(struct catalogue *c, const char *id, enum hold_target kind,
                               struct str target, int64_t round, struct error *err) MUST_CHECK;
/* Those of other rounds go. */
enum status catalogue_holds_lift(struct catalogue *c, int64_t round, struct error *err) MUST_CHECK;
/* A hold on the document, on the path or a folder above it, or on the collection; "": none. */
enum status catalogue_held(struct catalogue *c, struct str document, struct str path,
                           struct str collection, char hold[ID_CAP], struct error *err) MUST_CHECK;
/* Versions under a hold, where they stood then: all of one document; those that have this content
 * and are of other documents. */
typedef enum status (*held_visit)(struct str document, struct str path, const char *hold,
                                  void *data, struct error *err);
enum status catalogue_held_of(struct catalogue *c, const char *document, held_visit visit,
                              void *data, struct error *err) MUST_CHECK;
enum status catalogue_held_elsewhere(struct catalogue *c, int64_t content, const char *document,
                                     held_visit visit, void *data, struct error *err) MUST_CHECK;

typedef enum status (*version_visit)(const struct version *v, void *data, struct error *err);
/* Newest first. */
enum status catalogue_versions_of(struct catalogue *c, const char *document, uint32_t limit,
                                  version_visit visit, void *data, struct error *err) MUST_CHECK;

/* ---- places: catalogue_places.c ---- */
typedef enum status (*place_visit)(const struct doc_place *p, void *data, struct error *err);
/* content 0: of every stored content, in no order; else by path. */
enum status catalogue_places(struct catalogue *c, int64_t content, place_visit visit, void *data,
                             struct error *err) MUST_CHECK;
/* Where the document stood at that time; NOT_FOUND. */
enum status catalogue_place_at(struct catalogue *c, struct str document, int64_t when_ms,
                               struct arena *a, struct doc_place *out,
                               struct error *err) MUST_CHECK;
/* The first document after this id that stood somewhere at that time; NOT_FOUND. */
enum status catalogue_place_after(struct catalogue *c, struct str document, int64_t when_ms,
                                  struct arena *a, struct doc_place *out,
                                  struct error *err) MUST_CHECK;
typedef enum status (*content_span_visit)(int64_t content, chunk_no first, chunk_no last,
                                          void *data, struct error *err);
/* content 0: every run of chunk numbers, by content; ascending within one. */
enum status catalogue_spans(struct catalogue *c, int64_t content, content_span_visit visit,
                            void *data, struct error *err) MUST_CHECK;
/* The log of contents whose places, runs or state changed: its first and last number, 0 when empty;
 * the contents named after a number. */
enum status catalogue_touched_range(struct catalogue *c, int64_t *first, int64_t *last,
                                    struct error *err) MUST_CHECK;
typedef enum status (*touched_visit)(int64_t content, void *data, struct error *err);
enum status catalogue_touched_since(struct catalogue *c, int64_t seq, touched_visit visit,
                                    void *data, struct error *err) MUST_CHECK;
enum status catalogue_touched_prune(struct catalogue *c, int64_t below,
                                    struct error *err) MUST_CHECK;

/* ---- chunks ---- */
enum status catalogue_chunk_add(struct catalogue *c, const struct stored_chunk *in,
                                struct error *err) MUST_CHECK;
enum status catalogue_chunk_by_ordinal(struct catalogue *c, int64_t content, uint32_t ordinal,
                                       struct arena *a, struct stored_chunk *out,
                                       struct error *err) MUST_CHECK;
typedef enum status (*chunk_visit)(const struct stored_chunk *k, void *data, struct error *err);
/* By ordinal, from `ordinal` on, at most limit. */
enum status catalogue_chunks_of(struct catalogue *c, int64_t content, uint32_t ordinal,
                                uint32_t limit, chunk_visit visit, void *data,
                                struct error *err) MUST_CHECK;
/* By number, from `from` on, at most limit: every one. */
enum status catalogue_chunks_from(struct catalogue *c, chunk_no from, uint32_t limit,
                                  chunk_visit visit, void *data, struct error *err) MUST_CHECK;
/* The same, of published contents; with missing > 0 only those without a vector of that encoder. */
enum status catalogue_chunks_scan(struct catalogue *c, chunk_no from, uint32_t limit,
                                  int64_t missing, chunk_visit visit, void *data,
                                  struct error *err) MUST_CHECK;
/* What re-scoring needs; out is valid until the next call. */
enum status catalogue_chunk_rescore(struct catalogue *c, chunk_no no, struct str *text,
                                    struct str *title, struct str *heading, struct str *language,
                                    uint32_t *length, uint32_t *gram_length,
                                    struct error *err) MUST_CHECK;
/* content id (26 characters, not NUL-terminated) and ordinal */
enum status catalogue_chunk_name(struct catalogue *c, chunk_no no, char content[ID_CAP],
                                 uint32_t *ordinal, struct error *err) MUST_CHECK;
enum status catalogue_chunk_count_of(struct catalogue *c, int64_t content, int64_t *n,
                                     struct error *err) MUST_CHECK;
enum status catalogue_chunk_delete(struct catalogue *c, chunk_no no, struct error *err) MUST_CHECK;
enum status catalogue_span_add(struct catalogue *c, int64_t content, chunk_no first, chunk_no last,
                               struct error *err) MUST_CHECK;
enum status catalogue_span_delete(struct catalogue *c, int64_t content,
                                  struct error *err) MUST_CHECK;
typedef enum status (*span_visit)(chunk_no first, chunk_no last, void *data, struct error *err);
/* Every run of chunk numbers that exists. */
enum status catalogue_spans_all(struct catalogue *c, span_visit visit, void *data,
                                struct error *err) MUST_CHECK;

/* ---- encoders and vectors ---- */
enum status catalogue_encoder_by_name(struct catalogue *c, struct str name, struct arena *a,
                                      struct encoder *out, struct error *err) MUST_CHECK;
/* The newest in that state. */
enum status catalogue_encoder_by_state(struct catalogue *c, enum encoder_state state,
                                       struct arena *a, struct encoder *out,
                                       struct error *err) MUST_CHECK;
enum status catalogue_encoder_after(struct catalogue *c, int64_t pk, struct arena *a,
                                    struct encoder *out, struct error *err) MUST_CHECK;
enum status catalogue_encoder_add(struct catalogue *c, const struct encoder *in,
                                  struct error *err) MUST_CHECK;
/* state, retired_ms, fitted_on */
enum status catalogue_encoder_set(struct catalogue *c, const struct encoder *in,
                                  struct error *err) MUST_CHECK;
enum status catalogue_encoder_fitted(struct catalogue *c, const char *name, int64_t to,
                                     int64_t contents, struct error *err) MUST_CHECK;
/* The number of the last content that there ever was. */
enum status catalogue_contents_ever(struct catalogue *c, int64_t *last,
                                    struct error *err) MUST_CHECK;
/* Those up to that number: all, and those that are not waiting to be removed. */
enum status catalogue_contents_to(struct catalogue *c, int64_t last, int64_t *all, int64_t *alive,
                                  struct error *err) MUST_CHECK;
enum status catalogue_encoder_compared(struct catalogue *c, int64_t encoder, struct str packed,
                                       struct error *err) MUST_CHECK;
enum status catalogue_encoder_count(struct catalogue *c, int64_t encoder, int64_t delta,
                                    struct error *err) MUST_CHECK;
enum status catalogue_encoder_delete(struct catalogue *c, int64_t encoder,
                                     struct error *err) MUST_CHECK;
/* *added false when the chunk has one already. */
enum status catalogue_vector_add(struct catalogue *c, int64_t encoder, int64_t seq, chunk_no chunk,
                                 struct str vector, bool *added, struct error *err) MUST_CHECK;
typedef enum status (*vector_visit)(int64_t seq, chunk_no chunk, struct str vector, void *data,
                                    struct error *err);
/* seq in (after, until], in order. */
enum status catalogue_vectors_between(struct catalogue *c, int64_t encoder, int64_t after,
                                      int64_t until, vector_visit visit, void *data,
                                      struct error *err) MUST_CHECK;
enum status catalogue_vectors_count(struct catalogue *c, int64_t encoder, int64_t after,
                                    int64_t until, int64_t *n, int64_t *last,
                                    struct error *err) MUST_CHECK;
enum status catalogue_vectors_delete_chunk(struct catalogue *c, chunk_no chunk,
                                           struct error *err) MUST_CHECK;
/* The first `limit` vectors of the encoder; *n how many went. */
enum status catalogue_vectors_delete_some(struct catalogue *c, int64_t encoder, uint32_t limit,
                                          int64_t *n, struct error *err) MUST_CHECK;
enum status catalogue_content_encoder_add(struct catalogue *c, int64_t content, int64_t encoder,
                                          int64_t n, struct error *err) MUST_CHECK;
/* Adds sign * (its vectors) to each encoder's count: when a content is published, or dies. */
enum status catalogue_content_encoders_count(struct catalogue *c, int64_t content, int sign,
                                             struct error *err) MUST_CHECK;
enum status catalogue_content_encoders_delete(struct catalogue *c, int64_t content,
                                              struct error *err) MUST_CHECK;
enum status catalogue_missing(struct catalogue *c, int64_t encoder, int64_t *n,
                              struct error *err) MUST_CHECK;
/* Vectors without a chunk or encoder; and vectors of the encoder whose chunk is published. */
enum status catalogue_vectors_check(struct catalogue *c, int64_t encoder, int64_t *stray,
                                    int64_t *counted, struct error *err) MUST_CHECK;

/* ---- full text ---- */
/* Runs of the full-text index that no segment covers yet: what the chunks first..last add, as an
 * image (text_part.h). Taken from the transaction that adds the chunks, so that a kill loses
 * nothing. */
enum status catalogue_run_add(struct catalogue *c, chunk_no first, chunk_no last, struct str image,
                              struct error *err) MUST_CHECK;
typedef enum status (*run_visit)(chunk_no first, chunk_no last, struct str image, void *data,
                                 struct error *err);
/* From `first` on, in order, at most limit; image is empty unless asked for. */
enum status catalogue_runs(struct catalogue *c, chunk_no first, uint32_t limit, bool image,
                           run_visit visit, void *data, struct error *err) MUST_CHECK;
enum status catalogue_run_delete(struct catalogue *c, chunk_no first, struct error *err) MUST_CHECK;
enum status catalogue_language_add(struct catalogue *c, const char *language, int64_t chunks,
                                   struct error *err) MUST_CHECK;
/* Most chunks first, at most 16; "" left out. */
enum status catalogue_languages(struct catalogue *c, struct arena *a, const char *const **out,
                                size_t *n, struct error *err) MUST_CHECK;
/* ---- erasure ---- */
#define VERSION_CONTENTS_MAX 1000
/* How many versions, and the contents that they kept (row numbers; out: VERSION_CONTENTS_MAX). */
enum status catalogue_versions_count(struct catalogue *c, const char *document, int64_t *n,
                                     struct error *err) MUST_CHECK;
enum status catalogue_versions_contents(struct catalogue *c, const char *document, int64_t *out,
                                        size_t *n, struct error *err) MUST_CHECK;
enum status catalogue_versions_forget(struct catalogue *c, const char *document,
                                      struct error *err) MUST_CHECK;
/* Of any document. */
enum status catalogue_versions_forget_content(struct catalogue *c, int64_t content,
                                              struct error *err) MUST_CHECK;
/* Every path and set of tags that the documents after `after` ("": from the first) have or had, so
 * many documents; last: where to go on, "": that were all. */
typedef enum status (*name_visit)(const char *document, struct str path, struct str tags,
                                  void *data, struct error *err);
enum status catalogue_names(struct catalogue *c, struct str after, uint32_t documents,
                            char last[ID_CAP], name_visit visit, void *data,
                            struct error *err) MUST_CHECK;
/* Outside a transaction: what was deleted leaves the file (base/db.h). */
enum status catalogue_scrub(struct catalogue *c, bool whole, bool *done,
                            struct error *err) MUST_CHECK;
/* The database's own check; CORRUPT with its first complaint. */
enum status catalogue_integrity(struct catalogue *c, struct error *err) MUST_CHECK;

#endif
