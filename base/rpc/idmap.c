/* Open addressing with linear probing; removal shifts the run back, so there are no tombstones. */
#include "base/rpc/idmap.h"

#include <stdlib.h>

static size_t home_of(const struct idmap *m, uint32_t id)
{
    return (size_t)(id * 2654435769U) & (m->cap - 1);
}

void idmap_deinit(struct idmap *m)
{
    free(m->slots);
    *m = (struct idmap){0};
}

void *idmap_get(const struct idmap *m, uint32_t id)
{
    if (m->cap == 0 || id == 0) {
        return NULL;
    }
    for (size_t i = home_of(m, id); m->slots[i].id != 0; i = (i + 1) & (m->cap - 1)) {
        if (m->slots[i].id == id) {
            return m->slots[i].value;
        }
    }
    return NULL;
}

static void insert(struct idmap *m, uint32_t id, void *value)
{
    size_t i = home_of(m, id);
    while (m->slots[i].id != 0) {
        i = (i + 1) & (m->cap - 1);
    }
    m->slots[i] = (struct idmap_slot){.id = id, .value = value};
    m->len++;
}

bool idmap_put(struct idmap *m, uint32_t id, void *value)
{
    if (m->len * 2 >= m->cap) {
        struct idmap grown = {.cap = m->cap == 0 ? 32 : m->cap * 2};
        grown.slots = calloc(grown.cap, sizeof *grown.slots);
        if (grown.slots == NULL) {
            return false;
        }
        for (size_t i = 0; i < m->cap; i++) {
            if (m->slots[i].id != 0) {
                insert(&grown, m->slots[i].id, m->slots[i].value);
            }
        }
        free(m->slots);
        *m = grown;
    }
    insert(m, id, value);
    return true;
}

void idmap_remove(struct idmap *m, uint32_t id)
{
    if (idmap_get(m, id) == NULL) {
        return;
    }
    size_t i = home_of(m, id);
    while (m->slots[i].id != id) {
        i = (i + 1) & (m->cap - 1);
    }
    size_t hole = i;
    for (;;) {
        i = (i + 1) & (m->cap - 1);
        if (m->slots[i].id == 0) {
            break;
        }
        /* May this one move back into the hole: does its home lie at or before it? */
        size_t distance_home = (i - home_of(m, m->slots[i].id)) & (m->cap - 1);
        size_t distance_hole = (i - hole) & (m->cap - 1);
        if (distance_home >= distance_hole) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct idmap_slot){0};
    m->len--;
}
