/* Phi 3 (Abdin et al. 2024): queries, keys and values in one tensor, gate and up in another, and
 * for long contexts factors of the wave lengths (Ding et al. 2024, LongRoPE). The window that its
 * files name is not used, as llama.cpp does not: converted files have it wrong. */
#include <math.h>

#include "model/opening.h"

static void numbers(struct opening *o)
{
    struct model *m = o->m;
    m->trained_context = opening_number(o, "rope.scaling.original_context_length", m->info.context);
    m->ropes[0].magnitude = opening_real(o, "rope.scaling.attn_factor", 1);
}

static void layer(struct opening *o, uint32_t n)
{
    char b[96];
    struct layer *l = &o->m->layers[n];
    const struct model_info *i = &o->m->info;
    uint32_t queries = i->heads * i->head_width;
    uint32_t keys = i->kv_heads * i->head_width;
    uint32_t values = i->kv_heads * i->value_width;
    uint32_t all = queries + keys + values;
    const char *name = opening_name(n, "attn_qkv.weight", b);
    l->query = opening_rows(o, name, i->width, all, 0, queries);
    l->key = opening_rows(o, name, i->width, all, queries, keys);
    l->value = opening_rows(o, name, i->width, all, queries + keys, values);
    l->output = opening_matrix(o, opening_name(n, "attn_output.weight", b),
                               i->heads * i->value_width, i->width, false);
    l->attention_norm = opening_vector(o, opening_name(n, "attn_norm.weight", b), i->width, false);
    l->feed_forward_norm =
        opening_vector(o, opening_name(n, "ffn_norm.weight", b), i->width, false);
    name = opening_name(n, "ffn_up.weight", b);
    l->gate = opening_rows(o, name, i->width, 2 * i->feed_forward, 0, i->feed_forward);
    l->up = opening_rows(o, name, i->width, 2 * i->feed_forward, i->feed_forward, i->feed_forward);
    l->down =
        opening_matrix(o, opening_name(n, "ffn_down.weight", b), i->feed_forward, i->width, false);
}

static void around(struct opening *o)
{
    struct model *m = o->m;
    bool longer = m->info.context > m->trained_context;
    m->ropes[0].factors =
        opening_vector(o, longer ? "rope_factors_long.weight" : "rope_factors_short.weight",
                       m->rope_width / 2, true);
}

const struct architecture arch_phi3 = {
    .name = "phi3", .rope_halves = true, .numbers = numbers, .layer = layer, .around = around};
