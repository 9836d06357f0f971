/* Where the tokens of a pass stand: tokens, positions, owners, tiles, wanted rows and the tables of
 * pages, behind each other in pinned memory, sent by one copy. A step of answers alone (a token
 * each) is laid out for the next power of two of them, and of what they see, so that the same
 * captured work fits; its empty rows are GPU_NONE. */
#include <string.h>

#include "model/cuda/cuda_internal.h"

#define PAGES_OF_SPLIT (GPU_SPLIT / GPU_PAGE)

uint32_t cuda_power_above(uint32_t n)
{
    uint32_t p = 1;
    while (p < n) {
        p *= 2;
    }
    return p;
}

uint32_t cuda_most(uint32_t keys)
{
    return cuda_power_above((keys + GPU_SPLIT - 1) / GPU_SPLIT) * GPU_SPLIT;
}

static uint32_t tile_tokens_of(const struct model *m)
{
    uint32_t group = m->info.heads / m->info.kv_heads;
    return group >= GPU_TILE ? 1 : GPU_TILE / group;
}

/* Tokens, positions, owners, tiles (two words) and wanted rows; tables of both groups. */
static uint64_t words_of(uint32_t rows, uint32_t owners, uint32_t width)
{
    return (uint64_t)rows * 6 + (uint64_t)owners * width * KV_GROUPS;
}

uint64_t cuda_batch_words(uint32_t tokens, uint32_t owners, uint32_t context)
{
    uint32_t splits = cuda_most(context) / GPU_SPLIT;
    uint32_t rows = tokens > CUDA_ROWS_GRAPH ? tokens : CUDA_ROWS_GRAPH;
    return words_of(rows, owners > CUDA_ROWS_GRAPH ? owners : CUDA_ROWS_GRAPH,
                    splits * PAGES_OF_SPLIT);
}

struct layout {
    struct cuda *c;
    struct cuda_pass *p;
    uint32_t rows, owners;
    uint32_t *tokens, *positions, *at_owners, *tiles, *wanted, *tables[KV_GROUPS];
    uint32_t n_tiles;
};

static void place_parts(struct layout *l)
{
    uint32_t *at = l->c->host_batch;
    l->tokens = at;
    l->positions = at + l->rows;
    l->at_owners = at + 2 * (size_t)l->rows;
    l->wanted = at + 3 * (size_t)l->rows;
    l->tiles = at + 4 * (size_t)l->rows;
    at += 6 * (size_t)l->rows;
    for (uint32_t g = 0; g < KV_GROUPS; g++) {
        l->tables[g] = at;
        at += (size_t)l->owners * l->p->table_width;
    }
}

/* The sequence's pages that this pass may look at, in each group that has layers on the device. */
static void fill_tables(struct layout *l, const struct model_piece *piece, uint32_t owner)
{
    const struct cuda *c = l->c;
    uint32_t pages = (piece->sequence->length + piece->n + KV_PAGE - 1) / KV_PAGE;
    bool done[KV_GROUPS] = {false};
    for (uint32_t layer = 0; layer < c->layers; layer++) {
        uint32_t place = 0;
        uint32_t g = kv_group(c->b.keys, layer, &place);
        uint32_t *row = l->tables[g] + (size_t)owner * l->p->table_width;
        for (uint32_t i = 0; !done[g] && i < pages; i++) {
            row[i] = kv_page_number(c->b.keys, piece->sequence, layer, i);
        }
        done[g] = true;
    }
}

static void fill_piece(struct layout *l, size_t n, uint32_t first)
{
    const struct model_piece *piece = &l->p->pieces[n];
    uint32_t most = l->p->batch.tile_tokens;
    for (uint32_t t = 0; t < piece->n; t++) {
        l->tokens[first + t] = piece->tokens[t];
        l->positions[first + t] = piece->sequence->length + t;
        l->at_owners[first + t] = (uint32_t)n;
        if (t % most == 0) {
            l->tiles[2 * l->n_tiles] = first + t;
            l->tiles[2 * l->n_tiles + 1] = piece->n - t < most ? piece->n - t : most;
            l->n_tiles++;
        }
    }
    fill_tables(l, piece, (uint32_t)n);
}

