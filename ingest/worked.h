/* ingest.Worked: what reading documents cost since serve heard last. Loop thread. */
#ifndef CARREL_INGEST_WORKED_H
#define CARREL_INGEST_WORKED_H

#include "ingest/ingest_rpc.h"

void worked_tell(struct rpc_call *call, const ProtobufCMessage *m);
void worked_cancel(struct rpc_call *call);

#endif
