/* The two searches. Each takes a reader in a snapshot, the bitmap of what the asker may find in it,
 * and ranks inside that bitmap. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "vectorstore/store_internal.h"
#include "vectorstore/text_forms.h"

#define LIMIT_MAX 1000U
#define QUERY_BYTES ((size_t)64 * 1024)
#define EARLIER_MAX 16U

/* ---- what searches share ---- */

static enum status visible_for(struct store *s, struct reader *r,
                               const struct catalogue_state *state, const struct asker *who,
                               const Vs__Filter *filter, struct visible **out, struct error *err)
{
    enum status st = filter_check(s, state, who, filter, err);
    return st == STATUS_OK ? rights_visible(s->rights, r->db, state, who->caller, filter, out, err)
                           : st;
}

enum status chunk_id_make(const char *content, uint32_t ordinal, struct arena *a,
                          ProtobufCBinaryData *out, struct error *err)
{
    char *id = arena_printf(a, "%s.%u", content, ordinal);
    if (id == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *out = (ProtobufCBinaryData){.data = (uint8_t *)id, .len = strlen(id)};
    return STATUS_OK;
}

bool chunk_id_parse(ProtobufCBinaryData id, struct str *content, uint32_t *ordinal)
{
    const char *p = (const char *)id.data;
    size_t at = ID_CAP - 1;
    uint64_t n = 0;
    if (id.len <= at + 1 || id.len > at + 11 || p[at] != '.') {
        return false;
    }
    for (size_t i = at + 1; i < id.len; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return false;
        }
        n = n * 10 + (uint64_t)(p[i] - '0');
    }
    *content = (struct str){.ptr = p, .len = at};
    *ordinal = (uint32_t)n;
    return n <= UINT32_MAX;
}

