/* What the files share that a question for an erasure goes through: erase_ask.c (documents, paths,
 * copies, beginning it), erase_find.c (finding a data subject). Loop thread, but for what runs on
 * lanes. */
#ifndef CARREL_INGEST_ERASE_ASK_H
#define CARREL_INGEST_ERASE_ASK_H

#include "base/map.h"
#include "ingest/erase.h"
#include "ingest/subject_cursor.h"

#define UNSEARCHED_MAX 200U

struct asked_item {
    struct erasure_item item;
    Ig__EraseCopy *copies;
    size_t n_copies;
    uint8_t (*earlier)[SHA256_BYTES]; /* contents of its versions */
    size_t n_earlier;
    const char *hold;          /* over one of its versions, as the store knows it; NULL: none */
    uint32_t passages;         /* that name the subject */
    bool before, named, trash; /* only in what it was; its path does; only a file in the trash */
    bool stored;               /* trash: the store has its content too */
};

struct found { /* a document that names the subject, or whose text is not known */
    char document[ID_CAP];
    struct str path;
    uint64_t size;
    uint32_t passages;
    bool current, named, unread;
};

struct asking {
    struct journal_op op;
    struct rpc_call *call;
    struct tenant *t;
    struct arena arena;
    struct rpc_request *request;
    const char *by;
    char **documents; /* as asked for */
    size_t n_documents;
    bool listed; /* they are what was shown, be it nothing */
    struct str path;
    Ig__EraseRequest__Copies copies;
    bool dry_run;
    struct asked_item *items; /* grows while copies are found */
    size_t n, inspected, until;
    struct trace *traces;
    size_t n_traces;
    struct error store_err;
    struct erasure e;

    /* where a data subject is asked for */
    struct subject_mark marks[SUBJECTS_MAX];
    size_t n_marks;
    struct subject_set *set; /* owned; NULL: no subject */
    char **except;
    size_t n_except;
    struct found **found; /* ERASURE_DOCUMENTS_MAX */
    size_t n_found;
    struct map by_document; /* -> struct found */
    struct erase_trash_file *trash;
    size_t n_trash;
    size_t trash_asked;  /* of which the store was asked whether it has their text, and told */
    size_t hashes_asked; /* in the call under way */
    struct subject_cursor cursor; /* where the store goes on; done with all */
    struct asked_item *kept;
    size_t n_kept;
    Ig__Unsearched *unsearched; /* UNSEARCHED_MAX */
    size_t n_unsearched, unsearched_count;
    uint32_t answers;
};

/* Answers with the error and frees q. */
void asking_end(struct asking *q, const struct error *err);
/* Adds a document to those that go. */
enum status asking_add(struct asking *q, const char *document, struct str path, uint64_t size,
                       struct error *err) MUST_CHECK;

/* What lies in the file of this row goes with it. */
enum status asking_add_members(struct asking *q, struct journal *j, const struct file_row *r,
                               struct error *err) MUST_CHECK;

/* erase_find.c: looks through the trash, the store and the journal for q->set; then goes on with
 * asking_found, or ends. */
void erase_find(struct asking *q);
/* Within the journal's operation: what was found becomes q->items, q->kept, q->unsearched. */
enum status erase_find_gather(struct asking *q, struct journal *j, struct error *err) MUST_CHECK;
/* The store and the trash have been looked through. */
void asking_found(struct asking *q);

#endif
