#include "model/registry_record.h"

#include <stdio.h>
#include <stdlib.h>

bool record_name_valid(const char *name)
{
    size_t n = 0;
    for (; name[n] != '\0' && n < REGISTRY_NAME_CAP; n++) {
        char c = name[n];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && (n == 0 || (c != '.' && c != '_' && c != '-'))) {
            return false;
        }
    }
    return n > 0 && n < REGISTRY_NAME_CAP;
}

/* ---- writing ---- */

/* One line: what would end it is escaped. */
static void put_text(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, "%s ", key);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\n' || *p == '\\') {
            buf_char(out, '\\');
            buf_char(out, *p == '\n' ? 'n' : '\\');
        } else {
            buf_char(out, *p);
        }
    }
    buf_char(out, '\n');
}

static void put_number(struct buf *out, const char *key, uint64_t value)
{
    buf_printf(out, "%s %llu\n", key, (unsigned long long)value);
}

void record_write(const struct model_record *r, struct buf *out)
{
    put_text(out, "role", model_role_name(r->role));
    put_text(out, "sha256", r->sha256);
    put_number(out, "bytes", r->bytes);
    put_number(out, "parts", r->parts);
    put_text(out, "architecture", r->architecture);
    put_text(out, "title", r->title);
    put_number(out, "width", r->width);
    put_number(out, "context", r->context);
    put_number(out, "pooling", (uint64_t)r->pooling);
    put_number(out, "imported", (uint64_t)r->imported);
    if (r->role == MODEL_ENCODER) {
        put_text(out, "query_prefix", r->query_prefix);
        put_text(out, "passage_prefix", r->passage_prefix);
    }
}

/* ---- reading ---- */

static bool take_text(struct str value, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < value.len; i++, n++) {
        char c = value.ptr[i];
        if (c == '\\') {
            i++;
            if (i == value.len || (value.ptr[i] != 'n' && value.ptr[i] != '\\')) {
                return false;
            }
            c = value.ptr[i] == 'n' ? '\n' : '\\';
        }
        if (n + 1 >= cap || c == '\0') {
            return false;
        }
        out[n] = c;
    }
    out[n] = '\0';
    return true;
}

static bool take_number(struct str value, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < value.len; i++) {
        unsigned digit = (unsigned)value.ptr[i] - '0';
        if (digit > 9 || v > (max - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *out = v;
    return value.len > 0;
}

static bool take_u32(struct str value, uint32_t *out)
{
    uint64_t v = 0;
    if (!take_number(value, UINT32_MAX, &v)) {
        return false;
    }
    *out = (uint32_t)v;
    return true;
}

enum record_key {
    KEY_ROLE,
    KEY_SHA256,
    KEY_BYTES,
    KEY_PARTS,
    KEY_ARCHITECTURE,
    KEY_TITLE,
    KEY_WIDTH,
    KEY_CONTEXT,
    KEY_POOLING,
    KEY_IMPORTED,
    KEY_QUERY_PREFIX,
    KEY_PASSAGE_PREFIX,
    KEYS
};

static const char *const keys[KEYS] = {
    "role",  "sha256",  "bytes",   "parts",    "architecture", "title",
    "width", "context", "pooling", "imported", "query_prefix", "passage_prefix"};

static bool take(struct model_record *r, enum record_key key, struct str value)
{
    char role[16];
    uint64_t n = 0;
    uint8_t digest[SHA256_BYTES];
    switch (key) {
    case KEY_ROLE:
        return take_text(value, role, sizeof role) && model_role_parse(role, &r->role);
    case KEY_SHA256:
        return take_text(value, r->sha256, sizeof r->sha256) && sha256_parse(r->sha256, digest);
    case KEY_BYTES:
        return take_number(value, UINT64_MAX, &r->bytes);
    case KEY_PARTS:
        return take_u32(value, &r->parts) && r->parts > 0 && r->parts <= GGUF_PARTS_MAX;
    case KEY_ARCHITECTURE:
        return take_text(value, r->architecture, sizeof r->architecture);
    case KEY_TITLE:
        return take_text(value, r->title, sizeof r->title);
    case KEY_WIDTH:
        return take_u32(value, &r->width);
    case KEY_CONTEXT:
        return take_u32(value, &r->context);
    case KEY_POOLING:
        r->pooling = POOLING_NONE;
        if (!take_number(value, POOLING_RANK, &n)) {
            return false;
        }
        r->pooling = (enum model_pooling)n;
        return true;
    case KEY_IMPORTED:
        if (!take_number(value, INT64_MAX, &n)) {
            return false;
        }
        r->imported = (int64_t)n;
        return true;
    case KEY_QUERY_PREFIX:
        return take_text(value, r->query_prefix, sizeof r->query_prefix);
    case KEY_PASSAGE_PREFIX:
        return take_text(value, r->passage_prefix, sizeof r->passage_prefix);
    case KEYS:
        break;
    }
    return false;
}

/* A key of a later version is passed over. */
static bool take_line(struct model_record *r, struct str line, bool seen[KEYS])
{
    const char *space = memchr(line.ptr, ' ', line.len);
    if (space == NULL) {
        return false;
    }
    struct str key = {line.ptr, (size_t)(space - line.ptr)};
    struct str value = {space + 1, line.len - key.len - 1};
    for (size_t k = 0; k < KEYS; k++) {
        if (str_eq(key, str_from(keys[k]))) {
            bool again = seen[k];
            seen[k] = true;
            return !again && take(r, (enum record_key)k, value);
        }
    }
    return true;
}

enum status record_read(const char *name, struct str text, struct model_record *out,
                        struct error *err)
{
    struct model_record r = {.parts = 1};
    bool seen[KEYS] = {false};
    unsigned line = 1;
    for (const char *p = text.ptr, *end = p + text.len; p < end; line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (stop == NULL || !take_line(&r, (struct str){p, (size_t)(stop - p)}, seen)) {
            return error_set(err, STATUS_CORRUPT, REGISTRY_FOLDER "/%s.model: line %u is damaged",
                             name, line);
        }
        p = stop + 1;
    }
    for (size_t k = 0; k <= KEY_IMPORTED; k++) {
        if (!seen[k]) {
            return error_set(err, STATUS_CORRUPT, REGISTRY_FOLDER "/%s.model does not say its %s",
                             name, keys[k]);
        }
    }
    (void)snprintf(r.name, sizeof r.name, "%s", name);
    record_name_vectors(&r);
    *out = r;
    return STATUS_OK;
}

void record_name_vectors(struct model_record *r)
{
    char text[2 * REGISTRY_PREFIX_CAP + SHA256_HEX_CAP + 32];
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_CAP];
    r->encoder[0] = '\0';
    if (r->role != MODEL_ENCODER) {
        return;
    }
    /* a unit separator stands in no prefix that anyone writes, and would only tell two apart */
    int n = snprintf(text, sizeof text, "%s\x1f%d\x1f%s\x1f%s", r->sha256, (int)r->pooling,
                     r->query_prefix, r->passage_prefix);
    sha256_of(text, n > 0 && (size_t)n < sizeof text ? (size_t)n : 0, digest);
    sha256_hex(digest, hex);
    (void)snprintf(r->encoder, sizeof r->encoder, "gguf-%.16s", hex);
}
