#include "serve/http/guard.h"

#include <string.h>

enum {
    AT_START, /* before a request line; one empty line is skipped, as RFC 9112 2.2 asks */
    AT_START_LF,
    IN_METHOD,
    IN_TARGET,
    IN_VERSION,
    LINE_LF,
    HEADER_START,
    IN_NAME,
    IN_VALUE,
    VALUE_LF,
    HEAD_LF,
    BODY_NOTHING,
    BODY_LENGTH,
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    LAST_CR,
    LAST_LF,
    BODY_OVER,
    REFUSED,
};

#define METHOD_BYTES_MAX 16
#define VERSION_BYTES 8 /* HTTP/1.1 */
#define CHUNK_DIGITS_MAX 15
#define CHUNK_EXTENSION_MAX 256

void guard_init(struct guard *g, const struct guard_limits *limits)
{
    *g = (struct guard){.limits = *limits, .state = AT_START};
}

static void refuse(struct guard *g, int status, const char *reason)
{
    if (g->state != REFUSED) {
        g->state = REFUSED;
        g->status = status;
        g->reason = reason;
    }
}

static bool is_token(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        return true;
    }
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Visible characters, space and tab, and the bytes above ASCII that old clients send. */
static bool is_value(unsigned char c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static void in_request_line(struct guard *g, unsigned char c)
{
    switch (g->state) {
    case AT_START:
        if (c == '\r' && g->head_bytes == 1) {
            g->state = AT_START_LF;
        } else if (is_token(c)) {
            g->state = IN_METHOD;
            g->line_bytes = 1;
        } else {
            refuse(g, 400, "the request line does not begin with a method");
        }
        break;
    case AT_START_LF:
        if (c == '\n') {
            g->state = AT_START;
        } else {
            refuse(g, 400, "a carriage return without a line feed");
        }
        break;
    case IN_METHOD:
        if (c == ' ') {
            g->state = IN_TARGET;
            g->line_bytes = 0;
        } else if (!is_token(c)) {
            refuse(g, 400, "the method holds a character that is not allowed");
        } else if (++g->line_bytes > METHOD_BYTES_MAX) {
            refuse(g, 501, "this method is not known");
        }
        break;
    case IN_TARGET:
        if (c == ' ' && g->line_bytes > 0) {
            g->state = IN_VERSION;
            g->line_bytes = 0;
        } else if (c <= 0x20 || c >= 0x7f) {
            refuse(g, 400, "the request target holds a character that is not allowed");
        } else if (++g->line_bytes > g->limits.target_bytes) {
            refuse(g, 414, "the request target is longer than allowed");
        }
        break;
    default: { /* IN_VERSION */
        static const char expected[] = "HTTP/1.";
        if (c == '\r' && g->line_bytes == VERSION_BYTES) {
            g->state = LINE_LF;
        } else if (g->line_bytes < VERSION_BYTES - 1 &&
                   c == (unsigned char)expected[g->line_bytes]) {
            g->line_bytes++;
        } else if (g->line_bytes == VERSION_BYTES - 1 && (c == '0' || c == '1')) {
            g->line_bytes++;
        } else if (g->line_bytes >= 5 && g->line_bytes < VERSION_BYTES && c >= '0' && c <= '9') {
            refuse(g, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
        } else {
            refuse(g, 400, "the request line does not end with HTTP/1.1");
        }
        break;
    }
    }
}

static void in_headers(struct guard *g, unsigned char c)
{
    switch (g->state) {
    case LINE_LF:
    case VALUE_LF:
        if (c == '\n') {
            g->state = HEADER_START;
        } else {
            refuse(g, 400, "a carriage return without a line feed");
        }
        break;
    case HEADER_START:
        if (c == '\r') {
            g->state = HEAD_LF;
        } else if (c == ' ' || c == '\t') {
            refuse(g, 400, "a folded header line");
        } else if (!is_token(c)) {
            refuse(g, 400, "a header name begins with a character that is not allowed");
        } else if (++g->headers > g->limits.headers) {
            refuse(g, 431, "more header lines than allowed");
        } else {
            g->state = IN_NAME;
        }
        break;
    case IN_NAME:
        if (c == ':') {
            g->state = IN_VALUE;
        } else if (!is_token(c)) {
            refuse(g, 400,
                   c == ' ' || c == '\t' ? "a space before the colon of a header"
                                         : "a header name holds a character that is not allowed");
        }
        break;
    default: /* IN_VALUE */
        if (c == '\r') {
            g->state = VALUE_LF;
        } else if (!is_value(c)) {
            refuse(g, 400, "a header value holds a control character");
        }
        break;
    }
}

size_t guard_head(struct guard *g, const char *p, size_t len, bool *done)
{
    *done = false;
    for (size_t i = 0; i < len && g->state != REFUSED; i++) {
        unsigned char c = (unsigned char)p[i];
        if (++g->head_bytes > g->limits.head_bytes) {
            refuse(g, 431, "the head of the request is larger than allowed");
        } else if (g->state <= IN_VERSION) {
            in_request_line(g, c);
        } else if (g->state < HEAD_LF) {
            in_headers(g, c);
        } else if (g->state == HEAD_LF && c == '\n') {
            guard_expect_nothing(g);
            *done = true;
            return i + 1;
        } else {
            refuse(g, 400, "a carriage return without a line feed");
        }
    }
    return len;
}

void guard_expect_nothing(struct guard *g)
{
    g->state = BODY_NOTHING;
}

void guard_expect_length(struct guard *g, uint64_t len)
{
    g->state = BODY_LENGTH;
    g->left = len;
}

void guard_expect_chunks(struct guard *g)
{
    g->state = CHUNK_SIZE;
    g->left = 0;
    g->line_bytes = 0;
}

static void in_chunk_line(struct guard *g, unsigned char c)
{
    int digit = hex_value(c);
    if (g->state == CHUNK_SIZE && digit >= 0) {
        g->left = g->left << 4 | (unsigned)digit;
        if (++g->line_bytes > CHUNK_DIGITS_MAX) {
            refuse(g, 400, "a chunk size with too many digits");
        }
    } else if (g->state == CHUNK_SIZE && g->line_bytes == 0) {
        refuse(g, 400, "a chunk without a size");
    } else if (c == '\r') {
        g->state = CHUNK_SIZE_LF;
    } else if (g->state == CHUNK_SIZE && c == ';') {
        g->state = CHUNK_EXTENSION;
        g->line_bytes = 0;
    } else if (g->state == CHUNK_SIZE || !is_value(c)) {
        refuse(g, 400, "a chunk size that is not a hexadecimal number");
    } else if (++g->line_bytes > CHUNK_EXTENSION_MAX) {
        refuse(g, 400, "a chunk extension longer than allowed");
    }
}

static void in_chunk_framing(struct guard *g, unsigned char c)
{
    switch (g->state) {
    case CHUNK_SIZE:
    case CHUNK_EXTENSION:
        in_chunk_line(g, c);
        break;
    case CHUNK_SIZE_LF:
        if (c != '\n') {
            refuse(g, 400, "a chunk size line that does not end in CR LF");
        } else {
            g->state = g->left == 0 ? LAST_CR : CHUNK_DATA;
        }
        break;
    case CHUNK_DATA_CR:
        if (c != '\r') {
            refuse(g, 400, "a chunk longer than its size");
        } else {
            g->state = CHUNK_DATA_LF;
        }
        break;
    case CHUNK_DATA_LF:
        if (c != '\n') {
            refuse(g, 400, "a chunk that does not end in CR LF");
        } else {
            guard_expect_chunks(g);
        }
        break;
    case LAST_CR:
        if (c != '\r') {
            refuse(g, 400, "trailer fields are not accepted");
        } else {
            g->state = LAST_LF;
        }
        break;
    default: /* LAST_LF */
        if (c != '\n') {
            refuse(g, 400, "the last chunk does not end in CR LF");
        } else {
            g->state = BODY_OVER;
        }
        break;
    }
}

enum guard_piece guard_body(struct guard *g, const char *p, size_t len, size_t *n)
{
    *n = 0;
    if (g->state == BODY_NOTHING || g->state == BODY_OVER ||
        (g->state == BODY_LENGTH && g->left == 0)) {
        guard_init(g, &(struct guard_limits){g->limits.head_bytes, g->limits.headers,
                                             g->limits.target_bytes});
        return GUARD_END;
    }
    if (g->state == BODY_LENGTH || g->state == CHUNK_DATA) {
        *n = len < g->left ? len : (size_t)g->left;
        g->left -= *n;
        if (g->left == 0 && g->state == CHUNK_DATA) {
            g->state = CHUNK_DATA_CR;
        }
        return *n > 0 ? GUARD_DATA : GUARD_FRAMING;
    }
    while (*n < len && g->state != CHUNK_DATA && g->state != BODY_OVER && g->state != REFUSED) {
        in_chunk_framing(g, (unsigned char)p[*n]);
        (*n)++;
    }
    return g->state == REFUSED ? GUARD_REFUSED : GUARD_FRAMING;
}
