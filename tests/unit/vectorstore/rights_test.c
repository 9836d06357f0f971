/* Who finds what: random documents under random rules, and every way of reading them compared with
 * a reading of the rules by brute force.
 *
 * CARREL_RIGHTS_SEED=n runs one seed, CARREL_RIGHTS_SEEDS=n so many; a failure prints its seed. */
#include "rights_world.h"

#include <math.h>
#include <pthread.h>
#include <time.h>

#include "base/db.h"
#include "vectorstore/catalogue_sql.h"

#define CHECK(w, what, ...)                                                                        \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            print_error("seed %llu: ", (unsigned long long)(w)->seed);                             \
            print_error(__VA_ARGS__);                                                              \
            print_error("\n");                                                                     \
            fail_msg("%s", #what);                                                                 \
        }                                                                                          \
    } while (0)

/* ---- the rules, by brute force ---- */

struct question {
    const struct caller *caller; /* NULL: the appliance */
    unsigned groups;
    Vs__Filter f;
    const struct moment *then; /* of f.as_of_ms */
    struct caller who;
    const char *names[3];
    char *collections[2], *labels[2], *tags[2], *languages[2], *formats[2], *documents[3],
        *file_names[2];
    char file_name[2][8];
    ProtobufCBinaryData under[2];
};

static bool listed(const char *v, char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(v, list[i]) == 0) {
            return true;
        }
    }
    return n == 0;
}

static bool may_read(const struct document *d, const struct question *q)
{
    return !d->excluded && (q->caller == NULL || d->readers == 0 || (d->readers & q->groups) != 0);
}

static const struct spot *spot_of(const struct world *w, size_t document, const struct question *q)
{
    return q->then != NULL ? &q->then->spots[document] : &w->documents[document].spot;
}

static bool passes(const struct world *w, size_t document, const struct question *q)
{
    const struct document *d = &w->documents[document];
    const struct spot *s = spot_of(w, document, q);
    const Vs__Filter *f = &q->f;
    bool below = f->n_under == 0;
    if (s->content < 0 || !may_read(d, q)) {
        return false;
    }
    const struct content *k = &w->contents[s->content];
    for (size_t i = 0; i < f->n_under; i++) {
        const char *u = (const char *)f->under[i].data;
        size_t n = f->under[i].len;
        below = below || (u[n - 1] == '/' ? strncmp(s->path, u, n) == 0
                                          : strlen(s->path) == n && memcmp(s->path, u, n) == 0);
    }
    bool called = f->n_names == 0;
    const char *name = strrchr(s->path, '/');
    for (size_t i = 0; i < f->n_names; i++) {
        called = called || strcasestr(name == NULL ? s->path : name + 1, f->names[i]) != NULL;
    }
    for (size_t i = 0; i < f->n_tags; i++) {
        bool has = false;
        for (unsigned t = 0; t < COUNT(tags); t++) {
            has = has || ((s->tags >> t & 1U) != 0 && strcmp(tags[t], f->tags[i]) == 0);
        }
        if (!has) {
            return false;
        }
    }
    return below && called &&
           listed(collections[s->collection], f->collections, f->n_collections) &&
           listed(labels[s->label], f->labels, f->n_labels) &&
           listed(languages[k->language], f->languages, f->n_languages) &&
           listed(formats[k->format], f->formats, f->n_formats) &&
           listed(d->id, f->documents, f->n_documents) &&
           (!f->has_from_ms || s->date_ms >= f->from_ms) &&
           (!f->has_until_ms || s->date_ms < f->until_ms);
}

static bool found_in(const struct world *w, int content, const struct question *q)
{
    for (size_t i = 0; i < DOCUMENTS; i++) {
        if (spot_of(w, i, q)->content == content && passes(w, i, q)) {
            return true;
        }
    }
    return false;
}

