/* logfmt on stderr, one line an event, one write a line. Never document text, prompts or keys.
 *
 *   LOG_INFO("document ready", LOG_STR("doc", id), LOG_INT("chunks", n), LOG_END);
 *   -> t=2026-11-21T07:00:00.123Z level=info svc=ingest msg="document ready" doc=... chunks=12
 *
 * Fixed keys: req, doc, tenant, dur_ms, status, err. Thread-safe. Each call site passes at most 50 lines
 * a second; what it swallows is counted and said with its next line. */
#ifndef CARREL_BASE_LOG_H
#define CARREL_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

struct log_field {
    const char *key; /* NULL ends the list */
    const char *str; /* NULL: the number counts */
    int64_t num;
};

struct log_site {
    _Atomic int64_t window_start_ms;
    _Atomic uint32_t lines;
    _Atomic uint32_t swallowed;
};

#define LOG_STR(k, s) ((struct log_field){.key = (k), .str = (s) == NULL ? "" : (s)})
#define LOG_INT(k, n) ((struct log_field){.key = (k), .num = (int64_t)(n)})
#define LOG_END ((struct log_field){0})

/* Before threads start; service is borrowed. */
void log_init(const char *service, enum log_level level);
/* false for an unknown name */
_Bool log_level_parse(const char *name, enum log_level *out);
void log_event(struct log_site *site, enum log_level level, const char *msg, ...);

#define LOG_AT(level, ...)                                                                         \
    do {                                                                                           \
        static struct log_site log_site_here;                                                      \
        log_event(&log_site_here, level, __VA_ARGS__);                                             \
    } while (0)
#define LOG_DEBUG(...) LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define LOG_INFO(...) LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_WARN(...) LOG_AT(LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_ERROR(...) LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
