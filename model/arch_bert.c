/* BERT (Devlin et al. 2019) and what came of it under its name: norms behind each half, learned
 * positions, and for rerankers RoBERTa's classification head. */
#include "model/opening.h"

static void layer(struct opening *o, uint32_t n)
{
    char b[96];
    struct layer *l = &o->m->layers[n];
    const struct model_info *i = &o->m->info;
    opening_attention(o, l, n, true);
    l->attention_norm =
        opening_vector(o, opening_name(n, "attn_output_norm.weight", b), i->width, false);
    l->attention_norm_bias =
        opening_vector(o, opening_name(n, "attn_output_norm.bias", b), i->width, false);
    l->feed_forward_norm =
        opening_vector(o, opening_name(n, "layer_output_norm.weight", b), i->width, false);
    l->feed_forward_norm_bias =
        opening_vector(o, opening_name(n, "layer_output_norm.bias", b), i->width, false);
    l->up =
        opening_matrix(o, opening_name(n, "ffn_up.weight", b), i->width, i->feed_forward, false);
    l->down =
        opening_matrix(o, opening_name(n, "ffn_down.weight", b), i->feed_forward, i->width, false);
    l->up_bias = opening_vector(o, opening_name(n, "ffn_up.bias", b), i->feed_forward, false);
    l->down_bias = opening_vector(o, opening_name(n, "ffn_down.bias", b), i->width, false);
}

/* score = output . tanh(dense . x) over the first token; either part may be absent. */
static void head(struct opening *o)
{
    struct model *m = o->m;
    uint32_t d = m->info.width;
    m->rank_dense = opening_matrix(o, "cls.weight", d, d, true);
    m->rank_dense_bias = opening_vector(o, "cls.bias", d, true);
    m->rank_out = opening_matrix(o, "cls.output.weight", d, 1, true);
    m->rank_out_bias = opening_vector(o, "cls.output.bias", 1, true);
    m->info.ranks = m->rank_out.data != NULL;
    if (o->s == STATUS_OK && m->info.pooling == POOLING_RANK && !m->info.ranks) {
        o->s = error_set(o->err, STATUS_INVALID, "tensor cls.output.weight is missing");
    }
    m->info.pooling = m->info.ranks ? POOLING_RANK : m->info.pooling;
}

void opening_texts(struct opening *o)
{
    struct model *m = o->m;
    uint32_t d = m->info.width;
    const struct gguf_tensor *types = gguf_find_tensor(m->file, STR("token_types.weight"));
    m->first_norm = opening_vector(o, "token_embd_norm.weight", d, false);
    m->first_norm_bias = opening_vector(o, "token_embd_norm.bias", d, false);
    head(o);
    if (o->s == STATUS_OK && types != NULL) {
        if (types->type != TENSOR_F32 || types->dimensions[0] != d) {
            o->s = error_set(o->err, STATUS_INVALID, "token_types.weight has a wrong shape");
        }
        m->token_types[0] = types->data;
        m->token_types[1] = types->dimensions[1] > 1 ? m->token_types[0] + d : m->token_types[0];
    }
}

static void around(struct opening *o)
{
    const struct model_info *i = &o->m->info;
    o->m->positions = opening_matrix(o, "position_embd.weight", i->width, i->context, false);
    opening_texts(o);
}

const struct architecture arch_bert = {
    .name = "bert", .encoder = true, .layer = layer, .around = around};
