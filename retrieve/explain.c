/* The store's explanation put beside the passages it is about. Pure. */
#include "retrieve/search.h"

static bool same(ProtobufCBinaryData a, ProtobufCBinaryData b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* Content ids stand before the dot of a chunk's. */
static bool same_content(ProtobufCBinaryData chunk, struct str other)
{
    const char *dot = memchr(chunk.data, '.', chunk.len);
    size_t n = dot == NULL ? chunk.len : (size_t)(dot - (const char *)chunk.data) + 1;
    return str_starts(other, (struct str){(const char *)chunk.data, n});
}

static enum status fill_why_not(const Vs__ExplainReply *from, const struct fuse_hit *dense,
                                size_t n_dense, struct arena *a, Rt__SearchReply *reply,
                                struct error *err)
{
    Rt__WhyNot *w = arena_alloc(a, sizeof(*w));
    if (w == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    rt__why_not__init(w);
    w->known = from->has_known && from->known;
    w->filtered = from->filtered;
    w->n_filtered = from->n_filtered;
    w->best = from->best;
    w->candidates = from->candidates;
    w->last_words = from->last_words;
    for (size_t i = 0; from->best != NULL && i < n_dense && !w->has_dense_rank; i++) {
        if (same_content(from->best->chunk, dense[i].chunk)) {
            w->has_dense_rank = 1;
            w->dense_rank = (uint32_t)i + 1;
        }
    }
    for (size_t i = 0; from->best != NULL && i < reply->n_passages && !w->has_shown_rank; i++) {
        ProtobufCBinaryData shown = reply->passages[i]->passage->chunk;
        if (same_content(from->best->chunk, (struct str){(const char *)shown.data, shown.len})) {
            w->has_shown_rank = 1;
            w->shown_rank = (uint32_t)i + 1;
        }
    }
    reply->why_not = w;
    return STATUS_OK;
}

enum status explain_fill(const Vs__ExplainReply *from, bool why_not, const struct fuse_hit *dense,
                         size_t n_dense, struct arena *a, Rt__SearchReply *reply, struct error *err)
{
    for (size_t i = 0; i < reply->n_passages; i++) {
        Rt__RankedPassage *p = reply->passages[i];
        for (size_t k = 0; k < from->n_chunks; k++) {
            if (same(from->chunks[k]->chunk, p->passage->chunk)) {
                p->why->uses = from->chunks[k]->uses;
                p->why->n_uses = from->chunks[k]->n_uses;
            }
        }
    }
    return why_not ? fill_why_not(from, dense, n_dense, a, reply, err) : STATUS_OK;
}
