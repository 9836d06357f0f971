#include "ingest/pace.h"

#include <stdbool.h>
#include <stddef.h>

void pace_done(struct pace *p, int64_t now_ms, uint64_t bytes, uint64_t chunks)
{
    int64_t slot = now_ms / PACE_SLOT_MS;
    size_t at = (size_t)slot % PACE_SLOTS;
    bool busy = false;
    for (size_t i = 0; i < PACE_SLOTS; i++) {
        busy = busy || (p->slots[i].files > 0 && slot - p->slots[i].slot < PACE_SLOTS);
    }
    if (!busy) {
        p->since_ms = now_ms;
    }
    if (p->slots[at].slot != slot) {
        p->slots[at].files = p->slots[at].bytes = p->slots[at].chunks = 0;
        p->slots[at].slot = slot;
    }
    p->slots[at].files++;
    p->slots[at].bytes += bytes;
    p->slots[at].chunks += chunks;
}

void pace_look(const struct pace *p, int64_t now_ms, uint64_t files_left, uint64_t bytes_left,
               struct pace_now *out)
{
    int64_t slot = now_ms / PACE_SLOT_MS;
    int64_t first = (slot - PACE_SLOTS + 1) * PACE_SLOT_MS;
    double files = 0;
    double bytes = 0;
    double chunks = 0;
    *out = (struct pace_now){.left_s = files_left == 0 ? 0 : -1};
    for (size_t i = 0; i < PACE_SLOTS; i++) {
        if (slot - p->slots[i].slot < PACE_SLOTS) {
            files += (double)p->slots[i].files;
            bytes += (double)p->slots[i].bytes;
            chunks += (double)p->slots[i].chunks;
        }
    }
    int64_t from = p->since_ms > first ? p->since_ms : first;
    double seconds = (double)(now_ms - from) / 1000;
    if (files < 1 || seconds < 1) {
        return;
    }
    out->files_per_s = files / seconds;
    out->bytes_per_s = bytes / seconds;
    out->chunks_per_s = chunks / seconds;
    double by_files = (double)files_left / out->files_per_s;
    double by_bytes = bytes > 0 ? (double)bytes_left / out->bytes_per_s : by_files;
    out->left_s = (int64_t)((by_files + by_bytes) / 2 + 0.5);
}