static void ask(struct world *w, struct question *q)
{
    memset(q, 0, sizeof *q);
    vs__filter__init(&q->f);
    Vs__Filter *f = &q->f;
    f->collections = q->collections;
    f->labels = q->labels;
    f->tags = q->tags;
    f->languages = q->languages;
    f->formats = q->formats;
    f->documents = q->documents;
    f->under = q->under;
    f->names = q->file_names;
    if (rights_under(w, 8) != 0) {
        q->groups = rights_under(w, 8);
        for (unsigned i = 0; i < 3; i++) {
            if ((q->groups >> i & 1U) != 0) {
                q->names[q->who.n_groups++] = groups[i];
            }
        }
        q->who.tenant = "t";
        q->who.user = "key:1";
        q->who.groups = q->names;
        q->caller = &q->who;
    }
    for (unsigned kinds = rights_under(w, 3); kinds > 0; kinds--) {
        size_t n = 1 + rights_under(w, 2);
        for (size_t i = 0; i < n; i++) {
            switch (rights_under(w, 10)) {
            case 0:
                q->collections[f->n_collections++ % 2] = z(collections[rights_under(w, 3)]);
                break;
            case 1:
                q->labels[f->n_labels++ % 2] = z(labels[rights_under(w, COUNT(labels))]);
                break;
            case 2:
                q->tags[f->n_tags++ % 2] = z(tags[rights_under(w, 3)]);
                break;
            case 3:
                q->languages[f->n_languages++ % 2] = z(languages[rights_under(w, 3)]);
                break;
            case 4:
                q->formats[f->n_formats++ % 2] = z(formats[rights_under(w, 3)]);
                break;
            case 5:
                q->documents[f->n_documents++ % 3] = w->documents[rights_under(w, DOCUMENTS)].id;
                break;
            case 6:
                f->has_from_ms = true;
                f->from_ms = w->documents[rights_under(w, DOCUMENTS)].spot.date_ms;
                break;
            case 8: {
                size_t at = f->n_names++ % 2;
                q->file_names[at] = q->file_name[at];
                (void)snprintf(q->file_name[at], sizeof q->file_name[at], "%s%u",
                               rights_under(w, 2) == 0 ? "F" : "", rights_under(w, 10));
                break;
            }
            case 7:
                f->has_until_ms = true;
                f->until_ms = w->documents[rights_under(w, DOCUMENTS)].spot.date_ms;
                break;
            default: {
                bool whole = rights_under(w, 2) == 0;
                const char *u = whole ? w->documents[rights_under(w, DOCUMENTS)].spot.path
                                      : folders[rights_under(w, COUNT(folders))];
                if (u[0] != '\0') {
                    q->under[f->n_under++ % 2] =
                        (ProtobufCBinaryData){.data = (uint8_t *)z(u), .len = strlen(u)};
                }
                break;
            }
            }
            f->n_collections = f->n_collections > 2 ? 2 : f->n_collections;
            f->n_labels = f->n_labels > 2 ? 2 : f->n_labels;
            f->n_tags = f->n_tags > 2 ? 2 : f->n_tags;
            f->n_languages = f->n_languages > 2 ? 2 : f->n_languages;
            f->n_formats = f->n_formats > 2 ? 2 : f->n_formats;
            f->n_documents = f->n_documents > 3 ? 3 : f->n_documents;
            f->n_under = f->n_under > 2 ? 2 : f->n_under;
            f->n_names = f->n_names > 2 ? 2 : f->n_names;
        }
    }
    if (w->n_moments > 0 && rights_under(w, 3) == 0) {
        q->then = &w->moments[rights_under(w, w->n_moments)];
        f->has_as_of_ms = true;
        f->as_of_ms = q->then->at_ms;
    }
}

/* ---- the ways of reading ---- */

