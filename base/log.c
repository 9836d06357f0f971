#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define LINE_MAX_BYTES 2048
#define SITE_LINES_PER_SECOND 50

static const char *service_name = "carrel";
static enum log_level min_level = LOG_LEVEL_INFO;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(const char *service, enum log_level level)
{
    service_name = service;
    min_level = level;
}

bool log_level_parse(const char *name, enum log_level *out)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static bool site_allows(struct log_site *site, uint32_t *swallowed)
{
    int64_t now = clock_monotonic_ms();
    *swallowed = 0;
    if (now - atomic_load(&site->window_start_ms) >= 1000) {
        atomic_store(&site->window_start_ms, now);
        atomic_store(&site->lines, 0);
        *swallowed = atomic_exchange(&site->swallowed, 0);
    }
    if (atomic_fetch_add(&site->lines, 1) < SITE_LINES_PER_SECOND) {
        return true;
    }
    atomic_fetch_add(&site->swallowed, 1);
    return false;
}

/* Control characters, quotes and backslashes are escaped, so that a value can never end its line or
 * forge a field. Bytes above 0x7f pass: the terminal and journald read UTF-8. */
static void put_value(struct buf *b, const char *s)
{
    bool plain = *s != '\0';
    for (const char *p = s; *p != '\0' && plain; p++) {
        plain = (unsigned char)*p > ' ' && *p != '"' && *p != '=' && *p != '\\' && *p != 0x7f;
    }
    if (plain) {
        buf_z(b, s);
        return;
    }
    buf_char(b, '"');
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            buf_printf(b, "\\%c", c);
        } else if (c == '\n') {
            buf_z(b, "\\n");
        } else if (c < ' ' || c == 0x7f) {
            buf_printf(b, "\\x%02x", c);
        } else {
            buf_char(b, (char)c);
        }
    }
    buf_char(b, '"');
}

void log_event(struct log_site *site, enum log_level level, const char *msg, ...)
{
    uint32_t swallowed;
    if (level < min_level || !site_allows(site, &swallowed)) {
        return;
    }
    char when[25];
    clock_format_utc(clock_wall_ms(), when);
    struct buf b;
    buf_init(&b, LINE_MAX_BYTES);
    buf_printf(&b, "t=%s level=%s svc=%s msg=", when, level_names[level], service_name);
    put_value(&b, msg);
    va_list ap;
    va_start(ap, msg);
    for (;;) {
        struct log_field f = va_arg(ap, struct log_field);
        if (f.key == NULL) {
            break;
        }
        buf_printf(&b, " %s=", f.key);
        if (f.str != NULL) {
            put_value(&b, f.str);
        } else {
            buf_printf(&b, "%" PRId64, f.num);
        }
    }
    va_end(ap);
    if (swallowed > 0) {
        buf_printf(&b, " swallowed=%u", swallowed);
    }
    buf_char(&b, '\n');
    struct str line = buf_view(&b);
    if (b.failed != STATUS_OK && b.len > 0) {
        b.ptr[b.len - 1] = '\n'; /* too long: cut, still one line */
        line = (struct str){.ptr = b.ptr, .len = b.len};
    }
    ssize_t ignored = write(STDERR_FILENO, line.ptr, line.len);
    (void)ignored; /* there is nobody left to tell */
    buf_deinit(&b);
}
