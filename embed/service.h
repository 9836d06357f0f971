/* The embed service: see README.md. */
#ifndef CARREL_EMBED_SERVICE_H
#define CARREL_EMBED_SERVICE_H

#include "base/service.h"

extern const struct service_definition embed_definition;

#endif
