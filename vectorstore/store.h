/* The store of one tenant: what service.c calls and the tests see. Messages are those of
 * vectorstore.proto.
 *
 * Threads: functions marked [writer] run on one thread at a time (the tenant's writer lane);
 * [reader] ones on up to STORE_READERS threads at once, beside the writer; [seal] on one thread
 * beside both. All block. Replies live in the arena they are given. */
#ifndef CARREL_VECTORSTORE_STORE_H
#define CARREL_VECTORSTORE_STORE_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/rpc/caller.h"
#include "base/status.h"
#include "vectorstore.pb-c.h"
#include "vectorstore/segment_keys.h"

#define STORE_READERS 3
#define STORE_BATCH_CHUNKS 256                         /* chunks in one transaction, at most */
#define STORE_BATCH_BYTES (1024 * 1024)                /* of their text */
#define STORE_CHUNK_BYTES (64 * 1024)                  /* text of one chunk, at most */
#define STORE_TEXT_BYTES ((uint64_t)256 * 1024 * 1024) /* extracted text of a document, at most */
#define STORE_SEAL_VECTORS 4096                        /* the tail is sealed from here on */
#define STORE_VERSIONS_MAX 1000                        /* kept of one document, at most */
#define STORE_GRACE_MS 60000 /* a retired encoder's vectors are searched for so long */

struct store;
struct put;

/* Who asks. caller NULL: the appliance's own work, which sees everything. cancelled may be NULL. */
struct asker {
    const struct caller *caller;
    const _Atomic bool *cancelled;
};

/* dir: tenants/<id>, made when missing. Sweeps what a crash left: unpublished contents, stray
 * blobs. */
enum status store_open(const char *dir, struct store **out, struct error *err) MUST_CHECK;
/* With a key where key_file is there (segment_keys.h): segments are then read and written under it.
 * UNAVAILABLE, naming the file, where the store has had a key and this is not it. cache: borrowed
 * until store_close. */
enum status store_open_keyed(const char *dir, const char *key_file, struct segment_cache *cache,
                             struct store **out, struct error *err) MUST_CHECK;
/* Is there a key, and how many segments are not encrypted yet? */
bool store_keyed(const struct store *s);
uint32_t store_clear_segments(const struct store *s);
void store_close(struct store *s); /* NULL is fine; no call may be running */

/* How long a version that was replaced or removed is kept for searches as of its time; 0 (so it is
 * after opening): not at all. Before other calls, or from the writer's thread. */
void store_retain_versions(struct store *s, int64_t ms);
/* How long the encoder that was published before is kept for a rollback; at first 0: not at all. */
void store_keep_encoders(struct store *s, int64_t ms);

/* ---- writing [writer] ---- */

/* begin: checked and copied. The put is owned: store_put_end frees it, committed or not. */
enum status store_put_begin(struct store *s, const Vs__PutRequest__Begin *begin, struct put **out,
                            struct error *err) MUST_CHECK;
/* A further message: original, text, boxes, chunks in any number. */
enum status store_put_add(struct put *p, const Vs__PutRequest *m, struct error *err) MUST_CHECK;
/* Between the last message and the commit, on any one thread: waits for the disk, so that the writer
 * need not. Optional. */
enum status store_put_sync(struct put *p, struct error *err) MUST_CHECK;
enum status store_put_commit(struct put *p, Vs__PutReply *out, struct error *err) MUST_CHECK;
/* What the store has of the document after a commit that was applied; lives in a. */
enum status store_put_stored(const struct put *p, struct arena *a, Vs__DocumentInfo *out,
                             struct error *err) MUST_CHECK;
void store_put_end(struct put *p); /* NULL is fine */

enum status store_move(struct store *s, const Vs__MoveRequest *m, Vs__MoveReply *out,
                       struct error *err) MUST_CHECK;
enum status store_remove(struct store *s, const Vs__RemoveRequest *m, Vs__RemoveReply *out,
                         struct error *err) MUST_CHECK;
/* blob: the whole fit. */
enum status store_put_encoder(struct store *s, const char *name, uint32_t dimensions,
                              uint32_t fitted_on, struct str blob, struct error *err) MUST_CHECK;
enum status store_put_vectors(struct store *s, const Vs__PutVectorsRequest *m,
                              Vs__PutVectorsReply *out, struct error *err) MUST_CHECK;
enum status store_publish(struct store *s, const Vs__PublishRequest *m, Vs__PublishReply *out,
                          struct error *err) MUST_CHECK;
/* The same of one that is published only when somebody promotes it. *state: of the encoder of that
 * name now; one that is published, kept or being built stays so. */
