/* What a reader says. It has read what a stranger wrote, so that it is checked like any input. */
#include <string.h>

#include "ingest/extractor_internal.h"
#include "ingest/piece.h"
#include "ingest/utf8.h"

#define PAGES_MAX 100000U
#define CHILD_TAG 0x3A /* how a packed piece begins that is a child's, and nothing else */

static bool is_sound(const Ex__Block *b)
{
    struct str s = {b->text.len == 0 ? "" : (const char *)b->text.data, b->text.len};
    const char *end = s.ptr + s.len;
    if ((unsigned)b->kind < EX__BLOCK__KIND__PARAGRAPH ||
        (unsigned)b->kind > EX__BLOCK__KIND__NOTE ||
        (b->has_level && (b->level < 1 || b->level > 6))) {
        return false;
    }
    for (const char *p = s.ptr; p < end;) {
        size_t n;
        uint32_t c = utf8_next(p, end, &n);
        if (c == UTF8_BAD || c == 0) {
            return false;
        }
        p += n;
    }
    for (size_t i = 0; i < b->n_lines; i++) {
        if (b->lines[i]->start > b->lines[i]->end || b->lines[i]->end > s.len) {
            return false;
        }
    }
    return true;
}

static enum status keep_blocks(struct extraction *x, Ex__Piece *piece, struct error *err)
{
    struct extracted *r = &x->result;
    if (r->n_blocks + piece->n_blocks > x->cap_blocks) {
        size_t cap = (r->n_blocks + piece->n_blocks) * 2;
        Ex__Block **grown = arena_array(x->arena, cap, sizeof(Ex__Block *));
        if (grown == NULL) {
            return error_set(err, STATUS_TOO_LARGE,
                             "it holds too much text for the memory allowed");
        }
        if (r->n_blocks > 0) {
            memcpy(grown, r->blocks, r->n_blocks * sizeof(Ex__Block *));
        }
        r->blocks = grown;
        x->cap_blocks = cap;
    }
    for (size_t i = 0; i < piece->n_blocks; i++) {
        if (!is_sound(piece->blocks[i])) {
            return error_set(err, STATUS_PROTOCOL, "the extractor gave a malformed answer");
        }
        r->blocks[r->n_blocks++] = piece->blocks[i];
    }
    return STATUS_OK;
}

/* In order and each once, so that whoever reads them need not look. */
static enum status keep_unread(struct extraction *x, const Ex__Piece *piece, struct error *err)
{
    struct extracted *r = &x->result;
    if (r->n_unread + piece->n_unread > x->cap_unread) {
        size_t cap = (r->n_unread + piece->n_unread) * 2;
        Ex__UnreadPage **grown = arena_array(x->arena, cap, sizeof(Ex__UnreadPage *));
        if (grown == NULL) {
            return error_set(err, STATUS_TOO_LARGE, "it has too many pages for the memory allowed");
        }
        if (r->n_unread > 0) {
            memcpy(grown, r->unread, r->n_unread * sizeof(Ex__UnreadPage *));
        }
        r->unread = grown;
        x->cap_unread = cap;
    }
    for (size_t i = 0; i < piece->n_unread; i++) {
        Ex__UnreadPage *u = piece->unread[i];
        uint32_t before = r->n_unread == 0 ? 0 : r->unread[r->n_unread - 1]->page;
        if (u->page <= before || u->page > PAGES_MAX || !(u->width > 0 && u->height > 0)) {
            return error_set(err, STATUS_PROTOCOL, "the extractor gave a malformed answer");
        }
        r->unread[r->n_unread++] = u;
    }
    return STATUS_OK;
}

static enum status take_child(struct extraction *x, const Ex__Child *c, struct error *err)
{
    if (!x->unpacks) {
        return error_set(err, STATUS_PROTOCOL, "the extractor gave a malformed answer");
    }
    return x->members.take(x->members.data, c, err);
}

