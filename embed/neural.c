#include "embed/neural.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "embed/unit_length.h"

#define ROOM_FIRST 256U
#define ROOM_GROUP 1024U /* tokens of a pass, where no text is longer */
#define LIST_MAX ((size_t)1 << 20)

void neural_scratch_init(struct neural_scratch *s)
{
    *s = (struct neural_scratch){0};
    for (size_t i = 0; i < NEURAL_GROUP; i++) {
        token_list_init(&s->tokens[i], LIST_MAX);
    }
    token_list_init(&s->head, LIST_MAX);
}

void neural_scratch_deinit(struct neural_scratch *s)
{
    backend_close(s->backend);
    pool_free(s->pool);
    for (size_t i = 0; i < NEURAL_GROUP; i++) {
        token_list_deinit(&s->tokens[i]);
    }
    token_list_deinit(&s->head);
    *s = (struct neural_scratch){0};
}

static uint32_t longest(const struct model *m)
{
    uint32_t context = model_info(m)->context;
    return context < NEURAL_TOKENS_MAX ? context : NEURAL_TOKENS_MAX;
}

/* Room in a backend of this model for n tokens; grows by doubling, since most texts are short. */
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
    struct backend *b = NULL;
    backend_close(s->backend);
    s->backend = NULL;
    s->of = NULL;
    enum status st = STATUS_OK;
    if (s->pool == NULL && s->threads > 1) {
        st = pool_new(s->threads, &s->pool, err);
    }
    if (st == STATUS_OK) {
        struct backend_options where = {.tokens = room, .pool = s->pool};
        st = backend_open_cpu(m, &where, &b, err);
    }
    if (st == STATUS_OK && s->told != m && model_packed_note(m)[0] != '\0') {
        LOG_WARN("model slower to load", LOG_STR("why", model_packed_note(m)), LOG_END);
    }
    s->told = m;
    if (st == STATUS_OK) {
        s->backend = b;
        s->of = m;
        s->room = room;
    }
    return st;
}

void neural_line(const struct neural_scratch *s, const struct model_record *r,
                 char out[NEURAL_LINE_CAP])
{
    (void)snprintf(out, NEURAL_LINE_CAP, "%s (sha256 %.12s, %s)", r->name, r->sha256,
                   s->backend == NULL ? "not run" : s->backend->name);
}

static enum status check_numbers(const struct model_record *r, const float *v, size_t n,
                                 struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) {
            return error_set(err, STATUS_CORRUPT,
                             "model %s makes vectors that are no numbers: its weights are damaged "
                             "(carrel model verify %s)",
                             r->name, r->name);
        }
    }
    return STATUS_OK;
}

/* The group's texts as tokens. A text without any gets the vector of zeros: there is none. */
static enum status read_group(struct neural_scratch *s, const struct model *m,
                              const struct model_record *r, const struct encode_text *texts,
                              uint32_t n, bool query, struct neural_count *count, struct error *err)
{
    enum status st = STATUS_OK;
    size_t first = s->first;
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        struct model_text text = {.prefix = str_from(query ? r->query_prefix : r->passage_prefix),
                                  .title = texts[i].title,
                                  .text = texts[i].text};
        bool cut = false;
        uint32_t most = s->whole || s->windows ? 0 : longest(m);
        st = model_text_tokens(m, &text, most, &s->tokens[i], &cut, err);
        if (st == STATUS_OK && s->whole && s->tokens[i].n > longest(m)) {
            st =
                error_set(err, STATUS_TOO_LARGE,
                          "input[%zu] has %zu tokens; %s reads %u at most (truncate cuts it there)",
                          first + i, s->tokens[i].n, r->name, longest(m));
        }
        count->tokens += s->tokens[i].n <= longest(m) ? s->tokens[i].n : 0;
        count->cut += cut;
    }
    return st;
}

/* ---- windows ---- */

struct windows { /* of one text's tokens: head, body in pieces, end */
    const uint32_t *ids;
    size_t n;
    uint32_t head, end; /* tokens that every window has, before and behind */
    uint32_t body;      /* most of a window's own */
};

/* What title and prefix make is at most a third of a window, the rest is the text's. */
static enum status plan_windows(struct neural_scratch *s, const struct model *m,
                                const struct model_record *r, const struct encode_text *t,
                                uint32_t i, bool query, struct windows *w, struct error *err)
{
    const struct tokenizer *k = model_tokenizer(m);
    struct model_text head = {.prefix = str_from(query ? r->query_prefix : r->passage_prefix),
                              .title = t->title,
                              .text = STR("")};
    bool cut = false;
    enum status st = model_text_tokens(m, &head, 0, &s->head, &cut, err);
    uint32_t most = longest(m);
    *w = (struct windows){.ids = s->tokens[i].ids, .n = s->tokens[i].n};
    uint32_t last = w->n > 0 ? w->ids[w->n - 1] : 0;
    w->end = w->n > 0 && (last == tokenizer_separator(k) || last == tokenizer_eos(k)) ? 1 : 0;
    while (w->head < most / 3 && w->head < s->head.n && w->head + w->end < w->n &&
           s->head.ids[w->head] == w->ids[w->head]) {
        w->head++;
    }
    w->body = most > w->head + w->end ? most - w->head - w->end : 1;
    return st;
}

