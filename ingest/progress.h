/* ingest.Progress and ingest.Pause. Loop thread. */
#ifndef CARREL_INGEST_PROGRESS_H
#define CARREL_INGEST_PROGRESS_H

#include "ingest/ingest_rpc.h"

void progress_tell(struct rpc_call *call, const ProtobufCMessage *m);
void progress_pause(struct rpc_call *call, const ProtobufCMessage *m);
void progress_pause_cancel(struct rpc_call *call);

#endif