/* The chunk of this id, or its content with *chunk CHUNKS where it is not known. */
static struct content *content_of(struct world *w, ProtobufCBinaryData id, unsigned *chunk)
{
    for (int i = 0; i < CONTENTS; i++) {
        for (unsigned c = 0; c < w->contents[i].chunks; c++) {
            const ProtobufCBinaryData *have = &w->contents[i].ids[c];
            if (have->len == id.len && memcmp(have->data, id.data, id.len) == 0) {
                *chunk = c;
                return &w->contents[i];
            }
        }
    }
    return NULL;
}

/* The store's names of what is there now, by its text. */
static void learn_ids(struct world *w)
{
    struct error err;
    struct arena a;
    Vs__SearchVectorRequest m = VS__SEARCH_VECTOR_REQUEST__INIT;
    Vs__SearchVectorReply r;
    Vs__FetchRequest f = VS__FETCH_REQUEST__INIT;
    Vs__FetchReply fr;
    float v[DIMENSIONS] = {1};
    ProtobufCBinaryData ids[CONTENTS * CHUNKS];
    arena_init(&a, (size_t)16 * 1024 * 1024);
    m.encoder = z("e1");
    m.vector = v;
    m.n_vector = DIMENSIONS;
    m.limit = 1000;
    OK(store_search_vector(w->s, &appliance, &m, &a, &r, &err));
    CHECK(w, r.n_hits <= COUNT(ids), "%zu hits", r.n_hits);
    for (size_t i = 0; i < r.n_hits; i++) {
        ids[i] = r.hits[i]->chunk;
    }
    f.chunks = ids;
    f.n_chunks = r.n_hits;
    OK(store_fetch(w->s, &appliance, &f, &a, &fr, &err));
    for (size_t i = 0; i < fr.n_passages; i++) {
        unsigned content = 0;
        unsigned chunk = 0;
        char text[200];
        (void)snprintf(text, sizeof text, "%.*s", (int)fr.passages[i]->text.len,
                       (const char *)fr.passages[i]->text.data);
        CHECK(w, sscanf(text, "Part %u %u:", &content, &chunk) == 2, "text %s", text);
        ProtobufCBinaryData *id = &w->contents[content].ids[chunk];
        free(id->data);
        id->len = fr.passages[i]->chunk.len;
        id->data = malloc(id->len);
        assert_non_null(id->data);
        memcpy(id->data, fr.passages[i]->chunk.data, id->len);
    }
    arena_reset(&a);
}

/* A word, or its stem, of a set of words. */
static bool is_word_of(const char *term, unsigned set)
{
    size_t n = strlen(term);
    for (unsigned i = 0; i < WORDS; i++) {
        if ((set >> i & 1U) != 0 && strncmp(words[i], term, n) == 0 &&
            (n == strlen(words[i]) || n >= 5)) {
            return true;
        }
    }
    return false;
}