static void take_notes(struct extraction *x, const Ex__Piece *piece)
{
    for (size_t i = 0; i < piece->n_notes && x->unpacks; i++) {
        struct buf clean;
        buf_init(&clean, 4096);
        utf8_clean(&clean, str_from(piece->notes[i]));
        if (buf_status(&clean) == STATUS_OK && clean.len > 0) {
            x->members.note(x->members.data, clean.ptr);
        }
        buf_deinit(&clean);
    }
}

/* Only what a reader can know: it writes no files, so that no word of its is to hold the queue, and
 * nobody cancels through it. */
static enum status status_of(const Ex__Failure *f)
{
    enum status s = status_from_wire((int)(f->status & 0xFFFF));
    return s == STATUS_OK || s == STATUS_CANCELLED || s == STATUS_DISK_FULL ? STATUS_INTERNAL : s;
}

static enum status take_piece(struct extraction *x, Ex__Piece *piece, struct error *err)
{
    if (piece->child != NULL) {
        return take_child(x, piece->child, err);
    }
    take_notes(x, piece);
    if (piece->document != NULL) {
        x->result.document = piece->document;
    }
    if (piece->page_size != NULL) {
        x->width = piece->page_size->width_points;
        x->height = piece->page_size->height_points;
    }
    if (piece->has_png) {
        buf_append(&x->png, piece->png.data, piece->png.len);
    }
    if (piece->failure != NULL) {
        struct buf clean;
        buf_init(&clean, 4096);
        utf8_clean(&clean, str_from(piece->failure->text));
        enum status s =
            error_set(err, status_of(piece->failure), "%.*s", STR_ARG(buf_view(&clean)));
        buf_deinit(&clean);
        return s;
    }
    x->done_seen = x->done_seen || (piece->has_done && piece->done);
    if (buf_status(&x->png) != STATUS_OK) {
        return error_set(err, STATUS_TOO_LARGE, "the page's picture is too large");
    }
    enum status s = keep_unread(x, piece, err);
    return s == STATUS_OK ? keep_blocks(x, piece, err) : s;
}

enum status extraction_take(struct extraction *x, const char *p, size_t len, struct error *err)
{
    x->total += len;
    /* the text is capped by the child; boxes and framing may be as much again, and some */
    uint64_t most = (uint64_t)x->pool->output_mb * 4 * 1024 * 1024 + RENDER_MAX;
    if (x->unpacks) { /* members beside it, with their heads */
        most += x->members.bytes + x->members.bytes / 8 + x->members.members * 4096;
    }
    if (x->total > most) {
        return error_set(err, STATUS_TOO_LARGE, "it holds more than %lld MB of text",
                         (long long)x->pool->output_mb);
    }
    buf_append(&x->in, p, len);
    if (buf_status(&x->in) != STATUS_OK) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    size_t used = 0;
    enum status s = STATUS_OK;
    while (s == STATUS_OK && x->in.len - used >= PIECE_HEAD) {
        uint32_t n = piece_length(x->in.ptr + used);
        if (n > PIECE_MAX) {
            return error_set(err, STATUS_PROTOCOL, "the extractor gave a malformed answer");
        }
        if (x->in.len - used - PIECE_HEAD < n) {
            break;
        }
        ProtobufCAllocator allocator;
        const uint8_t *body = (const uint8_t *)x->in.ptr + used + PIECE_HEAD;
        bool child = n > 0 && body[0] == CHILD_TAG; /* taken at once: nothing of it stays */
        if (x->rendered != NULL || child) {
            arena_reset(&x->own);
        }
        arena_protobuf(child ? &x->own : x->arena, &allocator);
        Ex__Piece *piece = ex__piece__unpack(&allocator, n, body);
        bool full = piece == NULL && x->arena->used + 4 * (size_t)n > x->arena->max;
        s = piece != NULL ? take_piece(x, piece, err)
            : full
                ? error_set(err, STATUS_TOO_LARGE, "it holds too much text for the memory allowed")
                : error_set(err, STATUS_PROTOCOL, "the extractor gave a malformed answer");
        used += PIECE_HEAD + n;
    }
    buf_consume(&x->in, used);
    return s;
}
