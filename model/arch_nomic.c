/* Nomic's BERT (Nussbaum et al. 2024): norms behind each half as in BERT, rotary positions instead
 * of learned ones, queries, keys and values in one tensor without biases, and a gated network. */
#include "model/opening.h"

static void layer(struct opening *o, uint32_t n)
{
    char b[96];
    struct layer *l = &o->m->layers[n];
    const struct model_info *i = &o->m->info;
    uint32_t d = i->width;
    const char *name = opening_name(n, "attn_qkv.weight", b);
    l->query = opening_rows(o, name, d, 3 * d, 0, d);
    l->key = opening_rows(o, name, d, 3 * d, d, d);
    l->value = opening_rows(o, name, d, 3 * d, 2 * d, d);
    l->output = opening_matrix(o, opening_name(n, "attn_output.weight", b), d, d, false);
    l->attention_norm = opening_vector(o, opening_name(n, "attn_output_norm.weight", b), d, false);
    l->attention_norm_bias =
        opening_vector(o, opening_name(n, "attn_output_norm.bias", b), d, false);
    l->feed_forward_norm =
        opening_vector(o, opening_name(n, "layer_output_norm.weight", b), d, false);
    l->feed_forward_norm_bias =
        opening_vector(o, opening_name(n, "layer_output_norm.bias", b), d, false);
    l->gate = opening_matrix(o, opening_name(n, "ffn_gate.weight", b), d, i->feed_forward, false);
    l->up = opening_matrix(o, opening_name(n, "ffn_up.weight", b), d, i->feed_forward, false);
    l->down = opening_matrix(o, opening_name(n, "ffn_down.weight", b), i->feed_forward, d, false);
}

static void numbers(struct opening *o)
{
    const struct model_info *i = &o->m->info;
    if (o->s == STATUS_OK && (i->kv_heads != i->heads || i->head_width * i->heads != i->width ||
                              i->value_width != i->head_width)) {
        o->s = error_set(o->err, STATUS_UNSUPPORTED,
                         "heads of other widths than the model's are not supported");
    }
}

const struct architecture arch_nomic = {.name = "nomic-bert",
                                        .encoder = true,
                                        .rope_halves = true,
                                        .numbers = numbers,
                                        .layer = layer,
                                        .around = opening_texts};
