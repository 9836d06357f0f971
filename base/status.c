#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *text;
    int http;
    bool retry;
} table[STATUS_COUNT] = {
#define STATUS_ROW(code, nm, ht, rt, tx) [STATUS_##code] = {.name = nm, .text = tx, .http = ht, .retry = rt},
    STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

static enum status known(enum status s)
{
    return (unsigned)s < STATUS_COUNT ? s : STATUS_INTERNAL;
}

const char *status_name(enum status s)
{
    return table[known(s)].name;
}

const char *status_text(enum status s)
{
    return table[known(s)].text;
}

int status_http(enum status s)
{
    return table[known(s)].http;
}

bool status_retryable(enum status s)
{
    return table[known(s)].retry;
}

enum status status_from_wire(int n)
{
    return n >= 0 && n < STATUS_COUNT ? (enum status)n : STATUS_INTERNAL;
}

enum status status_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return STATUS_OK;
    case ENOMEM:
        return STATUS_NO_MEMORY;
    case ENOSPC:
    case EDQUOT:
        return STATUS_DISK_FULL;
    case ENOENT:
    case ENOTDIR:
        return STATUS_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return STATUS_FORBIDDEN;
    case EEXIST:
        return STATUS_CONFLICT;
    case EFBIG:
        return STATUS_TOO_LARGE;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return STATUS_BUSY;
    case ETIMEDOUT:
        return STATUS_DEADLINE;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
        return STATUS_UNAVAILABLE;
    case ECANCELED:
        return STATUS_CANCELLED;
    default:
        return STATUS_IO;
    }
}

/* An error text may be cut, never at the price of the call: cut text still says what failed. */
static PRINTF_LIKE(3, 0) void format_text(char *dst, size_t cap, const char *fmt, va_list ap)
{
    if (vsnprintf(dst, cap, fmt, ap) < 0) {
        dst[0] = '\0';
    }
}

enum status error_set(struct error *err, enum status code, const char *fmt, ...)
{
    if (err != NULL) {
        char text[sizeof err->text]; /* the arguments may point into err itself */
        va_list ap;
        va_start(ap, fmt);
        format_text(text, sizeof text, fmt, ap);
        va_end(ap);
        err->code = code;
        memcpy(err->text, text, sizeof text);
    }
    return code;
}

enum status error_errno(struct error *err, int errnum, const char *fmt, ...)
{
    enum status code = status_from_errno(errnum);
    if (err != NULL) {
        char what[192];
        va_list ap;
        va_start(ap, fmt);
        format_text(what, sizeof what, fmt, ap);
        va_end(ap);
        const char *why = strerrordesc_np(errnum); /* thread-safe, untranslated */
        return error_set(err, code, "%s: %s", what, why == NULL ? "unknown error" : why);
    }
    return code;
}

enum status error_prefix(struct error *err, const char *fmt, ...)
{
    if (err == NULL) {
        return STATUS_INTERNAL;
    }
    char before[128];
    va_list ap;
    va_start(ap, fmt);
    format_text(before, sizeof before, fmt, ap);
    va_end(ap);
    return error_set(err, err->code, "%s: %.*s", before, (int)(sizeof err->text - 3), err->text);
}
