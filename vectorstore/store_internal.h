/* What the files of the store share. */
#ifndef CARREL_VECTORSTORE_STORE_INTERNAL_H
#define CARREL_VECTORSTORE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/text/text.h"
#include "vectorstore/access.h"
#include "vectorstore/blobs.h"
#include "vectorstore/catalogue.h"
#include "vectorstore/lexical_explain.h"
#include "vectorstore/rights.h"
#include "vectorstore/store.h"
#include "vectorstore/text_index.h"
#include "vectorstore/vectors.h"

struct reader {
    struct catalogue *db;
    struct text_analyzer *text;
    bool busy;
};

/* The searches', and one for the writer, which looks at what it has put. */
#define STORE_READERS_ALL (STORE_READERS + 1)

struct store {
    char dir[1024];
    struct blobs blobs;
    /* the writer's */
    struct catalogue *writer;
    struct text_analyzer *writer_text;
    bool marked; /* the sign that it is open is on disk */
    /* shared, under lock */
    pthread_mutex_t lock;
    struct reader readers[STORE_READERS_ALL];
    /* their own locks */
    struct segment_keys *keys;
    struct vectors *vectors;
    struct rights *rights;
    struct text_index *text;
    /* the sealing thread's */
    struct catalogue *sealer;
    struct text_analyzer *sealer_text;
    uint32_t seals;          /* times it looked */
    _Atomic uint32_t active; /* readers in use: background work makes way */
    _Atomic bool holes;      /* the full-text index may have some */
    _Atomic bool closing;    /* background work ends soon */
    _Atomic uint32_t documents, chunks;
    _Atomic int64_t keep_ms;   /* how long the encoder published before is kept; 0: not */
    _Atomic int64_t retain_ms; /* how long replaced and removed versions are kept */
    _Atomic bool holds_known;  /* ingest has told its legal holds: until then all is kept */
    _Atomic bool holds_any;
    /* the writer's: expired versions up to this one are held; looked at again from time to time */
    struct version_key passed;
    int64_t passed_since_ms;
};

/* A reader in a transaction of its own; BUSY when all are taken. */
enum status reader_take(struct store *s, struct reader **out, struct catalogue_state *state,
                        struct error *err) MUST_CHECK;
void reader_give(struct store *s, struct reader *r); /* NULL is fine */

/* The writer's: before anything that a crash would leave behind. */
enum status store_mark(struct store *s, struct error *err) MUST_CHECK;

/* ---- index.c ---- */

struct index_chunk {
    chunk_no no;
    struct str text, heading;
    uint32_t length, gram_length; /* set by index_add */
};
/* In the writer's transaction, which has added n chunks of adjoining numbers above all others:
 * their run. *part is the caller's until index_publish or text_part_drop. */
enum status index_add(struct store *s, struct index_chunk *chunks, size_t n, const char *title,
                      const char *language, struct text_part **part, struct error *err) MUST_CHECK;
/* After the commit: the run can be found. part may be NULL. */
void index_publish(struct store *s, struct text_part *part);
/* The runs that no segment covers, into the index; at the opening. */
enum status index_load(struct store *s, struct error *err) MUST_CHECK;
/* [writer] Deletes rows of runs that segments cover. */
enum status index_forget_runs(struct store *s, bool *more, struct error *err) MUST_CHECK;
/* [writer] One step of taking what is gone out of every part and run, whether enough has died or
 * not. begin: what sealing has begun before is thrown away. */
enum status index_purge_all(struct store *s, bool begin, bool *more, struct error *err) MUST_CHECK;
/* [seal] One step of sealing, filling holes, making stale parts again, merging; *done: there may be
 * another. */
enum status index_seal(struct store *s, bool *done, struct error *err) MUST_CHECK;
/* What a stored heading holds behind the heading path, which *path becomes; empty: nothing. */
static inline struct str chunk_context(struct str heading, struct str *path)
{
    const char *line = heading.len == 0 ? NULL : memchr(heading.ptr, '\n', heading.len);
    size_t len = line == NULL ? heading.len : (size_t)(line - heading.ptr);
    *path = (struct str){heading.ptr, len};
    return line == NULL ? STR("") : (struct str){line + 1, heading.len - len - 1};
}
/* Title as indexed and re-scored: document title and heading path. */
struct str index_title(const char *title, struct str heading, struct buf *scratch);

/* ---- content.c ---- */

/* Removes at most a batch of an unpublished or dead content; *gone when its last row went. Own
 * transaction. */
enum status content_shrink(struct store *s, const struct content *k, bool *gone,
                           struct error *err) MUST_CHECK;
/* After a commit: removes the files of k that no content names any more. */
enum status content_drop_blobs(struct store *s, const struct content *k,
                               struct error *err) MUST_CHECK;
/* In the writer's transaction: a content that has lost a location dies when it was the last. */
enum status content_unlocated(struct store *s, struct catalogue_state *state, int64_t content,
                              struct error *err) MUST_CHECK;

/* The segments of encoders that are gone go too. */
enum status content_forget_segments(struct store *s, struct arena *a, struct error *err) MUST_CHECK;

