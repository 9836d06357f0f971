/* The sources of carrel.yaml: each is looked at when it is due, on a thread of its own, a few at a
 * time (sources/poll.h). What lies in their folders is followed like any other file. Loop thread.
 */
#ifndef CARREL_INGEST_SOURCES_H
#define CARREL_INGEST_SOURCES_H

#include "ingest/ingest.h"

enum status sources_open(struct ingest *in, struct error *err) MUST_CHECK;
/* Every half second. */
void sources_tick(struct ingest *in);
/* Breaks off what is under way; sources_closed tells when all threads have ended (asked again and
 * again). */
void sources_close(struct ingest *in);
bool sources_closed(struct ingest *in);
void sources_free(struct ingest *in);
/* What is wrong with one of them, for people; "" nothing. */
const char *sources_trouble(const struct ingest *in);
/* One line each, Prometheus. */
void sources_metrics(const struct ingest *in, struct buf *out);
/* Label of documents at path that the configuration of a source gives; "" none. */
const char *sources_label(const struct settings *s, const char *tenant, struct str path);

bool sources_have_labels(const struct settings *s, const char *tenant);

/* RPCs */
void sources_list(struct rpc_call *call, const ProtobufCMessage *m);
void sources_poll(struct rpc_call *call, const ProtobufCMessage *m);

#endif
