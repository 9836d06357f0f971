#include "ingest/render.h"

#include <string.h>

#define PNG_HEAD 24 /* signature, IHDR's length and name, width, height */
#define PNG_MAX (64U * 1024 * 1024)

struct picture {
    uint32_t dpi;
    enum status (*sink)(void *data, const Ex__Piece *piece, struct error *err);
    void *data;
    unsigned char head[PNG_HEAD];
    size_t len; /* of everything so far */
};

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static enum status send_size(struct picture *p, struct error *err)
{
    static const unsigned char signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    if (memcmp(p->head, signature, sizeof signature) != 0) {
        return error_set(err, STATUS_INVALID, "the page could not be drawn");
    }
    Ex__PageSize size = EX__PAGE_SIZE__INIT;
    size.width_points = (float)big_endian(p->head + 16) * 72 / (float)p->dpi;
    size.height_points = (float)big_endian(p->head + 20) * 72 / (float)p->dpi;
    Ex__Piece piece = EX__PIECE__INIT;
    piece.page_size = &size;
    return p->sink(p->data, &piece, err);
}

static enum status send_bytes(struct picture *p, const void *bytes, size_t len, struct error *err)
{
    Ex__Piece piece = EX__PIECE__INIT;
    union { /* protobuf-c packs from a pointer that is const in all but name */
        const void *in;
        uint8_t *out;
    } b = {bytes};
    piece.has_png = true;
    piece.png = (ProtobufCBinaryData){.len = len, .data = b.out};
    return p->sink(p->data, &piece, err);
}

static enum status on_data(void *data, struct str s, struct error *err)
{
    struct picture *p = data;
    if (p->len + s.len > PNG_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "the page's picture is larger than 64 MB");
    }
    if (p->len < PNG_HEAD) {
        size_t n = PNG_HEAD - p->len < s.len ? PNG_HEAD - p->len : s.len;
        memcpy(p->head + p->len, s.ptr, n);
        p->len += n;
        s.ptr += n;
        s.len -= n;
        enum status st = STATUS_OK;
        if (p->len == PNG_HEAD) {
            st = send_size(p, err);
            if (st == STATUS_OK) {
                st = send_bytes(p, p->head, PNG_HEAD, err);
            }
        }
        if (st != STATUS_OK || s.len == 0) {
            return st;
        }
    }
    p->len += s.len;
    return send_bytes(p, s.ptr, s.len, err);
}

enum status render_page(const struct tool_runner *r, uint32_t page, uint32_t dpi,
                        enum status (*sink)(void *data, const Ex__Piece *piece, struct error *err),
                        void *data, struct error *err)
{
    struct picture p = {.dpi = dpi, .sink = sink, .data = data};
    enum status s = r->run(r, on_data, &p, err);
    if (s == STATUS_OK && p.len < PNG_HEAD) {
        s = error_set(err, STATUS_NOT_FOUND, "the PDF has no page %u", (unsigned)page);
    }
    return s;
}
