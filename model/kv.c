#include "model/kv_internal.h"

#include <stdlib.h>
#include <string.h>

static uint32_t heads_of(const struct kv_shape *shape)
{
    return shape->heads == 0 ? 1 : shape->heads;
}

/* A page's keys or values of one head. */
static size_t part_bytes(enum tensor_type t, uint32_t width)
{
    size_t n = (size_t)KV_PAGE * width;
    return t == TENSOR_Q8_0 ? n + ATTEND_SCALES(width) : n * (t == TENSOR_F16 ? 2 : 4);
}

/* From layer `first` on. */
static uint32_t layers_of(const struct kv_shape *shape, uint32_t group, uint32_t first)
{
    uint32_t n = 0;
    for (uint32_t i = first; i < shape->layers; i++) {
        n += kv_windowed(shape, i) == (group == 1) ? 1 : 0;
    }
    return n;
}

static uint32_t pages_of(uint64_t tokens)
{
    return (uint32_t)((tokens + KV_PAGE - 1) / KV_PAGE);
}

uint64_t kv_group_bytes(const struct kv_shape *shape, uint32_t group)
{
    uint32_t heads = heads_of(shape);
    return (uint64_t)layers_of(shape, group, 0) * heads *
           (part_bytes(shape->type, shape->key_width / heads) +
            part_bytes(shape->type, kv_padded(shape->value_width / heads)));
}

/* A pass of n tokens looks at window - 1 before its first, and neither end need be a page's. */
uint32_t kv_ring(const struct kv_shape *shape)
{
    return shape->pass_tokens == 0 || shape->window == 0
               ? UINT32_MAX
               : pages_of((uint64_t)shape->window - 1 + shape->pass_tokens) + 1;
}

struct kv_room kv_room_for(const struct kv_shape *shape, uint32_t sequences, uint32_t tokens)
{
    uint32_t pages = pages_of(tokens);
    uint32_t ring = kv_ring(shape);
    bool two = layers_of(shape, 1, 0) > 0;
    return (struct kv_room){
        {sequences * pages, two ? sequences * (pages < ring ? pages : ring) : 0}};
}

uint64_t kv_room_bytes(const struct kv_shape *shape, const struct kv_room *room)
{
    return room->pages[0] * kv_group_bytes(shape, 0) + room->pages[1] * kv_group_bytes(shape, 1);
}

static const struct {
    const char *name;
    enum tensor_type type;
    enum attend_form form;
} types[] = {{"f32", TENSOR_F32, ATTEND_FLOATS},
             {"f16", TENSOR_F16, ATTEND_HALVES},
             {"q8_0", TENSOR_Q8_0, ATTEND_BYTES}};
#define TYPES (sizeof types / sizeof types[0])

bool kv_type_parse(const char *name, enum tensor_type *out)
{
    for (size_t i = 0; i < TYPES; i++) {
        if (strcmp(types[i].name, name) == 0) {
            *out = types[i].type;
            return true;
        }
    }
    return false;
}

const char *kv_type_name(enum tensor_type t)
{
    const char *name = "";
    for (size_t i = 0; i < TYPES; i++) {
        name = types[i].type == t ? types[i].name : name;
    }
    return name;
}

static enum status make_group(struct kv_pool *p, uint32_t group, uint32_t pages, struct error *err)
{
    struct group *g = &p->groups[group];
    g->n = g->n_free = pages;
    g->layers = layers_of(&p->shape, group, 0);
    g->page_bytes = layers_of(&p->shape, group, p->device.layers) * p->layer_bytes;
    g->uses = calloc((size_t)pages + 1, sizeof *g->uses);
    g->free_pages = calloc((size_t)pages + 1, sizeof *g->free_pages);
    g->data = calloc(pages > 0 ? pages : 1, g->page_bytes > 0 ? g->page_bytes : 1);
    if (g->uses == NULL || g->free_pages == NULL || g->data == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "no memory for %u pages of keys and values", pages);
    }
    for (uint32_t i = 0; i < pages; i++) {
        g->free_pages[i] = pages - 1 - i;
    }
    return STATUS_OK;
}

