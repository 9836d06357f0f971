/* What the RPC handlers share: an operation is one call, from its first message to its answer. */
#ifndef CARREL_VECTORSTORE_SERVICE_INTERNAL_H
#define CARREL_VECTORSTORE_SERVICE_INTERNAL_H

#include <stdatomic.h>

#include "base/hash.h"
#include "vectorstore/tenants.h"
#include "vectorstore/vectorstore_rpc.h"

#define OP_ARENA ((size_t)32 * 1024 * 1024)

struct op;

/* Runs on a lane's thread. Fills op->reply (in op->page) and, in a reply stream, op->last. */
typedef enum status (*op_work)(struct op *op, struct store *s, struct error *err);

enum op_lane { OP_READS = 0, OP_WRITES = 1, OP_SEALS = 2 }; /* which of the tenant's lanes */

struct op_row {
    const struct rpc_method *method;
    op_work work;
    enum op_lane lane;
};

struct op {
    struct rpc_call *call;
    struct tenant *tenant;
    const struct op_row *row;
    struct arena arena; /* the request; as long as the call */
    struct arena page;  /* the reply; one message of a stream */
    const ProtobufCMessage *request;
    const ProtobufCMessage *reply;
    struct asker who;
    _Atomic bool cancelled;
    enum status status;
    struct error err;
    bool working; /* a job has it */
    bool last;    /* reply streams: nothing follows */
    bool unsent;  /* reply streams: reply waits for the window */
    /* places of reply streams */
    const char *after;
    ProtobufCBinaryData cursor;
    uint32_t left;
    int files[3]; /* -1: not open */
    uint64_t offset;
    unsigned phase;
    struct sha256 *hash; /* of the original, as far as it was sent; NULL: not begun */
    uint8_t expected[SHA256_BYTES];
};

extern const struct op_row op_rows[];
extern const size_t n_op_rows;

/* The operation of a new call, its request copied and its tenant taken; NULL: the call has been
 * failed. */
struct op *op_new(struct rpc_call *call, const ProtobufCMessage *m, const struct op_row *row);
void op_free(struct op *op);
/* A copy of m in a; NULL when out of memory. */
const ProtobufCMessage *op_copy(const ProtobufCMessage *m, struct arena *a);

/* service_stream.c */
void put_on_request(struct rpc_call *call, const ProtobufCMessage *m);
void put_on_end(struct rpc_call *call);
void put_on_cancel(struct rpc_call *call);
enum status work_list(struct op *op, struct store *s, struct error *err);
enum status work_scan(struct op *op, struct store *s, struct error *err);
enum status work_export_vectors(struct op *op, struct store *s, struct error *err);
enum status work_get_encoder(struct op *op, struct store *s, struct error *err);
enum status work_get_original(struct op *op, struct store *s, struct error *err);
enum status work_get_text(struct op *op, struct store *s, struct error *err);

/* service_snapshot.c */
void snapshot_on_request(struct rpc_call *call, const ProtobufCMessage *m);
void snapshot_on_cancel(struct rpc_call *call);

#endif
