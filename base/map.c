#include "base/map.h"

#include <stdlib.h>

struct map_slot {
    char *key; /* NULL: never used, or dead when value is also &tombstone */
    size_t len;
    uint64_t hash;
    void *value;
};

static char tombstone;

uint64_t hash64(const void *p, size_t len)
{
    const unsigned char *b = p;
    uint64_t h = 1469598103934665603U;
    for (size_t i = 0; i < len; i++) {
        h = (h ^ b[i]) * 1099511628211U;
    }
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdU;
    h ^= h >> 33;
    return h;
}

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_deinit(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++) {
        free(m->slots[i].key);
    }
    free(m->slots);
    map_init(m);
}

static struct map_slot *find(const struct map *m, struct str key, uint64_t hash)
{
    if (m->cap == 0) {
        return NULL;
    }
    for (size_t i = (size_t)hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct map_slot *s = &m->slots[i];
        if (s->key == NULL) {
            if (s->value == NULL) {
                return NULL;
            }
        } else if (s->hash == hash && s->len == key.len && memcmp(s->key, key.ptr, key.len) == 0) {
            return s;
        }
    }
}

static void place(struct map *m, struct map_slot item)
{
    size_t i = (size_t)item.hash & (m->cap - 1);
    while (m->slots[i].key != NULL) {
        i = (i + 1) & (m->cap - 1);
    }
    if (m->slots[i].value != NULL) {
        m->dead--;
    }
    m->slots[i] = item;
    m->len++;
}

static enum status grow(struct map *m)
{
    if ((m->len + m->dead + 1) * 4 <= m->cap * 3) {
        return STATUS_OK;
    }
    struct map old = *m;
    size_t cap = 16;
    while (cap * 3 < (old.len + 1) * 6) {
        cap *= 2;
    }
    struct map_slot *slots = calloc(cap, sizeof *slots);
    if (slots == NULL) {
        return STATUS_NO_MEMORY;
    }
    *m = (struct map){.slots = slots, .cap = cap};
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].key != NULL) {
            place(m, old.slots[i]);
        }
    }
    free(old.slots);
    return STATUS_OK;
}

void *map_get(const struct map *m, struct str key)
{
    const struct map_slot *s = find(m, key, hash64(key.ptr, key.len));
    return s == NULL ? NULL : s->value;
}

enum status map_put(struct map *m, struct str key, void *value, void **old)
{
    uint64_t hash = hash64(key.ptr, key.len);
    struct map_slot *s = find(m, key, hash);
    if (old != NULL) {
        *old = s == NULL ? NULL : s->value;
    }
    if (s != NULL) {
        s->value = value;
        return STATUS_OK;
    }
    char *copy = malloc(key.len + 1);
    if (copy == NULL || grow(m) != STATUS_OK) {
        free(copy);
        return STATUS_NO_MEMORY;
    }
    if (key.len > 0) {
        memcpy(copy, key.ptr, key.len);
    }
    copy[key.len] = '\0';
    place(m, (struct map_slot){.key = copy, .len = key.len, .hash = hash, .value = value});
    return STATUS_OK;
}

void *map_remove(struct map *m, struct str key)
{
    struct map_slot *s = find(m, key, hash64(key.ptr, key.len));
    if (s == NULL) {
        return NULL;
    }
    void *value = s->value;
    free(s->key);
    *s = (struct map_slot){.value = &tombstone};
    m->len--;
    m->dead++;
    return value;
}

bool map_next(const struct map *m, size_t *pos, struct str *key, void **value)
{
    while (*pos < m->cap) {
        const struct map_slot *s = &m->slots[(*pos)++];
        if (s->key != NULL) {
            *key = (struct str){.ptr = s->key, .len = s->len};
            *value = s->value;
            return true;
        }
    }
    return false;
}
