#include "vectorstore/lexical_explain.h"

#include <stdlib.h>

#include "vectorstore/lexical_internal.h"

static const struct lexical_posting *find(const struct lexical_entry *e, struct str term)
{
    size_t low = 0;
    size_t high = e->n_postings;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = str_compare(e->postings[mid].term, term);
        if (c == 0) {
            return &e->postings[mid];
        }
        if (c < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}

/* The word's postings of all its forms, as lexical_match merges them. */
static void use_of(const struct lexical_plan *p, const struct lexical_group *g,
                   const struct lexical_entry *e, float length, struct lexical_use *u)
{
    *u = (struct lexical_use){
        .word = g->word, .function_word = g->function_word, .earlier = !g->in_question && !g->part};
    uint32_t titles = 0;
    for (uint32_t v = 0; v < g->n_variants; v++) {
        const struct lexical_posting *m = g->variant_df[v] == 0 ? NULL : find(e, g->variants[v]);
        if (m != NULL) {
            u->in_text += m->tf_text;
            titles += m->tf_title;
        }
    }
    u->in_title = titles > 0;
    float tf = (float)u->in_text + (float)LEXICAL_TITLE_WEIGHT * (float)titles;
    if (tf > 0) {
        u->part = g->weight * g->idf * (LEXICAL_K1 + 1) * tf /
                  (tf + LEXICAL_K1 * (1 - LEXICAL_B + LEXICAL_B * length / p->average_length));
    }
}

enum status lexical_explain(struct text_analyzer *t, const struct lexical_source *source,
                            const struct lexical_query *q, const chunk_no *chunks, size_t n,
                            struct arena *a, struct lexical_detail *out, struct error *err)
{
    struct lexical_plan p;
    enum status s = lexical_plan_make(t, source, q, a, &p, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        struct lexical_chunk chunk;
        struct lexical_entry entry;
        out[i] = (struct lexical_detail){.chunk = chunks[i]};
        s = source->chunk(source->data, chunks[i], &chunk, err);
        if (s == STATUS_NOT_FOUND) {
            s = STATUS_OK;
            continue;
        }
        if (s == STATUS_OK) {
            s = lexical_analyze(t, chunk.text, chunk.title, chunk.language, a, &entry, err);
        }
        if (s != STATUS_OK) {
            break;
        }
        out[i].uses = arena_array(a, p.n_groups + 1, sizeof *out[i].uses);
        if (out[i].uses == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "explain: out of memory");
        }
        for (size_t k = 0; k < p.n_groups; k++) {
            use_of(&p, &p.groups[k], &entry, (float)chunk.length, &out[i].uses[k]);
            out[i].words += out[i].uses[k].part;
        }
        out[i].n_uses = p.n_groups;
    }
    return s;
}
