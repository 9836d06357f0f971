#include "tests/unit/vectorstore/memory_source.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "vectorstore/lexical_internal.h"

struct memory_term {
    char *term; /* NULL: free */
    size_t len;
    uint64_t hash;
    uint64_t df;
    struct lexical_add *adds;
    size_t n, cap;
    struct buf *lists; /* one a part */
    uint32_t *counts;
    size_t n_lists;
};

#define FORM_CHUNKS 8U

struct memory_form {
    size_t form_len;
    chunk_no chunks[FORM_CHUNKS]; /* some that have it */
    uint32_t n;
};

static void *need(void *p)
{
    if (p == NULL) {
        (void)fprintf(stderr, "memory index: out of memory\n");
        abort();
    }
    return p;
}

static void must(enum status s)
{
    if (s != STATUS_OK) {
        (void)fprintf(stderr, "memory index: %s\n", status_name(s));
        abort();
    }
}

struct memory_index *memory_index_new(void)
{
    struct memory_index *x = need(calloc(1, sizeof(*x)));
    must(text_analyzer_new(&x->text, NULL));
    map_init(&x->forms);
    x->gram_df = need(calloc(LEXICAL_GRAM_BUCKETS, sizeof(uint32_t)));
    x->cap_terms = 1024;
    x->terms = need(calloc(x->cap_terms, sizeof(*x->terms)));
    return x;
}

void memory_index_free(struct memory_index *x)
{
    for (size_t i = 0; i < x->cap_terms; i++) {
        struct memory_term *t = &x->terms[i];
        for (size_t b = 0; b < t->n_lists; b++) {
            buf_deinit(&t->lists[b]);
        }
        free(t->lists);
        free(t->counts);
        free(t->adds);
        free(t->term);
    }
    for (uint32_t i = 0; i < x->n_chunks; i++) {
        free(x->chunks[i].text);
        free(x->chunks[i].title);
    }
    size_t pos = 0;
    struct str key;
    void *form;
    while (map_next(&x->forms, &pos, &key, &form)) {
        free(form);
    }
    map_deinit(&x->forms);
    text_analyzer_free(x->text);
    free(x->chunks);
    free(x->terms);
    free(x->gram_df);
    free(x->lengths);
    free(x->allowed);
    free(x);
}

static struct memory_term *term_at(struct memory_index *x, struct str term, uint64_t hash)
{
    size_t s = (size_t)hash & (x->cap_terms - 1);
    while (x->terms[s].term != NULL && (x->terms[s].hash != hash || x->terms[s].len != term.len ||
                                        memcmp(x->terms[s].term, term.ptr, term.len) != 0)) {
        s = (s + 1) & (x->cap_terms - 1);
    }
    return &x->terms[s];
}

static void grow_terms(struct memory_index *x)
{
    struct memory_term *old = x->terms;
    size_t n = x->cap_terms;
    x->cap_terms *= 2;
    x->terms = need(calloc(x->cap_terms, sizeof(*x->terms)));
    for (size_t i = 0; i < n; i++) {
        if (old[i].term != NULL) {
            *term_at(x, (struct str){old[i].term, old[i].len}, old[i].hash) = old[i];
        }
    }
    free(old);
}

static char *copy_of(struct str s)
{
    char *p = need(malloc(s.len + 1));
    if (s.len > 0) {
        memcpy(p, s.ptr, s.len);
    }
    p[s.len] = '\0';
    return p;
}

static void add_posting(struct memory_index *x, const struct lexical_posting *p, chunk_no n)
{
    uint64_t hash = hash64(p->term.ptr, p->term.len);
    if (x->n_terms * 2 >= x->cap_terms) {
        grow_terms(x);
    }
    struct memory_term *t = term_at(x, p->term, hash);
    if (t->term == NULL) {
        t->term = copy_of(p->term);
        t->len = p->term.len;
        t->hash = hash;
        x->n_terms++;
    }
    if (t->n == t->cap) {
        t->cap = t->cap == 0 ? 2 : t->cap * 2;
        t->adds = need(realloc(t->adds, t->cap * sizeof(*t->adds)));
    }
    t->df++;
    t->adds[t->n++] =
        (struct lexical_add){.chunk = n, .tf_text = p->tf_text, .tf_title = p->tf_title};
}

