/* Order: each tensor's type is chosen; heads, values and tensor infos are written; then the data,
 * row by row. */
#include "model/quantize.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "model/gguf.h"
#include "model/quant.h"

#define HEAD_MAX ((size_t)256 << 20)
#define CHUNK_BYTES ((size_t)4 << 20)
#define ALIGNMENT 32U
#define ROW_VALUES_MAX ((uint64_t)1 << 24)

struct kind {
    const char *name;
    enum tensor_type type;
    uint32_t file_type; /* as GGUF numbers mixes */
    bool mixed;
};

static const struct kind kinds[] = {
    {"Q8_0", TENSOR_Q8_0, 7, false},   {"Q4_0", TENSOR_Q4_0, 2, false},
    {"Q4_K", TENSOR_Q4_K, 14, false},  {"Q6_K", TENSOR_Q6_K, 18, false},
    {"Q4_K_M", TENSOR_Q4_K, 15, true},
};

struct job {
    const struct kind *kind;
    struct gguf *in;
    enum tensor_type *types;
    struct buf head, chunk;
    float *row;
    int fd;
    uint32_t layers;
    bool own_output;
    char beside[4096];
};

/* ---- which type ---- */

static bool ends_with(struct str s, const char *end)
{
    size_t n = strlen(end);
    return s.len >= n && memcmp(s.ptr + s.len - n, end, n) == 0;
}

static uint32_t layer_of(struct str name)
{
    uint32_t n = 0;
    for (size_t i = 4; i < name.len && name.ptr[i] >= '0' && name.ptr[i] <= '9' && n < 100000;
         i++) {
        n = n * 10 + (uint32_t)(name.ptr[i] - '0');
    }
    return n;
}

