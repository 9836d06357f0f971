#include "ingest/piece.h"

#include <stdlib.h>

#include "base/file.h"

enum status piece_write(int fd, const Ex__Piece *piece, struct error *err)
{
    size_t n = ex__piece__get_packed_size(piece);
    if (n > PIECE_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "a part of it is too large to hand on");
    }
    uint8_t *p = malloc(PIECE_HEAD + n);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (unsigned i = 0; i < PIECE_HEAD; i++) {
        p[i] = (uint8_t)(n >> (8 * i));
    }
    (void)ex__piece__pack(piece, p + PIECE_HEAD);
    enum status s = file_write_all(fd, p, PIECE_HEAD + n, err);
    free(p);
    return s;
}

uint32_t piece_length(const char p[PIECE_HEAD])
{
    uint32_t n = 0;
    for (unsigned i = 0; i < PIECE_HEAD; i++) {
        n |= (uint32_t)(unsigned char)p[i] << (8 * i);
    }
    return n;
}
