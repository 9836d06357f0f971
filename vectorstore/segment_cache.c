#include "vectorstore/segment_cache.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024U

struct segment_cache {
    pthread_mutex_t lock;
    struct segment_cached *buckets[BUCKETS];
    struct segment_cached *oldest, *newest; /* those without pins */
    size_t idle, max;                       /* blocks */
};

enum status segment_cache_new(size_t max_bytes, struct segment_cache **out, struct error *err)
{
    struct segment_cache *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)pthread_mutex_init(&c->lock, NULL);
    c->max = max_bytes / SEGMENT_BLOCK < 16 ? 16 : max_bytes / SEGMENT_BLOCK;
    *out = c;
    return STATUS_OK;
}

struct segment_cached *segment_cached_new(uint64_t file, uint64_t block)
{
    struct segment_cached *b = aligned_alloc(64, sizeof *b);
    if (b != NULL) {
        b->next = b->older = b->newer = NULL;
        b->file = file;
        b->block = block;
        b->pins = 0;
    }
    return b;
}

void segment_cached_free(struct segment_cached *b)
{
    if (b != NULL) {
        sodium_memzero(b->bytes, sizeof b->bytes);
        free(b);
    }
}

static struct segment_cached **bucket(struct segment_cache *c, uint64_t file, uint64_t block)
{
    return &c->buckets[(file * 0x9E3779B97F4A7C15U + block) % BUCKETS];
}

static struct segment_cached *find(struct segment_cache *c, uint64_t file, uint64_t block)
{
    struct segment_cached *b = *bucket(c, file, block);
    while (b != NULL && (b->file != file || b->block != block)) {
        b = b->next;
    }
    return b;
}

static void unlink_idle(struct segment_cache *c, struct segment_cached *b)
{
    *(b->older == NULL ? &c->oldest : &b->older->newer) = b->newer;
    *(b->newer == NULL ? &c->newest : &b->newer->older) = b->older;
    b->older = b->newer = NULL;
    c->idle--;
}

static void drop(struct segment_cache *c, struct segment_cached *b)
{
    struct segment_cached **at = bucket(c, b->file, b->block);
    while (*at != b) {
        at = &(*at)->next;
    }
    *at = b->next;
    unlink_idle(c, b);
    segment_cached_free(b);
}

static struct segment_cached *pin(struct segment_cache *c, struct segment_cached *b)
{
    if (b->pins++ == 0) {
        unlink_idle(c, b);
    }
    return b;
}

struct segment_cached *segment_cache_get(struct segment_cache *c, uint64_t file, uint64_t block)
{
    (void)pthread_mutex_lock(&c->lock);
    struct segment_cached *b = find(c, file, block);
    b = b == NULL ? NULL : pin(c, b);
    (void)pthread_mutex_unlock(&c->lock);
    return b;
}

struct segment_cached *segment_cache_put(struct segment_cache *c, struct segment_cached *b)
{
    (void)pthread_mutex_lock(&c->lock);
    struct segment_cached *there = find(c, b->file, b->block);
    if (there != NULL) {
        segment_cached_free(b);
        b = pin(c, there);
    } else {
        struct segment_cached **at = bucket(c, b->file, b->block);
        b->next = *at;
        b->pins = 1;
        *at = b;
    }
    (void)pthread_mutex_unlock(&c->lock);
    return b;
}

void segment_cache_give(struct segment_cache *c, struct segment_cached *b)
{
    (void)pthread_mutex_lock(&c->lock);
    if (--b->pins == 0) {
        b->older = c->newest;
        *(c->newest == NULL ? &c->oldest : &c->newest->newer) = b;
        c->newest = b;
        c->idle++;
        while (c->idle > c->max) {
            drop(c, c->oldest);
        }
    }
    (void)pthread_mutex_unlock(&c->lock);
}

void segment_cache_forget(struct segment_cache *c, uint64_t file)
{
    (void)pthread_mutex_lock(&c->lock);
    for (struct segment_cached *b = c->oldest, *next; b != NULL; b = next) {
        next = b->newer;
        if (b->file == file) {
            drop(c, b);
        }
    }
    (void)pthread_mutex_unlock(&c->lock);
}

void segment_cache_free(struct segment_cache *c)
{
    if (c == NULL) {
        return;
    }
    while (c->oldest != NULL) {
        drop(c, c->oldest);
    }
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}
