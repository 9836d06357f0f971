/* The store against the model of it: what it lists, finds and says of itself. */
#include "tests/fault/store_model_internal.h"

#include <stdio.h>
#include <string.h>

#define ARENA ((size_t)16 * 1024 * 1024)
#define SAMPLE 6U /* documents of each kind that are searched for in a check */

struct seen {
    bool there, moved;
    uint8_t hash[SHA256_BYTES];
    uint32_t chunks;
};

static enum status look(struct store *s, struct seen *seen, unsigned *wrong, struct error *err)
{
    char after[64] = "";
    size_t got = 1;
    enum status st = STATUS_OK;
    while (st == STATUS_OK && got > 0) {
        struct arena a;
        Vs__ListReply r;
        arena_init(&a, ARENA);
        st = store_list(s, &(struct asker){.caller = NULL}, NULL, after, 20, &a, &r, err);
        got = st == STATUS_OK ? r.n_documents : 0;
        for (size_t i = 0; i < got; i++) {
            const Vs__DocumentInfo *d = r.documents[i];
            unsigned n = MODEL_DOCS;
            if (sscanf(d->location->document, "document-%u", &n) != 1 || n >= MODEL_DOCS ||
                seen[n].there || d->hash.len != SHA256_BYTES) {
                (void)fprintf(stderr, "listed: %s\n", d->location->document);
                (*wrong)++;
                continue;
            }
            seen[n] = (struct seen){.there = true,
                                    .moved = strcmp(d->location->collection, "moved") == 0,
                                    .chunks = d->chunks};
            memcpy(seen[n].hash, d->hash.data, SHA256_BYTES);
            (void)snprintf(after, sizeof after, "%s", d->location->document);
        }
        arena_reset(&a);
    }
    return st;
}

static bool fits(const struct seen *seen, uint32_t doc, const struct model_doc *d)
{
    uint8_t hash[SHA256_BYTES];
    uint64_t size;
    if (!d->there || !seen->there) {
        return d->there == seen->there;
    }
    model_hash(doc, d->version, hash, &size);
    return memcmp(hash, seen->hash, sizeof hash) == 0 && d->moved == seen->moved &&
           seen->chunks == model_chunks(doc, d->version);
}

static unsigned compare_documents(struct store *s, struct model *m, const struct act *maybe)
{
    struct seen seen[MODEL_DOCS] = {{0}};
    struct error err;
    unsigned wrong = 0;
    struct model after = *m;
    if (look(s, seen, &wrong, &err) != STATUS_OK) {
        (void)fprintf(stderr, "list: %s\n", err.text);
        return wrong + 1;
    }
    if (maybe != NULL) {
        model_apply(&after, maybe);
    }
    for (uint32_t i = 0; i < MODEL_DOCS; i++) {
        if (!fits(&seen[i], i, &m->docs[i])) {
            if (maybe != NULL && i == maybe->doc && fits(&seen[i], i, &after.docs[i])) {
                m->docs[i] = after.docs[i];
                continue;
            }
            (void)fprintf(stderr, "document-%u: must %sbe there in version %u, is %sthere\n", i,
                          m->docs[i].there ? "" : "not ", m->docs[i].version,
                          seen[i].there ? "" : "not ");
            wrong++;
        }
    }
    if (maybe != NULL) {
        /* numbers that may have been used are not used again */
        m->sequence = after.sequence;
        m->docs[maybe->doc].tried = after.docs[maybe->doc].tried;
        m->next_encoder = after.next_encoder;
    }
    return wrong;
}

