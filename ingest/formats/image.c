/* A picture has no text of its own: its frames are told as pages to be read by OCR. */
#include "ingest/formats/image.h"

#include "ingest/formats/format.h"

#define TIFF_TAG_WIDTH 256
#define TIFF_TAG_HEIGHT 257
#define TIFF_SHORT 3
#define TIFF_LONG 4
#define TIFF_ENTRY 12U

struct bytes {
    const unsigned char *p;
    size_t len;
    bool big; /* the byte order of the numbers */
};

/* The number of n bytes at `at`; 0 beyond the end. */
static uint32_t number(const struct bytes *b, size_t at, size_t n)
{
    uint32_t v = 0;
    if (at > b->len || b->len - at < n) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        v = v << 8 | b->p[at + (b->big ? i : n - 1 - i)];
    }
    return v;
}

static enum status add(struct image *out, uint64_t width, uint64_t height, struct error *err)
{
    if (width == 0 || height == 0) {
        return error_set(err, STATUS_INVALID, "the picture is damaged: its head tells no size");
    }
    if (width > IMAGE_PIXELS_MAX || height > IMAGE_PIXELS_MAX ||
        width * height > IMAGE_PIXELS_MAX) {
        return error_set(err, STATUS_TOO_LARGE,
                         "the picture is %llu x %llu points large; at most %u million are read",
                         (unsigned long long)width, (unsigned long long)height,
                         IMAGE_PIXELS_MAX / 1000000);
    }
    if (out->n == IMAGE_FRAMES_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "the picture has more than %d pages",
                         IMAGE_FRAMES_MAX);
    }
    out->frames[out->n++] = (struct image_frame){(uint32_t)width, (uint32_t)height};
    return STATUS_OK;
}

/* Segments up to the one that starts the frame; all but the first marker have a length. */
static enum status look_jpeg(const struct bytes *b, struct image *out, struct error *err)
{
    for (size_t at = 2; at + 4 <= b->len;) {
        unsigned marker = b->p[at + 1];
        if (b->p[at] != 0xFF) {
            break;
        }
        if (marker == 0xFF || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7)) {
            at += marker == 0xFF ? 1 : 2; /* filling, or a marker alone */
            continue;
        }
        bool table = marker == 0xC4 || marker == 0xC8 || marker == 0xCC;
        if (marker >= 0xC0 && marker <= 0xCF && !table) {
            return add(out, number(b, at + 7, 2), number(b, at + 5, 2), err);
        }
        if (marker == 0xD9 || marker == 0xDA) {
            break;
        }
        at += 2 + (size_t)number(b, at + 2, 2);
    }
    return add(out, 0, 0, err);
}

/* One directory a frame; each tells where the next is. */
static enum status look_tiff(const struct bytes *b, struct image *out, struct error *err)
{
    enum status s = STATUS_OK;
    size_t at = number(b, 4, 4);
    if (number(b, 2, 2) == 43) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "BigTIFF files are not read: save it as a TIFF of less than 4 GB");
    }
    do {
        uint64_t width = 0, height = 0;
        uint32_t n = number(b, at, 2);
        for (uint32_t i = 0; i < n && at + 2 + (i + 1) * TIFF_ENTRY <= b->len; i++) {
            size_t entry = at + 2 + i * TIFF_ENTRY;
            uint32_t tag = number(b, entry, 2);
            uint32_t type = number(b, entry + 2, 2);
            uint32_t value = type == TIFF_SHORT  ? number(b, entry + 8, 2)
                             : type == TIFF_LONG ? number(b, entry + 8, 4)
                                                 : 0;
            width = tag == TIFF_TAG_WIDTH ? value : width;
            height = tag == TIFF_TAG_HEIGHT ? value : height;
        }
        s = add(out, width, height, err);
        at = number(b, at + 2 + (size_t)n * TIFF_ENTRY, 4);
    } while (s == STATUS_OK && at != 0); /* a chain that goes in a circle has too many frames */
    return s;
}

static enum status look_bmp(const struct bytes *b, struct image *out, struct error *err)
{
    if (number(b, 14, 4) == 12) {
        return add(out, number(b, 18, 2), number(b, 20, 2), err);
    }
    uint32_t height = number(b, 22, 4); /* below zero: from the top down */
    return add(out, number(b, 18, 4), height >= 0x80000000U ? 0U - height : height, err);
}

