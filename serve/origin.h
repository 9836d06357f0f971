/* Pages of other sites in a browser of somebody who is signed in here. Their requests carry no
 * cookie of ours (SameSite=Strict) and they may read no answer (no CORS header leaves); this
 * refuses them at the door besides: by what browsers say of each request (Fetch Metadata), and
 * where one is too old or the address too plain for that, by Origin. Pure. */
#ifndef CARREL_SERVE_ORIGIN_H
#define CARREL_SERVE_ORIGIN_H

#include "serve/http/parse.h"

/* A request that a page of another site made, other than by leading its reader here. Never when it
 * brings a key: no page can do that behind its reader's back. */
bool origin_foreign(const struct http_head *h);
/* Asks for a WebSocket. */
bool origin_websocket(const struct http_head *h);

#endif
