#include "cli/term.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 30

bool term_colour(FILE *f)
{
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    return isatty(fileno(f)) == 1 && (no == NULL || no[0] == '\0') && term != NULL &&
           strcmp(term, "dumb") != 0;
}

void term_put_clean(FILE *f, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if ((*p < ' ' && *p != '\n' && *p != '\t') || *p == 0x7f) {
            (void)fprintf(f, "\\x%02x", *p);
        } else {
            (void)fputc(*p, f);
        }
    }
}

void term_duration(int64_t ms, char out[16])
{
    int64_t s = ms < 0 ? 0 : ms / 1000;

    if (s < 60) {
        (void)snprintf(out, 16, "%d s", (int)s);
    } else if (s < 3600) {
        (void)snprintf(out, 16, "%d min", (int)(s / 60));
    } else if (s < 86400) {
        (void)snprintf(out, 16, "%d h %d min", (int)(s / 3600), (int)(s / 60 % 60));
    } else {
        (void)snprintf(out, 16, "%d d %d h", (int)(s / 86400 % 100000), (int)(s / 3600 % 24));
    }
}

void term_bytes(uint64_t n, char out[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)n;
    size_t u = 0;

    while (v >= 1024 && u + 1 < sizeof(units) / sizeof(units[0])) {
        v /= 1024;
        u++;
    }
    (void)snprintf(out, 16, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
}

void term_progress(FILE *f, uint64_t done, uint64_t total, const char *note)
{
    char bar[BAR_WIDTH + 1];

    if (isatty(fileno(f)) != 1) {
        return;
    }
    size_t filled = total == 0 ? BAR_WIDTH : (size_t)(done * BAR_WIDTH / total);
    for (size_t i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i < filled ? '#' : '.';
    }
    bar[BAR_WIDTH] = '\0';
    (void)fprintf(f, "\r\x1b[K[%s] %" PRIu64 " of %" PRIu64 "  ", bar, done, total);
    term_put_clean(f, note);
    (void)fflush(f);
}

void term_progress_end(FILE *f)
{
    if (isatty(fileno(f)) == 1) {
        (void)fprintf(f, "\r\x1b[K");
        (void)fflush(f);
    }
}
