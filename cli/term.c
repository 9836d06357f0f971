#include "cli/term.h"

#include <inttypes.h>
#include <stdarg.h>
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

/* Bytes of a character of which terminals are told nothing: controls of ASCII and of Latin-1
 * (U+0080 to U+009F), and what turns the writing round (U+200E, U+200F, U+202A to U+202E, U+2066 to
 * U+2069) or begins a line (U+2028, U+2029). 0: it is shown as it is. */
static size_t drives(const unsigned char *p, bool several_lines)
{
    if (p[0] < ' ' || p[0] == 0x7f) {
        return several_lines && (p[0] == '\n' || p[0] == '\t') ? 0 : 1;
    }
    if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f) {
        return 2;
    }
    bool marks = p[0] == 0xe2 && p[1] == 0x80 &&
                 (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae));
    bool isolates = p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9;
    return marks || isolates ? 3 : 0;
}

/* indent NULL: one line. */
static void put(FILE *f, const char *text, const char *indent)
{
    const unsigned char *p = (const unsigned char *)(text == NULL ? "" : text);
    while (*p != '\0') {
        size_t n = drives(p, indent != NULL);
        if (n == 0) {
            (void)fputc(*p, f);
            (void)fputs(*p == '\n' ? indent : "", f);
            p++;
        }
        for (; n > 0; n--) {
            (void)fprintf(f, "\\x%02x", *p++);
        }
    }
}

void term_put_clean(FILE *f, const char *text)
{
    put(f, text, NULL);
}

void term_put_text(FILE *f, const char *text, const char *indent)
{
    put(f, text, indent);
}

void term_complain(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    put(stderr, text, NULL);
    (void)fputc('\n', stderr);
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

const char *term_word(uint64_t n, const char *one, const char *many)
{
    return n == 1 ? one : many;
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
