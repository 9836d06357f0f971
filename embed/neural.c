#include "embed/neural.h"

#include <math.h>

#define ROOM_FIRST 256U
#define LIST_MAX ((size_t)1 << 20)

void neural_scratch_init(struct neural_scratch *s)
{
    *s = (struct neural_scratch){0};
    token_list_init(&s->tokens, LIST_MAX);
}

void neural_scratch_deinit(struct neural_scratch *s)
{
    workspace_free(s->workspace);
    token_list_deinit(&s->tokens);
    *s = (struct neural_scratch){0};
}

static uint32_t longest(const struct model *m)
{
    uint32_t context = model_info(m)->context;
    return context < NEURAL_TOKENS_MAX ? context : NEURAL_TOKENS_MAX;
}

/* A workspace of this model for n tokens; grows by doubling, since most texts are short. */
static enum status make_room(struct neural_scratch *s, const struct model *m, uint32_t n,
                             struct error *err)
{
    if (s->of == m && n <= s->room) {
        return STATUS_OK;
    }
    uint32_t room = ROOM_FIRST;
    while (room < n) {
        room *= 2;
    }
    struct workspace *w = NULL;
    workspace_free(s->workspace);
    s->workspace = NULL;
    s->of = NULL;
    enum status st = workspace_new(m, room, &w, err);
    if (st == STATUS_OK) {
        s->workspace = w;
        s->of = m;
        s->room = room;
    }
    return st;
}

enum status neural_encode(struct neural_scratch *s, const struct model *m,
                          const struct model_record *r, const struct encode_text *t, bool query,
                          float *out, struct neural_count *count, struct error *err)
{
    struct model_text text = {.prefix = str_from(query ? r->query_prefix : r->passage_prefix),
                              .title = t->title,
                              .text = t->text};
    bool cut = false;
    enum status st = model_text_tokens(m, &text, longest(m), &s->tokens, &cut, err);
    uint32_t n = (uint32_t)s->tokens.n;
    if (st == STATUS_OK) {
        st = make_room(s, m, n, err);
    }
    if (st == STATUS_OK && n > 0) {
        st = model_embed(m, s->workspace, s->tokens.ids, n, out, err);
    }
    if (st != STATUS_OK) {
        return st;
    }
    for (uint32_t i = 0; i < r->width; i++) {
        if (n == 0) {
            out[i] = 0;
        } else if (!isfinite(out[i])) {
            return error_set(err, STATUS_CORRUPT,
                             "model %s makes vectors that are no numbers: its weights are damaged "
                             "(carrel model verify %s)",
                             r->name, r->name);
        }
    }
    count->tokens += n;
    count->cut += cut;
    return STATUS_OK;
}

enum status neural_score(struct neural_scratch *s, const struct model *m, struct str query,
                         struct str passage, float *out, struct neural_count *count,
                         struct error *err)
{
    uint32_t second = 0;
    bool cut = false;
    enum status st =
        model_pair_tokens(m, query, passage, longest(m), &s->tokens, &second, &cut, err);
    uint32_t n = (uint32_t)s->tokens.n;
    if (st == STATUS_OK) {
        st = make_room(s, m, n, err);
    }
    if (st == STATUS_OK) {
        st = model_rank(m, s->workspace, s->tokens.ids, n, second, out, err);
    }
    if (st == STATUS_OK) {
        count->tokens += n;
        count->cut += cut;
    }
    return st;
}
