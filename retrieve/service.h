/* The retrieve service: see README.md. */
#ifndef CARREL_RETRIEVE_SERVICE_H
#define CARREL_RETRIEVE_SERVICE_H

#include "base/service.h"

extern const struct service_definition retrieve_definition;

#endif
