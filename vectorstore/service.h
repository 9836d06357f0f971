/* The vectorstore service: RPC handlers over the stores of its tenants. */
#ifndef CARREL_VECTORSTORE_SERVICE_H
#define CARREL_VECTORSTORE_SERVICE_H

#include "base/service.h"

extern const struct service_definition vectorstore_definition;

#endif
