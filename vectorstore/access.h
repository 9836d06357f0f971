/* Who may read what, and what a filter asks for: the rules, on the words themselves. rights.h
 * applies the same rules to many places at once; fetch.c, store.c and versions.c to one at a time.
 *
 * A caller may read a document when its readers are empty (everyone in the tenant) or name one of
 * his groups, it is not excluded, and it is in one of the collections that he is held to, if he is.
 * A passage may be read when one of the places of its content
 * may. The appliance itself (caller NULL) reads everything that is not excluded. Pure. */
#ifndef CARREL_VECTORSTORE_ACCESS_H
#define CARREL_VECTORSTORE_ACCESS_H

#include "base/rpc/caller.h"
#include "vectorstore.pb-c.h"
#include "vectorstore/catalogue.h"

#define ACCESS_VALUES 256U                  /* of one kind in a filter, at most, */
#define ACCESS_DOCUMENTS 2048U              /* but of documents */
#define ACCESS_FILTER_BYTES ((size_t)65536) /* of all of them */

/* May any of the groups of the caller read it? readers: NUL-ended names. */
bool access_readers(struct str readers, const struct caller *caller);
/* Is the caller held to collections, and this is none of them? */
bool access_held(struct str collection, const struct caller *caller);
/* Sizes and shape; NULL is fine. INVALID or TOO_LARGE, saying what. */
enum status access_check(const Vs__Filter *f, struct error *err) MUST_CHECK;

/* One kind of a filter each; f NULL, or a kind without values: everything. */
bool access_collection(const Vs__Filter *f, struct str collection);
bool access_label(const Vs__Filter *f, struct str label);
bool access_tags(const Vs__Filter *f, struct str tags); /* NUL-ended names */
bool access_language(const Vs__Filter *f, struct str language);
bool access_format(const Vs__Filter *f, struct str format);
bool access_date(const Vs__Filter *f, int64_t date_ms);
bool access_document(const Vs__Filter *f, const char *document);
bool access_path(const Vs__Filter *f, struct str path);
/* The last part of the path. */
bool access_name(const Vs__Filter *f, struct str path);
bool access_author(const Vs__Filter *f, struct str author);
bool access_pages(const Vs__Filter *f, uint32_t pages);
/* hash: the first eight bytes of the file's, as hash_head gives them. */
bool access_hash(const Vs__Filter *f, uint64_t hash);
/* The times of a place against as_of; without one only the current place counts. */
bool access_time(const Vs__Filter *f, bool current, int64_t from_ms, int64_t to_ms);
/* All of it. */
bool access_place(const struct doc_place *p, const struct caller *caller, const Vs__Filter *f);
/* The date that filters mean: a rule's, else the one that the document says (changed, or else made
 * or sent), else the file's. */
int64_t access_date_of(const struct location *l, const struct content *k);
/* A document where it stands now; k may be NULL where the filter asks for nothing of its content.
 */
bool access_location(const struct location *l, const struct content *k, const struct caller *caller,
                     const Vs__Filter *f);

#endif
