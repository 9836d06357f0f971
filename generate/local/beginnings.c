#include "generate/local/beginnings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void beginnings_init(struct beginnings *b, struct kv_pool *pool)
{
    *b = (struct beginnings){.pool = pool};
}

static void drop(struct beginnings *b, struct beginning *i)
{
    kv_release(b->pool, &i->sequence);
    free(i->tokens);
    *i = (struct beginning){0};
}

void beginnings_deinit(struct beginnings *b)
{
    while (beginnings_drop_one(b)) {
    }
}

static uint32_t common(const struct beginning *i, const uint32_t *tokens, uint32_t n)
{
    uint32_t same = 0;
    while (same < n && same < i->sequence.length && i->tokens[same] == tokens[same]) {
        same++;
    }
    return same;
}

/* Gives up the one unused for longest, but for `but`. */
static bool drop_other(struct beginnings *b, const struct beginning *but)
{
    struct beginning *oldest = NULL;
    for (size_t k = 0; k < BEGINNINGS_MAX; k++) {
        struct beginning *i = &b->items[k];
        if (i->tokens != NULL && i != but && (oldest == NULL || i->used_ms < oldest->used_ms)) {
            oldest = i;
        }
    }
    if (oldest != NULL) {
        drop(b, oldest);
    }
    return oldest != NULL;
}

bool beginnings_drop_one(struct beginnings *b)
{
    return drop_other(b, NULL);
}

uint32_t beginnings_find(struct beginnings *b, const char *scope, const uint32_t *tokens,
                         uint32_t n, int64_t now_ms, struct kv_sequence *out, uint32_t *worth)
{
    struct beginning *best = NULL;
    uint32_t most = BEGINNINGS_LEAST - 1;
    struct error ignored = {0};
    *worth = 0;
    for (size_t k = 0; k < BEGINNINGS_MAX && scope[0] != '\0'; k++) {
        struct beginning *i = &b->items[k];
        uint32_t same =
            i->tokens != NULL && strcmp(i->scope, scope) == 0 ? common(i, tokens, n - 1) : 0;
        bool there = same > 0 && kv_can_fork(b->pool, &i->sequence, same);
        if (!there) {
            *worth = same > *worth ? same : *worth;
        } else if (same > most) {
            most = same;
            best = i;
        }
    }
    *worth = *worth > most ? *worth / KV_PAGE * KV_PAGE : 0;
    if (best == NULL) {
        return 0;
    }
    enum status s = kv_fork(b->pool, &best->sequence, most, out, &ignored);
    while (s == STATUS_BUSY && drop_other(b, best)) {
        s = kv_fork(b->pool, &best->sequence, most, out, &ignored);
    }
    best->used_ms = now_ms;
    return s == STATUS_OK ? most : 0; /* nothing shared: only slower */
}

void beginnings_keep(struct beginnings *b, const char *scope, const uint32_t *tokens, uint32_t n,
                     const struct kv_sequence *sequence, int64_t now_ms)
{
    struct error ignored = {0};
    struct beginning *to = NULL;
    uint32_t whole = n / KV_PAGE * KV_PAGE; /* the page being written stays the sequence's own */
    if (scope[0] == '\0' || strlen(scope) >= SCOPE_CAP || whole < BEGINNINGS_LEAST) {
        return;
    }
    for (size_t k = 0; k < BEGINNINGS_MAX; k++) {
        struct beginning *i = &b->items[k];
        if (i->tokens == NULL || strcmp(i->scope, scope) != 0) {
            continue;
        }
        uint32_t same = common(i, tokens, whole);
        if (same == whole && kv_can_fork(b->pool, &i->sequence, whole)) { /* known already */
            i->used_ms = now_ms;
            return;
        }
        if (same == i->sequence.length && same < whole &&
            kv_can_fork(b->pool, sequence, same)) { /* the new one is longer */
            drop(b, i);
        }
    }
    for (size_t k = 0; k < BEGINNINGS_MAX && to == NULL; k++) {
        to = b->items[k].tokens == NULL ? &b->items[k] : NULL;
    }
    if (to == NULL) {
        (void)beginnings_drop_one(b);
        for (size_t k = 0; k < BEGINNINGS_MAX && to == NULL; k++) {
            to = b->items[k].tokens == NULL ? &b->items[k] : NULL;
        }
    }
    uint32_t *copy = to == NULL ? NULL : malloc(whole * sizeof *copy);
    enum status s = copy == NULL ? STATUS_NO_MEMORY
                                 : kv_fork(b->pool, sequence, whole, &to->sequence, &ignored);
    if (s == STATUS_BUSY && beginnings_drop_one(b)) { /* its copy of a window for this one's */
        s = kv_fork(b->pool, sequence, whole, &to->sequence, &ignored);
    }
    if (s != STATUS_OK) {
        free(copy);
        return;
    }
    memcpy(copy, tokens, whole * sizeof *copy);
    to->tokens = copy;
    to->used_ms = now_ms;
    (void)snprintf(to->scope, sizeof to->scope, "%s", scope);
}

void beginnings_expire(struct beginnings *b, int64_t now_ms)
{
    for (size_t k = 0; k < BEGINNINGS_MAX; k++) {
        if (b->items[k].tokens != NULL && now_ms - b->items[k].used_ms > BEGINNINGS_KEEP_MS) {
            drop(b, &b->items[k]);
        }
    }
}

uint32_t beginnings_pages(const struct beginnings *b)
{
    uint32_t n = 0;
    for (size_t k = 0; k < BEGINNINGS_MAX; k++) {
        n += b->items[k].sequence.n_pages;
    }
    return n;
}
