/* Llama 2 and 3 (Touvron et al. 2023, Grattafiori et al. 2024), Mistral and SmolLM, which go by its
 * name; Qwen 2 (biases) and Qwen 3 (norms on the heads). With experts: Mixtral (Jiang et al. 2024)
 * and Qwen 3's mixtures. */
#include "model/opening.h"

#define EXPERTS_MAX 512U

static void experts(struct opening *o, const char *width)
{
    struct model *m = o->m;
    uint32_t none = UINT32_MAX;
    m->info.experts = opening_number(o, "expert_count", none);
    m->info.experts = m->info.experts == none ? 0 : m->info.experts;
    if (m->info.experts == 0) {
        return;
    }
    m->info.experts_used = opening_number(o, "expert_used_count", 0);
    m->expert_width = opening_number(o, width, m->info.feed_forward);
    if (o->s == STATUS_OK &&
        (m->info.experts > EXPERTS_MAX || m->info.experts_used == 0 ||
         m->info.experts_used > m->info.experts || m->info.experts_used > EXPERTS_USED_MAX ||
         m->expert_width == 0 || m->expert_width > m->info.feed_forward)) {
        o->s = error_set(o->err, STATUS_UNSUPPORTED, "%u of %u experts of %u are not supported",
                         m->info.experts_used, m->info.experts, m->expert_width);
    }
}

static void llama_numbers(struct opening *o)
{
    experts(o, "feed_forward_length");
}

static void qwen3moe_numbers(struct opening *o)
{
    /* the dense width is that of layers there are none of */
    o->m->info.feed_forward =
        opening_number(o, "expert_feed_forward_length", o->m->info.feed_forward);
    experts(o, "expert_feed_forward_length");
}

static void layer(struct opening *o, uint32_t n)
{
    char b[96];
    struct layer *l = &o->m->layers[n];
    const struct model_info *i = &o->m->info;
    opening_attention(o, l, n, false);
    l->query_norm =
        opening_vector(o, opening_name(n, "attn_q_norm.weight", b), i->head_width, true);
    l->key_norm = opening_vector(o, opening_name(n, "attn_k_norm.weight", b), i->head_width, true);
    l->attention_norm = opening_vector(o, opening_name(n, "attn_norm.weight", b), i->width, false);
    l->feed_forward_norm =
        opening_vector(o, opening_name(n, "ffn_norm.weight", b), i->width, false);
    if (o->m->info.experts > 0) {
        opening_experts(o, l, n);
        return;
    }
    l->gate =
        opening_matrix(o, opening_name(n, "ffn_gate.weight", b), i->width, i->feed_forward, false);
    l->up =
        opening_matrix(o, opening_name(n, "ffn_up.weight", b), i->width, i->feed_forward, false);
    l->down =
        opening_matrix(o, opening_name(n, "ffn_down.weight", b), i->feed_forward, i->width, false);
    l->up_bias = opening_vector(o, opening_name(n, "ffn_up.bias", b), i->feed_forward, true);
    l->down_bias = opening_vector(o, opening_name(n, "ffn_down.bias", b), i->width, true);
}

static void around(struct opening *o)
{
    o->m->ropes[0].factors = opening_vector(o, "rope_freqs.weight", o->m->rope_width / 2, true);
}

const struct architecture arch_llama = {
    .name = "llama", .numbers = llama_numbers, .layer = layer, .around = around};
const struct architecture arch_qwen2 = {
    .name = "qwen2", .rope_halves = true, .layer = layer, .around = around};
const struct architecture arch_qwen3 = {
    .name = "qwen3", .rope_halves = true, .layer = layer, .around = around};
const struct architecture arch_qwen3moe = {.name = "qwen3moe",
                                           .rope_halves = true,
                                           .numbers = qwen3moe_numbers,
                                           .layer = layer,
                                           .around = around};