static void check_text(struct world *w, const struct question *q)
{
    struct error err;
    struct arena a;
    char query[128] = "";
    unsigned asked = 0;
    unsigned readable = 0;
    size_t expected = 0;
    size_t may = 0;
    bool seen[CONTENTS][CHUNKS] = {{false}};
    Vs__SearchTextRequest m = VS__SEARCH_TEXT_REQUEST__INIT;
    Vs__SearchTextReply r;
    arena_init(&a, (size_t)16 * 1024 * 1024);
    for (unsigned n = 1 + rights_under(w, 3); n > 0; n--) {
        unsigned word = rights_under(w, WORDS);
        asked |= 1U << word;
        (void)snprintf(query + strlen(query), sizeof query - strlen(query), "%s ", words[word]);
    }
    if (rights_under(w, 4) ==
        0) { /* what it is taken for must not tell of a passage he may not read */
        (void)snprintf(query + strlen(query), sizeof query - strlen(query), "%s ",
                       misspelt[rights_under(w, 2)]);
    }
    m.query = (ProtobufCBinaryData){.data = (uint8_t *)query, .len = strlen(query)};
    m.limit = 1000;
    m.filter = (Vs__Filter *)(uintptr_t)&q->f;
    const struct asker who = {.caller = q->caller};
    OK(store_search_text(w->s, &who, &m, &a, &r, &err));
    for (size_t i = 0; i < r.n_hits; i++) {
        unsigned chunk = 0;
        struct content *k = content_of(w, r.hits[i]->chunk, &chunk);
        CHECK(w, k != NULL, "text: a chunk that nobody knows");
        CHECK(w, found_in(w, (int)(k - w->contents), q), "text: '%s' shows %s", query,
              k->text[chunk]);
        seen[k - w->contents][chunk] = true;
    }
    for (int i = 0; i < CONTENTS; i++) {
        bool there = found_in(w, i, q);
        for (unsigned c = 0; c < w->contents[i].chunks; c++) {
            bool wanted = there && (w->contents[i].words[c] & asked) != 0;
            readable |= there ? w->contents[i].words[c] : 0;
            may += there ? 1 : 0;
            expected += wanted ? 1 : 0;
            CHECK(w, !wanted || seen[i][c], "text: '%s' misses %s", query, w->contents[i].text[c]);
        }
    }
    CHECK(w, r.n_hits >= expected && r.matched >= expected && r.matched <= may,
          "text: matched %u, %zu expected", r.matched, expected);
    CHECK(w, expected > 0 || r.n_hits > 0 || r.upper_bound_share <= 0, "text: share %f of nothing",
          (double)r.upper_bound_share);
    for (size_t i = 0; i < r.n_terms; i++) {
        CHECK(w, is_word_of(r.terms[i], readable), "text: the word %s is in nothing he may read",
              r.terms[i]);
    }
    for (size_t i = 0; i < r.n_similar; i++) {
        for (size_t n = 0; n < r.similar[i]->n_tried; n++) {
            CHECK(w, is_word_of(r.similar[i]->tried[n], readable),
                  "text: taken for %s, which is in nothing he may read", r.similar[i]->tried[n]);
        }
    }
    arena_reset(&a);
}

static int descending(const void *x, const void *y)
{
    double a = *(const double *)x;
    double b = *(const double *)y;
    return a > b ? -1 : a < b ? 1 : 0;
}

static void check_vector(struct world *w, const struct question *q)
{
    struct error err;
    struct arena a;
    float v[DIMENSIONS];
    double best[CONTENTS * CHUNKS];
    size_t n = 0;
    double norm = 0;
    Vs__SearchVectorRequest m = VS__SEARCH_VECTOR_REQUEST__INIT;
    Vs__SearchVectorReply r;
    arena_init(&a, (size_t)16 * 1024 * 1024);
    for (unsigned i = 0; i < DIMENSIONS; i++) {
        v[i] = (float)(int64_t)(rights_draw(w) % 2001) / 1000.0F - 1.0F;
        norm += (double)v[i] * (double)v[i];
    }
    m.encoder = z("e1");
    m.vector = v;
    m.n_vector = DIMENSIONS;
    m.limit = rights_under(w, 2) == 0 ? 5 : 1000;
    m.filter = (Vs__Filter *)(uintptr_t)&q->f;
    const struct asker who = {.caller = q->caller};
    OK(store_search_vector(w->s, &who, &m, &a, &r, &err));
    for (int i = 0; i < CONTENTS; i++) {
        for (unsigned c = 0; c < w->contents[i].chunks && found_in(w, i, q); c++) {
            double dot = 0;
            double length = 0;
            for (unsigned d = 0; d < DIMENSIONS; d++) {
                dot += (double)v[d] * (double)w->contents[i].vectors[c][d];
                length +=
                    (double)w->contents[i].vectors[c][d] * (double)w->contents[i].vectors[c][d];
            }
            best[n++] = dot / sqrt(norm * length);
        }
    }
    qsort(best, n, sizeof best[0], descending);
    size_t want = n < m.limit ? n : m.limit;
    CHECK(w, r.n_hits == want, "vectors: %zu hits, not %zu", r.n_hits, want);
    for (size_t i = 0; i < r.n_hits; i++) {
        unsigned chunk = 0;
        struct content *k = content_of(w, r.hits[i]->chunk, &chunk);
        CHECK(w, k != NULL, "vectors: a chunk that nobody knows");
        CHECK(w, found_in(w, (int)(k - w->contents), q), "vectors: shows %s", k->text[chunk]);
        CHECK(w, fabs((double)r.hits[i]->cosine - best[i]) < 0.02, "vectors: rank %zu %f, not %f",
              i, (double)r.hits[i]->cosine, best[i]);
    }
    arena_reset(&a);
}