static void add_form(struct memory_index *x, const struct lexical_form *f, chunk_no n)
{
    char key[1024];
    size_t len = f->form.len + 1 + f->stem.len;
    if (len > sizeof key) {
        return;
    }
    memcpy(key, f->form.ptr, f->form.len);
    key[f->form.len] = '\0';
    memcpy(key + f->form.len + 1, f->stem.ptr, f->stem.len);
    struct memory_form *m = map_get(&x->forms, (struct str){key, len});
    if (m == NULL) {
        m = need(calloc(1, sizeof *m));
        m->form_len = f->form.len;
        must(map_put(&x->forms, (struct str){key, len}, m, NULL));
    }
    if (m->n < FORM_CHUNKS && (m->n == 0 || m->chunks[m->n - 1] != n)) {
        m->chunks[m->n++] = n;
    }
}

chunk_no memory_index_add(struct memory_index *x, struct str text, struct str title,
                          const char *language)
{
    struct lexical_entry e;
    struct arena a;
    if (x->n_chunks == x->cap_chunks) {
        x->cap_chunks = x->cap_chunks == 0 ? 1024 : x->cap_chunks * 2;
        x->chunks = need(realloc(x->chunks, x->cap_chunks * sizeof(*x->chunks)));
    }
    chunk_no n = x->n_chunks++;
    arena_init(&a, (size_t)64 << 20);
    must(lexical_analyze(x->text, text, title, language, &a, &e, NULL));
    x->chunks[n] = (struct memory_chunk){.text = copy_of(text),
                                         .title = copy_of(title),
                                         .text_len = text.len,
                                         .title_len = title.len,
                                         .length = e.length,
                                         .gram_length = e.gram_length,
                                         .plain_length = e.plain_length};
    (void)snprintf(x->chunks[n].language, sizeof(x->chunks[n].language), "%s", language);
    for (size_t i = 0; i < e.n_postings; i++) {
        add_posting(x, &e.postings[i], n);
    }
    for (size_t i = 0; i < e.n_forms; i++) {
        add_form(x, &e.forms[i], n);
    }
    for (size_t i = 0; i < e.n_gram_buckets; i++) {
        x->gram_df[e.gram_buckets[i]]++;
    }
    x->stats.chunks++;
    x->stats.length_total += e.length;
    x->stats.gram_length_total += e.gram_length;
    x->stats.plain_length_total += e.plain_length;
    arena_reset(&a);
    return n;
}

static void note_languages(struct memory_index *x)
{
    x->n_languages = 0;
    for (uint32_t c = 0; c < x->n_chunks; c++) {
        size_t i = 0;
        while (i < x->n_languages && strcmp(x->languages[i], x->chunks[c].language) != 0) {
            i++;
        }
        if (i == x->n_languages && i < 16) {
            x->languages[x->n_languages++] = x->chunks[c].language;
        }
    }
}

static uint16_t clip(uint32_t n)
{
    return n > UINT16_MAX ? UINT16_MAX : (uint16_t)n;
}

static void pack(struct memory_index *x, struct memory_term *t)
{
    size_t i = 0;
    t->lists = need(calloc(x->n_parts, sizeof *t->lists));
    t->counts = need(calloc(x->n_parts, sizeof *t->counts));
    t->n_lists = x->n_parts;
    for (size_t part = 0; part < x->n_parts; part++) {
        chunk_no base = (chunk_no)part * x->part_chunks;
        size_t from = i;
        while (i < t->n && t->adds[i].chunk - base < x->part_chunks) {
            i++;
        }
        buf_init(&t->lists[part], (size_t)1 << 30);
        t->counts[part] = (uint32_t)(i - from);
        if (i > from) {
            must(lexical_list_encode(t->adds + from, t->counts[part], base, x->lengths + base,
                                     &t->lists[part], NULL));
        }
    }
    free(t->adds);
    t->adds = NULL;
    t->n = t->cap = 0;
}

