/* A part is parsed in one pass: head, values, tensor infos, then the tensors' places are checked
 * against the size of the file. The parts of a split model share one table of values (the first
 * part's) and one of tensors. */
#include "model/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"

#define KEY_BYTES 65535U
#define ALIGNMENT_DEFAULT 32U
#define ALIGNMENT_MAX (1U << 20)

struct part {
    const char *map;
    size_t len;
    bool mapped; /* ours to unmap */
};

struct gguf {
    uint32_t version;
    struct part parts[GGUF_PARTS_MAX];
    size_t n_parts;
    struct gguf_value *values;
    size_t n_values;
    struct gguf_tensor *tensors;
    size_t n_tensors;
    struct map by_key, by_name; /* to the value, the tensor */
};

/* Reads one part from front to back; after a failure nothing is read any more. */
struct reader {
    const char *name; /* of the file, for errors */
    const char *p;
    size_t at, len;
    struct error *err;
    enum status s;
};

static bool need(struct reader *r, uint64_t n, const char *what)
{
    if (r->s == STATUS_OK && n > r->len - r->at) {
        r->s = error_set(r->err, STATUS_INVALID, "%s: ends within %s, at byte %zu of %zu", r->name,
                         what, r->at, r->len);
    }
    return r->s == STATUS_OK;
}

static uint32_t read_u32(struct reader *r, const char *what)
{
    uint32_t v = 0;
    if (need(r, sizeof v, what)) {
        memcpy(&v, r->p + r->at, sizeof v);
        r->at += sizeof v;
    }
    return v;
}

static uint64_t read_u64(struct reader *r, const char *what)
{
    uint64_t v = 0;
    if (need(r, sizeof v, what)) {
        memcpy(&v, r->p + r->at, sizeof v);
        r->at += sizeof v;
    }
    return v;
}

static struct str read_string(struct reader *r, const char *what)
{
    uint64_t n = read_u64(r, what);
    struct str s = {.ptr = "", .len = 0};
    if (need(r, n, what)) {
        s = (struct str){.ptr = r->p + r->at, .len = (size_t)n};
        r->at += (size_t)n;
    }
    return s;
}

static void refuse(struct reader *r, enum status s, const char *what, struct str about)
{
    if (r->s == STATUS_OK) {
        int shown = about.len > 64 ? 64 : (int)about.len;
        r->s =
            error_set(r->err, s, "%s: %s (%.*s, byte %zu)", r->name, what, shown, about.ptr, r->at);
    }
}

/* ---- values ---- */

/* 0: not of a fixed size. */
static size_t type_bytes(enum gguf_type t)
{
    switch (t) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_BOOL:
        return 1;
    case GGUF_U16:
    case GGUF_I16:
        return 2;
    case GGUF_U32:
    case GGUF_I32:
    case GGUF_F32:
        return 4;
    case GGUF_U64:
    case GGUF_I64:
    case GGUF_F64:
        return 8;
    case GGUF_STRING:
    case GGUF_ARRAY:
        break;
    }
    return 0;
}

static void read_strings(struct reader *r, struct gguf_value *v)
{
    size_t from = r->at;
    if (v->n > (r->len - r->at) / sizeof(uint64_t)) {
        refuse(r, STATUS_INVALID, "an array has more strings than the file has room for", v->key);
    }
    for (uint64_t i = 0; i < v->n && r->s == STATUS_OK; i++) {
        (void)read_string(r, "an array of strings");
    }
    v->bytes = (struct str){.ptr = r->p + from, .len = r->at - from};
}

static void read_value(struct reader *r, struct gguf_value *v)
{
    v->key = read_string(r, "a key");
    if (v->key.len == 0 || v->key.len > KEY_BYTES || memchr(v->key.ptr, '\0', v->key.len) != NULL) {
        refuse(r, STATUS_INVALID, "a key is empty, too long or holds a zero byte", STR(""));
    }
    uint32_t type = read_u32(r, "a value's type");
    v->n = 1;
    if (r->s == STATUS_OK && type == GGUF_ARRAY) {
        type = read_u32(r, "an array's type");
        v->n = read_u64(r, "an array's length");
        v->type = GGUF_ARRAY;
        if (type == GGUF_ARRAY) {
            refuse(r, STATUS_UNSUPPORTED, "an array of arrays", v->key);
        }
    } else {
        v->type = (enum gguf_type)type;
    }
    if (type > GGUF_F64) {
        refuse(r, STATUS_INVALID, "a value is of an unknown type", v->key);
    }
    if (r->s != STATUS_OK) {
        return;
    }
    v->element = (enum gguf_type)type;
    size_t width = type_bytes(v->element);
    uint64_t bytes = 0;
    if (width == 0 && v->type == GGUF_ARRAY) {
        read_strings(r, v);
    } else if (width == 0) {
        v->bytes = read_string(r, "a string");
    } else if (__builtin_mul_overflow(v->n, (uint64_t)width, &bytes)) {
        refuse(r, STATUS_INVALID, "an array is larger than any file", v->key);
    } else if (need(r, bytes, "a value")) {
        v->bytes = (struct str){.ptr = r->p + r->at, .len = (size_t)bytes};
        r->at += (size_t)bytes;
    }
}

