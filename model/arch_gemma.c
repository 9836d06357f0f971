/* Gemma 2 and 3 (Gemma Team 2024, 2025), text: norms on both sides of each half, GELU in the gate,
 * embeddings times the square root of the width, and layers that see a window only between those
 * that see all. Gemma 2 holds scores and logits within a bound, Gemma 3 norms queries and keys and
 * turns the window layers by angles of their own. */
#include <math.h>

#include "model/opening.h"

#define LAYERS_27B_2 46U /* the largest of each scale queries by the model's width */
#define LAYERS_27B_3 62U

static void common(struct opening *o, uint32_t of_27b)
{
    struct model *m = o->m;
    m->embedding_scale = sqrtf((float)m->info.width);
    m->gelu_gate = true;
    m->window = opening_number(o, "attention.sliding_window", 4096);
    if (m->info.layers == of_27b) {
        m->attention_scale = 1.0F / sqrtf((float)m->info.width / (float)m->info.heads);
    }
}

static void gemma2_numbers(struct opening *o)
{
    common(o, LAYERS_27B_2);
    o->m->window_period = 2;
    o->m->attention_cap = opening_real(o, "attn_logit_softcapping", 50);
    o->m->logit_cap = opening_real(o, "final_logit_softcapping", 30);
}

static void gemma3_numbers(struct opening *o)
{
    common(o, LAYERS_27B_3);
    o->m->window_period = 6;
    o->m->logit_cap = opening_real(o, "final_logit_softcapping", 0);
    o->m->ropes[1] = (struct rope){
        .base = opening_real(o, "rope.freq_base_swa", 10000), .scale = 1, .magnitude = 1};
    o->m->n_ropes = 2;
}

static void layer(struct opening *o, uint32_t n)
{
    char b[96];
    struct model *m = o->m;
    struct layer *l = &m->layers[n];
    const struct model_info *i = &m->info;
    bool local = n % m->window_period != m->window_period - 1;
    l->window = local ? m->window : 0;
    l->rope = local && m->n_ropes == 2 ? 1 : 0;
    opening_attention(o, l, n, false);
    l->query_norm =
        opening_vector(o, opening_name(n, "attn_q_norm.weight", b), i->head_width, m->n_ropes == 1);
    l->key_norm =
        opening_vector(o, opening_name(n, "attn_k_norm.weight", b), i->head_width, m->n_ropes == 1);
    l->attention_norm = opening_vector(o, opening_name(n, "attn_norm.weight", b), i->width, false);
    l->attention_post_norm =
        opening_vector(o, opening_name(n, "post_attention_norm.weight", b), i->width, false);
    l->feed_forward_norm =
        opening_vector(o, opening_name(n, "ffn_norm.weight", b), i->width, false);
    l->feed_forward_post_norm =
        opening_vector(o, opening_name(n, "post_ffw_norm.weight", b), i->width, false);
    l->gate =
        opening_matrix(o, opening_name(n, "ffn_gate.weight", b), i->width, i->feed_forward, false);
    l->up =
        opening_matrix(o, opening_name(n, "ffn_up.weight", b), i->width, i->feed_forward, false);
    l->down =
        opening_matrix(o, opening_name(n, "ffn_down.weight", b), i->feed_forward, i->width, false);
}

const struct architecture arch_gemma2 = {
    .name = "gemma2", .rope_halves = true, .numbers = gemma2_numbers, .layer = layer};
const struct architecture arch_gemma3 = {
    .name = "gemma3", .rope_halves = true, .numbers = gemma3_numbers, .layer = layer};
