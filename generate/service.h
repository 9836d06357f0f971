/* The generate service: see README.md. */
#ifndef CARREL_GENERATE_SERVICE_H
#define CARREL_GENERATE_SERVICE_H

#include "base/service.h"

extern const struct service_definition generate_definition;

#endif
