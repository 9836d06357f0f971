/* From fused ranks and fetched passages to the reply. */
#include "base/hash.h"
#include "retrieve/diverse.h"
#include "retrieve/fold.h"
#include "retrieve/search.h"

static struct str view(ProtobufCBinaryData b)
{
    return (struct str){(const char *)b.data, b.len};
}

static const struct fused *fused_of(const struct answer *in, struct str chunk, size_t from)
{
    /* passages come in the order asked, a few left out */
    for (size_t i = from; i < in->n_fused; i++) {
        if (str_eq(in->fused[i].chunk, chunk)) {
            return &in->fused[i];
        }
    }
    return NULL;
}

static void fill_why(const struct answer *in, const struct fused *f, Rt__Why *why)
{
    rt__why__init(why);
    why->fused = f->before > 0 ? f->before_score : f->score;
    if (f->before > 0) {
        why->has_rerank_score = why->has_rank_before = 1;
        why->rerank_score = f->rerank;
        why->rank_before = f->before;
    }
    if (f->text_rank > 0) {
        const struct text_hit *h = &in->text_why[f->text_rank - 1];
        why->has_text_rank = why->has_text_score = why->has_words = 1;
        why->has_proximity = why->has_char4 = 1;
        why->text_rank = f->text_rank;
        why->text_score = in->text[f->text_rank - 1].score;
        why->words = h->words;
        why->proximity = h->sdm - .9F * h->words > 0 ? h->sdm - .9F * h->words : 0;
        why->char4 = h->char4;
    }
    if (f->dense_rank > 0) {
        why->has_dense_rank = why->has_dense_score = 1;
        why->dense_rank = f->dense_rank;
        why->dense_score = in->dense[f->dense_rank - 1].score;
    }
}

/* "path p.3"; paths are bytes, the field is text: what is not UTF-8 becomes \xNN. */
static char *name_of(const Vs__Passage *p, struct arena *a)
{
    struct str path = view(p->path);
    struct buf b;
    buf_init(&b, 16384);
    if (text_utf8_valid(path)) {
        buf_str(&b, path);
    } else {
        for (size_t i = 0; i < path.len; i++) {
            unsigned char c = (unsigned char)path.ptr[i];
            if (c >= 0x20 && c < 0x7F) {
                buf_char(&b, (char)c);
            } else {
                buf_printf(&b, "\\x%02X", c);
            }
        }
    }
    if (p->has_page && p->page > 0) {
        buf_printf(&b, " p.%u", p->page);
    }
    struct str s = buf_view(&b);
    char *out = buf_status(&b) == STATUS_OK ? arena_strndup(a, s.ptr, s.len) : NULL;
    buf_deinit(&b);
    return out;
}