static enum status look_webp(const struct bytes *b, struct image *out, struct error *err)
{
    uint32_t kind = number(b, 12, 4), bits = number(b, 21, 4);
    switch (kind) {
    case 0x20385056: /* "VP8 " */
        return add(out, number(b, 26, 2) & 0x3FFF, number(b, 28, 2) & 0x3FFF, err);
    case 0x4C385056: /* "VP8L" */
        return add(out, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, err);
    case 0x58385056: /* "VP8X" */
        return add(out, (uint64_t)number(b, 24, 3) + 1, (uint64_t)number(b, 27, 3) + 1, err);
    default:
        return add(out, 0, 0, err);
    }
}

/* "P4", then width and height in digits, comments between. */
static enum status look_pnm(const struct bytes *b, struct image *out, struct error *err)
{
    uint64_t v[2] = {0, 0};
    size_t at = 2;
    for (size_t i = 0; i < 2; i++) {
        while (at < b->len && (b->p[at] == '#' || b->p[at] <= ' ')) {
            if (b->p[at] == '#') {
                while (at < b->len && b->p[at] != '\n') {
                    at++;
                }
            } else {
                at++;
            }
        }
        for (; at < b->len && b->p[at] >= '0' && b->p[at] <= '9' && v[i] <= IMAGE_PIXELS_MAX;
             at++) {
            v[i] = v[i] * 10 + (b->p[at] - '0');
        }
    }
    return add(out, v[0], v[1], err);
}

static enum status no_picture(struct error *err)
{
    return error_set(err, STATUS_UNSUPPORTED,
                     "it is no picture of a kind that is read (PNG, JPEG, TIFF, GIF, BMP, WebP and "
                     "PNM are)");
}

enum status image_look(struct str data, struct arena *a, struct image *out, struct error *err)
{
    struct bytes b = {.p = (const unsigned char *)data.ptr, .len = data.len};
    bool tiff_big = str_starts(data, STR("MM\0"));
    out->n = 0;
    out->frames = arena_array(a, IMAGE_FRAMES_MAX, sizeof *out->frames);
    if (out->frames == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    if (str_starts(data, STR("\x89PNG\r\n\x1A\n"))) {
        b.big = true;
        return add(out, number(&b, 16, 4), number(&b, 20, 4), err);
    }
    if (str_starts(data, STR("\xFF\xD8\xFF"))) {
        b.big = true;
        return look_jpeg(&b, out, err);
    }
    if (tiff_big || str_starts(data, STR("II*\0")) || str_starts(data, STR("II+\0"))) {
        b.big = tiff_big;
        return look_tiff(&b, out, err);
    }
    if (str_starts(data, STR("GIF8"))) {
        return add(out, number(&b, 6, 2), number(&b, 8, 2), err);
    }
    if (str_starts(data, STR("BM"))) {
        return look_bmp(&b, out, err);
    }
    if (str_starts(data, STR("RIFF")) && data.len >= 16 && memcmp(data.ptr + 8, "WEBP", 4) == 0) {
        return look_webp(&b, out, err);
    }
    if (data.len > 2 && data.ptr[0] == 'P' && data.ptr[1] >= '1' && data.ptr[1] <= '6') {
        return look_pnm(&b, out, err);
    }
    return no_picture(err);
}

enum status image_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct image image;
    enum status s = image_look(in->data, in->arena, &image, err);
    Ex__UnreadPage *pages = NULL;
    if (s == STATUS_OK) {
        pages = arena_array(in->arena, image.n, sizeof *pages);
        s = pages == NULL
                ? error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit")
                : STATUS_OK;
    }
    if (s != STATUS_OK) {
        return s;
    }
    for (size_t i = 0; i < image.n; i++) {
        ex__unread_page__init(&pages[i]);
        pages[i].page = (uint32_t)i + 1;
        pages[i].width = (float)image.frames[i].width;
        pages[i].height = (float)image.frames[i].height;
    }
    emit_document(e, "image", STR(""), STR(""), (uint32_t)image.n);
    emit_unread(e, pages, image.n);
    return STATUS_OK;
}