/* A version that is not the document's own is in nobody's passages. */
static unsigned compare_text(struct store *s, const struct model *m, uint32_t doc, uint32_t version)
{
    char t[32];
    struct arena a;
    struct error err = {0};
    unsigned of_it = 0;
    unsigned wrong = 0;
    ProtobufCBinaryData ids[20];
    Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
    Vs__SearchTextReply r;
    Vs__FetchRequest f = VS__FETCH_REQUEST__INIT;
    Vs__FetchReply out;
    const struct asker who = {.caller = NULL};
    bool there = m->docs[doc].there && m->docs[doc].version == version;
    model_token(doc, version, t);
    arena_init(&a, ARENA);
    q.query = (ProtobufCBinaryData){.data = (uint8_t *)t, .len = strlen(t)};
    q.limit = 20;
    enum status st = store_search_text(s, &who, &q, &a, &r, &err);
    for (size_t i = 0; st == STATUS_OK && i < r.n_hits && i < 20; i++) {
        ids[f.n_chunks++] = r.hits[i]->chunk;
    }
    f.chunks = ids;
    if (st == STATUS_OK) {
        st = store_fetch(s, &who, &f, &a, &out, &err);
    }
    for (size_t i = 0; st == STATUS_OK && i < out.n_passages; i++) {
        const Vs__Passage *p = out.passages[i];
        char name[32];
        size_t n = strlen(t);
        model_document_name(doc, name);
        if (p->text.len > n && memcmp(p->text.data, t, n) == 0 && p->text.data[n] == ' ') {
            of_it++;
            wrong += strcmp(p->document, name) != 0 ? 1 : 0;
        }
    }
    if (st != STATUS_OK || (of_it > 0) != there || wrong > 0) {
        (void)fprintf(stderr, "search %s: %u passages, must %sbe found; %s\n", t, of_it,
                      there ? "" : "not ", err.text);
        wrong++;
    }
    arena_reset(&a);
    return wrong;
}

static unsigned compare_vector(struct store *s, const struct model *m, uint32_t doc, uint64_t *rnd)
{
    char text[MODEL_TEXT_CAP];
    char name[32];
    float v[MODEL_DIMENSIONS];
    struct arena a;
    struct error err = {0};
    Vs__SearchVectorRequest q = VS__SEARCH_VECTOR_REQUEST__INIT;
    Vs__SearchVectorReply r;
    Vs__FetchRequest f = VS__FETCH_REQUEST__INIT;
    Vs__FetchReply out;
    const struct asker who = {.caller = NULL};
    uint32_t version = m->docs[doc].version;
    arena_init(&a, ARENA);
    model_text(doc, version, model_random(rnd, model_chunks(doc, version)), text);
    model_vector(m->published, str_from(text), v);
    model_encoder_name(m->published, name);
    q.encoder = name;
    q.vector = v;
    q.n_vector = MODEL_DIMENSIONS;
    q.limit = 5;
    enum status st = store_search_vector(s, &who, &q, &a, &r, &err);
    bool found = false;
    if (st == STATUS_OK && r.n_hits > 0) {
        f.chunks = &r.hits[0]->chunk;
        f.n_chunks = 1;
        st = store_fetch(s, &who, &f, &a, &out, &err);
        found = st == STATUS_OK && out.n_passages == 1 && r.hits[0]->cosine > 0.99F &&
                out.passages[0]->text.len == strlen(text) &&
                memcmp(out.passages[0]->text.data, text, strlen(text)) == 0;
    }
    if (!found) {
        (void)fprintf(stderr, "vector of \"%s\" under %s: not found; %s\n", text, name, err.text);
    }
    arena_reset(&a);
    return found ? 0 : 1;
}

static unsigned compare_encoder(struct store *s, struct model *m, const struct act *maybe)
{
    struct arena a;
    struct error err = {0};
    Vs__StatusReply r;
    char name[32] = "";
    char building[32] = "";
    unsigned wrong = 0;
    arena_init(&a, ARENA);
    if (store_status(s, &a, &r, &err) != STATUS_OK) {
        (void)fprintf(stderr, "status: %s\n", err.text);
        arena_reset(&a);
        return 1;
    }
    if (maybe != NULL && (maybe->kind == ACT_PUBLISH || maybe->kind == ACT_ENCODER)) {
        model_encoder_name(maybe->encoder, name);
        if (strcmp(maybe->kind == ACT_PUBLISH ? r.encoder
                   : r.building == NULL       ? ""
                                              : r.building,
                   name) == 0) {
            model_apply(m, maybe);
        }
    }
    (void)snprintf(name, sizeof name, "%s", "");
    if (m->published != 0) {
        model_encoder_name(m->published, name);
    }
    if (m->building != 0) {
        model_encoder_name(m->building, building);
    }
    if (strcmp(r.encoder, name) != 0 ||
        strcmp(r.building == NULL ? "" : r.building, building) != 0) {
        (void)fprintf(stderr, "encoder %s building %s, must be %s building %s\n", r.encoder,
                      r.building == NULL ? "" : r.building, name, building);
        wrong++;
    }
    arena_reset(&a);
    return wrong;
}