/* Everything is asked for by name, readable or not. */
static void check_fetch(struct world *w, const struct question *q)
{
    struct error err;
    struct arena a;
    ProtobufCBinaryData ids[CONTENTS * CHUNKS];
    int owner[CONTENTS * CHUNKS];
    Vs__FetchRequest f = VS__FETCH_REQUEST__INIT;
    Vs__FetchReply r;
    arena_init(&a, (size_t)16 * 1024 * 1024);
    f.chunks = ids;
    for (int i = 0; i < CONTENTS; i++) {
        for (unsigned c = 0; c < w->contents[i].chunks; c++) {
            if (w->contents[i].ids[c].data != NULL) {
                owner[f.n_chunks] = i;
                ids[f.n_chunks++] = w->contents[i].ids[c];
            }
        }
    }
    f.filter = (Vs__Filter *)(uintptr_t)&q->f;
    f.has_widen = true;
    f.widen = rights_under(w, 2);
    const struct asker who = {.caller = q->caller};
    OK(store_fetch(w->s, &who, &f, &a, &r, &err));
    size_t at = 0;
    for (size_t i = 0; i < f.n_chunks; i++) {
        if (!found_in(w, owner[i], q)) {
            continue;
        }
        CHECK(w, at < r.n_passages, "fetch: %s is missing", w->contents[owner[i]].text[0]);
        const Vs__Passage *p = r.passages[at++];
        CHECK(w, p->chunk.len == ids[i].len && memcmp(p->chunk.data, ids[i].data, ids[i].len) == 0,
              "fetch: not the chunk asked for");
        bool named = false;
        for (size_t d = 0; d < DOCUMENTS; d++) {
            const struct spot *s = spot_of(w, d, q);
            named = named || (strcmp(w->documents[d].id, p->document) == 0 && passes(w, d, q) &&
                              s->content == owner[i] && strlen(s->path) == p->path.len &&
                              memcmp(s->path, p->path.data, p->path.len) == 0 &&
                              strcmp(p->collection, collections[s->collection]) == 0);
            bool holds = s->content == owner[i] && !w->documents[d].excluded;
            bool strict = s->label == 0 || s->label == 4; /* none, and one that is not known */
            CHECK(w, !holds || !strict || p->label[0] == '\0', "fetch: label %s", p->label);
        }
        CHECK(w, named, "fetch: named as %s", p->document);
    }
    CHECK(w, at == r.n_passages, "fetch: %zu passages, %zu expected", r.n_passages, at);
    arena_reset(&a);
}

static void check_count(const struct world *w, Vs__FacetCount *const *list, size_t n,
                        const char *value, uint32_t expected)
{
    uint32_t got = 0;
    for (size_t i = 0; i < n; i++) {
        got += strcmp(list[i]->value, value) == 0 ? list[i]->documents : 0;
        CHECK(w, list[i]->documents > 0, "facets: %s is named and not there", list[i]->value);
    }
    CHECK(w, got == expected, "facets: %u of '%s', not %u", got, value, expected);
}

