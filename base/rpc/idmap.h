/* Calls of a connection by id. Ids are not 0. */
#ifndef CARREL_BASE_RPC_IDMAP_H
#define CARREL_BASE_RPC_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idmap_slot {
    uint32_t id; /* 0: free */
    void *value;
};

struct idmap {
    struct idmap_slot *slots;
    size_t cap; /* a power of two, or 0 */
    size_t len;
};

void idmap_deinit(struct idmap *m); /* a zeroed idmap is an empty one */
void *idmap_get(const struct idmap *m, uint32_t id);
/* id must not be there yet. false when out of memory. */
bool idmap_put(struct idmap *m, uint32_t id, void *value);
void idmap_remove(struct idmap *m, uint32_t id); /* an absent one is fine */

#endif
