/* The ingest service as main and tests start it. */
#ifndef CARREL_INGEST_SERVICE_H
#define CARREL_INGEST_SERVICE_H

#include "base/service.h"

extern const struct service_definition ingest_definition;

#endif