static void index_name(struct reader *r, struct map *m, struct str name, void *what)
{
    if (r->s != STATUS_OK) {
        return;
    }
    if (map_get(m, name) != NULL) {
        refuse(r, STATUS_INVALID, "a name is there twice", name);
    } else if (map_put(m, name, what, NULL) != STATUS_OK) {
        r->s = error_set(r->err, STATUS_NO_MEMORY, "%s: out of memory", r->name);
    }
}

/* The values of further parts only describe the split; they are checked and dropped. */
static void read_values(struct reader *r, struct gguf *g, uint64_t n, bool first)
{
    if (n > GGUF_KEYS_MAX) {
        refuse(r, STATUS_INVALID, "more than 65,536 keys", STR("head"));
        return;
    }
    if (first) {
        g->values = calloc((size_t)n + 1, sizeof *g->values);
        if (g->values == NULL) {
            r->s = error_set(r->err, STATUS_NO_MEMORY, "%s: out of memory", r->name);
        }
    }
    for (uint64_t i = 0; i < n && r->s == STATUS_OK; i++) {
        struct gguf_value v = {0};
        read_value(r, &v);
        if (first && r->s == STATUS_OK) {
            struct gguf_value *kept = &g->values[g->n_values++];
            *kept = v;
            index_name(r, &g->by_key, v.key, kept);
        }
    }
}

/* ---- tensors ---- */

static void read_tensor(struct reader *r, struct gguf_tensor *t, uint64_t *offset)
{
    uint64_t values = 1;
    t->name = read_string(r, "a tensor's name");
    t->n_dimensions = read_u32(r, "a tensor's dimensions");
    if (t->name.len == 0 || t->name.len > KEY_BYTES) {
        refuse(r, STATUS_INVALID, "a tensor's name is empty or too long", STR(""));
    }
    if (t->n_dimensions == 0 || t->n_dimensions > GGUF_DIMENSIONS) {
        refuse(r, STATUS_INVALID, "a tensor has no dimension or more than four", t->name);
    }
    for (uint32_t i = 0; i < GGUF_DIMENSIONS && r->s == STATUS_OK; i++) {
        t->dimensions[i] = i < t->n_dimensions ? read_u64(r, "a tensor's dimensions") : 1;
        if (t->dimensions[i] == 0 || __builtin_mul_overflow(values, t->dimensions[i], &values) ||
            values > INT64_MAX) {
            refuse(r, STATUS_INVALID, "a tensor's dimensions make no sense", t->name);
        }
    }
    uint32_t type = read_u32(r, "a tensor's type");
    *offset = read_u64(r, "a tensor's offset");
    if (r->s != STATUS_OK) {
        return;
    }
    const struct tensor_type_info *info = tensor_type_info(type);
    if (info == NULL) {
        r->s = error_set(r->err, STATUS_UNSUPPORTED,
                         "%s: tensor %.*s is of type %u, which is not supported: convert the model "
                         "to Q4_K_M, Q8_0 or F16",
                         r->name, t->name.len > 64 ? 64 : (int)t->name.len, t->name.ptr, type);
    } else if (t->dimensions[0] % info->block_values != 0 ||
               !tensor_bytes(type, values, &t->bytes)) {
        refuse(r, STATUS_INVALID, "a tensor's rows are no whole number of blocks", t->name);
    }
    t->type = (enum tensor_type)type;
}

static void place_tensors(struct reader *r, struct gguf *g, size_t first, const uint64_t *offsets,
                          uint32_t alignment)
{
    size_t data = (r->at + alignment - 1) / alignment * alignment;
    for (size_t i = first; i < g->n_tensors && r->s == STATUS_OK; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        uint64_t offset = offsets[i - first];
        if (offset % alignment != 0) {
            refuse(r, STATUS_INVALID, "a tensor is not aligned", t->name);
        } else if (data > r->len || offset > r->len - data || t->bytes > r->len - data - offset) {
            refuse(r, STATUS_INVALID,
                   "the file ends before a tensor does: it was cut off, copy it again", t->name);
        } else {
            t->data = r->p + data + offset;
        }
    }
}

