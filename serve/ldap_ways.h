/* What serve keeps for signing in with a directory: its settings made ready, the lane that waits
 * for it, and how often each name was tried. Loop thread only. */
#ifndef CARREL_SERVE_LDAP_WAYS_H
#define CARREL_SERVE_LDAP_WAYS_H

#include "base/lane.h"
#include "serve/ldap.h"

/* Wrong passwords for one name, whoever typed them: after so many none is passed on to the
 * directory until one is forgiven, so that nobody can guess through us nor lock accounts there. */
#define LDAP_TRIES 5.0
#define LDAP_TRY_MS ((int64_t)60 * 1000)
#define LDAP_TRIES_SLOTS 1024

struct ldap_ways {
    struct settings settings; /* a copy whose directory_groups are as ldap_dn_normal makes them */
    struct ldap_directory directory;
    struct lane lane;
    struct directory_group_settings *groups;
    char **names; /* of groups */
    struct ldap_tries {
        uint64_t name; /* its hash; 0: nobody's */
        double left;
        int64_t ms;
    } tries[LDAP_TRIES_SLOTS];
};

/* *out NULL: no directory is configured. socket is borrowed. Blocks: at start. */
enum status ldap_ways_new(uv_loop_t *loop, const struct settings *s, const char *socket,
                          struct ldap_ways **out, struct error *err) MUST_CHECK;
void ldap_ways_free(struct ldap_ways *w);       /* NULL is fine; its lane is idle */
bool ldap_ways_idle(const struct ldap_ways *w); /* NULL too */
/* May a password for this name be tried? Otherwise *retry_s says when. */
bool ldap_ways_may(struct ldap_ways *w, struct str user, int64_t now_ms, int64_t *retry_s);
/* It was right, or not. */
void ldap_ways_note(struct ldap_ways *w, struct str user, bool right, int64_t now_ms);

#endif
