/* The vocabulary of a part: its words as they are spelled, for misspelled ones of questions. Stems
 * will not do: the stem of a misspelled word may be nowhere near the stem of the right one
 * ("terminatoin" and "termin"). Three sections:
 *
 *   forms      in order, in groups of TEXT_GROUP with shared beginnings left out: varint bytes
 *              shared, varint and bytes of the rest, varint bytes of it that begin the stem, varint
 *              and bytes of the stem's end, varint n, varints of n chunk numbers, each less the one
 *              before, the first less the part's first: at most TEXT_FORM_CHUNKS that have it
 *   formindex  where each group begins, and the end: uint64
 *   trigrams   uint32 n, a power of two; n + 1 uint32: where each bucket's list begins, from the
 *              end of these on; the lists: varints, the numbers of groups that have a form with a
 *              trigram of this bucket, each less the one before (the first as it is, plus 1)
 *
 * Parts of few forms have no trigrams: all are looked at. A form whose chunks are all dropped by a
 * merge is dropped: nothing of what is erased stays, and one that occurs elsewhere too may go with
 * it until its chunk is indexed again. Pure. */
#ifndef CARREL_VECTORSTORE_TEXT_FORMS_H
#define CARREL_VECTORSTORE_TEXT_FORMS_H

#include "vectorstore/text_build.h"

#define TEXT_FORM_CHUNKS 8U
#define TEXT_FORM_SCAN 128U   /* groups that are looked at without trigrams */
#define TEXT_FORM_GROUPS 384U /* groups of a part looked at for one word, at most */

/* Forms of p within max_edits of the word; false from visit stops. */
enum status text_forms_similar(struct text_part *p, struct str word, uint32_t max_edits,
                               lexical_form_fn visit, void *data, struct error *err) MUST_CHECK;

/* One part's, in order. Zero it but for part; end frees. */
struct text_forms_walk {
    struct text_part *part;
    uint64_t group;
    struct segment_view view;
    size_t at;
    struct buf name, stem;
    struct lexical_form form;
    chunk_no chunks[TEXT_FORM_CHUNKS];
    uint32_t n_chunks;
    bool begun;
};
/* *more false at the end; form and chunks stay until the next call. */
enum status text_forms_next(struct text_forms_walk *w, bool *more, struct error *err) MUST_CHECK;
void text_forms_end(struct text_forms_walk *w);

/* ---- making ---- */

struct text_forms_writer; /* forms come in order */
enum status text_forms_begin(chunk_no base, struct text_forms_writer **out,
                             struct error *err) MUST_CHECK;
enum status text_forms_add(struct text_forms_writer *w, const struct lexical_form *f,
                           const chunk_no *chunks, uint32_t n, struct error *err) MUST_CHECK;
/* The sections; they must be empty. */
enum status text_forms_finish(struct text_forms_writer *w, struct buf *forms, struct buf *index,
                              struct buf *trigrams, struct error *err) MUST_CHECK;
void text_forms_free(struct text_forms_writer *w); /* NULL is fine */

struct text_forms_table; /* gathered from a batch of chunks, in any order */
enum status text_forms_table_add(struct text_forms_table **t, const struct lexical_form *f,
                                 chunk_no chunk, struct error *err) MUST_CHECK;
enum status text_forms_table_write(struct text_forms_table *t, struct text_forms_writer *w,
                                   struct error *err) MUST_CHECK; /* NULL is fine */
void text_forms_table_free(struct text_forms_table *t);           /* NULL is fine */

/* Those of all parts (in order of their numbers) in chunks that pace->there leaves. */
enum status text_forms_merge(struct text_part *const *parts, size_t n, const struct text_pace *pace,
                             struct text_forms_writer *w, struct error *err) MUST_CHECK;

#endif
