/* By which ways people can sign in here: for the page, before anybody is known. */
#include <stdio.h>

#include "base/clock.h"
#include "serve/api.h"
#include "serve/oidc.h"
#include "serve/request.h"
#include "serve/service.h"

/* Where a browser ends the session that the provider keeps (OpenID Connect RP-Initiated
 * Logout 1.0). Without the ID token, which is not kept: the provider asks the person there. */
static void write_end(struct jsonw *w, const struct serve *s)
{
    const struct oidc_metadata *m = oidc_metadata(s->oidc, clock_monotonic_ms());
    char origin[OIDC_URL_MAX];
    struct buf url;
    if (m == NULL || m->end_session[0] == '\0' ||
        !oidc_origin(s->settings->oidc.redirect_uri, origin, sizeof origin - 1)) {
        return;
    }
    buf_init(&url, 8 * OIDC_URL_MAX);
    buf_printf(&url, "%s%sclient_id=", m->end_session,
               strchr(m->end_session, '?') == NULL ? "?" : "&");
    oidc_encode(&url, str_from(s->settings->oidc.client_id));
    buf_z(&url, "&post_logout_redirect_uri=");
    oidc_encode(&url, str_from(origin));
    oidc_encode(&url, STR("/"));
    if (buf_status(&url) == STATUS_OK) {
        jsonw_key(w, "sign_out");
        jsonw_str(w, buf_view(&url));
    }
    buf_deinit(&url);
}

void api_session_ways(struct request *q)
{
    const struct serve *s = q->serve;
    struct jsonw w;
    api_object_begin(q, &w);
    if (s->oidc != NULL) {
        jsonw_key(&w, "oidc");
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "name", s->settings->oidc.name);
        jsonw_field_z(&w, "start", "/api/oidc/start");
        write_end(&w, s);
        jsonw_close(&w, '}');
    }
    if (s->ldap != NULL) {
        jsonw_key(&w, "ldap");
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "name", s->settings->ldap.name);
        jsonw_close(&w, '}');
    }
    api_object_end(q, 200, &w);
}
