#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)
#define FILTER_BITS 16U
#define READ_BYTES ((size_t)1 << 20)
#define DISTINCT_MIN 6

struct wanted {
    struct trace trace;
    bool dropped, seen;
};

struct trace_set {
    uint8_t key[KEYED_KEY_BYTES];
    struct wanted *list; /* by roll */
    size_t n;
    uint64_t gone; /* MULTIPLIER to the power of TRACE_BYTES: what the byte that leaves weighs */
    uint8_t filter[(1U << FILTER_BITS) / 8];
};

static uint64_t roll_of(const uint8_t *p)
{
    uint64_t h = 0;
    for (size_t i = 0; i < TRACE_BYTES; i++) {
        h = h * MULTIPLIER + p[i] + 1;
    }
    return h;
}

static bool telling(const uint8_t *p)
{
    bool seen[256] = {false};
    int distinct = 0;
    for (size_t i = 0; i < TRACE_BYTES; i++) {
        distinct += seen[p[i]] ? 0 : 1;
        seen[p[i]] = true;
    }
    return distinct >= DISTINCT_MIN;
}

static void keyed_of(const uint8_t key[KEYED_KEY_BYTES], const uint8_t *p,
                     uint8_t out[TRACE_KEYED_BYTES])
{
    uint8_t whole[KEYED_BYTES];
    keyed_hash(key, p, TRACE_BYTES, whole);
    memcpy(out, whole, TRACE_KEYED_BYTES);
}

size_t traces_take(const uint8_t key[KEYED_KEY_BYTES], struct str bytes, size_t max,
                   struct trace *out)
{
    size_t n = 0;
    if (bytes.len < TRACE_BYTES || max == 0) {
        return 0;
    }
    size_t places = bytes.len - TRACE_BYTES + 1;
    size_t step = places / max;
    step = step == 0 ? 1 : step;
    for (size_t at = 0; at < places && n < max; at += step) {
        const uint8_t *p = (const uint8_t *)bytes.ptr + at;
        if (telling(p)) {
            out[n].roll = roll_of(p);
            keyed_of(key, p, out[n].keyed);
            n++;
        }
    }
    return n;
}

static int by_roll(const void *a, const void *b)
{
    const struct wanted *x = a;
    const struct wanted *y = b;
    return (x->trace.roll > y->trace.roll) - (x->trace.roll < y->trace.roll);
}

static size_t place(uint64_t roll)
{
    return (size_t)(roll >> (64U - FILTER_BITS));
}

struct trace_set *trace_set_new(const uint8_t key[KEYED_KEY_BYTES], const struct trace *list,
                                size_t n)
{
    struct trace_set *t = calloc(1, sizeof *t);
    struct wanted *w = calloc(n + 1, sizeof *w);
    if (t == NULL || w == NULL) {
        free(t);
        free(w);
        return NULL;
    }
    memcpy(t->key, key, sizeof t->key);
    t->list = w;
    t->n = n;
    t->gone = 1;
    for (size_t i = 0; i < TRACE_BYTES; i++) {
        t->gone *= MULTIPLIER;
    }
    for (size_t i = 0; i < n; i++) {
        w[i].trace = list[i];
        size_t bit = place(list[i].roll);
        t->filter[bit / 8] |= (uint8_t)(1U << (bit % 8));
    }
    qsort(w, n, sizeof *w, by_roll);
    return t;
}

void trace_set_free(struct trace_set *t)
{
    if (t != NULL) {
        free(t->list);
        free(t);
    }
}

size_t trace_set_count(const struct trace_set *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        n += t->list[i].dropped ? 0 : 1;
    }
    return n;
}

/* p: the run whose rolling hash may be a trace's. */
static void look(struct trace_set *t, uint64_t roll, const uint8_t *p)
{
    size_t low = 0;
    size_t high = t->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->list[mid].trace.roll < roll) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    uint8_t keyed[TRACE_KEYED_BYTES];
    bool made = false;
    for (; low < t->n && t->list[low].trace.roll == roll; low++) {
        if (!made) {
            keyed_of(t->key, p, keyed);
            made = true;
        }
        if (memcmp(keyed, t->list[low].trace.keyed, sizeof keyed) == 0) {
            t->list[low].seen = true;
        }
    }
}

/* b[0..len): the last TRACE_BYTES - 1 bytes looked at before, and new ones. */
static void scan_bytes(struct trace_set *t, const uint8_t *b, size_t len)
{
    if (len < TRACE_BYTES) {
        return;
    }
    uint64_t h = roll_of(b);
    for (size_t at = 0;; at++) {
        size_t bit = place(h);
        if (((unsigned)t->filter[bit / 8] >> (bit % 8) & 1U) != 0) {
            look(t, h, b + at);
        }
        if (at + TRACE_BYTES >= len) {
            break;
        }
        h = h * MULTIPLIER + b[at + TRACE_BYTES] + 1 - t->gone * ((uint64_t)b[at] + 1);
    }
}

enum status trace_set_scan(struct trace_set *t, const char *path, bool drop, size_t *found,
                           struct error *err)
{
    *found = 0;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT || errno == ELOOP ? STATUS_OK : error_errno(err, errno, "%s", path);
    }
    uint8_t *b = malloc(READ_BYTES + TRACE_BYTES);
    enum status s = b == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    for (size_t i = 0; i < t->n; i++) {
        t->list[i].seen = false;
    }
    size_t kept = 0;
    while (s == STATUS_OK) {
        ssize_t n = read(fd, b + kept, READ_BYTES);
        if (n < 0 && errno != EINTR) {
            s = error_errno(err, errno, "%s", path);
        }
        if (n == 0) {
            break;
        }
        if (n > 0) {
            size_t len = kept + (size_t)n;
            scan_bytes(t, b, len);
            kept = len < TRACE_BYTES - 1 ? len : TRACE_BYTES - 1;
            memmove(b, b + len - kept, kept);
        }
    }
    for (size_t i = 0; i < t->n; i++) {
        struct wanted *w = &t->list[i];
        *found += w->seen && !w->dropped ? 1 : 0;
        w->dropped = w->dropped || (drop && w->seen);
    }
    free(b);
    (void)close(fd);
    return s;
}
