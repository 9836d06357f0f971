/* The part of an erasure that lies in files: the sources in the watched folder, their like in the
 * trash, and the look through everything that is left. Blocking; any thread. */
#ifndef CARREL_INGEST_ERASE_FILES_H
#define CARREL_INGEST_ERASE_FILES_H

#include "ingest/erasures.h"

/* What an erasure is about, beside its items. Borrowed. */
struct erase_contents {
    const uint8_t *key; /* KEYED_KEY_BYTES */
    /* Contents: the items' own, of their versions, and those that only the list of erasures knows
     * (a backup was put back); ascending. */
    uint8_t (*keyed)[KEYED_BYTES];
    size_t n;
    /* A data subject, or NULL: in paths that are told, in errors too, what names it stands as
     * "[...]". */
    struct subject_set *subject;
};

/* Deletes the item's file: the one that lay there when the erasure was asked for (item->stamp), or
 * one whose content is to go. Whatever else lies at the path by now is another document's and stays
 * (SOURCE_REPLACED). item->source tells what became of it; a file that may not be deleted is no
 * failure. uploads: some are under way, so their temporary files stay. */
enum status erase_source(int root, struct erasure_item *item, const struct erase_contents *contents,
                         bool uploads, struct error *err) MUST_CHECK;
/* Deletes from the trash what has the content of an item or the path of a document; of an item that
 * is a file in the trash itself, what has both. *n how many. */
enum status erase_trash(const char *home, const char *tenant, const struct erasure_item *items,
                        size_t n_items, const struct erase_contents *contents, uint32_t *n,
                        struct error *err) MUST_CHECK;

#define ERASE_TRASH_MAX 100000U
struct erase_trash_file {
    struct str path; /* that it had in the watched folder */
    uint64_t size;
    uint8_t hash[SHA256_BYTES];
    bool plain;  /* it was searched as the text that it is */
    bool named;  /* its text or its path names the subject */
    bool stored; /* for the caller: the store has its text */
};
/* Every file in the trash, looked through for the subject where it is plain text. All in a. */
enum status erase_trash_look(const char *home, const char *tenant, struct subject_set *set,
                             struct arena *a, struct erase_trash_file **out, size_t *n,
                             struct error *err) MUST_CHECK;

#define ERASE_RESIDUE_MAX 16

struct erase_scan {
    uint64_t files, bytes, traces;
    uint64_t shared;                      /* traces that other documents have too: not looked for */
    char residue[ERASE_RESIDUE_MAX][160]; /* files that still hold something, below home */
    size_t n_residue;
};
/* Looks for the traces in every file of the tenant, and for blobs of contents that were to go. */
enum status erase_verify(const char *home, const char *tenant, const struct erasure_item *items,
                         size_t n_items, const struct erase_contents *contents,
                         const struct trace *traces, size_t n_traces, struct erase_scan *out,
                         struct error *err) MUST_CHECK;

/* The certificate as signed JSON text; owned (free). subject: without marks it is about none.
 * named_since: documents that name it in the end, beyond those that were to stay. */
enum status erase_certificate(const char *home, const char *tenant, const struct erasure *e,
                              const struct erasure_item *items, size_t n_items,
                              const struct erasure_place *places, size_t n_places,
                              const struct erase_scan *scan, const struct erasure_subject *subject,
                              size_t named_since, char **out, struct error *err) MUST_CHECK;

#endif
