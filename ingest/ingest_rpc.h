/* The table of ingest's methods. */
#ifndef CARREL_INGEST_RPC_H
#define CARREL_INGEST_RPC_H

#include "base/rpc/rpc.h"
#include "ingest.pb-c.h"

#define IG_METHOD(fn, wire, Name, name, kind, ms)                                                  \
    RPC_METHOD(ig, fn, "ingest." wire, ig__##name##_request, Ig__##Name##Request,                  \
               ig__##name##_reply, Ig__##Name##Reply, kind, FROM(SERVE), ms)

IG_METHOD(list, "List", List, list, RPC_REPLY_STREAM, 30000)
IG_METHOD(get, "Get", Get, get, RPC_UNARY, 5000)
IG_METHOD(progress, "Progress", Progress, progress, RPC_UNARY, 2000)
IG_METHOD(events, "Events", Events, events, RPC_UNARY, 5000)
IG_METHOD(stored, "Stored", Stored, stored, RPC_UNARY, 30000)
IG_METHOD(worked, "Worked", Worked, worked, RPC_UNARY, 30000)
IG_METHOD(pause, "Pause", Pause, pause, RPC_UNARY, 5000)
IG_METHOD(list_sources, "ListSources", ListSources, list_sources, RPC_UNARY, 5000)
IG_METHOD(poll_source, "PollSource", PollSource, poll_source, RPC_UNARY, 5000)
IG_METHOD(upload, "Upload", Upload, upload, RPC_REQUEST_STREAM, 600000)
IG_METHOD(delete, "Delete", Delete, delete, RPC_UNARY, 30000)
RPC_METHOD(ig, snapshot, "ingest.Snapshot", ig__snapshot_request, Ig__SnapshotRequest,
           ig__snapshot_reply, Ig__SnapshotReply, RPC_UNARY, FROM(CLI), 3600000)
IG_METHOD(render, "Render", Render, render, RPC_REPLY_STREAM, 60000)
IG_METHOD(build_encoder, "BuildEncoder", BuildEncoder, build_encoder, RPC_UNARY, 5000)
IG_METHOD(erase, "Erase", Erase, erase, RPC_UNARY, 600000)
IG_METHOD(get_erasure, "GetErasure", GetErasure, get_erasure, RPC_UNARY, 5000)
IG_METHOD(list_erasures, "ListErasures", ListErasures, list_erasures, RPC_UNARY, 5000)
IG_METHOD(add_hold, "AddHold", AddHold, add_hold, RPC_UNARY, 5000)
IG_METHOD(list_holds, "ListHolds", ListHolds, list_holds, RPC_UNARY, 5000)
IG_METHOD(remove_hold, "RemoveHold", RemoveHold, remove_hold, RPC_UNARY, 5000)
IG_METHOD(list_quarantine, "ListQuarantine", ListQuarantine, list_quarantine, RPC_UNARY, 5000)
IG_METHOD(release_quarantine, "ReleaseQuarantine", ReleaseQuarantine, release_quarantine, RPC_UNARY,
          60000)
IG_METHOD(allow_erased, "AllowErased", AllowErased, allow_erased, RPC_UNARY, 5000)

#endif