static unsigned compare_verify(struct store *s)
{
    struct arena a;
    struct error err;
    Vs__VerifyReply r;
    arena_init(&a, ARENA);
    unsigned wrong = 0;
    if (store_verify(s, &(struct asker){.caller = NULL}, &a, &r, &err) != STATUS_OK) {
        (void)fprintf(stderr, "verify: %s\n", err.text);
        wrong = 1;
    } else {
        for (size_t i = 0; i < r.n_problem; i++) {
            (void)fprintf(stderr, "problem: %s\n", r.problem[i]);
        }
        wrong = r.problems;
    }
    arena_reset(&a);
    return wrong;
}

static bool is_a_text_of(const struct model *m, const Vs__Passage *p)
{
    unsigned doc = MODEL_DOCS;
    char text[MODEL_TEXT_CAP];
    if (sscanf(p->document, "document-%u", &doc) != 1 || doc >= MODEL_DOCS) {
        return false;
    }
    uint32_t version = m->docs[doc].version;
    for (uint32_t i = 0; m->docs[doc].there && i < model_chunks(doc, version); i++) {
        model_text(doc, version, i, text);
        if (p->text.len == strlen(text) && memcmp(p->text.data, text, p->text.len) == 0) {
            return true;
        }
    }
    return false;
}

unsigned model_texts(struct store *s, const struct model *m, uint64_t *rnd, unsigned *failed)
{
    unsigned wrong = 0;
    const struct asker who = {.caller = NULL};
    for (uint32_t i = 0; i < SAMPLE; i++) {
        uint32_t doc = model_random(rnd, MODEL_DOCS);
        char t[32];
        char name[32];
        float v[MODEL_DIMENSIONS];
        struct arena a;
        struct error err;
        ProtobufCBinaryData ids[40];
        Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
        Vs__SearchTextReply r;
        Vs__SearchVectorRequest qv = VS__SEARCH_VECTOR_REQUEST__INIT;
        Vs__SearchVectorReply rv;
        Vs__FetchRequest f = VS__FETCH_REQUEST__INIT;
        Vs__FetchReply out;
        arena_init(&a, ARENA);
        model_token(doc, m->docs[doc].version, t);
        q.query = (ProtobufCBinaryData){.data = (uint8_t *)t, .len = strlen(t)};
        q.limit = qv.limit = 20;
        if (store_search_text(s, &who, &q, &a, &r, &err) == STATUS_OK) {
            for (size_t k = 0; k < r.n_hits && k < 20; k++) {
                ids[f.n_chunks++] = r.hits[k]->chunk;
            }
        } else {
            (*failed)++;
        }
        model_encoder_name(m->published, name);
        model_vector(m->published, str_from(t), v);
        qv.encoder = name;
        qv.vector = v;
        qv.n_vector = MODEL_DIMENSIONS;
        if (store_search_vector(s, &who, &qv, &a, &rv, &err) == STATUS_OK) {
            for (size_t k = 0; k < rv.n_hits && k < 20; k++) {
                ids[f.n_chunks++] = rv.hits[k]->chunk;
            }
        } else {
            (*failed)++;
        }
        f.chunks = ids;
        if (store_fetch(s, &who, &f, &a, &out, &err) == STATUS_OK) {
            for (size_t k = 0; k < out.n_passages; k++) {
                wrong += is_a_text_of(m, out.passages[k]) ? 0 : 1;
            }
        } else {
            (*failed)++;
        }
        arena_reset(&a);
    }
    return wrong;
}

unsigned model_check(struct store *s, struct model *m, const struct act *maybe, uint64_t *rnd)
{
    unsigned wrong = compare_verify(s);
    wrong += compare_documents(s, m, maybe);
    wrong += compare_encoder(s, m, maybe);
    for (uint32_t i = 0; i < SAMPLE && wrong == 0; i++) {
        uint32_t doc = model_random(rnd, MODEL_DOCS);
        const struct model_doc *d = &m->docs[doc];
        if (d->version > 0) {
            wrong += compare_text(s, m, doc, d->version);
            wrong += d->version > 1 ? compare_text(s, m, doc, d->version - 1) : 0;
        }
        if (d->there && d->embedded && m->published != 0) {
            wrong += compare_vector(s, m, doc, rnd);
        }
    }
    return wrong;
}