/* ---- promote.c ---- */

/* Begins the writer's transaction (catalogue_end() is the caller's, however it went) with the
 * encoder of that name. NOT_FOUND; CONFLICT: it is retired, and in *e all the same. */
enum status encoder_begin(struct store *s, const char *name, struct arena *a,
                          struct catalogue_state *state, struct encoder *e,
                          struct error *err) MUST_CHECK;
/* In the writer's transaction: one that is not to be published after all goes back to where it was:
 * kept for a rollback, a candidate where somebody asked for it, else away. The second: every one
 * that is being built but the one of that name. */
enum status encoder_put_back(struct store *s, struct encoder *e, struct error *err) MUST_CHECK;
enum status encoder_put_back_others(struct store *s, const char *but, struct arena *a,
                                    struct error *err) MUST_CHECK;
const char *encoder_state_name(enum encoder_state state);
/* "growth", "asked", "forced". */
const char *encoder_intent(const struct encoder *e);

/* ---- encoders.c ---- */

/* [seal] The sealing thread's connection is open afterwards. */
enum status sealer_open(struct store *s, struct error *err) MUST_CHECK;

/* ---- versions.c ---- */

/* In the writer's transaction: the document's version ends and, where hash is not NULL, a new one
 * begins; versions beyond STORE_VERSIONS_MAX are forgotten. Call content_unlocated for the content
 * it leaves afterwards. */
enum status version_begin(struct store *s, struct catalogue_state *state, const struct location *l,
                          const uint8_t *hash, struct error *err) MUST_CHECK;
/* One step of forgetting versions past their time. */
enum status maintain_versions(struct store *s, int64_t now_wall_ms, bool *more,
                              struct error *err) MUST_CHECK;
/* Is it kept what as_of asks for? INVALID, saying from when on, where it is not. The appliance and
 * administrators may ask for what only legal holds keep. */
enum status version_time_check(struct store *s, const struct catalogue_state *state,
                               const struct asker *who, const int64_t *as_of,
                               struct error *err) MUST_CHECK;
/* The same and access_check, for a filter that may be NULL. */
enum status filter_check(struct store *s, const struct catalogue_state *state,
                         const struct asker *who, const Vs__Filter *filter,
                         struct error *err) MUST_CHECK;

/* ---- holds.c ---- */

/* At the opening: are there holds? */
enum status holds_load(struct store *s, struct error *err) MUST_CHECK;
/* May a version be kept that no retention keeps? */
bool holds_keep(const struct store *s);

/* ---- location.c ---- */

struct location_names {
    struct buf readers, tags;
};
/* Checks m and makes *out of it, whose strings are m's and names'; tags each once. what: for
 * errors. location_names_deinit also after an error. */
enum status location_read(const Vs__Location *m, const char *what, struct location_names *names,
                          struct location *out, struct error *err) MUST_CHECK;
void location_names_deinit(struct location_names *names);
/* NUL-ended names as strings of a. */
enum status location_list(struct str names, struct arena *a, size_t *n, char ***out,
                          struct error *err) MUST_CHECK;
/* ---- erase.c: once at the opening, what the tenant's list of erasures names ---- */
enum status erase_again(struct store *s, struct error *err) MUST_CHECK;

/* ---- shared by readers ---- */
enum status document_info(const struct location *l, const struct content *k, struct arena *a,
                          Vs__DocumentInfo *out, struct error *err) MUST_CHECK;
/* The document's row; NOT_FOUND also where the asker may not read it, after the same work. */
enum status document_asked(struct catalogue *c, const struct asker *who, const char *document,
                           struct arena *a, struct location *l, struct error *err) MUST_CHECK;
/* As it stands, or as of a time (NULL: now). NOT_FOUND also where the asker may not read it. */
enum status document_find(struct store *s, struct reader *r, const struct catalogue_state *state,
                          const struct asker *who, const char *document, const int64_t *as_of,
                          struct arena *a, struct location *l, struct content *k,
                          struct error *err) MUST_CHECK;
enum status chunk_id_make(const char *content, uint32_t ordinal, struct arena *a,
                          ProtobufCBinaryData *out, struct error *err) MUST_CHECK;
bool chunk_id_parse(ProtobufCBinaryData id, struct str *content, uint32_t *ordinal);

/* What an explanation adds to a search: passages looked at word by word within its snapshot. */
struct explaining {
    /* sets chunks and n, once the candidates are known */
    enum status (*choose)(struct explaining *x, struct reader *r, const struct visible *visible,
                          struct arena *a, struct error *err);
    enum status (*reply)(struct explaining *x, struct reader *r, const struct lexical_result *res,
                         struct arena *a, struct error *err);
    void *data;
    struct store *store;
    const struct catalogue_state *state;
    const chunk_no *chunks;
    size_t n;
    struct lexical_detail *details;
};
enum status store_search_explained(struct store *s, const struct asker *who,
                                   const Vs__SearchTextRequest *m, struct arena *a,
                                   struct explaining *x, struct error *err) MUST_CHECK;

#endif
