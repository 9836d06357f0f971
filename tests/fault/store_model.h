/* What a store must hold, kept beside it by the fault tests: every document has a state that
 * follows from what was acknowledged, its text and vectors follow from (document, version) alone,
 * and one act in flight may have happened or not. Works through store.h only. */
#ifndef CARREL_TESTS_STORE_MODEL_H
#define CARREL_TESTS_STORE_MODEL_H

#include "base/hash.h"
#include "vectorstore/store.h"

#define MODEL_DOCS 48U
#define MODEL_CHUNKS_MAX 300U
#define MODEL_DIMENSIONS 16U

enum act_kind {
    ACT_PUT,
    ACT_REMOVE,
    ACT_MOVE,
    ACT_MAINTAIN,
    ACT_SEAL,
    ACT_ENCODER, /* a fit arrives */
    ACT_VECTORS, /* a page of missing vectors */
    ACT_PUBLISH, /* the rest of them, and the switch */
    ACT_SNAPSHOT,
    ACT_ERASE, /* with every step of scrubbing */
    ACT_KINDS
};

struct act {
    enum act_kind kind;
    uint32_t doc, version, encoder;
    uint64_t sequence;
    bool done; /* of a record: acknowledged */
};

struct model {
    struct model_doc {
        bool there, moved, embedded; /* embedded: has vectors of the published encoder */
        uint32_t version;            /* the one that is or was there */
        uint32_t tried;              /* the last one that may have been put */
    } docs[MODEL_DOCS];
    uint64_t sequence;
    uint32_t published, building, next_encoder; /* 0: none */
};

const char *act_name(enum act_kind k);
/* Small, fast and repeatable; *state is the seed. */
uint32_t model_random(uint64_t *state, uint32_t below);
/* What could be done next; wanted: of that kind where it is possible. */
struct act model_choose(const struct model *m, uint64_t *rnd, enum act_kind wanted);
/* Does it. STATUS_OK: it is acknowledged. scratch: a folder beside the store, for snapshots. */
enum status model_do(struct store *s, const struct act *a, const char *scratch,
                     struct error *err) MUST_CHECK;
/* It was acknowledged. */
void model_apply(struct model *m, const struct act *a);
/* Compares; maybe (or NULL): in flight when the store was left, *m is set to what is found. Says on
 * stderr what is wrong and returns how much. */
unsigned model_check(struct store *s, struct model *m, const struct act *maybe, uint64_t *rnd);
/* Searches for documents and their old versions; how many passages were not, word for word, what
 * was put. Errors are counted in *failed, not held against it. */
unsigned model_texts(struct store *s, const struct model *m, uint64_t *rnd, unsigned *failed);
/* The fit of encoder number n, and its name. */
size_t model_fit(uint32_t n, char out[4096]);
void model_encoder_name(uint32_t n, char out[32]);

#endif
