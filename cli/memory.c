#include "cli/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

uint64_t memory_of_process(pid_t pid)
{
    char path[64];
    char line[256];
    uint64_t kib = 0;
    uint64_t pages = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "re");
    if (f != NULL) {
        while (kib == 0 && fgets(line, sizeof(line), f) != NULL) {
            (void)sscanf(line, "Pss: %" SCNu64, &kib);
        }
        (void)fclose(f);
    }
    if (kib > 0) {
        return kib * 1024;
    }
    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    f = fopen(path, "re");
    if (f == NULL) {
        return 0;
    }
    if (fscanf(f, "%*u %" SCNu64, &pages) != 1) {
        pages = 0;
    }
    (void)fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
