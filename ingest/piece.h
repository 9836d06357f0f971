/* Framing of ex.Piece on a pipe: u32 little-endian length, then the packed message. */
#ifndef CARREL_INGEST_PIECE_H
#define CARREL_INGEST_PIECE_H

#include "base/status.h"
#include "base/str.h"
#include "extract.pb-c.h"

#define PIECE_HEAD 4
#define PIECE_MAX (8U * 1024 * 1024) /* a batch with its boxes stays well below */

/* Packs and writes; blocks. TOO_LARGE past PIECE_MAX. */
enum status piece_write(int fd, const Ex__Piece *piece, struct error *err) MUST_CHECK;
/* The length of the piece whose head is at p; more than PIECE_MAX is a broken stream. */
uint32_t piece_length(const char p[PIECE_HEAD]);

#endif
