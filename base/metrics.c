#include "base/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LABELS_MAX_BYTES ((size_t)1024)

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

static const int64_t bucket_us[] = {1000,    2500,    5000,     10000,    25000,
                                    50000,   100000,  250000,   500000,   1000000,
                                    2500000, 5000000, 10000000, 30000000, 60000000};
#define BUCKETS (sizeof bucket_us / sizeof *bucket_us)

struct metric {
    enum metric_kind kind;
    char *name;
    char *help;
    char *labels;          /* written out and escaped, without braces; "" for none */
    _Atomic int64_t value; /* of a histogram: the sum in microseconds */
    _Atomic uint64_t counts[BUCKETS + 1];
};

struct metrics {
    struct metric *all[METRICS_MAX];
    size_t n;
};

struct metrics *metrics_new(void)
{
    return calloc(1, sizeof(struct metrics));
}

static void metric_free(struct metric *x)
{
    free(x->name);
    free(x->help);
    free(x->labels);
    free(x);
}

void metrics_free(struct metrics *m)
{
    if (m != NULL) {
        for (size_t i = 0; i < m->n; i++) {
            metric_free(m->all[i]);
        }
        free(m);
    }
}

static bool name_valid(const char *z)
{
    for (size_t i = 0; z[i] != '\0'; i++) {
        char c = z[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
        if (!letter && !(i > 0 && c >= '0' && c <= '9')) {
            return false;
        }
    }
    return z[0] != '\0';
}

/* Backslash and line end are escaped everywhere, the quote only in label values. */
static void put_escaped(struct buf *b, const char *z, bool quote)
{
    for (; *z != '\0'; z++) {
        if (*z == '\\') {
            buf_z(b, "\\\\");
        } else if (*z == '\n') {
            buf_z(b, "\\n");
        } else if (quote && *z == '"') {
            buf_z(b, "\\\"");
        } else {
            buf_char(b, *z);
        }
    }
}

static void put_labels(struct buf *b, const struct metric_label *labels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_z(b, i == 0 ? "" : ",");
        buf_z(b, labels[i].name);
        buf_z(b, "=\"");
        put_escaped(b, labels[i].value, true);
        buf_char(b, '"');
    }
}

static struct metric *add(struct metrics *m, enum metric_kind kind, const char *name,
                          const char *help, const struct metric_label *labels, size_t n_labels)
{
    if (m == NULL || m->n == METRICS_MAX || !name_valid(name)) {
        return NULL;
    }
    struct metric *x = calloc(1, sizeof *x);
    if (x == NULL) {
        return NULL;
    }
    struct buf b;
    buf_init(&b, LABELS_MAX_BYTES);
    put_labels(&b, labels, n_labels);
    bool complete = buf_status(&b) == STATUS_OK;
    x->kind = kind;
    x->name = strdup(name);
    x->help = strdup(help);
    x->labels = b.len == 0 ? strdup("") : buf_take(&b);
    buf_deinit(&b);
    if (!complete || x->name == NULL || x->help == NULL || x->labels == NULL) {
        metric_free(x);
        return NULL;
    }
    m->all[m->n++] = x;
    return x;
}

struct metric *metrics_counter(struct metrics *m, const char *name, const char *help,
                               const struct metric_label *labels, size_t n_labels)
{
    return add(m, METRIC_COUNTER, name, help, labels, n_labels);
}

struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help,
                             const struct metric_label *labels, size_t n_labels)
{
    return add(m, METRIC_GAUGE, name, help, labels, n_labels);
}

struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                 const struct metric_label *labels, size_t n_labels)
{
    return add(m, METRIC_HISTOGRAM, name, help, labels, n_labels);
}

void metric_add(struct metric *x, uint64_t n)
{
    if (x != NULL) {
        atomic_fetch_add(&x->value, (int64_t)n);
    }
}

void metric_set(struct metric *x, int64_t v)
{
    if (x != NULL) {
        atomic_store(&x->value, v);
    }
}

void metric_observe_us(struct metric *x, int64_t duration_us)
{
    if (x == NULL) {
        return;
    }
    size_t i = 0;
    while (i < BUCKETS && duration_us > bucket_us[i]) {
        i++;
    }
    atomic_fetch_add(&x->counts[i], 1);
    atomic_fetch_add(&x->value, duration_us);
}

void metrics_write_head(struct buf *out, const char *name, const char *kind, const char *help)
{
    buf_printf(out, "# HELP %s ", name);
    put_escaped(out, help, false);
    buf_printf(out, "\n# TYPE %s %s\n", name, kind);
}

static void put_value(struct buf *out, double v)
{
    if (isnan(v)) {
        buf_z(out, "NaN");
    } else if (isinf(v)) {
        buf_z(out, v > 0 ? "+Inf" : "-Inf");
    } else if (fabs(v) <= 9007199254740992.0 && floor(v) >= v) {
        buf_printf(out, "%.0f", v); /* counts stay exact */
    } else {
        buf_printf(out, "%.15g", v);
    }
}

void metrics_write_sample(struct buf *out, const char *name, const struct metric_label *labels,
                          size_t n_labels, double value)
{
    buf_z(out, name);
    if (n_labels > 0) {
        buf_char(out, '{');
        put_labels(out, labels, n_labels);
        buf_char(out, '}');
    }
    buf_char(out, ' ');
    put_value(out, value);
    buf_char(out, '\n');
}

static void put_series(struct buf *out, const struct metric *x, const char *suffix,
                       const char *extra, double value)
{
    bool both = x->labels[0] != '\0' && extra[0] != '\0';
    bool any = x->labels[0] != '\0' || extra[0] != '\0';
    buf_printf(out, "%s%s%s%s%s%s%s ", x->name, suffix, any ? "{" : "", x->labels, both ? "," : "",
               extra, any ? "}" : "");
    put_value(out, value);
    buf_char(out, '\n');
}

static void put_histogram(struct buf *out, const struct metric *x)
{
    uint64_t sum = 0;
    for (size_t i = 0; i <= BUCKETS; i++) {
        struct buf le;
        buf_init(&le, 64);
        sum += atomic_load(&x->counts[i]);
        buf_z(&le, "le=\"");
        put_value(&le, i < BUCKETS ? (double)bucket_us[i] / 1e6 : (double)INFINITY);
        buf_char(&le, '"');
        put_series(out, x, "_bucket", buf_view(&le).ptr, (double)sum);
        buf_deinit(&le);
    }
    put_series(out, x, "_sum", "", (double)atomic_load(&x->value) / 1e6);
    put_series(out, x, "_count", "", (double)sum);
}

void metrics_write(const struct metrics *m, struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    bool written[METRICS_MAX] = {false};
    for (size_t i = 0; i < m->n; i++) {
        if (written[i]) {
            continue;
        }
        metrics_write_head(out, m->all[i]->name, kinds[m->all[i]->kind], m->all[i]->help);
        for (size_t k = i; k < m->n; k++) {
            const struct metric *x = m->all[k];
            if (written[k] || x->kind != m->all[i]->kind || strcmp(x->name, m->all[i]->name) != 0) {
                continue;
            }
            written[k] = true;
            if (x->kind == METRIC_HISTOGRAM) {
                put_histogram(out, x);
            } else {
                put_series(out, x, "", "", (double)atomic_load(&x->value));
            }
        }
    }
}