static void read_tensors(struct reader *r, struct gguf *g, uint64_t n, uint32_t alignment)
{
    size_t first = g->n_tensors;
    if (n > GGUF_TENSORS_MAX - first) {
        refuse(r, STATUS_INVALID, "more than 65,536 tensors", STR("head"));
        return;
    }
    struct gguf_tensor *grown = realloc(g->tensors, (first + (size_t)n + 1) * sizeof *grown);
    uint64_t *offsets = calloc((size_t)n + 1, sizeof *offsets);
    g->tensors = grown == NULL ? g->tensors : grown;
    if (grown == NULL || offsets == NULL) {
        r->s = error_set(r->err, STATUS_NO_MEMORY, "%s: out of memory", r->name);
    }
    for (uint64_t i = 0; i < n && r->s == STATUS_OK; i++) {
        struct gguf_tensor t = {0};
        read_tensor(r, &t, &offsets[i]);
        if (r->s == STATUS_OK) {
            g->tensors[g->n_tensors++] = t;
        }
    }
    if (r->s == STATUS_OK) {
        place_tensors(r, g, first, offsets, alignment);
    }
    free(offsets);
}

/* ---- parts ---- */

static void read_part(struct reader *r, struct gguf *g, bool first)
{
    uint32_t magic = read_u32(r, "the head");
    uint32_t version = read_u32(r, "the head");
    if (r->s == STATUS_OK && magic != 0x46554747) { /* "GGUF" */
        r->s = error_set(r->err, STATUS_INVALID, "%s: is no GGUF file", r->name);
    } else if (r->s == STATUS_OK && (version & 0xFFFFU) == 0) {
        r->s = error_set(r->err, STATUS_UNSUPPORTED,
                         "%s: is a big-endian GGUF file: convert it to little-endian", r->name);
    } else if (r->s == STATUS_OK && version != 2 && version != 3) {
        r->s = error_set(r->err, STATUS_UNSUPPORTED,
                         "%s: is a GGUF file of version %u; 2 and 3 are read: convert it anew",
                         r->name, version);
    }
    uint64_t n_tensors = read_u64(r, "the head");
    uint64_t n_values = read_u64(r, "the head");
    g->version = version;
    read_values(r, g, n_values, first);
    uint64_t alignment = ALIGNMENT_DEFAULT;
    if (r->s == STATUS_OK && gguf_find(g, STR("general.alignment")) != NULL &&
        !gguf_u64(g, "general.alignment", &alignment)) {
        refuse(r, STATUS_INVALID, "the alignment is no number", STR("general.alignment"));
    }
    if (alignment < 8 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0) {
        refuse(r, STATUS_INVALID, "the alignment is no power of two from 8 to 1 MiB",
               STR("general.alignment"));
    }
    if (r->s == STATUS_OK) {
        read_tensors(r, g, n_tensors, (uint32_t)alignment);
    }
}

static enum status add_part(struct gguf *g, const char *name, const struct part *part,
                            struct error *err)
{
    g->parts[g->n_parts++] = *part;
    struct reader r = {.name = name, .p = part->map, .len = part->len, .err = err};
    read_part(&r, g, g->n_parts == 1);
    return r.s;
}

/* Once all parts are read: the table moves while it grows. */
static enum status index_tensors(struct gguf *g, const char *name, struct error *err)
{
    struct reader r = {.name = name, .err = err};
    for (size_t i = 0; i < g->n_tensors; i++) {
        index_name(&r, &g->by_name, g->tensors[i].name, &g->tensors[i]);
    }
    return r.s;
}

static enum status map_part(const char *path, struct part *out, struct error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_errno(err, errno, "%s", path);
    }
    enum status s = STATUS_OK;
    if (fstat(fd, &st) != 0) {
        s = error_errno(err, errno, "%s", path);
    } else if (!S_ISREG(st.st_mode)) {
        s = error_set(err, STATUS_INVALID, "%s: is not a file", path);
    } else if (st.st_size < 24) {
        s = error_set(err, STATUS_INVALID, "%s: is too short for a GGUF file", path);
    }
    if (s == STATUS_OK) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            s = error_errno(err, errno, "%s", path);
        } else {
            *out = (struct part){.map = p, .len = (size_t)st.st_size, .mapped = true};
        }
    }
    (void)close(fd);
    return s;
}

