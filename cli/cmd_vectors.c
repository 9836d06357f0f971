/* carrel vectors export FILE [ENCODER], carrel vectors import FILE ENCODER: an encoder's vectors as
 * a flat FAISS index, and FILE.ids, the key of each vector's chunk, one a line, in the same order.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/faiss_file.h"
#include "cli/rpc_once.h"
#include "cli/term.h"
#include "vectorstore/vectorstore_rpc.h"

#define TENANT "main"
#define BATCH 256U /* vectors a call */
#define KEY_CAP 128U

struct both { /* the two files */
    struct faiss_file vectors;
    FILE *ids;
    char ids_path[4104];
    char encoder[256];
    struct error err; /* the first that went wrong */
};

static enum status open_ids(struct both *b, const char *path, const char *how)
{
    (void)snprintf(b->ids_path, sizeof b->ids_path, "%.4000s.ids", path);
    b->ids = fopen(b->ids_path, how);
    return b->ids == NULL ? error_errno(&b->err, errno, "%s", b->ids_path) : STATUS_OK;
}

static void close_both(struct both *b)
{
    faiss_file_close(&b->vectors);
    if (b->ids != NULL) {
        (void)fclose(b->ids);
        b->ids = NULL;
    }
}

/* ---- out ---- */

struct out {
    struct both files;
    const char *path;
    enum status status;
};

static enum status take_page(struct out *o, const Vs__ExportVectorsReply *r)
{
    struct both *b = &o->files;
    enum status s = STATUS_OK;
    if (b->vectors.stream == NULL) {
        (void)snprintf(b->encoder, sizeof b->encoder, "%s", r->encoder);
        s = faiss_file_create(o->path, r->dimensions, &b->vectors, &b->err);
    }
    if (s == STATUS_OK && (r->dimensions != b->vectors.dimensions || r->dimensions == 0 ||
                           r->rows.len / sizeof(float) / r->dimensions != r->n_key)) {
        s = error_set(&b->err, STATUS_INTERNAL, "the vectorstore's reply does not add up");
    }
    if (s == STATUS_OK) {
        s = faiss_file_add(&b->vectors, r->rows.data, r->n_key, &b->err);
    }
    for (size_t i = 0; s == STATUS_OK && i < r->n_key; i++) {
        if (fwrite(r->key[i].data, 1, r->key[i].len, b->ids) != r->key[i].len ||
            fputc('\n', b->ids) == EOF) {
            s = error_errno(&b->err, errno, "%s", b->ids_path);
        }
    }
    return s;
}

static void on_page(const ProtobufCMessage *m, void *data)
{
    struct out *o = data;
    const Vs__ExportVectorsReply *r = vs_export_vectors_reply(m);
    if (r != NULL && o->status == STATUS_OK) {
        o->status = take_page(o, r);
    }
}

static enum exit_code export_vectors(const struct options *o)
{
    struct error err = {0};
    struct out out = {.path = o->args[1]};
    struct both *b = &out.files;
    Vs__ExportVectorsRequest request = VS__EXPORT_VECTORS_REQUEST__INIT;
    request.encoder = o->n_args > 2 ? (char *)(uintptr_t)o->args[2] : NULL;
    enum status s = open_ids(b, out.path, "w");
    err = b->err;
    if (s == STATUS_OK) {
        s = rpc_once(o->home, PEER_VECTORSTORE, &vs_export_vectors_method,
                     o->tenant == NULL ? TENANT : o->tenant, 0, &request.base, on_page, &out, &err);
    }
    if (s == STATUS_OK && out.status != STATUS_OK) {
        s = out.status;
        err = b->err;
    }
    if (s == STATUS_OK && (fflush(b->ids) != 0 || ferror(b->ids) != 0)) {
        s = error_errno(&err, errno, "%s", b->ids_path);
    }
    if (s == STATUS_OK) {
        s = faiss_file_finish(&b->vectors, &err);
    }
    if (s == STATUS_OK) {
        (void)printf("%" PRIu64 " %s of %" PRIu32 " %s of %s in %s, with keys in %s\n",
                     b->vectors.n, term_word(b->vectors.n, "vector", "vectors"),
                     b->vectors.dimensions,
                     term_word(b->vectors.dimensions, "dimension", "dimensions"), b->encoder,
                     out.path, b->ids_path);
    }
    close_both(b);
    return s == STATUS_OK ? EXIT_OK : command_failed(&err);
}

