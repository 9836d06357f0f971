/* What terminals are told: colours only where wanted, tables, a progress bar. */
#ifndef CARREL_CLI_TERM_H
#define CARREL_CLI_TERM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A terminal, NO_COLOR unset, TERM not dumb. */
bool term_colour(FILE *f);
/* A name of others, in one line: what could drive the terminal, begin a line or turn the writing
 * round is shown as \xNN. NULL counts as "". */
void term_put_clean(FILE *f, const char *text);
/* The same of a text that may have several lines; those that it begins have indent before them. */
void term_put_text(FILE *f, const char *text, const char *indent);
/* A line of its own on stderr, without its newline in fmt; as term_put_clean, at most 1 KiB. */
void term_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "3 d 4 h", "12 min", "8 s" into out[16]. */
void term_duration(int64_t ms, char out[16]);
/* "file" for one, "files" for 0 and several: n and then this word. */
const char *term_word(uint64_t n, const char *one, const char *many);
/* "12.3 MiB" into out[16]. */
void term_bytes(uint64_t n, char out[16]);
/* Draws over itself; nothing when f is no terminal. done <= total; note may be "". */
void term_progress(FILE *f, uint64_t done, uint64_t total, const char *note);
void term_progress_end(FILE *f);

#endif
