/* What the files of putting share: put.c (the four calls), put_batch.c. */
#ifndef CARREL_VECTORSTORE_PUT_INTERNAL_H
#define CARREL_VECTORSTORE_PUT_INTERNAL_H

#include "vectorstore/store_internal.h"

enum put_kind { PUT_IGNORED, PUT_SAME, PUT_KNOWN, PUT_NEW };

struct put_chunk {
    struct stored_chunk row;
    struct str vector; /* fp16 of the put's encoder; empty: none */
};

struct put {
    struct store *s;
    enum put_kind kind;
    struct arena arena; /* begin, copied */
    struct location location;
    struct location_names names;
    const char *language_hint; /* "" */
    struct content content; /* pk 0 until its first batch is committed */
    struct encoder encoder; /* pk 0: the chunks' vectors are not kept */
    struct blob_writer original, text, boxes, blocks;
    bool recut;          /* put_recut.c: nothing but chunks comes; */
    bool linked;         /* the other files have a second name now, */
    struct content from; /* which were and are this one's */
    struct sha256 *hash;
    /* the batch */
    struct arena batch;
    struct put_chunk *chunks;
    size_t n_chunks, batch_bytes;
    uint32_t next_ordinal;
    bool flushed, committed;
    struct text_part *part; /* what the batch adds to full text; NULL: published */
    /* place in the text */
    uint64_t at_point, at_byte;
    bool text_lost; /* chunks do not ascend in the text, or there is none */
};

/* In a transaction: the encoder of the chunks' vectors. */
enum status put_find_encoder(struct put *p, const Vs__PutRequest__Begin *b,
                             struct error *err) MUST_CHECK;

/* ---- put_recut.c ---- */

/* Everything that begins a put. */
enum status put_recut_begin(struct put *p, const Vs__PutRequest__Begin *b,
                            struct error *err) MUST_CHECK;
/* The files under their second names. */
enum status put_recut_files(struct put *p, struct error *err) MUST_CHECK;
/* The flip, within the last transaction. */
enum status put_recut_locate(struct put *p, struct catalogue_state *state,
                             const struct location *old, int64_t pk, struct error *err) MUST_CHECK;

/* ---- put_batch.c ---- */

/* Within a transaction: the gathered chunks under content pk. */
enum status put_store_batch(struct put *p, struct catalogue_state *state, int64_t pk,
                            struct error *err) MUST_CHECK;
/* The same: *pk of the content, whose row is made when it has none. */
enum status put_add_content_row(struct put *p, int64_t *pk, struct error *err) MUST_CHECK;
/* After a commit: what was indexed is searched. */
void put_publish_text(struct put *p);
/* A batch in a transaction of its own, the content still unpublished. */
enum status put_flush_batch(struct put *p, struct error *err) MUST_CHECK;
/* Before the first batch: the language, detected where none was told. */
enum status put_settle_language(struct put *p, struct error *err) MUST_CHECK;

#endif
