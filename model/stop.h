/* Stop strings in a stream of text: what is certain not to belong to one goes on at once, what may
 * be the beginning of one is held back until it is told, across the borders of tokens. */
#ifndef CARREL_MODEL_STOP_H
#define CARREL_MODEL_STOP_H

#include "base/buf.h"

#define STOP_STRINGS_MAX 16U
#define STOP_BYTES_MAX 256U

struct stop {
    struct str strings[STOP_STRINGS_MAX]; /* borrowed */
    size_t n;
    struct buf held;
    bool stopped;
    size_t which; /* of the strings, once stopped */
};

/* INVALID: too many, empty or too long. strings are borrowed until stop_deinit. */
enum status stop_init(struct stop *s, const struct str *strings, size_t n,
                      struct error *err) MUST_CHECK;
void stop_deinit(struct stop *s);
/* Takes the stream's next bytes; what may go on is appended to out. True once a stop string has
 * come: it and all behind it are gone. */
bool stop_feed(struct stop *s, struct str bytes, struct buf *out);
/* The stream has ended: what was held back goes on. */
void stop_end(struct stop *s, struct buf *out);

#endif
