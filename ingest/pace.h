/* How fast documents are done and when the rest will be: what was finished in the last minutes of
 * work, by files and by bytes, half of the estimate from each, since small files cost by the file
 * and large ones by the byte. Pure. */
#ifndef CARREL_INGEST_PACE_H
#define CARREL_INGEST_PACE_H

#include <stdint.h>

#define PACE_SLOTS 30
#define PACE_SLOT_MS 10000

struct pace { /* zeroed: nothing yet */
    struct {
        int64_t slot; /* time / PACE_SLOT_MS; counts are of it */
        uint64_t files, bytes, chunks;
    } slots[PACE_SLOTS];
    int64_t since_ms; /* work began, after a pause of all slots */
};

struct pace_now {
    double files_per_s, bytes_per_s, chunks_per_s; /* 0: nothing to tell by */
    int64_t left_s;                                /* -1: nobody can tell */
};

void pace_done(struct pace *p, int64_t now_ms, uint64_t bytes, uint64_t chunks);
void pace_look(const struct pace *p, int64_t now_ms, uint64_t files_left, uint64_t bytes_left,
               struct pace_now *out);

#endif
