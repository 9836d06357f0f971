/* The places outside that serve may reach, each named by a setting. carrel-egress dials these for
 * serve and no other, and the supervisor starts it when there is any. Pure.
 *
 * A group of settings that names such places has one function in places.c that gives each of them,
 * and its row in the table there. */
#ifndef CARREL_BASE_SETTINGS_PLACES_H
#define CARREL_BASE_SETTINGS_PLACES_H

#include "base/settings/settings.h"

struct place {
    const char *setting; /* "webhooks.allow", for messages */
    const char *url;     /* base/destination.h reads it; https, http, ldaps, ldap, tls */
    bool allow_private;  /* the administrator said so; else a private address is refused */
};

typedef void (*place_fn)(void *data, const struct place *p);

void settings_places(const struct settings *s, place_fn each, void *data);
/* Is anything outside configured, for whichever service? */
bool settings_reach_outside(const struct settings *s);
/* Of webhooks: origins and nothing more, https but where the address is private. */
enum status settings_check_webhooks(const struct settings *s, struct error *err) MUST_CHECK;

/* http.trusted_proxies: addresses and ranges. */
#define SETTINGS_PROXIES_MAX 64
enum status settings_check_proxies(const struct settings *s, struct error *err) MUST_CHECK;

#endif
