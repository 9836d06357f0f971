/* Vectors out, for other tools; they come back in through PutVectors. */
#include <string.h>

#include "vectorstore/store_internal.h"

#define PAGE_BYTES ((size_t)256 * 1024) /* of rows in a page */

struct exporting {
    struct catalogue *db;
    struct arena *a;
    Vs__ExportVectorsReply *out;
    size_t most; /* rows */
    size_t row_bytes;
    int64_t last;
};

static enum status export_row(int64_t seq, chunk_no chunk, struct str vector, void *data,
                              struct error *err)
{
    struct exporting *x = data;
    char *content = arena_alloc(x->a, ID_CAP);
    uint32_t ordinal = 0;
    if (x->out->n_key == x->most) {
        return STATUS_TOO_LARGE; /* the page is full */
    }
    if (vector.len != x->row_bytes) {
        return error_set(err, STATUS_CORRUPT, "store.db: a vector has the wrong length");
    }
    enum status s = content == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                    : catalogue_chunk_name(x->db, chunk, content, &ordinal, err);
    if (s == STATUS_OK) {
        s = chunk_id_make(content, ordinal, x->a, &x->out->key[x->out->n_key], err);
    }
    if (s == STATUS_OK) {
        x->out->n_key++;
        for (size_t i = 0; i < vector.len / sizeof(uint16_t); i++) {
            uint16_t h;
            memcpy(&h, vector.ptr + i * sizeof h, sizeof h);
            float f = half_to_float(h);
            memcpy(x->out->rows.data + x->out->rows.len, &f, sizeof f);
            x->out->rows.len += sizeof f;
        }
        x->last = seq;
    }
    return s;
}

enum status store_export_vectors(struct store *s, const char *encoder, int64_t *after,
                                 struct arena *a, Vs__ExportVectorsReply *out, bool *last,
                                 struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    struct encoder e;
    vs__export_vectors_reply__init(out);
    *last = false;
    enum status st = reader_take(s, &r, &state, err);
    if (st == STATUS_OK) {
        st = encoder != NULL && encoder[0] != '\0'
                 ? catalogue_encoder_by_name(r->db, str_from(encoder), a, &e, err)
                 : catalogue_encoder_by_state(r->db, ENCODER_PUBLISHED, a, &e, err);
    }
    if (st == STATUS_OK) {
        struct exporting x = {.a = a,
                              .db = r->db,
                              .out = out,
                              .row_bytes = (size_t)e.dimensions * sizeof(uint16_t),
                              .last = *after};
        x.most = PAGE_BYTES / (2 * x.row_bytes);
        out->encoder = arena_strdup(a, e.name);
        out->dimensions = e.dimensions;
        out->key = arena_array(a, x.most, sizeof *out->key);
        out->rows.data = arena_alloc(a, x.most * 2 * x.row_bytes);
        st = out->encoder == NULL || out->key == NULL || out->rows.data == NULL
                 ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                 : catalogue_vectors_between(r->db, e.pk, *after, state.next_vector - 1, export_row,
                                             &x, err);
        *last = st == STATUS_OK;
        *after = x.last;
    }
    reader_give(s, r);
    return st == STATUS_TOO_LARGE ? STATUS_OK : st;
}
