/* Tokens to text that may be sent: whole UTF-8 characters only, what is no UTF-8 (and NUL) as
 * U+FFFD, stop strings taken out. Pure. */
#ifndef CARREL_GENERATE_LOCAL_TEXT_OUT_H
#define CARREL_GENERATE_LOCAL_TEXT_OUT_H

#include "model/stop.h"
#include "model/tokenizer.h"

struct text_out {
    const struct tokenizer *tokenizer; /* borrowed */
    struct stop stop;
    struct buf raw;        /* bytes of tokens, not yet whole characters */
    struct buf clean;      /* whole characters of this step */
    bool begun;            /* a token that writes something has come */
    const uint32_t *shown; /* special tokens that are part of the text; borrowed */
    size_t n_shown;
};

/* stops are borrowed until text_out_deinit. INVALID: as stop_init. */
enum status text_out_init(struct text_out *t, const struct tokenizer *tokenizer,
                          const struct str *stops, size_t n_stops, struct error *err) MUST_CHECK;
void text_out_deinit(struct text_out *t);
/* Appends to out what may go on. True: a stop string has come, or out's status says why no more
 * can. */
bool text_out_add(struct text_out *t, uint32_t token, struct buf *out);
/* The answer has ended: the rest goes on. */
void text_out_end(struct text_out *t, struct buf *out);

#endif
