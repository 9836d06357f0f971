/* carrel-egress: started by the supervisor only when something outside is configured. A door each
 * for those who ask: the upstream's for answers, the sources' for documents, serve's for what its
 * settings name (webhooks and the like). None leads to another's destinations. */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/service.h"
#include "base/settings/places.h"
#include "generate/egress/egress.h"

struct door {
    struct destination *destinations;
    size_t n;
    char socket[4096];
    struct egress *egress; /* NULL: not open */
};

enum { UPSTREAM, SOURCES, SERVE, DOORS };

struct doors {
    struct door of[DOORS];
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
    if (s != STATUS_OK) {
        return error_prefix(err, "generate.upstream.url");
    }
    d->destinations[0].allow_private = u->allow_private_address;
    d->n = 1;
    return egress_socket_path(svc->home, d->socket, sizeof d->socket, err);
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

struct finding {
    struct door *door;
    struct error *err; /* of the first place that cannot be read */
    enum status status;
};

static void find_place(void *data, const struct place *p)
{
    struct finding *f = data;
    struct door *d = f->door;
    struct destination *more =
        f->status == STATUS_OK ? realloc(d->destinations, (d->n + 1) * sizeof *more) : NULL;
    if (more == NULL) {
        f->status = f->status != STATUS_OK ? f->status
                                           : error_set(f->err, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    d->destinations = more;
    f->status = destination_of_url(p->url, &more[d->n], f->err);
    if (f->status != STATUS_OK) {
        (void)error_prefix(f->err, "%s", p->setting);
        return;
    }
    more[d->n++].allow_private = p->allow_private;
}

static enum status find_serve(struct service *svc, struct door *d, struct error *err)
{
    struct finding f = {d, err,
                        file_join(d->socket, sizeof d->socket, svc->home, SERVE_SOCKET, err)};
    if (f.status == STATUS_OK) {
        settings_places(svc->settings, find_place, &f);
    }
    return f.status;
}

static void doors_free(struct doors *d)
{
    for (size_t i = 0; i < DOORS; i++) {
        free(d->of[i].destinations);
    }
    free(d);
}

static enum status door_open(struct service *svc, struct error *err)
{
    struct doors *d = calloc(1, sizeof *d);
    size_t n = 0, opened = 0;
    if (d == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = find_upstream(svc, &d->of[UPSTREAM], err);
    s = s != STATUS_OK ? s : find_sources(svc, &d->of[SOURCES], err);
    s = s != STATUS_OK ? s : find_serve(svc, &d->of[SERVE], err);
    for (size_t i = 0; i < DOORS; i++) {
        n += d->of[i].n;
    }
    if (s == STATUS_OK && n == 0) {
        s = error_set(err, STATUS_INVALID,
                      "no destination is configured (generate.upstream.url, sources, "
                      "webhooks.allow, ...): nothing to do");
    }
    for (size_t i = 0; i < DOORS && s == STATUS_OK; i++) {
        s = open_door(svc, &d->of[i], err);
        opened += d->of[i].egress != NULL ? 1 : 0;
    }
    if (s != STATUS_OK && opened == 0) {
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
    size_t n = 0;
    const struct destination *first = NULL;
    for (size_t i = 0; i < DOORS; i++) {
        add_stats(&d->of[i], &stats);
        first = first == NULL && d->of[i].n > 0 ? &d->of[i].destinations[0] : first;
        n += d->of[i].n;
    }
    if (first == NULL) {
        return;
    }
    char place[DESTINATION_CAP];
    size_t others = n - 1;
    destination_format(first, place);
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
    struct egress *open[DOORS];
    for (size_t i = 0; i < DOORS; i++) {
        open[i] = d->of[i].egress;
        d->open += open[i] != NULL ? 1U : 0U;
    }
    for (size_t i = 0; i < DOORS; i++) { /* the last one to close frees d */
        if (open[i] != NULL) {
            egress_close(open[i], door_closed, svc);
        }
    }
}

static const struct service_definition definition = {
    .self = PEER_EGRESS, .open = door_open, .health = door_health, .close = door_close};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &definition);
}
