/* A QR code (ISO/IEC 18004) as SVG, for what an authenticator reads: bytes, level M, versions 1 to
 * 10. Pure. */
#ifndef CARREL_SERVE_QR_H
#define CARREL_SERVE_QR_H

#include <stdint.h>

#include "base/buf.h"

#define QR_BYTES_MAX 213
#define QR_SIDE_MAX 57

/* One byte a module, 1 is dark, row after row; *side modules a row. TOO_LARGE: more than
 * QR_BYTES_MAX. */
enum status qr_modules(struct str text, uint8_t out[QR_SIDE_MAX * QR_SIDE_MAX], unsigned *side,
                       struct error *err) MUST_CHECK;
/* With the quiet zone of four modules, dark on white whatever the page's colours. */
enum status qr_svg(struct str text, struct buf *out, struct error *err) MUST_CHECK;

#endif