static void fill_wanted(struct layout *l, const struct backend_pick *picks)
{
    uint32_t token = 0;
    uint32_t wanted = 0;
    for (size_t n = 0; n < l->p->n_pieces; n++) {
        const struct model_piece *piece = &l->p->pieces[n];
        bool all = picks == NULL && piece->every_logit;
        bool last = picks == NULL || picks[n].wanted;
        for (uint32_t t = 0; t < piece->n; t++, token++) {
            if (all || (last && t + 1 == piece->n)) {
                l->wanted[wanted++] = token;
            }
        }
    }
    l->p->n_wanted = wanted;
    for (; wanted < l->rows; wanted++) {
        l->wanted[wanted] = GPU_NONE;
    }
}

static void fill_empty(struct layout *l, uint32_t from)
{
    for (uint32_t t = from; t < l->rows; t++) {
        l->tokens[t] = 0;
        l->positions[t] = GPU_NONE;
        l->at_owners[t] = 0;
    }
    for (; l->n_tiles < l->rows; l->n_tiles++) {
        l->tiles[2 * l->n_tiles] = GPU_NONE;
        l->tiles[2 * l->n_tiles + 1] = 0;
    }
}

/* How large the pass is, and whether it is a step of answers alone. */
static void measure(struct cuda *c, struct cuda_pass *p)
{
    bool step = p->n_pieces <= CUDA_ROWS_GRAPH && p->n_pieces <= c->choices && c->whole &&
                c->m->info.experts == 0;
    for (size_t n = 0; n < p->n_pieces; n++) {
        const struct model_piece *piece = &p->pieces[n];
        uint32_t end = piece->sequence->length + piece->n;
        p->most = end > p->most ? end : p->most;
        p->n += piece->n;
        step = step && piece->n == 1;
    }
    p->captured = step;
    p->most = cuda_most(p->most);
    uint32_t splits = p->most / GPU_SPLIT;
    p->table_width = splits * PAGES_OF_SPLIT;
    p->key_splits = splits;
    p->key_rows = step ? cuda_power_above(p->n) : p->n;
}

enum status cuda_batch(struct cuda *c, const struct model_piece *pieces, size_t n,
                       const struct backend_pick *picks, struct cuda_pass *out, struct error *err)
{
    struct cuda_pass p = {.pieces = pieces, .n_pieces = n};
    struct layout l = {.c = c, .p = &p};
    measure(c, &p);
    l.rows = p.key_rows;
    l.owners = p.captured ? p.key_rows : (uint32_t)n;
    if (words_of(l.rows, l.owners, p.table_width) > c->batch_words || p.most > c->most) {
        return error_set(err, STATUS_INVALID,
                         "a pass of %u tokens of %zu texts that see up to %u, more than asked for",
                         p.n, n, p.most);
    }
    p.batch.tile_tokens = p.captured ? 1 : tile_tokens_of(c->m);
    place_parts(&l);
    uint64_t words = words_of(l.rows, l.owners, p.table_width);
    uint32_t first = 0;
    for (size_t i = 0; i < n; i++) {
        fill_piece(&l, i, first);
        first += pieces[i].n;
    }
    p.batch.n_tiles = p.captured ? l.rows : l.n_tiles;
    fill_empty(&l, first);
    fill_wanted(&l, picks);
    p.n_wanted = p.captured && p.n_wanted > 0 ? l.rows : p.n_wanted;
    p.batch.n = l.rows;
    const uint32_t *base = c->batch;
    p.batch.tokens = base + (l.tokens - c->host_batch);
    p.batch.positions = base + (l.positions - c->host_batch);
    p.batch.owners = base + (l.at_owners - c->host_batch);
    p.batch.tiles = base + (l.tiles - c->host_batch);
    p.wanted = base + (l.wanted - c->host_batch);
    for (uint32_t g = 0; g < KV_GROUPS; g++) {
        p.table[g] = base + (l.tables[g] - c->host_batch);
    }
    *out = p;
    return c->ops->to_device(c->gpu, c->batch, c->host_batch, words * sizeof *c->batch, err);
}