enum status kv_pool_new_with(const struct kv_shape *shape, const struct kv_room *room,
                             const struct kv_device *device, struct kv_pool **out,
                             struct error *err)
{
    struct kv_pool *p = calloc(1, sizeof *p);
    uint16_t side[KV_GROUPS] = {0};
    enum status s = STATUS_OK;
    if (p == NULL || shape->layers > KV_LAYERS_MAX) {
        free(p);
        return error_set(err, p == NULL ? STATUS_NO_MEMORY : STATUS_INVALID,
                         "no keys and values for %u layers", shape->layers);
    }
    p->shape = *shape;
    p->device = device == NULL ? (struct kv_device){0} : *device;
    p->ring = kv_ring(shape);
    p->heads = heads_of(shape);
    p->key_width = shape->key_width / p->heads;
    p->value_width = shape->value_width / p->heads;
    p->key_bytes = part_bytes(shape->type, p->key_width);
    p->head_bytes = p->key_bytes + part_bytes(shape->type, kv_padded(p->value_width));
    p->layer_bytes = p->heads * p->head_bytes;
    for (uint32_t i = 0; i < shape->layers; i++) {
        if (i == p->device.layers) {
            memset(side, 0, sizeof side);
        }
        p->places[i] = side[kv_windowed(shape, i) ? 1 : 0]++;
    }
    for (uint32_t group = 0; s == STATUS_OK && group < KV_GROUPS; group++) {
        s = make_group(p, group, group == 1 && layers_of(shape, 1, 0) == 0 ? 0 : room->pages[group],
                       err);
    }
    if (s != STATUS_OK) {
        kv_pool_free(p);
        return s;
    }
    *out = p;
    return STATUS_OK;
}

enum status kv_pool_new(const struct kv_shape *shape, uint32_t pages, struct kv_pool **out,
                        struct error *err)
{
    struct kv_room room = {{pages, pages}};
    return kv_pool_new_with(shape, &room, NULL, out, err);
}

void kv_pool_free(struct kv_pool *p)
{
    for (uint32_t group = 0; p != NULL && group < KV_GROUPS; group++) {
        free(p->groups[group].uses);
        free(p->groups[group].free_pages);
        free(p->groups[group].data);
    }
    free(p);
}

uint32_t kv_pool_left(const struct kv_pool *p)
{
    return p->groups[0].n_free;
}

uint32_t kv_window_left(const struct kv_pool *p)
{
    return p->groups[1].n_free;
}

enum tensor_type kv_type(const struct kv_pool *p)
{
    return p->shape.type;
}

enum attend_form kv_form(const struct kv_pool *p)
{
    enum attend_form form = ATTEND_FLOATS;
    for (size_t i = 0; i < TYPES; i++) {
        form = types[i].type == p->shape.type ? types[i].form : form;
    }
    return form;
}

/* ---- sequences ---- */

static bool grow(uint32_t **list, uint32_t *cap, uint32_t pages)
{
    if (pages <= *cap) {
        return true;
    }
    uint32_t more = *cap == 0 ? 8 : *cap;
    while (more < pages) {
        more *= 2;
    }
    uint32_t *grown = realloc(*list, more * sizeof *grown);
    if (grown != NULL) {
        *list = grown;
        *cap = more;
    }
    return grown != NULL;
}

static uint32_t take(struct group *g)
{
    uint32_t page = g->free_pages[--g->n_free];
    g->uses[page] = 1;
    return page;
}

static void give(struct group *g, uint32_t page)
{
    if (--g->uses[page] == 0) {
        g->free_pages[g->n_free++] = page;
    }
}

static void copy_page(struct kv_pool *p, uint32_t group, uint32_t to, uint32_t from)
{
    struct group *g = &p->groups[group];
    if (p->device.copy != NULL) {
        p->device.copy(p->device.data, group, to, from);
    }
    if (g->page_bytes > 0) {
        memcpy(g->data + to * g->page_bytes, g->data + from * g->page_bytes, g->page_bytes);
    }
}

/* The sequence's own copy of a page that others have too. */
static void part(struct kv_pool *p, uint32_t group, uint32_t *page)
{
    struct group *g = &p->groups[group];
    if (g->uses[*page] > 1) {
        uint32_t own = take(g);
        copy_page(p, group, own, *page);
        give(g, *page);
        *page = own;
    }
}

/* Of the first n of a list from `from` on, those that others have too. */
static uint32_t shared(const struct group *g, const uint32_t *list, uint32_t from, uint32_t n)
{
    uint32_t found = 0;
    for (uint32_t i = from; i < n; i++) {
        found += g->uses[list[i]] > 1 ? 1 : 0;
    }
    return found;
}

