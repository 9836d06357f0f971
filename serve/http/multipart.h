/* multipart/form-data (RFC 7578) as a pull parser: feed bytes, get one event at a time, stop
 * anywhere. A data event may hold any part of a part; the delimiter is found however the bytes are
 * cut. Pure; holds at most a delimiter's length of data and one part's headers. */
#ifndef CARREL_SERVE_HTTP_MULTIPART_H
#define CARREL_SERVE_HTTP_MULTIPART_H

#include "base/status.h"
#include "base/str.h"

#define MULTIPART_BOUNDARY_MAX 70
#define MULTIPART_HEADER_MAX 4096
#define MULTIPART_PARTS_MAX 256

enum multipart_event {
    MULTIPART_MORE, /* all bytes were used */
    MULTIPART_PART, /* name, filename and type of a new part are set */
    MULTIPART_DATA, /* a piece of it; valid until the next call */
    MULTIPART_PART_END,
    MULTIPART_END, /* the closing delimiter; what follows is ignored */
    MULTIPART_BAD, /* reason says why */
};

struct multipart {
    char delimiter[MULTIPART_BOUNDARY_MAX + 4 + 1]; /* CR LF -- boundary */
    size_t delimiter_len;
    int state;
    size_t matched; /* bytes of the delimiter seen and held back */
    size_t parts;
    char line[MULTIPART_HEADER_MAX];
    size_t line_len;
    char name[128];
    char filename[1024]; /* "" : not a file; raw bytes */
    size_t filename_len;
    char type[128];
    bool is_file;
    const char *reason;
};

/* From a Content-Type header. INVALID when it is not multipart/form-data with a boundary. */
enum status multipart_init(struct multipart *m, struct str content_type,
                           struct error *err) MUST_CHECK;
enum multipart_event multipart_next(struct multipart *m, const char *p, size_t len, size_t *used,
                                    struct str *data);

#endif