/* The name of part i (from 0) of n: the first part's with its number replaced. */
static bool part_path(const char *first, uint64_t i, uint64_t n, char out[PATH_MAX])
{
    char tail[64];
    char ours[64];
    (void)snprintf(tail, sizeof tail, "-%05u-of-%05" PRIu64 ".gguf", 1U, n);
    (void)snprintf(ours, sizeof ours, "-%05" PRIu64 "-of-%05" PRIu64 ".gguf", i + 1, n);
    size_t len = strlen(first);
    size_t k = strlen(tail);
    if (len < k || strcmp(first + len - k, tail) != 0) {
        return false;
    }
    int written = snprintf(out, PATH_MAX, "%.*s%s", (int)(len - k), first, ours);
    return written > 0 && written < PATH_MAX;
}

static enum status open_parts(struct gguf *g, const char *path, struct error *err)
{
    struct part part;
    enum status s = map_part(path, &part, err);
    if (s == STATUS_OK) {
        s = add_part(g, path, &part, err);
    }
    uint64_t n = 1;
    uint64_t no = 0;
    if (s != STATUS_OK || !gguf_u64(g, "split.count", &n) || n <= 1) {
        return s;
    }
    if (n > GGUF_PARTS_MAX || (gguf_u64(g, "split.no", &no) && no != 0)) {
        return error_set(err, STATUS_INVALID,
                         "%s: is part %" PRIu64 " of %" PRIu64 " of a model: give the first part",
                         path, no + 1, n);
    }
    for (uint64_t i = 1; i < n && s == STATUS_OK; i++) {
        char next[PATH_MAX];
        if (!part_path(path, i, n, next)) {
            return error_set(err, STATUS_INVALID,
                             "%s: is the first of %" PRIu64
                             " parts, but is not named -00001-of-%05" PRIu64 ".gguf",
                             path, n, n);
        }
        s = map_part(next, &part, err);
        if (s == STATUS_NOT_FOUND) {
            return error_set(err, s, "%s: part %" PRIu64 " of %" PRIu64 " of the model is missing",
                             next, i + 1, n);
        }
        if (s == STATUS_OK) {
            s = add_part(g, next, &part, err);
        }
    }
    uint64_t tensors = 0;
    if (s == STATUS_OK && gguf_u64(g, "split.tensors.count", &tensors) && tensors != g->n_tensors) {
        s = error_set(err, STATUS_INVALID, "%s: the parts hold %zu tensors, not %" PRIu64, path,
                      g->n_tensors, tensors);
    }
    return s;
}

static struct gguf *gguf_new(struct error *err)
{
    struct gguf *g = calloc(1, sizeof *g);
    if (g == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "out of memory");
        return NULL;
    }
    map_init(&g->by_key);
    map_init(&g->by_name);
    return g;
}

enum status gguf_open(const char *path, struct gguf **out, struct error *err)
{
    struct gguf *g = gguf_new(err);
    enum status s = g == NULL ? STATUS_NO_MEMORY : open_parts(g, path, err);
    if (s == STATUS_OK) {
        s = index_tensors(g, path, err);
    }
    if (s != STATUS_OK) {
        gguf_close(g);
        return s;
    }
    *out = g;
    return STATUS_OK;
}

enum status gguf_read(const void *bytes, size_t len, const char *name, struct gguf **out,
                      struct error *err)
{
    struct gguf *g = gguf_new(err);
    const struct part part = {.map = bytes, .len = len};
    enum status s = g == NULL ? STATUS_NO_MEMORY : add_part(g, name, &part, err);
    if (s == STATUS_OK) {
        s = index_tensors(g, name, err);
    }
    if (s != STATUS_OK) {
        gguf_close(g);
        return s;
    }
    *out = g;
    return STATUS_OK;
}

void gguf_close(struct gguf *g)
{
    if (g == NULL) {
        return;
    }
    for (size_t i = 0; i < g->n_parts; i++) {
        if (g->parts[i].mapped) {
            union { /* munmap takes what mmap gave, without the const of ours */
                const char *in;
                void *out;
            } p = {g->parts[i].map};
            (void)munmap(p.out, g->parts[i].len);
        }
    }
    map_deinit(&g->by_key);
    map_deinit(&g->by_name);
    free(g->values);
    free(g->tensors);
    free(g);
}

/* ---- asking ---- */

uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    uint64_t n = 0;
    for (size_t i = 0; i < g->n_parts; i++) {
        n += g->parts[i].len;
    }
    return n;
}

