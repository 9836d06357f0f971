/* GGUF files, versions 2 and 3 (little-endian), mapped read-only and never trusted: every count,
 * length, offset and alignment is checked against the file before it is used. A model split over
 * files ("-00001-of-00003.gguf") opens as one by the name of its first part.
 *
 * Format: ggml's docs/gguf.md. Nothing is copied: strings and tensors point into the mapping and
 * live until gguf_close. Any number of threads may read. */
#ifndef CARREL_MODEL_GGUF_H
#define CARREL_MODEL_GGUF_H

#include "base/status.h"
#include "base/str.h"
#include "model/tensor.h"

#define GGUF_KEYS_MAX 65536U
#define GGUF_TENSORS_MAX 65536U
#define GGUF_PARTS_MAX 256U
#define GGUF_DIMENSIONS 4

/* Numbers as in the file. */
enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
};

struct gguf;

struct gguf_value {
    struct str key;
    enum gguf_type type;    /* GGUF_ARRAY: of `element` */
    enum gguf_type element; /* never GGUF_ARRAY */
    uint64_t n;             /* elements of an array, else 1 */
    struct str bytes;       /* the value's bytes in the file; a string's without its length */
};

struct gguf_tensor {
    struct str name;
    enum tensor_type type;
    uint32_t n_dimensions;
    uint64_t dimensions[GGUF_DIMENSIONS]; /* the fastest first; 1 where absent */
    const void *data;                     /* aligned as the file says, at least to 8 bytes */
    uint64_t bytes;
};

/* NOT_FOUND: no such file or a part is missing; INVALID: no GGUF file, or damaged, with the place;
 * UNSUPPORTED: a version or tensor type this runtime does not read. */
enum status gguf_open(const char *path, struct gguf **out, struct error *err) MUST_CHECK;
/* The same for a file in memory (aligned to 8 bytes), borrowed until gguf_close; name is used in
 * errors. */
enum status gguf_read(const void *bytes, size_t len, const char *name, struct gguf **out,
                      struct error *err) MUST_CHECK;
void gguf_close(struct gguf *g); /* NULL is fine */

uint32_t gguf_version(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g); /* of all parts */
size_t gguf_parts(const struct gguf *g);

size_t gguf_values(const struct gguf *g);
const struct gguf_value *gguf_value_at(const struct gguf *g, size_t i);
const struct gguf_value *gguf_find(const struct gguf *g, struct str key); /* NULL: absent */

size_t gguf_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g,
                                           struct str name); /* NULL: absent */

/* false: absent or of another kind (any width of integer fits where its value does). */
bool gguf_u64(const struct gguf *g, const char *key, uint64_t *out);
bool gguf_u32(const struct gguf *g, const char *key, uint32_t *out);
bool gguf_f32(const struct gguf *g, const char *key, float *out);
bool gguf_bool(const struct gguf *g, const char *key, bool *out);
bool gguf_string(const struct gguf *g, const char *key, struct str *out);

/* Walking an array of strings: start with at = 0; false at the end. */
bool gguf_next_string(const struct gguf_value *v, size_t *at, struct str *out);
/* Element i of an array of numbers (floats are cut), or a scalar with i = 0; the caller keeps i <
 * n. */
int64_t gguf_int_at(const struct gguf_value *v, uint64_t i);
float gguf_float_at(const struct gguf_value *v, uint64_t i);

#endif