/* ---- in ---- */

struct batch {
    Vs__PutVectorsRequest__Item items[BATCH];
    Vs__PutVectorsRequest__Item *each[BATCH];
    char keys[BATCH][KEY_CAP];
    float *rows;
    uint64_t stored;
};

static void on_stored(const ProtobufCMessage *m, void *data)
{
    struct batch *t = data;
    const Vs__PutVectorsReply *r = vs_put_vectors_reply(m);
    t->stored += r == NULL ? 0 : r->stored;
}

static enum status read_one(struct both *b, struct batch *t, size_t i)
{
    size_t d = b->vectors.dimensions;
    char *key = t->keys[i];
    if (fgets(key, KEY_CAP, b->ids) == NULL || strchr(key, '\n') == NULL) {
        return error_set(&b->err, STATUS_INVALID, "%s: must have a key a line, one for each vector",
                         b->ids_path);
    }
    key[strcspn(key, "\n")] = '\0';
    vs__put_vectors_request__item__init(&t->items[i]);
    t->each[i] = &t->items[i];
    t->items[i].key = (ProtobufCBinaryData){.data = (uint8_t *)key, .len = strlen(key)};
    t->items[i].vector =
        (ProtobufCBinaryData){.data = (uint8_t *)(t->rows + i * d), .len = d * sizeof *t->rows};
    return faiss_file_next(&b->vectors, t->rows + i * d, &b->err);
}

static enum exit_code import_vectors(const struct options *o)
{
    struct both b = {0};
    struct batch *t = calloc(1, sizeof *t);
    Vs__PutVectorsRequest request = VS__PUT_VECTORS_REQUEST__INIT;
    enum status s = t == NULL ? error_set(&b.err, STATUS_NO_MEMORY, "out of memory")
                              : faiss_file_open(o->args[1], &b.vectors, &b.err);
    uint64_t n = b.vectors.n;
    if (s == STATUS_OK) {
        s = open_ids(&b, o->args[1], "r");
    }
    if (s == STATUS_OK) {
        t->rows = malloc((size_t)BATCH * b.vectors.dimensions * sizeof *t->rows);
        s = t->rows == NULL ? error_set(&b.err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    request.encoder = (char *)(uintptr_t)o->args[2];
    for (uint64_t done = 0; done < n && s == STATUS_OK; done += request.n_items) {
        request.n_items = n - done < BATCH ? (size_t)(n - done) : BATCH;
        for (size_t i = 0; i < request.n_items && s == STATUS_OK; i++) {
            s = read_one(&b, t, i);
        }
        request.items = t->each;
        if (s == STATUS_OK) {
            s = rpc_once(o->home, PEER_VECTORSTORE, &vs_put_vectors_method,
                         o->tenant == NULL ? TENANT : o->tenant, 0, &request.base, on_stored, t,
                         &b.err);
        }
    }
    if (s == STATUS_OK) {
        (void)printf("%" PRIu64 " of %" PRIu64
                     " vectors stored for %s; the others' chunks are gone "
                     "or have one\n",
                     t->stored, n, o->args[2]);
    }
    close_both(&b);
    if (t != NULL) {
        free(t->rows);
    }
    free(t);
    return s == STATUS_OK ? EXIT_OK : command_failed(&b.err);
}

static enum exit_code run(const struct options *o)
{
    if (strcmp(o->args[0], "export") == 0) {
        return export_vectors(o);
    }
    if (strcmp(o->args[0], "import") == 0 && o->n_args == 3) {
        return import_vectors(o);
    }
    (void)fprintf(stderr, "carrel vectors: export FILE [ENCODER], or import FILE ENCODER\n");
    return EXIT_USAGE;
}

const struct command cmd_vectors = {
    .name = "vectors",
    .args = "export|import FILE [ENCODER]",
    .summary = "Take an encoder's vectors out as a FAISS index, or bring such in.",
    .help = "export writes a flat FAISS index (faiss.read_index) and FILE.ids, the chunk of each "
            "vector;\nimport reads both for an encoder that the store has: chunks without a vector "
            "get theirs.",
    .options = OPT_HOME | OPT_TENANT,
    .min_args = 2,
    .max_args = 3,
    .run = run,
};