enum status store_put_candidate(struct store *s, const char *name, uint32_t dimensions,
                                uint32_t fitted_on, struct str blob, const char **state,
                                struct error *err) MUST_CHECK;
/* One that is being built is not published after all: it goes back to where it was. */
enum status store_hold_back(struct store *s, const Vs__HoldBackRequest *m,
                            struct error *err) MUST_CHECK;
/* Its vectors go in the background, never those of the published one. */
enum status store_remove_encoder(struct store *s, const char *name, struct error *err) MUST_CHECK;
/* [writer] Publishes an encoder that is stored, at once where every passage has its vector;
 * otherwise it is filled first and published then (*now false). NULL: the one that was published
 * before. With `compare` it only becomes the one that is being built, unless none is published. */
enum status store_promote(struct store *s, const Vs__PromoteRequest *m, struct arena *a,
                          Vs__PromoteReply *out, struct error *err) MUST_CHECK;
/* One bounded step of removing dead contents, merging posting blocks and dropping retired vectors;
 * *more when another step would find work. now_wall_ms decides about graces. */
enum status store_maintain(struct store *s, int64_t now_wall_ms, bool *more,
                           struct error *err) MUST_CHECK;

/* Legal holds over versions, as HoldVersions says. */
enum status store_hold_versions(struct store *s, const Vs__HoldVersionsRequest *m,
                                Vs__HoldVersionsReply *out, struct error *err) MUST_CHECK;
/* The documents' places and versions go; contents without another place die. Doing it again does
 * no harm. */
enum status store_erase(struct store *s, const Vs__EraseRequest *m, Vs__EraseReply *out,
                        struct error *err) MUST_CHECK;
/* One bounded step of taking out of every file what is dead. */
enum status store_scrub(struct store *s, const Vs__ScrubRequest *m, Vs__ScrubReply *out,
                        struct error *err) MUST_CHECK;

/* ---- sealing [seal] ---- */

/* Is there something that sealing should not wait for? Any thread. */
bool store_seal_due(struct store *s);
/* Writes vector segments anew that hold something of what is gone; *n how many. */
enum status store_purge_vectors(struct store *s, uint32_t *n, struct error *err) MUST_CHECK;

/* Brings the vector segments into shape (vectors_seal) at the lowest priority; *sealed: something
 * was done. */
enum status store_seal(struct store *s, bool *sealed, struct error *err) MUST_CHECK;

/* store_close is near: a running store_seal ends soon. Any thread. */
void store_closing(struct store *s);
/* store_purge_vectors waits for store_seal to end: it does soon. Any thread. */
void store_purge_waits(struct store *s, bool waits);

/* ---- reading [reader] ---- */

enum status store_has_content(struct store *s, const Vs__HasContentRequest *m,
                              Vs__HasContentReply *out, struct error *err) MUST_CHECK;
/* The documents after `after` in order of id, at most limit; fewer at the end. filter may be NULL.
 */
enum status store_list(struct store *s, const struct asker *who, const Vs__Filter *filter,
                       const char *after, uint32_t limit, struct arena *a, Vs__ListReply *out,
                       struct error *err) MUST_CHECK;
enum status store_status(struct store *s, struct arena *a, Vs__StatusReply *out,
                         struct error *err) MUST_CHECK;
/* Path of the encoder's blob. */
enum status store_encoder_path(struct store *s, const char *encoder, char *path, size_t cap,
                               struct error *err) MUST_CHECK;
/* What was there before a scan over all passages, for store_encoder_basis after it: 16 bytes in a.
 */
enum status store_scan_basis(struct store *s, struct arena *a, ProtobufCBinaryData *out,
                             struct error *err) MUST_CHECK;
/* The stored encoder was fitted on such a scan and on nothing else. From here on its row tells
 * whether it may know of a text that is gone; not where something went while it was read and
 * fitted.
 */
enum status store_encoder_basis(struct store *s, const char *encoder, ProtobufCBinaryData basis,
                                struct error *err) MUST_CHECK;
/* One page of at most `page` chunks; *last when nothing follows. */
enum status store_scan(struct store *s, const char *missing_encoder, ProtobufCBinaryData after,
                       uint32_t page, struct arena *a, Vs__ScanReply *out, bool *last,
                       struct error *err) MUST_CHECK;
/* One page of an encoder's vectors (NULL: the published one) above number *after, which moves on.
 */
enum status store_export_vectors(struct store *s, const char *encoder, int64_t *after,
                                 struct arena *a, Vs__ExportVectorsReply *out, bool *last,
                                 struct error *err) MUST_CHECK;
