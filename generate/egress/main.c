/* carrel-egress: started by the supervisor only when an upstream is configured. */
#include <stdlib.h>

#include "base/service.h"
#include "generate/egress/egress.h"

struct door {
    struct destination destination;
    char socket[4096];
    struct egress *egress;
};

static enum status door_open(struct service *svc, struct error *err)
{
    const struct upstream_settings *u = &svc->settings->generate.upstream;
    if (u->url[0] == '\0') {
        return error_set(err, STATUS_INVALID,
                         "no destination is configured (generate.upstream.url): nothing to do");
    }
    struct door *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = destination_of_url(u->url, &d->destination, err);
    s = s != STATUS_OK ? s : egress_socket_path(svc->home, d->socket, sizeof d->socket, err);
    struct egress_options options = {.socket = d->socket,
                                     .destinations = &d->destination,
                                     .n_destinations = 1,
                                     .allow_private_address = u->allow_private_address};
    s = s != STATUS_OK ? s : egress_new(svc->loop, &options, &d->egress, err);
    if (s != STATUS_OK) {
        free(d);
        return s;
    }
    svc->state = d;
    return STATUS_OK;
}

static void door_health(struct service *svc, struct service_health *out)
{
    const struct door *d = svc->state;
    struct egress_stats stats;
    if (d == NULL) {
        return;
    }
    egress_stats(d->egress, &stats);
    char place[DESTINATION_CAP];
    destination_format(&d->destination, place);
    out->queue = stats.open;
    (void)snprintf(out->detail, sizeof out->detail, "dials %.100s only, %u open", place, stats.open);
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
    free(svc->state);
    svc->state = NULL;
    service_closed(svc);
}

static void door_close(struct service *svc)
{
    struct door *d = svc->state;
    egress_close(d->egress, door_closed, svc);
}

static const struct service_definition definition = {
    .self = PEER_EGRESS, .open = door_open, .health = door_health, .close = door_close};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &definition);
}
