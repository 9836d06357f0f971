/* ingest.Stored: what the ready documents of each collection take. Loop thread. */
#ifndef CARREL_INGEST_STORED_H
#define CARREL_INGEST_STORED_H

#include "ingest/ingest_rpc.h"

void stored_tell(struct rpc_call *call, const ProtobufCMessage *m);
void stored_cancel(struct rpc_call *call);

#endif