enum status store_search_text(struct store *s, const struct asker *who,
                              const Vs__SearchTextRequest *m, struct arena *a,
                              Vs__SearchTextReply *out, struct error *err) MUST_CHECK;
/* The same search, explained: what each word adds to some passages, and why a document has none. */
enum status store_explain(struct store *s, const struct asker *who, const Vs__ExplainRequest *m,
                          struct arena *a, Vs__ExplainReply *out, struct error *err) MUST_CHECK;
enum status store_search_vector(struct store *s, const struct asker *who,
                                const Vs__SearchVectorRequest *m, struct arena *a,
                                Vs__SearchVectorReply *out, struct error *err) MUST_CHECK;
enum status store_fetch(struct store *s, const struct asker *who, const Vs__FetchRequest *m,
                        struct arena *a, Vs__FetchReply *out, struct error *err) MUST_CHECK;
/* How many documents that he may read have which collection, label, tag, language, format, year. */
enum status store_facets(struct store *s, const struct asker *who, const Vs__FacetsRequest *m,
                         struct arena *a, Vs__FacetsReply *out, struct error *err) MUST_CHECK;
/* The versions of a document that are kept, newest first. */
enum status store_list_versions(struct store *s, const struct asker *who,
                                const Vs__ListVersionsRequest *m, struct arena *a,
                                Vs__ListVersionsReply *out, struct error *err) MUST_CHECK;
/* as_of, here and below: NULL, or the time (ms) as of which the document is wanted. */
enum status store_document(struct store *s, const struct asker *who, const char *document,
                           const int64_t *as_of, struct arena *a, Vs__DocumentInfo *out,
                           struct error *err) MUST_CHECK;
/* The document's files, opened (the caller closes them): a removal meanwhile does not disturb the
 * reading. *boxes is -1 where there are none. */
enum status store_document_files(struct store *s, const struct asker *who, const char *document,
                                 const int64_t *as_of, struct arena *a, Vs__DocumentInfo *info,
                                 int *original, int *text, int *boxes,
                                 struct error *err) MUST_CHECK;
/* At most `limit` chunks of the document from ordinal `from` on. */
/* The table of its blocks, open for reading, and the pipeline's name, in a. NOT_FOUND: it has none. */
enum status store_document_blocks(struct store *s, const struct asker *who, const char *document,
                                  struct arena *a, const char **pipeline, int *fd,
                                  struct error *err) MUST_CHECK;
enum status store_document_chunks(struct store *s, const struct asker *who, const char *document,
                                  const int64_t *as_of, uint32_t from, uint32_t limit,
                                  struct arena *a, Vs__Chunk ***out, size_t *n,
                                  struct error *err) MUST_CHECK;
/* At most n boxes from number `from` on, out of the file of store_document_files. */
enum status store_boxes_read(int fd, uint64_t from, size_t n, struct arena *a, Vs__Box ***out,
                             size_t *n_out, struct error *err) MUST_CHECK;
/* What the documents are made of, and who else has it. */
enum status store_erase_inspect(struct store *s, const Vs__EraseInspectRequest *m, struct arena *a,
                                Vs__EraseInspectReply *out, struct error *err) MUST_CHECK;
/* One step of looking for a data subject in all that is stored. */
enum status store_find_subject(struct store *s, const Vs__FindSubjectRequest *m, struct arena *a,
                               Vs__FindSubjectReply *out, struct error *err) MUST_CHECK;
enum status store_list_encoders(struct store *s, struct arena *a, Vs__ListEncodersReply *out,
                                struct error *err) MUST_CHECK;
enum status store_verify(struct store *s, const struct asker *who, struct arena *a,
                         Vs__VerifyReply *out, struct error *err) MUST_CHECK;
/* ---- backup: a copy of the store in the folder `to` (snapshot.c) ---- */
struct store_snapshot;
/* [reader] Second names for what never changes; makes the next step short. */
enum status store_snapshot_prepare(struct store *s, const char *to, struct error *err) MUST_CHECK;
/* [writer] From here on it is decided what the copy holds. Owned (store_snapshot_end). */
enum status store_snapshot_take(struct store *s, const char *to, struct store_snapshot **out,
                                Vs__SnapshotReply *reply, struct error *err) MUST_CHECK;
/* [reader] The database as it was. */
enum status store_snapshot_copy(struct store_snapshot *k, const _Atomic bool *cancelled,
                                struct error *err) MUST_CHECK;
void store_snapshot_end(struct store_snapshot *k); /* NULL is fine */

/* For health: documents and visible chunks as last seen. Any thread. */
void store_counts(const struct store *s, uint32_t *documents, uint32_t *chunks);

#endif
