#include "ingest/formats/binary.h"

#define LOOK_AT 65536
#define WIDE_LOOK 4096

const char *text_wide_without_mark(struct str s)
{
    size_t n = (s.len < WIDE_LOOK ? s.len : WIDE_LOOK) & ~(size_t)1;
    size_t nul[2] = {0, 0};
    for (size_t i = 0; i < n; i++) {
        nul[i & 1] += s.ptr[i] == '\0';
    }
    if (n < 8 || (nul[0] + nul[1]) * 10 < n * 3) {
        return NULL;
    }
    return nul[1] > 8 * nul[0] + 1 ? "UTF-16LE" : nul[0] > 8 * nul[1] + 1 ? "UTF-16BE" : NULL;
}

bool text_is_binary(struct str s, const char *charset)
{
    size_t n = s.len < LOOK_AT ? s.len : LOOK_AT;
    size_t odd = 0;
    if (strncmp(charset, "UTF-16", 6) == 0 || strncmp(charset, "UTF-32", 6) == 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool struck = c == '\b' && i > 0 && (unsigned char)s.ptr[i - 1] > ' '; /* twice: bold */
        odd += (c < 9 && !struck) || (c > 13 && c < 32 && c != 27) || c == 127;
    }
    return odd * 10 > n;
}
