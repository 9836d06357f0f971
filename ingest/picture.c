#include "ingest/picture.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "ingest/formats/image.h"

#define LIBRARY "liblept.so.5"
#define LONGER_SIDE 1600U
#define PIECE_BYTES ((size_t)256 * 1024)

/* of leptonica's allheaders.h, 1.70 to 1.84 */
#define L_SEVERITY_NONE 6
#define L_CLONE 2
struct Pix;

struct picture_library {
    void *handle;
    struct Pix *(*read_mem)(const unsigned char *data, size_t len);
    struct Pix *(*read_mem_tiff)(const unsigned char *data, size_t len, int frame);
    struct Pix *(*to_8_or_32)(struct Pix *pix, int copy, int warn);
    struct Pix *(*scale_to_size)(struct Pix *pix, int width, int height);
    int (*write_mem_png)(unsigned char **data, size_t *len, struct Pix *pix, float gamma);
    void (*destroy)(struct Pix **pix);
    int (*set_severity)(int severity);
};

static bool find(void *handle, const char *name, void *function)
{
    void *p = dlsym(handle, name);
    memcpy(function, &p, sizeof p); /* POSIX: a function's pointer is one of these */
    return p != NULL;
}

enum status picture_open(struct picture_library **out, struct error *err)
{
    struct picture_library *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    l->handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (l->handle == NULL || !find(l->handle, "pixReadMem", &l->read_mem) ||
        !find(l->handle, "pixReadMemTiff", &l->read_mem_tiff) ||
        !find(l->handle, "pixConvertTo8Or32", &l->to_8_or_32) ||
        !find(l->handle, "pixScaleToSize", &l->scale_to_size) ||
        !find(l->handle, "pixWriteMemPng", &l->write_mem_png) ||
        !find(l->handle, "pixDestroy", &l->destroy) ||
        !find(l->handle, "setMsgSeverity", &l->set_severity)) {
        free(l);
        return error_set(err, STATUS_UNAVAILABLE,
                         "nothing that reads pictures is there: install tesseract-ocr");
    }
    (void)l->set_severity(L_SEVERITY_NONE);
    *out = l;
    return STATUS_OK;
}

/* Another pix in its place; NULL stays NULL. */
static struct Pix *become(const struct picture_library *l, struct Pix *was, struct Pix *now)
{
    if (was != NULL) {
        l->destroy(&was);
    }
    return now;
}

static enum status write_png(const struct picture_library *l, struct str data, uint32_t page,
                             const struct image_frame *frame, unsigned char **png, size_t *len,
                             struct error *err)
{
    const unsigned char *bytes = (const unsigned char *)data.ptr;
    bool tiff = str_starts(data, STR("II")) || str_starts(data, STR("MM"));
    uint32_t longer = frame->width > frame->height ? frame->width : frame->height;
    struct Pix *pix =
        tiff ? l->read_mem_tiff(bytes, data.len, (int)page - 1) : l->read_mem(bytes, data.len);
    if (pix == NULL) {
        return error_set(err, STATUS_INVALID, "the picture is damaged, or needs more memory than the limit");
    }
    if (longer > LONGER_SIDE) {
        uint64_t w = (uint64_t)frame->width * LONGER_SIDE / longer;
        uint64_t h = (uint64_t)frame->height * LONGER_SIDE / longer;
        pix = become(l, pix, l->to_8_or_32(pix, L_CLONE, 0));
        struct Pix *small =
            pix == NULL ? NULL
                        : l->scale_to_size(pix, (int)(w == 0 ? 1 : w), (int)(h == 0 ? 1 : h));
        pix = become(l, pix, small);
    }
    if (pix == NULL || l->write_mem_png(png, len, pix, 0) != 0) {
        *png = NULL;
    }
    (void)become(l, pix, NULL);
    return *png != NULL
               ? STATUS_OK
               : error_set(err, STATUS_TOO_LARGE, "drawing it needs more memory than the limit");
}

enum status
picture_render(const struct picture_library *l, struct str data, uint32_t page, struct arena *a,
               enum status (*sink)(void *data, const Ex__Piece *piece, struct error *err),
               void *sink_data, struct error *err)
{
    struct image image;
    unsigned char *png = NULL;
    size_t len = 0;
    enum status s = image_look(data, a, &image, err);
    if (s == STATUS_OK && (page == 0 || page > image.n)) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no page %u", (unsigned)page);
    }
    if (s == STATUS_OK) {
        s = write_png(l, data, page, &image.frames[page - 1], &png, &len, err);
    }
    if (s == STATUS_OK) {
        Ex__PageSize size = EX__PAGE_SIZE__INIT;
        Ex__Piece piece = EX__PIECE__INIT;
        size.width_points = (float)image.frames[page - 1].width;
        size.height_points = (float)image.frames[page - 1].height;
        piece.page_size = &size;
        s = sink(sink_data, &piece, err);
    }
    for (size_t at = 0; at < len && s == STATUS_OK; at += PIECE_BYTES) {
        Ex__Piece piece = EX__PIECE__INIT;
        piece.has_png = true;
        piece.png.data = png + at;
        piece.png.len = len - at < PIECE_BYTES ? len - at : PIECE_BYTES;
        s = sink(sink_data, &piece, err);
    }
    free(png);
    return s;
}