static enum status published_name(struct reader *r, struct arena *a, char **out, struct error *err)
{
    struct encoder e = {.name = ""};
    enum status st = catalogue_encoder_by_state(r->db, ENCODER_PUBLISHED, a, &e, err);
    if (st == STATUS_OK || st == STATUS_NOT_FOUND) {
        *out = arena_strdup(a, e.name);
        st = *out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    return st;
}

/* ---- full text ---- */

#define LISTS 512U /* words whose lists a search remembers; a power of two */

struct text_search {
    struct store *s;
    struct reader *r;
    struct text_set *set;
    const _Atomic uint32_t *grams;
    struct text_part *damaged; /* found to be */
    struct text_pins pins;
    struct arena *a;
    struct buf title;
    char language[24];
    /* open addressing, half full at most */
    struct {
        struct str term;
        struct lexical_list *lists; /* one a part; NULL: free */
    } found[LISTS];
    size_t n_found;
};

static enum status part_list(struct text_search *ts, size_t part, struct str term,
                             struct lexical_list *out, struct error *err)
{
    struct text_part *p = ts->set->entries[part].part;
    enum status st = text_part_list(p, term, &ts->pins, out, err);
    if (st == STATUS_CORRUPT) {
        ts->damaged = p;
    }
    return st;
}

/* A word is looked up in all parts at once, and remembered: planning and matching ask again. */
static enum status source_list(void *data, size_t part, struct str term, struct lexical_list *out,
                               struct error *err)
{
    struct text_search *ts = data;
    size_t at = (size_t)hash64(term.ptr, term.len) & (LISTS - 1);
    while (ts->found[at].lists != NULL && !str_eq(ts->found[at].term, term)) {
        at = (at + 1) & (LISTS - 1);
    }
    if (ts->found[at].lists == NULL && ts->n_found >= LISTS / 2) {
        return part_list(ts, part, term, out, err);
    }
    if (ts->found[at].lists == NULL) {
        struct lexical_list *lists = arena_array(ts->a, ts->set->n + 1, sizeof *lists);
        const char *copy = arena_strndup(ts->a, term.ptr, term.len);
        enum status st = lists == NULL || copy == NULL
                             ? error_set(err, STATUS_NO_MEMORY, "search: out of memory")
                             : STATUS_OK;
        for (size_t i = 0; i < ts->set->n && st == STATUS_OK; i++) {
            st = part_list(ts, i, term, &lists[i], err);
        }
        if (st != STATUS_OK) {
            return st;
        }
        ts->found[at].term = (struct str){copy, term.len};
        ts->found[at].lists = lists;
        ts->n_found++;
    }
    *out = ts->found[at].lists[part];
    return STATUS_OK;
}

/* ---- words like another ---- */

static enum status source_similar(void *data, struct str word, uint32_t max_edits,
                                  lexical_form_fn visit, void *ctx, struct error *err)
{
    struct text_search *ts = data;
    enum status st = STATUS_OK;
    for (size_t i = 0; i < ts->set->n && st == STATUS_OK; i++) {
        struct text_part *p = ts->set->entries[i].part;
        st = text_forms_similar(p, word, max_edits, visit, ctx, err);
        ts->damaged = st == STATUS_CORRUPT ? p : ts->damaged;
    }
    return st;
}

static uint32_t source_grams(void *data, uint32_t bucket)
{
    const struct text_search *ts = data;
    return atomic_load_explicit(&ts->grams[bucket], memory_order_relaxed);
}

static enum status source_chunk(void *data, chunk_no n, struct lexical_chunk *out,
                                struct error *err)
{
    struct text_search *ts = data;
    struct str title = STR("");
    struct str heading = STR("");
    struct str language = STR("");
    enum status st = catalogue_chunk_rescore(ts->r->db, n, &out->text, &title, &heading, &language,
                                             &out->length, &out->gram_length, err);
    if (st != STATUS_OK) {
        return st;
    }
    const struct text_part *part = text_set_part(ts->set, n);
    if (part != NULL) { /* the row's are those of the analyzer that put it */
        const struct lexical_length *l =
            text_part_lengths(part) + (n - text_part_about(part)->first);
        out->length = l->length;
        out->gram_length = l->grams;
    }
    buf_reset(&ts->title);
    buf_str(&ts->title, title);
    if (heading.len > 0) {
        buf_char(&ts->title, '\n');
        buf_str(&ts->title, heading);
    }
    size_t len = language.len < sizeof ts->language - 1 ? language.len : sizeof ts->language - 1;
    memcpy(ts->language, language.ptr, len);
    ts->language[len] = '\0';
    out->title = buf_view(&ts->title);
    out->language = ts->language;
    return buf_status(&ts->title) == STATUS_OK ? STATUS_OK
                                               : error_set(err, STATUS_NO_MEMORY, "out of memory");
}

static enum status similar_reply(const struct lexical_result *res, struct arena *a,
                                 Vs__SearchTextReply *out, struct error *err)
{
    Vs__Similar *all = arena_array(a, res->n_similar + 1, sizeof *all);
    out->similar = arena_array(a, res->n_similar + 1, sizeof *out->similar);
    bool made = all != NULL && out->similar != NULL;
    for (size_t i = 0; i < res->n_similar && made; i++) {
        const struct lexical_similar *from = &res->similar[i];
        vs__similar__init(&all[i]);
        all[i].word = arena_strndup(a, from->word.ptr, from->word.len);
        all[i].tried = arena_array(a, from->n_tried + 1, sizeof *all[i].tried);
        made = all[i].word != NULL && all[i].tried != NULL;
        for (size_t k = 0; k < from->n_tried && made; k++) {
            all[i].tried[k] = arena_strndup(a, from->tried[k].ptr, from->tried[k].len);
            made = all[i].tried[k] != NULL;
            all[i].n_tried += made;
        }
        out->similar[out->n_similar++] = &all[i];
    }
    return made ? STATUS_OK : error_set(err, STATUS_NO_MEMORY, "out of memory");
}

static enum status text_reply(struct reader *r, const struct lexical_result *res, struct arena *a,
                              Vs__SearchTextReply *out, struct error *err)
{
    out->hits = arena_array(a, res->n_hits + 1, sizeof *out->hits);
    out->terms = arena_array(a, res->n_terms + 1, sizeof *out->terms);
    if (out->hits == NULL || out->terms == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < res->n_hits; i++) {
        const struct lexical_hit *h = &res->hits[i];
        Vs__TextHit *m = arena_alloc(a, sizeof *m);
        char *content = arena_alloc(a, ID_CAP);
        uint32_t ordinal = 0;
        enum status st = m == NULL || content == NULL
                             ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                             : catalogue_chunk_name(r->db, h->chunk, content, &ordinal, err);
        if (st != STATUS_OK) {
            return st;
        }
        vs__text_hit__init(m);
        st = chunk_id_make(content, ordinal, a, &m->chunk, err);
        if (st != STATUS_OK) {
            return st;
        }
        m->content = content;
        m->score = h->score;
        m->words = h->words;
        m->sdm = h->sdm;
        m->char4 = h->char4;
        out->hits[out->n_hits++] = m;
    }
    for (size_t i = 0; i < res->n_terms; i++) {
        out->terms[i] = arena_strndup(a, res->terms[i].ptr, res->terms[i].len);
        if (out->terms[i] == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        out->n_terms++;
    }
    enum status st = similar_reply(res, a, out, err);
    out->upper_bound_share = res->upper_bound_share;
    out->matched = res->matched;
    return st;
}

static struct str *views(const ProtobufCBinaryData *b, size_t n, struct arena *a)
{
    struct str *out = arena_array(a, n + 1, sizeof *out);
    for (size_t i = 0; i < n && out != NULL; i++) {
        out[i] = (struct str){.ptr = (const char *)b[i].data, .len = b[i].len};
    }
    return out;
}

static size_t bytes_in(const ProtobufCBinaryData *b, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        len += b[i].len;
    }
    return len;
}

static enum status check_text(const Vs__SearchTextRequest *m, struct error *err)
{
    if (m->limit == 0 || m->limit > LIMIT_MAX) {
        return error_set(err, STATUS_INVALID, "a search must ask for 1 to %u candidates",
                         LIMIT_MAX);
    }
    if (m->n_phrases > LEXICAL_DEMANDS || m->n_excluded > LEXICAL_DEMANDS ||
        m->n_in_title > LEXICAL_DEMANDS) {
        return error_set(err, STATUS_INVALID,
                         "a search takes %d phrases, excluded words and title words at most",
                         LEXICAL_DEMANDS);
    }
    size_t len = m->query.len + bytes_in(m->earlier, m->n_earlier) +
                 bytes_in(m->phrases, m->n_phrases) + bytes_in(m->excluded, m->n_excluded) +
                 bytes_in(m->in_title, m->n_in_title);
    if (len > QUERY_BYTES || m->n_earlier > EARLIER_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "the question is longer than 64 KiB");
    }
    return STATUS_OK;
}