size_t gguf_parts(const struct gguf *g)
{
    return g->n_parts;
}

size_t gguf_values(const struct gguf *g)
{
    return g->n_values;
}

const struct gguf_value *gguf_value_at(const struct gguf *g, size_t i)
{
    return i < g->n_values ? &g->values[i] : NULL;
}

const struct gguf_value *gguf_find(const struct gguf *g, struct str key)
{
    return map_get(&g->by_key, key);
}

size_t gguf_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, struct str name)
{
    return map_get(&g->by_name, name);
}

/* The bits of element i, zero-extended; the element's type says what they mean. */
static uint64_t bits_at(const struct gguf_value *v, uint64_t i)
{
    size_t width = type_bytes(v->element);
    uint64_t bits = 0;
    if (width > 0 && i < v->n) {
        memcpy(&bits, v->bytes.ptr + i * width, width); /* little-endian machines only */
    }
    return bits;
}

float gguf_float_at(const struct gguf_value *v, uint64_t i)
{
    uint64_t bits = bits_at(v, i);
    if (v->element == GGUF_F32) {
        uint32_t low = (uint32_t)bits;
        float f;
        memcpy(&f, &low, sizeof f);
        return f;
    }
    if (v->element == GGUF_F64) {
        double d;
        memcpy(&d, &bits, sizeof d);
        return (float)d;
    }
    return (float)gguf_int_at(v, i);
}

int64_t gguf_int_at(const struct gguf_value *v, uint64_t i)
{
    uint64_t bits = bits_at(v, i);
    switch (v->element) {
    case GGUF_I8:
        return (int8_t)bits;
    case GGUF_I16:
        return (int16_t)bits;
    case GGUF_I32:
        return (int32_t)bits;
    case GGUF_U64:
        return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    case GGUF_F32:
    case GGUF_F64: {
        float f = gguf_float_at(v, i);
        return f > -9e18F && f < 9e18F ? (int64_t)f : 0; /* false for NaN too */
    }
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_I64:
    case GGUF_BOOL:
    case GGUF_STRING:
    case GGUF_ARRAY:
        break;
    }
    return (int64_t)bits;
}

static const struct gguf_value *scalar(const struct gguf *g, const char *key)
{
    const struct gguf_value *v = gguf_find(g, str_from(key));
    return v == NULL || v->type == GGUF_ARRAY ? NULL : v;
}

static bool is_integer(enum gguf_type t)
{
    return t != GGUF_F32 && t != GGUF_F64 && t != GGUF_BOOL && type_bytes(t) > 0;
}

bool gguf_u64(const struct gguf *g, const char *key, uint64_t *out)
{
    const struct gguf_value *v = scalar(g, key);
    if (v == NULL || !is_integer(v->type) || gguf_int_at(v, 0) < 0) {
        return false;
    }
    *out = (uint64_t)gguf_int_at(v, 0);
    return true;
}

bool gguf_u32(const struct gguf *g, const char *key, uint32_t *out)
{
    uint64_t n = 0;
    if (!gguf_u64(g, key, &n) || n > UINT32_MAX) {
        return false;
    }
    *out = (uint32_t)n;
    return true;
}

bool gguf_f32(const struct gguf *g, const char *key, float *out)
{
    const struct gguf_value *v = scalar(g, key);
    if (v == NULL || (v->type != GGUF_F32 && v->type != GGUF_F64)) {
        return false;
    }
    *out = gguf_float_at(v, 0);
    return true;
}

bool gguf_bool(const struct gguf *g, const char *key, bool *out)
{
    const struct gguf_value *v = scalar(g, key);
    if (v == NULL || v->type != GGUF_BOOL) {
        return false;
    }
    *out = bits_at(v, 0) != 0;
    return true;
}

bool gguf_string(const struct gguf *g, const char *key, struct str *out)
{
    const struct gguf_value *v = scalar(g, key);
    if (v == NULL || v->type != GGUF_STRING) {
        return false;
    }
    *out = v->bytes;
    return true;
}

bool gguf_next_string(const struct gguf_value *v, size_t *at, struct str *out)
{
    uint64_t n = 0;
    if (v->type != GGUF_ARRAY || v->element != GGUF_STRING || *at + sizeof n > v->bytes.len) {
        return false;
    }
    memcpy(&n, v->bytes.ptr + *at, sizeof n); /* checked when the file was opened */
    *out = (struct str){.ptr = v->bytes.ptr + *at + sizeof n, .len = (size_t)n};
    *at += sizeof n + (size_t)n;
    return true;
}