/* The window that begins at token `from` of the body, into ids; *own: how many are its own. */
static uint32_t take_window(const struct windows *w, size_t from, uint32_t ids[NEURAL_TOKENS_MAX],
                            uint32_t *own)
{
    size_t left = w->n - w->end - from;
    *own = left < w->body ? (uint32_t)left : w->body;
    memcpy(ids, w->ids, w->head * sizeof *ids);
    memcpy(ids + w->head, w->ids + from, *own * sizeof *ids);
    memcpy(ids + w->head + *own, w->ids + w->n - w->end, w->end * sizeof *ids);
    return w->head + *own + w->end;
}

/* The mean of the windows' vectors, each weighed by its own tokens. Half of a window's overlap with
 * the next is a quarter of it, so that no sentence is seen only in halves. */
static enum status encode_windows(struct neural_scratch *s, const struct model *m,
                                  const struct model_record *r, const struct encode_text *t,
                                  uint32_t i, bool query, float *out, struct neural_count *count,
                                  struct error *err)
{
    struct windows w = {.ids = NULL};
    uint32_t ids[NEURAL_TOKENS_MAX];
    uint32_t n_windows = 0;
    float *one = calloc(r->width, sizeof *one);
    enum status st = one == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                 : plan_windows(s, m, r, t, i, query, &w, err);
    if (st == STATUS_OK) {
        st = make_room(s, m, longest(m), err);
    }
    memset(out, 0, r->width * sizeof *out);
    for (size_t from = st == STATUS_OK ? w.head : 0; st == STATUS_OK && from + w.end < w.n;) {
        uint32_t own = 0;
        struct model_tokens list = {.tokens = ids, .n = take_window(&w, from, ids, &own)};
        st = n_windows == NEURAL_WINDOWS_MAX ? STATUS_OK
                                             : backend_embed(s->backend, &list, 1, one, err);
        if (n_windows++ == NEURAL_WINDOWS_MAX) {
            count->cut++;
            break;
        }
        for (uint32_t k = 0; k < r->width && st == STATUS_OK; k++) {
            out[k] += one[k] * (float)own;
        }
        count->tokens += list.n;
        if (from + own + w.end >= w.n) {
            break;
        }
        from += own > 4 ? own - own / 4 : own;
    }
    if (st == STATUS_OK) {
        unit_length(out, r->width);
    }
    free(one);
    return st;
}

enum status neural_encode_group(struct neural_scratch *s, const struct model *m,
                                const struct model_record *r, const struct encode_text *texts,
                                uint32_t n, bool query, float *out, struct neural_count *count,
                                struct error *err)
{
    struct model_tokens list[NEURAL_GROUP];
    struct neural_count read = {0};
    uint32_t first = 0;
    uint32_t all = 0;
    uint32_t most = 0;
    if (n == 0 || n > NEURAL_GROUP) {
        return error_set(err, STATUS_INVALID, "a group has 1 to %u texts", NEURAL_GROUP);
    }
    enum status st = read_group(s, m, r, texts, n, query, &read, err);
    for (uint32_t i = 0; st == STATUS_OK && i < n; i++) {
        bool windows = s->windows && s->tokens[i].n > longest(m);
        uint32_t tokens = windows ? 0 : (uint32_t)s->tokens[i].n;
        list[i] = (struct model_tokens){.tokens = s->tokens[i].ids, .n = tokens};
        all += tokens;
        most = tokens > most ? tokens : most;
    }
    if (st == STATUS_OK) { /* a pass takes what fits into the room, the rest goes into the next */
        all = all < ROOM_GROUP ? all : ROOM_GROUP;
        st = make_room(s, m, all > most ? all : most, err);
    }
    while (st == STATUS_OK && first < n) {
        uint32_t end = first;
        while (end < n && list[end].n > 0) {
            end++;
        }
        if (end > first) {
            st = backend_embed(s->backend, list + first, end - first,
                               out + (size_t)first * r->width, err);
        }
        if (end < n) {
            memset(out + (size_t)end * r->width, 0, r->width * sizeof *out);
        }
        first = end + 1;
    }
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        if (s->windows && s->tokens[i].n > longest(m)) {
            st = encode_windows(s, m, r, &texts[i], i, query, out + (size_t)i * r->width, &read,
                                err);
        }
    }
    if (st == STATUS_OK) {
        st = check_numbers(r, out, (size_t)n * r->width, err);
    }
    if (st == STATUS_OK) {
        count->tokens += read.tokens;
        count->cut += read.cut;
    }
    return st;
}

enum status neural_encode(struct neural_scratch *s, const struct model *m,
                          const struct model_record *r, const struct encode_text *t, bool query,
                          float *out, struct neural_count *count, struct error *err)
{
    return neural_encode_group(s, m, r, t, 1, query, out, count, err);
}

enum status neural_score(struct neural_scratch *s, const struct model *m, struct str query,
                         struct str passage, float *out, struct neural_count *count,
                         struct error *err)
{
    uint32_t second = 0;
    bool cut = false;
    enum status st =
        model_pair_tokens(m, query, passage, longest(m), &s->tokens[0], &second, &cut, err);
    uint32_t n = (uint32_t)s->tokens[0].n;
    if (st == STATUS_OK) {
        st = make_room(s, m, n, err);
    }
    if (st == STATUS_OK) {
        st = backend_rank(s->backend, s->tokens[0].ids, n, second, out, err);
    }
    if (st == STATUS_OK) {
        count->tokens += n;
        count->cut += cut;
    }
    return st;
}
