/* How large a picture file is, from its head alone: nothing is decoded here. PNG, JPEG, TIFF (each
 * of its frames is a page), GIF, BMP, WebP, PNM. */
#ifndef CARREL_INGEST_FORMATS_IMAGE_H
#define CARREL_INGEST_FORMATS_IMAGE_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

#define IMAGE_FRAMES_MAX 10000
#define IMAGE_PIXELS_MAX 100000000U /* of a frame: A3 at 600 dpi has 70 million */

struct image_frame {
    uint32_t width, height; /* pixels, at least 1; width * height is at most IMAGE_PIXELS_MAX */
};

struct image {
    struct image_frame *frames; /* at least one, in the arena */
    size_t n;
};

/* TOO_LARGE: more pixels or frames than are read. UNSUPPORTED: no picture of a kind that is read.
 * INVALID: its head is damaged. */
enum status image_look(struct str data, struct arena *a, struct image *out,
                       struct error *err) MUST_CHECK;

#endif
