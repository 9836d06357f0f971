/* carrel-egress: started by the supervisor only when something outside is configured. A door each
 * for those who ask: the upstream's for answers, the sources' for documents. Neither leads to the
 * other's destinations. */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/service.h"
#include "generate/egress/egress.h"

struct door {
    struct destination *destinations;
    size_t n;
    char socket[4096];
    struct egress *egress; /* NULL: not open */
};

struct doors {
    struct door upstream, sources;
    unsigned open;
};

static enum status open_door(struct service *svc, struct door *d, struct error *err)
{
    struct egress_options options = {
        .socket = d->socket, .destinations = d->destinations, .n_destinations = d->n};
    return d->n == 0 ? STATUS_OK : egress_new(svc->loop, &options, &d->egress, err);
}

static enum status find_upstream(struct service *svc, struct door *d, struct error *err)
{
    const struct upstream_settings *u = &svc->settings->generate.upstream;
    if (u->url[0] == '\0') {
        return STATUS_OK;
    }
    d->destinations = calloc(1, sizeof *d->destinations);
    if (d->destinations == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = destination_of_url(u->url, &d->destinations[0], err);
    d->destinations[0].allow_private = u->allow_private_address;
    d->n = 1;
    return s == STATUS_OK ? egress_socket_path(svc->home, d->socket, sizeof d->socket, err) : s;
}

static enum status find_sources(struct service *svc, struct door *d, struct error *err)
{
    const struct settings *st = svc->settings;
    d->destinations = calloc(st->n_sources + 1, sizeof *d->destinations);
    if (d->destinations == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = file_join(d->socket, sizeof d->socket, svc->home, SOURCES_SOCKET, err);
    for (size_t i = 0; i < st->n_sources && s == STATUS_OK; i++) {
        s = destination_of_url(st->sources[i].url, &d->destinations[i], err);
        d->destinations[i].allow_private = st->sources[i].allow_private_address;
        if (s != STATUS_OK) {
            return error_prefix(err, "source %.64s", st->sources[i].name);
        }
    }
    d->n = st->n_sources;
    return s;
}

static void doors_free(struct doors *d)
{
    free(d->upstream.destinations);
    free(d->sources.destinations);
    free(d);
}

static enum status door_open(struct service *svc, struct error *err)
{
    struct doors *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = find_upstream(svc, &d->upstream, err);
    s = s != STATUS_OK ? s : find_sources(svc, &d->sources, err);
    if (s == STATUS_OK && d->upstream.n + d->sources.n == 0) {
        s = error_set(
            err, STATUS_INVALID,
            "no destination is configured (generate.upstream.url, sources): nothing to do");
    }
    s = s != STATUS_OK ? s : open_door(svc, &d->upstream, err);
    if (s == STATUS_OK) {
        s = open_door(svc, &d->sources, err);
    }
    if (s != STATUS_OK && d->upstream.egress == NULL) {
        doors_free(d);
        return s; /* with a door open the process ends with its handles */
    }
    svc->state = d;
    return s;
}

static void add_stats(const struct door *d, struct egress_stats *sum)
{
    struct egress_stats one = {0};
    if (d->egress != NULL) {
        egress_stats(d->egress, &one);
    }
    sum->connections += one.connections;
    sum->refused += one.refused;
    sum->bytes_up += one.bytes_up;
    sum->bytes_down += one.bytes_down;
    sum->open += one.open;
}

static void door_health(struct service *svc, struct service_health *out)
{
    const struct doors *d = svc->state;
    struct egress_stats stats = {0};
    if (d == NULL) {
        return;
    }
    add_stats(&d->upstream, &stats);
    add_stats(&d->sources, &stats);
    char place[DESTINATION_CAP];
    size_t others = d->upstream.n + d->sources.n - 1;
    destination_format(
        d->upstream.n > 0 ? &d->upstream.destinations[0] : &d->sources.destinations[0], place);
    out->queue = stats.open;
    if (others == 0) {
        (void)snprintf(out->detail, sizeof out->detail, "dials %.100s only, %u open", place,
                       stats.open);
    } else {
        (void)snprintf(out->detail, sizeof out->detail,
                       "dials %.80s and %zu more that are configured, %u open", place, others,
                       stats.open);
    }
    buf_printf(out->metrics,
               "# TYPE carrel_egress_connections_total counter\n"
               "carrel_egress_connections_total %llu\n"
               "# TYPE carrel_egress_refused_total counter\n"
               "carrel_egress_refused_total %llu\n"
               "# TYPE carrel_egress_bytes_total counter\n"
               "carrel_egress_bytes_total{direction=\"up\"} %llu\n"
               "carrel_egress_bytes_total{direction=\"down\"} %llu\n",
               (unsigned long long)stats.connections, (unsigned long long)stats.refused,
               (unsigned long long)stats.bytes_up, (unsigned long long)stats.bytes_down);
}

static void door_closed(void *data)
{
    struct service *svc = data;
    struct doors *d = svc->state;
    if (--d->open == 0) {
        doors_free(d);
        svc->state = NULL;
        service_closed(svc);
    }
}

static void door_close(struct service *svc)
{
    struct doors *d = svc->state;
    struct egress *up = d->upstream.egress;
    struct egress *sources = d->sources.egress;
    d->open = (up != NULL ? 1U : 0U) + (sources != NULL ? 1U : 0U);
    if (up != NULL) {
        egress_close(up, door_closed, svc);
    }
    if (sources != NULL) {
        egress_close(sources, door_closed, svc);
    }
}

static const struct service_definition definition = {
    .self = PEER_EGRESS, .open = door_open, .health = door_health, .close = door_close};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &definition);
}
