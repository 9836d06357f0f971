#include "model/stop.h"

enum status stop_init(struct stop *s, const struct str *strings, size_t n, struct error *err)
{
    *s = (struct stop){0};
    if (n > STOP_STRINGS_MAX) {
        return error_set(err, STATUS_INVALID, "stop: at most %u strings", STOP_STRINGS_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        if (strings[i].len == 0 || strings[i].len > STOP_BYTES_MAX) {
            return error_set(err, STATUS_INVALID, "stop: a string must have 1 to %u bytes",
                             STOP_BYTES_MAX);
        }
        s->strings[i] = strings[i];
    }
    s->n = n;
    buf_init(&s->held, (size_t)1 << 20);
    return STATUS_OK;
}

void stop_deinit(struct stop *s)
{
    buf_deinit(&s->held);
}

/* Where the first stop string begins, and which it is; held.len: nowhere. */
static size_t find_stop(struct stop *s)
{
    size_t first = s->held.len;
    for (size_t i = 0; i < s->n; i++) {
        const char *p = s->held.len == 0 ? NULL
                                         : memmem(s->held.ptr, s->held.len, s->strings[i].ptr,
                                                  s->strings[i].len);
        if (p != NULL && (size_t)(p - s->held.ptr) < first) {
            first = (size_t)(p - s->held.ptr);
            s->which = i;
        }
    }
    return first;
}

/* How many bytes of the end may be the beginning of a stop string. */
static size_t undecided(const struct stop *s)
{
    size_t most = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t n = s->strings[i].len - 1 < s->held.len ? s->strings[i].len - 1 : s->held.len;
        while (n > most && memcmp(s->held.ptr + s->held.len - n, s->strings[i].ptr, n) != 0) {
            n--;
        }
        most = n > most ? n : most;
    }
    return most;
}

bool stop_feed(struct stop *s, struct str bytes, struct buf *out)
{
    if (s->stopped) {
        return true;
    }
    buf_str(&s->held, bytes);
    size_t at = find_stop(s);
    if (at < s->held.len) {
        buf_append(out, s->held.ptr, at);
        buf_reset(&s->held);
        s->stopped = true;
        return true;
    }
    size_t ready = s->held.len - undecided(s);
    if (ready > 0) {
        buf_append(out, s->held.ptr, ready);
        buf_consume(&s->held, ready);
    }
    return false;
}

void stop_end(struct stop *s, struct buf *out)
{
    if (!s->stopped) {
        buf_str(out, buf_view(&s->held));
    }
    buf_reset(&s->held);
}