static enum status run_text(struct text_search *ts, const struct visible *visible,
                            const struct asker *who, const Vs__SearchTextRequest *m,
                            struct arena *a, struct lexical_result *res, struct explaining *x,
                            struct error *err)
{
    struct reader *r = ts->r;
    struct lexical_source source = {.data = ts,
                                    .n_parts = ts->set->n,
                                    .list = source_list,
                                    .similar = source_similar,
                                    .chunk = source_chunk,
                                    .gram_df = source_grams,
                                    .stats = ts->set->stats,
                                    .allowed = {.bits = visible->bits, .limit = visible->limit},
                                    .cancelled = who->cancelled};
    struct str *earlier = views(m->earlier, m->n_earlier, a);
    struct str *phrases = views(m->phrases, m->n_phrases, a);
    struct str *excluded = views(m->excluded, m->n_excluded, a);
    struct str *in_title = views(m->in_title, m->n_in_title, a);
    enum status st =
        earlier == NULL || phrases == NULL || excluded == NULL || in_title == NULL
            ? error_set(err, STATUS_NO_MEMORY, "out of memory")
            : catalogue_languages(r->db, a, &source.languages, &source.n_languages, err);
    if (st == STATUS_OK) {
        const struct lexical_query q = {
            .text = {.ptr = (const char *)m->query.data, .len = m->query.len},
            .earlier = earlier,
            .n_earlier = m->n_earlier,
            .phrases = phrases,
            .n_phrases = m->n_phrases,
            .excluded = excluded,
            .n_excluded = m->n_excluded,
            .in_title = in_title,
            .n_in_title = m->n_in_title,
            .limit = m->limit,
            .plain = m->has_mode && m->mode == VS__SEARCH_TEXT_REQUEST__MODE__PLAIN_BM25};
        st = lexical_search(r->text, &source, &q, a, res, err);
        if (st == STATUS_OK && x != NULL) {
            st = x->choose(x, r, visible, a, err);
        }
        if (st == STATUS_OK && x != NULL) {
            x->details = arena_array(a, x->n + 1, sizeof *x->details);
            st = x->details == NULL
                     ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                     : lexical_explain(r->text, &source, &q, x->chunks, x->n, a, x->details, err);
        }
    }
    return st;
}

#define DAMAGED_MAX 8 /* parts given up within one search */

/* A part that turns out damaged is given up, to be made again, and the search goes on without it.
 */
static enum status search_parts(struct store *s, struct reader *r, const struct visible *visible,
                                const struct asker *who, const Vs__SearchTextRequest *m,
                                struct arena *a, struct lexical_result *res, struct explaining *x,
                                struct error *err)
{
    struct text_search *ts = calloc(1, sizeof *ts);
    enum status st = ts == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    bool again = st == STATUS_OK;
    for (int i = 0; again; i++) {
        *ts = (struct text_search){.s = s, .r = r, .a = a, .set = text_index_hold(s->text)};
        buf_init(&ts->title, (size_t)256 * 1024);
        st = text_index_grams(s->text, &ts->grams, err);
        if (st == STATUS_OK && ts->set->stats.chunks > 0) {
            st = run_text(ts, visible, who, m, a, res, x, err);
        }
        again = st == STATUS_CORRUPT && ts->damaged != NULL && i < DAMAGED_MAX;
        if (again) {
            LOG_WARN("a damaged part of full text is made again", LOG_STR("err", err->text),
                     LOG_END);
            text_index_give_up(s->text, ts->damaged);
            atomic_store(&s->holes, true);
        }
        text_pins_drop(&ts->pins);
        text_set_drop(ts->set);
        buf_deinit(&ts->title);
    }
    free(ts);
    return st;
}