enum status kv_reserve(struct kv_pool *p, struct kv_sequence *s, uint32_t n, struct error *err)
{
    struct group *all = &p->groups[0];
    struct group *near = &p->groups[1];
    uint32_t pages = pages_of((uint64_t)s->length + n);
    pages = pages < s->n_pages ? s->n_pages : pages;
    uint32_t ring = near->layers == 0 ? 0 : pages < p->ring ? pages : p->ring;
    uint32_t last = n == 0 ? UINT32_MAX : s->length / KV_PAGE; /* the page written next */
    uint32_t last_near = pages > p->ring ? 0 : last;           /* a ring is written everywhere */
    uint32_t more = pages - s->n_pages + shared(all, s->pages, last, s->n_pages);
    uint32_t more_near = ring - s->n_window + shared(near, s->window_pages, last_near, s->n_window);
    if (more > all->n_free || more_near > near->n_free) {
        return error_set(err, STATUS_BUSY,
                         "no room for %u more tokens: %u and %u pages wanted, %u and %u free", n,
                         more, more_near, all->n_free, near->n_free);
    }
    if (!grow(&s->pages, &s->cap_pages, pages) || !grow(&s->window_pages, &s->cap_window, ring)) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t i = last; i < s->n_pages; i++) {
        part(p, 0, &s->pages[i]);
    }
    for (uint32_t i = last_near; i < s->n_window; i++) {
        part(p, 1, &s->window_pages[i]);
    }
    while (s->n_pages < pages) {
        s->pages[s->n_pages++] = take(all);
    }
    while (s->n_window < ring) {
        s->window_pages[s->n_window++] = take(near);
    }
    return STATUS_OK;
}

static bool has_ring(const struct kv_pool *p, const struct kv_sequence *s)
{
    return p->groups[1].layers > 0 && s->n_pages > p->ring;
}

uint32_t kv_pass_most(const struct kv_pool *p, const struct kv_sequence *s)
{
    uint32_t reserved = s->n_pages * KV_PAGE - s->length;
    return has_ring(p, s) && reserved > p->shape.pass_tokens ? p->shape.pass_tokens : reserved;
}

/* The first page that a token at position n sees in group 1. */
static uint32_t first_seen(const struct kv_pool *p, uint32_t n)
{
    return n + 1 > p->shape.window ? (n + 1 - p->shape.window) / KV_PAGE : 0;
}

bool kv_can_fork(const struct kv_pool *p, const struct kv_sequence *from, uint32_t n)
{
    uint32_t first = first_seen(p, n);
    uint32_t written = pages_of(from->length);
    return p->groups[1].layers == 0 ||
           (first >= from->window_first && (!has_ring(p, from) || first + p->ring >= written));
}

/* Group 1 behind the fork of a ring: copies of what the next token sees, room for the rest. */
static enum status fork_ring(struct kv_pool *p, const struct kv_sequence *from, uint32_t n,
                             struct kv_sequence *out, struct error *err)
{
    struct group *g = &p->groups[1];
    uint32_t pages = pages_of(n);
    uint32_t ring = pages < p->ring ? pages : p->ring;
    if (ring > g->n_free) {
        return error_set(err, STATUS_BUSY, "no room for a copy of a window: %u pages, %u free",
                         ring, g->n_free);
    }
    if (!grow(&out->window_pages, &out->cap_window, ring)) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    while (out->n_window < ring) {
        out->window_pages[out->n_window++] = take(g);
    }
    out->window_first = first_seen(p, n);
    for (uint32_t i = out->window_first; i < pages; i++) {
        copy_page(p, 1, out->window_pages[i % p->ring], from->window_pages[i % p->ring]);
    }
    return STATUS_OK;
}

static enum status share(struct group *g, const uint32_t *from, uint32_t n, uint32_t **list,
                         uint32_t *cap, uint32_t *n_list, struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        if (g->uses[from[i]] == UINT16_MAX) {
            return error_set(err, STATUS_BUSY, "too many sequences share one beginning");
        }
    }
    if (!grow(list, cap, n)) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        (*list)[i] = from[i];
        g->uses[from[i]]++;
    }
    *n_list = n;
    return STATUS_OK;
}

enum status kv_fork(struct kv_pool *p, const struct kv_sequence *from, uint32_t n,
                    struct kv_sequence *out, struct error *err)
{
    n = n > from->length ? from->length : n;
    uint32_t pages = pages_of(n);
    if (!kv_can_fork(p, from, n)) {
        return error_set(err, STATUS_NOT_FOUND, "the window before token %u is not kept", n);
    }
    enum status s =
        share(&p->groups[0], from->pages, pages, &out->pages, &out->cap_pages, &out->n_pages, err);
    if (s == STATUS_OK && has_ring(p, from)) {
        s = fork_ring(p, from, n, out, err);
    } else if (s == STATUS_OK && p->groups[1].layers > 0) {
        out->window_first = from->window_first;
        s = share(&p->groups[1], from->window_pages, pages, &out->window_pages, &out->cap_window,
                  &out->n_window, err);
    }
    if (s != STATUS_OK) {
        kv_release(p, out);
        return s;
    }
    out->length = n;
    return STATUS_OK;
}

void kv_release(struct kv_pool *p, struct kv_sequence *s)
{
    for (uint32_t i = 0; i < s->n_pages; i++) {
        give(&p->groups[0], s->pages[i]);
    }
    for (uint32_t i = 0; i < s->n_window; i++) {
        give(&p->groups[1], s->window_pages[i]);
    }
    free(s->pages);
    free(s->window_pages);
    *s = (struct kv_sequence){0};
}