void memory_index_finish(struct memory_index *x)
{
    x->part_chunks = x->part_chunks == 0 ? x->n_chunks + 1 : x->part_chunks;
    x->n_parts = x->n_chunks / x->part_chunks + 1;
    x->lengths = need(calloc(x->n_chunks + 1, sizeof *x->lengths));
    for (uint32_t i = 0; i < x->n_chunks; i++) {
        x->lengths[i] = (struct lexical_length){.length = clip(x->chunks[i].length),
                                                .plain = clip(x->chunks[i].plain_length),
                                                .grams = x->chunks[i].gram_length};
    }
    for (size_t i = 0; i < x->cap_terms; i++) {
        if (x->terms[i].term != NULL) {
            pack(x, &x->terms[i]);
        }
    }
    note_languages(x);
}

static enum status list(void *data, size_t part, struct str term, struct lexical_list *out,
                        struct error *err)
{
    (void)err;
    struct memory_index *x = data;
    const struct memory_term *t = term_at(x, term, hash64(term.ptr, term.len));
    chunk_no base = (chunk_no)part * x->part_chunks;
    uint32_t left = x->n_chunks - base;
    *out = (struct lexical_list){.base = base,
                                 .lengths = x->lengths + base,
                                 .n_lengths = left < x->part_chunks ? left : x->part_chunks};
    if (t->term != NULL) {
        out->df = t->counts[part];
        out->bytes = buf_view(&t->lists[part]);
    }
    return STATUS_OK;
}

static uint32_t gram_df(void *data, uint32_t bucket)
{
    const struct memory_index *x = data;
    return x->gram_df[bucket];
}

/* Looks at every form: the tests' vocabularies are small. */
static enum status similar(void *data, struct str word, uint32_t max_edits, lexical_form_fn visit,
                           void *ctx, struct error *err)
{
    (void)err;
    const struct memory_index *x = data;
    struct lexical_spelling asked;
    size_t pos = 0;
    struct str key;
    void *value;
    lexical_spell(word, &asked);
    while (map_next(&x->forms, &pos, &key, &value)) {
        const struct memory_form *m = value;
        const struct lexical_form f = {
            .form = {key.ptr, m->form_len},
            .stem = {key.ptr + m->form_len + 1, key.len - m->form_len - 1}};
        if (lexical_form_apart(&asked, f.form, f.stem, max_edits) <= max_edits &&
            !visit(&f, m->chunks, m->n, ctx)) {
            break;
        }
    }
    return STATUS_OK;
}

static enum status chunk(void *data, chunk_no n, struct lexical_chunk *out, struct error *err)
{
    struct memory_index *x = data;
    if (n >= x->n_chunks) {
        return error_set(err, STATUS_NOT_FOUND, "no chunk %u", n);
    }
    const struct memory_chunk *c = &x->chunks[n];
    *out = (struct lexical_chunk){.text = {c->text, c->text_len},
                                  .title = {c->title, c->title_len},
                                  .language = c->language,
                                  .length = c->length,
                                  .gram_length = c->gram_length};
    return STATUS_OK;
}

void memory_index_source(struct memory_index *x, struct lexical_source *out)
{
    free(x->allowed);
    x->allowed = need(calloc(x->n_chunks / 64 + 1, sizeof *x->allowed));
    for (uint32_t i = 0; i < x->n_chunks; i++) {
        x->allowed[i / 64] |= (uint64_t)(x->chunks[i].hidden ? 0 : 1) << (i % 64);
    }
    *out = (struct lexical_source){.data = x,
                                   .n_parts = x->n_parts,
                                   .list = list,
                                   .similar = similar,
                                   .chunk = chunk,
                                   .gram_df = gram_df,
                                   .stats = x->stats,
                                   .allowed = {.bits = x->allowed, .limit = x->n_chunks},
                                   .languages = x->languages,
                                   .n_languages = x->n_languages};
}

static bool count(const struct text_token *t, void *data)
{
    (void)t;
    (*(size_t *)data)++;
    return true;
}

size_t memory_index_count_tokens(struct memory_index *x, struct str text)
{
    size_t n = 0;
    text_analyze(x->text, text, "en", count, &n);
    return n;
}
