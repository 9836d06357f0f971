#include "cli/paths.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum status paths_bin(char *out, size_t cap, struct error *err)
{
    ssize_t n = readlink("/proc/self/exe", out, cap - 1);

    if (n <= 0 || (size_t)n >= cap - 1) {
        return error_set(err, STATUS_INTERNAL, "/proc/self/exe cannot be read: is /proc mounted?");
    }
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL || slash == out) {
        return error_set(err, STATUS_INTERNAL, "the folder of the programs cannot be told");
    }
    *slash = '\0';
    return STATUS_OK;
}

bool paths_web(char *out, size_t cap)
{
    char bin[PATH_MAX];
    char page[PATH_MAX + 32];
    char real[PATH_MAX];

    if (paths_bin(bin, sizeof(bin), NULL) != STATUS_OK) {
        return false;
    }
    (void)snprintf(page, sizeof(page), "%s/../../../serve/web/dist", bin);
    if (realpath(page, real) == NULL || strlen(real) >= cap) {
        return false;
    }
    memcpy(out, real, strlen(real) + 1);
    return true;
}
