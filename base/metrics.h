/* Counters, gauges and histograms of a process, and Prometheus' text format for them.
 *
 *   struct metric *asked = metrics_counter(m, "carrel_questions_total", "Questions asked.", NULL,
 * 0); metric_add(asked, 1);
 *
 * Metrics are registered at the start on one thread; metric_* may then be called on any thread.
 * Series of one name share kind and help and differ in their labels. At most METRICS_MAX series;
 * past them, or out of memory, registering gives NULL, which every metric_* function takes and
 * ignores. */
#ifndef CARREL_BASE_METRICS_H
#define CARREL_BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define METRICS_MAX 512

struct metrics;
struct metric;

struct metric_label {
    const char *name;
    const char *value;
};

struct metrics *metrics_new(void); /* NULL when out of memory */
void metrics_free(struct metrics *m);

/* name: [a-zA-Z_:][a-zA-Z0-9_:]*; NULL for another. All text is copied. */
struct metric *metrics_counter(struct metrics *m, const char *name, const char *help,
                               const struct metric_label *labels, size_t n_labels);
struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help,
                             const struct metric_label *labels, size_t n_labels);
/* Durations, in buckets from 1 ms to 60 s; written in seconds. */
struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                 const struct metric_label *labels, size_t n_labels);

void metric_add(struct metric *x, uint64_t n); /* counter */
void metric_set(struct metric *x, int64_t v);  /* gauge */
void metric_observe_us(struct metric *x, int64_t duration_us);

/* Everything in the order it was registered, series of one name together. */
void metrics_write(const struct metrics *m, struct buf *out);

/* For values that are counted elsewhere: the two comment lines, then one line a sample. */
void metrics_write_head(struct buf *out, const char *name, const char *kind, const char *help);
void metrics_write_sample(struct buf *out, const char *name, const struct metric_label *labels,
                          size_t n_labels, double value);

#endif
