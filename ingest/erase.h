/* Erasures of one tenant under way: one at a time, the oldest first, driven by the journal's book
 * of them (erasures.h). Every step may be done twice; a kill at any moment is made good by going on
 * at the phase that is written down. Loop thread. */
#ifndef CARREL_INGEST_ERASE_H
#define CARREL_INGEST_ERASE_H

#include "ingest/erasures.h"
#include "ingest/ingest.h"
#include "ingest/ingest_rpc.h"

struct erasing;

/* Before the tenant's journal lane runs, on any thread: its key, and what the list of erasures
 * names and the journal does not know is begun again (a backup from before was put back). */
enum status erasing_prepare(struct ingest *in, const char *tenant, struct journal *j,
                            struct erasing **out, struct error *err) MUST_CHECK;
void erasing_start(struct erasing *z, struct tenant *t);
void erasing_close(struct erasing *z);
bool erasing_idle(const struct erasing *z);
void erasing_free(struct erasing *z); /* NULL is fine */
/* A new one is in the book. */
void erasing_changed(struct erasing *z);
/* "erasing: fitting the encoder anew"; "" when nothing is under way. */
const char *erasing_doing(const struct erasing *z);
/* Some content may not come in: ask erasure_of_hash with the keyed hash. */
bool erasing_bans(const struct erasing *z);
const uint8_t *erasing_key(const struct erasing *z);
/* A phase in words. */
const char *erasure_phase_name(enum erasure_phase p);

/* Marks as the messages carry them: packed and marks have room for SUBJECTS_MAX. Returns how many.
 */
size_t subject_messages(const struct subject_mark *list, size_t n,
                        uint8_t (*packed)[SUBJECT_MARK_BYTES], ProtobufCBinaryData *marks);

/* erase_ask.c */
void erase_ask(struct rpc_call *call, const ProtobufCMessage *m);
/* erase_rpc.c */
void erase_get(struct rpc_call *call, const ProtobufCMessage *m);
void erase_list(struct rpc_call *call, const ProtobufCMessage *m);
void erase_allow(struct rpc_call *call, const ProtobufCMessage *m);
/* Is the caller an administrator? Otherwise the call has been finished. */
bool erase_may(struct rpc_call *call);

/* hold_rpc.c */
void hold_rpc_add(struct rpc_call *call, const ProtobufCMessage *m);
void hold_rpc_list(struct rpc_call *call, const ProtobufCMessage *m);
void hold_rpc_remove(struct rpc_call *call, const ProtobufCMessage *m);

/* quarantine_rpc.c */
void quarantine_rpc_list(struct rpc_call *call, const ProtobufCMessage *m);
void quarantine_rpc_release(struct rpc_call *call, const ProtobufCMessage *m);
void quarantine_rpc_cancel(struct rpc_call *call);

#endif