static void check_facets(struct world *w, const struct question *q)
{
    struct error err;
    struct arena a;
    Vs__FacetsRequest m = VS__FACETS_REQUEST__INIT;
    Vs__FacetsReply r;
    uint32_t n[6][16] = {{0}};
    uint32_t all = 0;
    arena_init(&a, (size_t)16 * 1024 * 1024);
    m.filter = (Vs__Filter *)(uintptr_t)&q->f;
    const struct asker who = {.caller = q->caller};
    OK(store_facets(w->s, &who, &m, &a, &r, &err));
    for (size_t d = 0; d < DOCUMENTS; d++) {
        const struct spot *s = spot_of(w, d, q);
        if (!passes(w, d, q)) {
            continue;
        }
        time_t date = (time_t)(s->date_ms / 1000);
        struct tm tm;
        assert_non_null(gmtime_r(&date, &tm));
        all++;
        n[0][s->collection]++;
        n[1][s->label]++;
        n[3][w->contents[s->content].language]++;
        n[4][w->contents[s->content].format]++;
        n[5][tm.tm_year - 115]++; /* 2015 on */
        for (unsigned t = 0; t < 3; t++) {
            n[2][t] += s->tags >> t & 1U;
        }
    }
    CHECK(w, r.documents == all, "facets: %u documents, not %u", r.documents, all);
    for (unsigned i = 0; i < 3; i++) {
        check_count(w, r.collections, r.n_collections, collections[i], n[0][i]);
        check_count(w, r.tags, r.n_tags, tags[i], n[2][i]);
        check_count(w, r.languages, r.n_languages, languages[i], n[3][i]);
        check_count(w, r.formats, r.n_formats, formats[i], n[4][i]);
    }
    for (unsigned i = 0; i < COUNT(labels); i++) {
        check_count(w, r.labels, r.n_labels, labels[i], n[1][i]);
    }
    for (unsigned i = 0; i < 16; i++) {
        char year[16];
        (void)snprintf(year, sizeof year, "%u", 2015 + i);
        check_count(w, r.years, r.n_years, year, n[5][i]);
    }
    arena_reset(&a);
}

static void check_documents(struct world *w, const struct question *q)
{
    struct error err;
    struct arena a;
    Vs__ListReply r;
    arena_init(&a, (size_t)16 * 1024 * 1024);
    const struct asker who = {.caller = q->caller};
    OK(store_list(w->s, &who, &q->f, "", 1000, &a, &r, &err));
    size_t at = 0;
    for (size_t d = 0; d < DOCUMENTS; d++) {
        struct document *doc = &w->documents[d];
        struct question hidden =
            *q; /* the appliance lists what is excluded too, but not as of then */
        bool was = doc->excluded;
        doc->excluded = was && (q->caller != NULL || q->then != NULL);
        bool shown = passes(w, d, &hidden);
        doc->excluded = was;
        if (shown) {
            CHECK(w,
                  at < r.n_documents && strcmp(r.documents[at]->location->document, doc->id) == 0,
                  "list: %s is missing", doc->id);
            at++;
        }
    }
    CHECK(w, at == r.n_documents, "list: %zu documents, not %zu", r.n_documents, at);
    for (size_t d = 0; d < DOCUMENTS; d++) {
        struct document *doc = &w->documents[d];
        Vs__ListVersionsRequest m = VS__LIST_VERSIONS_REQUEST__INIT;
        Vs__ListVersionsReply v;
        Vs__DocumentInfo info;
        bool readable = may_read(doc, q) || q->caller == NULL;
        m.document = doc->id;
        enum status st = store_list_versions(w->s, &who, &m, &a, &v, &err);
        bool some = readable && doc->versions > 0;
        CHECK(w, st == (some ? STATUS_OK : STATUS_NOT_FOUND), "versions of %s: %s", doc->id,
              status_name(st));
        CHECK(w, st != STATUS_OK || v.n_versions == doc->versions || doc->versions > 100,
              "versions of %s: %zu, not %u", doc->id, v.n_versions, doc->versions);
        CHECK(w, st == STATUS_OK || strcmp(err.text, "no such document is stored") == 0, "%s",
              err.text);
        const struct spot *s = spot_of(w, d, q);
        st = store_document(w->s, &who, doc->id, q->then == NULL ? NULL : &q->f.as_of_ms, &a, &info,
                            &err);
        CHECK(w, st == (readable && s->content >= 0 ? STATUS_OK : STATUS_NOT_FOUND),
              "document %s: %s", doc->id, status_name(st));
        CHECK(w, st == STATUS_OK || strcmp(err.text, "no such document is stored") == 0, "%s",
              err.text);
    }
    arena_reset(&a);
}

