/* The table of vectorstore's methods. */
#ifndef CARREL_VECTORSTORE_RPC_H
#define CARREL_VECTORSTORE_RPC_H

#include "base/rpc/rpc.h"
#include "vectorstore.pb-c.h"

#define VS_METHOD(fn, wire, Name, name, kind, callers, ms)                                         \
    RPC_METHOD(vs, fn, "vectorstore." wire, vs__##name##_request, Vs__##Name##Request,             \
               vs__##name##_reply, Vs__##Name##Reply, kind, callers, ms)

VS_METHOD(has_content, "HasContent", HasContent, has_content, RPC_UNARY, FROM(INGEST), 10000)
VS_METHOD(put, "Put", Put, put, RPC_REQUEST_STREAM, FROM(INGEST), 600000)
VS_METHOD(move, "Move", Move, move, RPC_UNARY, FROM(INGEST), 30000)
VS_METHOD(remove, "Remove", Remove, remove, RPC_UNARY, FROM(INGEST), 30000)
VS_METHOD(list, "List", List, list, RPC_REPLY_STREAM, FROM(INGEST) | FROM(SERVE) | FROM(RETRIEVE) | FROM(CLI), 60000)
VS_METHOD(status, "Status", Status, status, RPC_UNARY, FROM(INGEST) | FROM(RETRIEVE) | FROM(SERVE), 5000)
VS_METHOD(put_encoder, "PutEncoder", PutEncoder, put_encoder, RPC_REQUEST_STREAM, FROM(INGEST), 600000)
VS_METHOD(get_encoder, "GetEncoder", GetEncoder, get_encoder, RPC_REPLY_STREAM, FROM(EMBED), 60000)
VS_METHOD(scan, "Scan", Scan, scan, RPC_REPLY_STREAM, FROM(INGEST), 3600000)
VS_METHOD(put_vectors, "PutVectors", PutVectors, put_vectors, RPC_UNARY, FROM(INGEST) | FROM(CLI), 60000)
VS_METHOD(export_vectors, "ExportVectors", ExportVectors, export_vectors, RPC_REPLY_STREAM, FROM(CLI), 3600000)
VS_METHOD(publish, "Publish", Publish, publish, RPC_UNARY, FROM(INGEST), 60000)
VS_METHOD(search_text, "SearchText", SearchText, search_text, RPC_UNARY, FROM(RETRIEVE), 10000)
VS_METHOD(search_vector, "SearchVector", SearchVector, search_vector, RPC_UNARY, FROM(RETRIEVE), 10000)
VS_METHOD(explain, "Explain", Explain, explain, RPC_UNARY, FROM(RETRIEVE), 10000)
VS_METHOD(fetch, "Fetch", Fetch, fetch, RPC_UNARY, FROM(RETRIEVE) | FROM(SERVE), 10000)
VS_METHOD(facets, "Facets", Facets, facets, RPC_UNARY, FROM(RETRIEVE) | FROM(SERVE), 10000)
VS_METHOD(list_versions, "ListVersions", ListVersions, list_versions, RPC_UNARY, FROM(SERVE) | FROM(INGEST), 10000)
VS_METHOD(get_document, "GetDocument", GetDocument, get_document, RPC_UNARY, FROM(SERVE) | FROM(INGEST), 5000)
VS_METHOD(get_original, "GetOriginal", GetOriginal, get_original, RPC_REPLY_STREAM, FROM(SERVE) | FROM(INGEST), 120000)
VS_METHOD(get_text, "GetText", GetText, get_text, RPC_REPLY_STREAM, FROM(SERVE) | FROM(RETRIEVE) | FROM(INGEST), 60000)
VS_METHOD(snapshot, "Snapshot", Snapshot, snapshot, RPC_UNARY, FROM(CLI), 3600000)
VS_METHOD(verify, "Verify", Verify, verify, RPC_UNARY, FROM(INGEST) | FROM(SERVE) | FROM(CLI), 600000)
VS_METHOD(hold_versions, "HoldVersions", HoldVersions, hold_versions, RPC_UNARY, FROM(INGEST), 10000)
VS_METHOD(erase_inspect, "EraseInspect", EraseInspect, erase_inspect, RPC_UNARY, FROM(INGEST), 60000)
VS_METHOD(find_subject, "FindSubject", FindSubject, find_subject, RPC_UNARY, FROM(INGEST), 120000)
VS_METHOD(erase, "Erase", Erase, erase, RPC_UNARY, FROM(INGEST), 60000)
VS_METHOD(scrub, "Scrub", Scrub, scrub, RPC_UNARY, FROM(INGEST), 3600000)
VS_METHOD(purge_vectors, "PurgeVectors", PurgeVectors, purge_vectors, RPC_UNARY, FROM(INGEST), 3600000)
VS_METHOD(promote, "Promote", Promote, promote, RPC_UNARY, FROM(INGEST) | FROM(SERVE), 60000)
VS_METHOD(hold_back, "HoldBack", HoldBack, hold_back, RPC_UNARY, FROM(INGEST), 60000)
VS_METHOD(remove_encoder, "RemoveEncoder", RemoveEncoder, remove_encoder, RPC_UNARY, FROM(INGEST) | FROM(SERVE), 60000)
VS_METHOD(list_encoders, "ListEncoders", ListEncoders, list_encoders, RPC_UNARY, FROM(INGEST) | FROM(EMBED) | FROM(SERVE) | FROM(CLI), 5000)

#endif