static enum status add_folded(Rt__Why *why, const Vs__Passage *p, struct arena *a,
                              struct error *err)
{
    if (why->n_folded == 32) { /* enough to see that it is everywhere */
        return STATUS_OK;
    }
    if (why->folded == NULL) {
        why->folded = arena_array(a, 32, sizeof(char *));
    }
    char *name = name_of(p, a);
    if (why->folded == NULL || name == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    why->folded[why->n_folded++] = name;
    return STATUS_OK;
}

/* into[i] becomes UINT32_MAX for what gets no place. */
static enum status give_places(const struct answer *in, const Vs__FetchReply *fetched,
                               uint32_t *into, struct arena *a, struct error *err)
{
    size_t n = fetched->n_passages, from = 0;
    struct diverse_passage *items = arena_array(a, n + 1, sizeof(*items));
    if (items == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        const Vs__Passage *p = fetched->passages[i];
        const struct fused *f = fused_of(in, view(p->chunk), from);
        items[i] = (struct diverse_passage){.content = str_from(p->content),
                                            .page = p->has_page ? p->page : 0,
                                            .score = f == NULL ? 0 : f->score,
                                            .gone = into[i] != i || f == NULL};
        from = f == NULL ? from : (size_t)(f - in->fused) + 1;
    }
    if (in->fold) {
        diverse(items, n, in->top_k);
    }
    for (uint32_t i = 0; i < n && in->fold; i++) {
        if (into[i] == i && !items[i].chosen) {
            into[i] = UINT32_MAX;
        }
    }
    return STATUS_OK;
}

enum status answer_fill(struct text_analyzer *t, const struct answer *in,
                        const Vs__FetchReply *fetched, struct arena *a, Rt__SearchReply *reply,
                        uint64_t *folded, struct error *err)
{
    size_t n = fetched->n_passages, from = 0;
    enum status s = STATUS_OK;
    Rt__RankedPassage *items = arena_array(a, n + 1, sizeof(*items));
    Rt__RankedPassage **list = arena_array(a, n + 1, sizeof(*list));
    Rt__Why *whys = arena_array(a, n + 1, sizeof(*whys));
    struct str *texts = arena_array(a, n + 1, sizeof(*texts));
    uint32_t *into = arena_array(a, n + 1, sizeof(*into));
    uint32_t *place = arena_array(a, n + 1, sizeof(*place));
    if (items == NULL || list == NULL || whys == NULL || texts == NULL || into == NULL ||
        place == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        texts[i] = view(fetched->passages[i]->text);
        into[i] = i;
    }
    if (in->fold) {
        s = fold(t, texts, n, a, into, err);
    }
    if (s == STATUS_OK) {
        s = give_places(in, fetched, into, a, err);
    }
    for (uint32_t i = 0; i < n && s == STATUS_OK; i++) {
        Vs__Passage *p = fetched->passages[i];
        place[i] = UINT32_MAX;
        if (into[i] == UINT32_MAX) {
            continue;
        }
        if (into[i] != i) {
            if (place[into[i]] != UINT32_MAX) {
                s = add_folded(&whys[place[into[i]]], p, a, err);
                (*folded)++;
            }
            continue;
        }
        const struct fused *f = fused_of(in, view(p->chunk), from);
        if (f == NULL || reply->n_passages == in->top_k) {
            continue;
        }
        from = (size_t)(f - in->fused) + 1;
        size_t k = reply->n_passages++;
        place[i] = (uint32_t)k;
        fill_why(in, f, &whys[k]);
        rt__ranked_passage__init(&items[k]);
        items[k].passage = p;
        items[k].score = f->score;
        items[k].why = &whys[k];
        list[k] = &items[k];
    }
    reply->passages = list;
    return s;
}

static Vs__Passage *passage_of(const Vs__FetchReply *fetched, struct str chunk)
{
    for (size_t i = 0; i < fetched->n_passages; i++) {
        if (str_eq(view(fetched->passages[i]->chunk), chunk)) {
            return fetched->passages[i];
        }
    }
    return NULL;
}

/* The byte of the text's code point n. */
static size_t byte_of(ProtobufCBinaryData text, uint32_t n)
{
    size_t i = 0;
    while (n > 0 && i < text.len) {
        i++;
        while (i < text.len && (text.data[i] & 0xC0U) == 0x80U) {
            i++;
        }
        n--;
    }
    return i;
}

/* wide without the code points outside [start, end), which are said elsewhere; white space at its
 * ends goes too. */
static void narrow(Vs__Passage *wide, const Vs__Passage *core, uint32_t start, uint32_t end)
{
    ProtobufCBinaryData text = wide->text;
    size_t from = byte_of(text, start - wide->start), to = byte_of(text, end - wide->start);
    while (from < to && strchr(" \n\t", (char)text.data[from]) != NULL) {
        from++;
        start++;
    }
    while (to > from && strchr(" \n\t", (char)text.data[to - 1]) != NULL) {
        to--;
        end--;
    }
    if (start > wide->start) { /* what was said before a piece that is no more there */
        wide->context = core->start <= start ? core->context : NULL;
        wide->has_page = core->has_page;
        wide->page = core->page;
    }
    wide->text.data += from;
    wide->text.len = to - from;
    wide->start = start;
    wide->end = end;
    sha256_of(wide->text.data, wide->text.len, wide->hash.data);
    size_t n = 0;
    for (size_t i = 0; i < wide->n_boxes; i++) {
        const Vs__Box *b = wide->boxes[i];
        if (!b->has_start || !b->has_end || (b->start < end && b->end > start)) {
            wide->boxes[n++] = wide->boxes[i];
        }
    }
    wide->n_boxes = n;
}

/* Two that were found near one another widen over the same neighbours: what a better one says
 * already is taken off. */
static void say_once(Vs__Passage *wide, const Vs__Passage *core, Rt__RankedPassage *const *kept,
                     size_t n)
{
    uint32_t start = wide->start, end = wide->end;
    for (size_t i = 0; i < n; i++) {
        const Vs__Passage *k = kept[i]->passage;
        if (strcmp(k->content, wide->content) != 0 || k->end <= start || k->start >= end) {
            continue;
        }
        if (k->start <= core->start && k->end > start) {
            start = k->end;
        } else if (k->end >= core->end && k->start < end) {
            end = k->start;
        }
    }
    if ((start > wide->start || end < wide->end) && start < end && wide->hash.len == SHA256_BYTES) {
        narrow(wide, core, start, end);
    }
}

enum status answer_widen(const Vs__FetchReply *widened, struct arena *a, Rt__SearchReply *reply,
                         struct error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < reply->n_passages; i++) {
        Rt__RankedPassage *p = reply->passages[i];
        const Vs__Passage *core = p->passage;
        size_t k = 0;
        while (k < kept && (strcmp(reply->passages[k]->passage->content, core->content) != 0 ||
                            core->start < reply->passages[k]->passage->start ||
                            core->end > reply->passages[k]->passage->end)) {
            k++;
        }
        if (k < kept) {
            enum status s = add_folded(reply->passages[k]->why, core, a, err);
            if (s != STATUS_OK) {
                return s;
            }
            continue;
        }
        Vs__Passage *wide = passage_of(widened, view(core->chunk));
        if (wide != NULL) {
            say_once(wide, core, reply->passages, kept);
        }
        p->passage = wide != NULL ? wide : p->passage;
        reply->passages[kept++] = p;
    }
    reply->n_passages = kept;
    return STATUS_OK;
}