static void reopen(struct world *w)
{
    struct error err;
    store_close(w->s);
    OK(store_open(w->dir, &w->s, &err));
    store_retain_versions(w->s, INT64_C(86400000));
}

static void count_all(struct world *w, uint32_t *documents, uint32_t *chunks)
{
    bool located[CONTENTS] = {false};
    *documents = *chunks = 0;
    for (size_t d = 0; d < DOCUMENTS; d++) {
        int content = w->documents[d].spot.content;
        *documents += content >= 0 ? 1 : 0;
        if (content >= 0 && !located[content]) {
            located[content] = true;
            *chunks += w->contents[content].chunks;
        }
    }
}

static void run_seed(uint64_t seed)
{
    struct error err;
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->seed = seed;
    w->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    temp_dir(w->dir);
    OK(store_open(w->dir, &w->s, &err));
    store_retain_versions(w->s, INT64_C(86400000));
    add_encoder(w->s, DIMENSIONS);
    rights_make_contents(w);
    for (size_t d = 0; d < DOCUMENTS; d++) {
        (void)snprintf(w->documents[d].id, sizeof w->documents[d].id, "d%02zu", d);
        w->documents[d].spot.content = -1;
    }
    for (unsigned i = 0; i < STEPS; i++) {
        for (unsigned n = 1 + rights_under(w, i < 4 ? 12 : 3); n > 0; n--) {
            rights_step(w);
            learn_ids(w);
        }
        if (rights_under(w, 3) == 0 && w->n_moments < MOMENTS) {
            rights_moment(w);
        }
        if (rights_under(w, 16) == 0) {
            reopen(w);
        }
        for (unsigned n = 0; n < 4; n++) {
            struct question q;
            ask(w, &q);
            check_text(w, &q);
            check_vector(w, &q);
            check_fetch(w, &q);
            check_facets(w, &q);
            check_documents(w, &q);
        }
    }
    uint32_t documents;
    uint32_t chunks;
    count_all(w, &documents, &chunks);
    assert_verified(w->s, documents, chunks);
    store_retain_versions(w->s, 0); /* from now on nothing is kept: only what stands is there */
    settle(w->s);
    assert_verified(w->s, documents, chunks);
    for (unsigned n = 0; n < 8; n++) {
        struct question q;
        ask(w, &q);
        q.then = NULL;
        q.f.has_as_of_ms = false;
        check_text(w, &q);
        check_vector(w, &q);
        check_fetch(w, &q);
        check_facets(w, &q);
    }
    store_close(w->s);
    drop_dir(w->dir);
    for (int i = 0; i < CONTENTS; i++) {
        for (unsigned c = 0; c < CHUNKS; c++) {
            free(w->contents[i].ids[c].data);
        }
    }
    free(w);
}

static void rules_hold(void **state)
{
    (void)state;
    const char *one = getenv("CARREL_RIGHTS_SEED");
    const char *many = getenv("CARREL_RIGHTS_SEEDS");
    unsigned long first = one == NULL ? 1 : strtoul(one, NULL, 10);
    unsigned long n = one != NULL ? 1 : many == NULL ? 2 : strtoul(many, NULL, 10);
    for (unsigned long i = 0; i < n; i++) {
        run_seed(first + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
