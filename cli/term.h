/* What terminals are told: colours only where wanted, tables, a progress bar. */
#ifndef CARREL_CLI_TERM_H
#define CARREL_CLI_TERM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A terminal, NO_COLOR unset, TERM not dumb. */
bool term_colour(FILE *f);
/* Text of others without what could drive the terminal. */
void term_put_clean(FILE *f, const char *text);
/* "3 d 4 h", "12 min", "8 s" into out[16]. */
void term_duration(int64_t ms, char out[16]);
/* "12.3 MiB" into out[16]. */
void term_bytes(uint64_t n, char out[16]);
/* Draws over itself; nothing when f is no terminal. done <= total; note may be "". */
void term_progress(FILE *f, uint64_t done, uint64_t total, const char *note);
void term_progress_end(FILE *f);

#endif
