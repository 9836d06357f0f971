/* Answers to people: what the journal knows of a tenant's documents, deletion, uploads and page
 * pictures. Handlers of the RPC table in service.c; each finds its tenant by the call. */
#ifndef CARREL_INGEST_DOCUMENTS_H
#define CARREL_INGEST_DOCUMENTS_H

#include "ingest/access.h"
#include "ingest/ingest.h"
#include "ingest/ingest_rpc.h"

void documents_list(struct rpc_call *call, const ProtobufCMessage *m);
void documents_list_ready(struct rpc_call *call);
void documents_list_cancel(struct rpc_call *call);
void documents_get(struct rpc_call *call, const ProtobufCMessage *m);
/* events.c */
void documents_events(struct rpc_call *call, const ProtobufCMessage *m);
void documents_delete(struct rpc_call *call, const ProtobufCMessage *m);
void documents_delete_cancel(struct rpc_call *call);

void upload_message(struct rpc_call *call, const ProtobufCMessage *m);
void upload_end(struct rpc_call *call);
void upload_cancel(struct rpc_call *call);

void pages_render(struct rpc_call *call, const ProtobufCMessage *m);
void pages_ready(struct rpc_call *call);
void pages_cancel(struct rpc_call *call);
struct renders *renders_new(void); /* cache of page pictures; NULL: out of memory */
void renders_free(struct renders *r);
void renders_forget(struct renders *r); /* every picture kept */

void backup_snapshot(struct rpc_call *call, const ProtobufCMessage *m); /* backup.c */

/* The call's tenant; NULL when the call was already failed. */
struct tenant *documents_tenant(struct rpc_call *call);
/* A row as people see it; texts in a. false: out of memory. */
bool document_state(const struct tenant *t, const struct file_row *row, struct arena *a,
                    Ig__DocumentState *out);

#endif