enum status store_search_text(struct store *s, const struct asker *who,
                              const Vs__SearchTextRequest *m, struct arena *a,
                              Vs__SearchTextReply *out, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct visible *visible = NULL;
    struct lexical_result res = {0};
    vs__search_text_reply__init(out);
    enum status st = check_text(m, err);
    if (st == STATUS_OK) {
        st = reader_take(s, &r, &state, err);
    }
    if (st == STATUS_OK) {
        st = visible_for(s, r, &state, who, m->filter, &visible, err);
    }
    if (st == STATUS_OK) {
        st = search_parts(s, r, visible, who, m, a, &res, NULL, err);
    }
    if (st == STATUS_OK) {
        st = text_reply(r, &res, a, out, err);
    }
    if (st == STATUS_OK) {
        st = published_name(r, a, &out->encoder, err);
        out->generation = (uint64_t)state.generation;
    }
    visible_drop(visible);
    reader_give(s, r);
    return st;
}

enum status store_search_explained(struct store *s, const struct asker *who,
                                   const Vs__SearchTextRequest *m, struct arena *a,
                                   struct explaining *x, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct visible *visible = NULL;
    struct lexical_result res = {0};
    enum status st = check_text(m, err);
    if (st == STATUS_OK) {
        st = reader_take(s, &r, &state, err);
    }
    if (st == STATUS_OK) {
        st = visible_for(s, r, &state, who, m->filter, &visible, err);
    }
    x->store = s;
    x->state = &state;
    if (st == STATUS_OK) {
        st = search_parts(s, r, visible, who, m, a, &res, x, err);
    }
    if (st == STATUS_OK) {
        st = x->reply(x, r, &res, a, err);
    }
    visible_drop(visible);
    reader_give(s, r);
    return st;
}

/* ---- vectors ---- */

static enum status vector_reply(struct reader *r, const struct vector_hit *hits, size_t n,
                                struct arena *a, Vs__SearchVectorReply *out, struct error *err)
{
    out->hits = arena_array(a, n + 1, sizeof *out->hits);
    if (out->hits == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        Vs__VectorHit *m = arena_alloc(a, sizeof *m);
        char *content = arena_alloc(a, ID_CAP);
        uint32_t ordinal = 0;
        enum status st = m == NULL || content == NULL
                             ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                             : catalogue_chunk_name(r->db, hits[i].chunk, content, &ordinal, err);
        if (st == STATUS_OK) {
            vs__vector_hit__init(m);
            st = chunk_id_make(content, ordinal, a, &m->chunk, err);
        }
        if (st != STATUS_OK) {
            return st;
        }
        m->content = content;
        m->cosine = hits[i].cosine;
        out->hits[out->n_hits++] = m;
    }
    return STATUS_OK;
}

static enum status check_vector(const Vs__SearchVectorRequest *m, const struct encoder *e,
                                struct error *err)
{
    if (m->limit == 0 || m->limit > LIMIT_MAX) {
        return error_set(err, STATUS_INVALID, "a search must ask for 1 to %u candidates",
                         LIMIT_MAX);
    }
    if (m->n_vector != e->dimensions) {
        return error_set(err, STATUS_INVALID, "the vector has %zu dimensions, %s has %u",
                         m->n_vector, e->name, e->dimensions);
    }
    for (size_t i = 0; i < m->n_vector; i++) {
        if (!isfinite(m->vector[i])) {
            return error_set(err, STATUS_INVALID, "the vector holds a value that is not a number");
        }
    }
    return STATUS_OK;
}

enum status store_search_vector(struct store *s, const struct asker *who,
                                const Vs__SearchVectorRequest *m, struct arena *a,
                                Vs__SearchVectorReply *out, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct visible *visible = NULL;
    struct encoder e;
    struct vector_hit hits[LIMIT_MAX];
    size_t n = 0;
    vs__search_vector_reply__init(out);
    enum status st = reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = catalogue_encoder_by_name(r->db, str_from(m->encoder), a, &e, err);
    }
    if (st == STATUS_OK) {
        st = check_vector(m, &e, err);
    }
    if (st == STATUS_OK) {
        st = visible_for(s, r, &state, who, m->filter, &visible, err);
    }
    if (st == STATUS_OK) {
        st = vectors_search(s->vectors, r->db, &state, &e, m->vector, visible, m->limit,
                            who->cancelled, hits, &n, err);
    }
    if (st == STATUS_OK) {
        st = vector_reply(r, hits, n, a, out, err);
    }
    if (st == STATUS_OK) {
        out->encoder = arena_strdup(a, e.name);
        st = out->encoder == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    visible_drop(visible);
    reader_give(s, r);
    return st;
}