/* The first and last eighth of the layers, and every third between. */
static bool more_bits(const struct job *j, uint32_t layer)
{
    uint32_t n = j->layers;
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

static bool stays(const struct gguf_tensor *t)
{
    return t->n_dimensions < 2 || t->dimensions[1] < 2 || !ends_with(t->name, ".weight") ||
           str_eq(t->name, STR("position_embd.weight")) ||
           str_eq(t->name, STR("token_types.weight")) || ends_with(t->name, "norm.weight");
}

static enum tensor_type type_for(const struct job *j, const struct gguf_tensor *t)
{
    enum tensor_type type = j->kind->type;
    bool output = str_eq(t->name, STR("output.weight")) ||
                  (!j->own_output && str_eq(t->name, STR("token_embd.weight")));
    bool often = ends_with(t->name, "attn_v.weight") || ends_with(t->name, "ffn_down.weight");
    if (stays(t)) {
        return t->type;
    }
    if ((output && type != TENSOR_Q8_0) ||
        (j->kind->mixed && often && more_bits(j, layer_of(t->name)))) {
        type = TENSOR_Q6_K;
    }
    if (t->dimensions[0] % 256 != 0 && (type == TENSOR_Q4_K || type == TENSOR_Q6_K)) {
        type = type == TENSOR_Q4_K ? TENSOR_Q5_0 : TENSOR_Q8_0;
    }
    return t->dimensions[0] % 32 != 0 ? TENSOR_F16 : type;
}

static enum status choose(struct job *j, struct error *err)
{
    struct str name = STR("");
    char key[96] = "";
    (void)gguf_string(j->in, "general.architecture", &name);
    (void)snprintf(key, sizeof key, "%.*s.block_count", name.len > 64 ? 64 : (int)name.len,
                   name.ptr);
    (void)gguf_u32(j->in, key, &j->layers);
    j->own_output = gguf_find_tensor(j->in, STR("output.weight")) != NULL;
    j->types = calloc(gguf_tensors(j->in) + 1, sizeof *j->types);
    if (j->types == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < gguf_tensors(j->in); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(j->in, i);
        j->types[i] = type_for(j, t);
        if (j->types[i] != t->type && t->type != TENSOR_F32 && t->type != TENSOR_F16 &&
            t->type != TENSOR_BF16) {
            return error_set(
                err, STATUS_INVALID,
                "%.*s is %s already: start from the file with F16, BF16 or F32 weights",
                t->name.len > 64 ? 64 : (int)t->name.len, t->name.ptr,
                tensor_type_info(t->type)->name);
        }
        if (t->dimensions[0] > ROW_VALUES_MAX) {
            return error_set(err, STATUS_TOO_LARGE, "a row of %llu values",
                             (unsigned long long)t->dimensions[0]);
        }
    }
    return STATUS_OK;
}

/* ---- the head ---- */

static void put_u32(struct buf *b, uint32_t v)
{
    buf_append(b, &v, sizeof v);
}

static void put_u64(struct buf *b, uint64_t v)
{
    buf_append(b, &v, sizeof v);
}

static void put_string(struct buf *b, struct str s)
{
    put_u64(b, s.len);
    buf_str(b, s);
}

/* What is said anew, or was said of the parts of a split file. */
static bool dropped(struct str key)
{
    return str_eq(key, STR("general.file_type")) || str_eq(key, STR("general.alignment")) ||
           (key.len > 6 && memcmp(key.ptr, "split.", 6) == 0);
}

static void put_values(struct job *j)
{
    uint64_t n = 1;
    for (size_t i = 0; i < gguf_values(j->in); i++) {
        n += dropped(gguf_value_at(j->in, i)->key) ? 0 : 1;
    }
    put_u64(&j->head, n);
    for (size_t i = 0; i < gguf_values(j->in); i++) {
        const struct gguf_value *v = gguf_value_at(j->in, i);
        if (dropped(v->key)) {
            continue;
        }
        put_string(&j->head, v->key);
        put_u32(&j->head, v->type);
        if (v->type == GGUF_ARRAY) {
            put_u32(&j->head, v->element);
            put_u64(&j->head, v->n);
        } else if (v->type == GGUF_STRING) {
            put_u64(&j->head, v->bytes.len);
        }
        buf_str(&j->head, v->bytes);
    }
    put_string(&j->head, STR("general.file_type"));
    put_u32(&j->head, GGUF_U32);
    put_u32(&j->head, j->kind->file_type);
}

static uint64_t rows_of(const struct gguf_tensor *t)
{
    return t->dimensions[1] * t->dimensions[2] * t->dimensions[3];
}

static uint64_t row_bytes(const struct gguf_tensor *t, enum tensor_type type)
{
    uint64_t bytes = 0;
    return tensor_bytes(type, t->dimensions[0], &bytes) ? bytes : 0;
}

static uint64_t padding(uint64_t n)
{
    return (ALIGNMENT - n % ALIGNMENT) % ALIGNMENT;
}

static enum status put_head(struct job *j, struct error *err)
{
    static const char zeros[ALIGNMENT] = {0};
    uint64_t offset = 0;
    buf_append(&j->head, "GGUF", 4);
    put_u32(&j->head, 3);
    put_u64(&j->head, gguf_tensors(j->in));
    put_values(j);
    for (size_t i = 0; i < gguf_tensors(j->in); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(j->in, i);
        put_string(&j->head, t->name);
        put_u32(&j->head, t->n_dimensions);
        buf_append(&j->head, t->dimensions, t->n_dimensions * sizeof t->dimensions[0]);
        put_u32(&j->head, j->types[i]);
        put_u64(&j->head, offset);
        offset += rows_of(t) * row_bytes(t, j->types[i]);
        offset += padding(offset);
    }
    buf_append(&j->head, zeros, padding(j->head.len));
    if (buf_status(&j->head) != STATUS_OK) {
        return error_set(err, buf_status(&j->head), "the head of the file does not fit in memory");
    }
    return file_write_all(j->fd, j->head.ptr, j->head.len, err);
}

/* ---- the data ---- */

static enum status flush(struct job *j, struct error *err)
{
    if (buf_status(&j->chunk) != STATUS_OK) {
        return error_set(err, buf_status(&j->chunk), "out of memory");
    }
    enum status s = file_write_all(j->fd, j->chunk.ptr, j->chunk.len, err);
    buf_reset(&j->chunk);
    return s;
}

static enum status put_tensor(struct job *j, size_t index, struct error *err)
{
    static const char zeros[ALIGNMENT] = {0};
    const struct gguf_tensor *t = gguf_tensor_at(j->in, index);
    enum tensor_type type = j->types[index];
    uint64_t from = row_bytes(t, t->type);
    uint64_t to = row_bytes(t, type);
    const unsigned char *row = t->data;
    enum status s = STATUS_OK;
    for (uint64_t r = 0; r < rows_of(t) && s == STATUS_OK; r++, row += from) {
        char *out = buf_reserve(&j->chunk, to);
        if (out == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        if (type == t->type) {
            memcpy(out, row, to);
        } else {
            quant_decode(t->type, row, t->dimensions[0], j->row);
            (void)quant_encode(type, j->row, t->dimensions[0], out);
        }
        j->chunk.len += to;
        s = j->chunk.len > CHUNK_BYTES ? flush(j, err) : STATUS_OK;
    }
    buf_append(&j->chunk, zeros, padding(rows_of(t) * to));
    return s == STATUS_OK ? flush(j, err) : s;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x;
    struct stat y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static enum status write_all(struct job *j, const char *in, const char *out, struct error *err)
{
    int n = snprintf(j->beside, sizeof j->beside, "%s.part", out);
    if (n <= 0 || (size_t)n >= sizeof j->beside) {
        j->beside[0] = '\0';
        return error_set(err, STATUS_TOO_LARGE, "the name is too long");
    }
    if (same_file(in, j->beside)) { /* it would be cut while it is read */
        return error_set(err, STATUS_INVALID, "%s is read: choose another name for what is made",
                         j->beside);
    }
    j->fd = open(j->beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (j->fd < 0) {
        return error_errno(err, errno, "%s", j->beside);
    }
    enum status s = put_head(j, err);
    for (size_t i = 0; i < gguf_tensors(j->in) && s == STATUS_OK; i++) {
        s = put_tensor(j, i, err);
    }
    if (s == STATUS_OK && fsync(j->fd) != 0) {
        s = error_errno(err, errno, "%s", j->beside);
    }
    /* a hard link fails where the name has come to be meanwhile; a rename would replace it */
    return s == STATUS_OK ? file_link(j->beside, out, err) : s;
}

static const struct kind *kind_of(const char *type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(type, kinds[i].name) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

enum status model_quantize_file(const char *in, const char *out, const char *type,
                                struct error *err)
{
    struct job j = {.kind = kind_of(type), .fd = -1};
    if (j.kind == NULL) {
        return error_set(err, STATUS_INVALID,
                         "%.32s is no type to make: Q8_0, Q4_0, Q4_K, Q6_K or Q4_K_M", type);
    }
    if (access(out, F_OK) == 0) {
        return error_set(err, STATUS_CONFLICT, "%s is there already", out);
    }
    buf_init(&j.head, HEAD_MAX);
    buf_init(&j.chunk, CHUNK_BYTES + ROW_VALUES_MAX * 8);
    enum status s = gguf_open(in, &j.in, err);
    s = s == STATUS_OK ? choose(&j, err) : s;
    uint64_t widest = 0;
    for (size_t i = 0; s == STATUS_OK && i < gguf_tensors(j.in); i++) {
        uint64_t n = gguf_tensor_at(j.in, i)->dimensions[0];
        widest = n > widest ? n : widest;
    }
    j.row = calloc(widest + 1, sizeof *j.row);
    if (s == STATUS_OK && j.row == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    s = s == STATUS_OK ? write_all(&j, in, out, err) : s;
    if (j.fd >= 0) {
        (void)close(j.fd);
        (void)unlink(j.beside);
    }
    free(j.row);
    free(j.types);
    buf_deinit(&j.head);
    buf_deinit(&j.chunk);
    gguf_close(j.in);
    return s;
}
