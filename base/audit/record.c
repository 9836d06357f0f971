#include "base/audit/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VALUE_MAX 256
#define ERASED_MAX 7000 /* of an erase record's list */
#define HASH_TAIL (sizeof ",\"hash\":\"\"}" - 1 + 2 * (size_t)SHA256_BYTES)

static bool plain(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void key_of(struct buf *b, const char *key)
{
    buf_z(b, ",\"");
    buf_z(b, key);
    buf_z(b, "\":");
}

void audit_field_z(struct buf *fields, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0') {
        return;
    }
    size_t max = strcmp(key, "rows") == 0 ? ERASED_MAX : VALUE_MAX;
    key_of(fields, key);
    buf_char(fields, '"');
    for (size_t i = 0; value[i] != '\0' && i < max; i++) {
        buf_char(fields, plain(value[i]) ? value[i] : '_');
    }
    buf_char(fields, '"');
}

void audit_field_int(struct buf *fields, const char *key, int64_t value)
{
    key_of(fields, key);
    buf_printf(fields, "%" PRId64, value);
}

void audit_line(struct buf *out, int64_t seq, int64_t at_wall_ms, const uint8_t prev[SHA256_BYTES],
                const char *type, struct str fields, uint8_t hash[SHA256_BYTES])
{
    char hex[SHA256_HEX_CAP];
    size_t start = out->len;
    sha256_hex(prev, hex);
    buf_printf(out,
               "{\"v\":1,\"seq\":%" PRId64 ",\"at\":%" PRId64 ",\"prev\":\"%s\",\"type\":\"%s\"",
               seq, at_wall_ms, hex, type);
    buf_str(out, fields);
    if (buf_status(out) == STATUS_OK) {
        sha256_of(out->ptr + start, out->len - start, hash);
        sha256_hex(hash, hex);
    }
    buf_printf(out, ",\"hash\":\"%s\"}\n", hex);
}

void audit_commitment(const uint8_t salt[AUDIT_SALT_BYTES], struct str text,
                      uint8_t out[SHA256_BYTES])
{
    static const char domain[] = "carrel-audit-1\n";
    struct sha256 *h = sha256_new();
    memset(out, 0, SHA256_BYTES);
    if (h != NULL) {
        sha256_add(h, domain, sizeof domain - 1);
        sha256_add(h, salt, AUDIT_SALT_BYTES);
        sha256_add(h, text.ptr, text.len);
        sha256_end(h, out);
    }
}

void audit_statement(struct buf *out, const char *chain, int64_t seq, int64_t at_wall_ms,
                     const uint8_t head[SHA256_BYTES], int64_t was_seq,
                     const uint8_t was_head[SHA256_BYTES])
{
    char hex[SHA256_HEX_CAP];
    sha256_hex(head, hex);
    buf_printf(out,
               "carrel-audit-1 checkpoint\nchain %s\nseq %" PRId64 "\nat %" PRId64 "\nhead %s\n",
               chain, seq, at_wall_ms, hex);
    if (was_seq > 0) {
        sha256_hex(was_head, hex);
        buf_printf(out, "was %" PRId64 " %s\n", was_seq, hex);
    }
}

/* ---- reading ---- */

struct cursor {
    const char *at, *end;
};

static bool take(struct cursor *c, const char *what)
{
    size_t n = strlen(what);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, what, n) != 0) {
        return false;
    }
    c->at += n;
    return true;
}

static bool take_text(struct cursor *c, struct str *out)
{
    if (!take(c, "\"")) {
        return false;
    }
    const char *start = c->at;
    while (c->at < c->end && plain(*c->at)) {
        c->at++;
    }
    *out = (struct str){start, (size_t)(c->at - start)};
    return take(c, "\"");
}

/* Digits as the writer puts them: no leading zero, no "-0", nothing that overflows. */
static bool take_number(struct cursor *c, struct str *digits, int64_t *out)
{
    const char *start = c->at;
    bool minus = take(c, "-");
    const char *first = c->at;
    int64_t n = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        int d = *c->at++ - '0';
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_sub_overflow(n, d, &n)) {
            return false;
        }
    }
    size_t len = (size_t)(c->at - first);
    if (len == 0 || (len > 1 && *first == '0') || (minus && n == 0) ||
        (!minus && __builtin_sub_overflow(0, n, &n))) {
        return false;
    }
    *digits = (struct str){start, (size_t)(c->at - start)};
    *out = n;
    return true;
}

static bool take_field(struct cursor *c, struct audit_field *f)
{
    if (!take_text(c, &f->key) || f->key.len == 0 || !take(c, ":")) {
        return false;
    }
    f->is_number = c->at < c->end && *c->at != '"';
    return f->is_number ? take_number(c, &f->text, &f->number) : take_text(c, &f->text);
}

static const struct audit_field *find(const struct audit_record *r, const char *key)
{
    struct str k = str_from(key);
    for (size_t i = 0; i < r->n_fields; i++) {
        if (str_eq(r->fields[i].key, k)) {
            return &r->fields[i];
        }
    }
    return NULL;
}

static bool repeated(const struct audit_record *r)
{
    const struct audit_field *last = &r->fields[r->n_fields - 1];
    for (size_t i = 0; i + 1 < r->n_fields; i++) {
        if (str_eq(r->fields[i].key, last->key)) {
            return true;
        }
    }
    return false;
}

/* v, seq, at, prev, type, ..., hash: in this order, so that one content has one form. */
static bool in_order(const struct audit_record *r)
{
    static const char *const first[] = {"v", "seq", "at", "prev", "type"};
    if (r->n_fields < 6 || !str_eq(r->fields[r->n_fields - 1].key, STR("hash"))) {
        return false;
    }
    for (size_t i = 0; i < 5; i++) {
        if (!str_eq(r->fields[i].key, str_from(first[i])) || r->fields[i].is_number != (i < 3)) {
            return false;
        }
    }
    return r->fields[0].number == 1 && r->fields[1].number > 0;
}

static bool hex32(struct str s, uint8_t out[SHA256_BYTES])
{
    char hex[SHA256_HEX_CAP];
    if (s.len != SHA256_HEX_CAP - 1) {
        return false;
    }
    memcpy(hex, s.ptr, s.len);
    hex[s.len] = '\0';
    for (size_t i = 0; i < s.len; i++) {
        if (hex[i] >= 'A' && hex[i] <= 'F') {
            return false;
        }
    }
    return sha256_parse(hex, out);
}

static bool parse(struct str line, struct audit_record *out)
{
    struct cursor c = {line.ptr, line.ptr + line.len};
    if (line.len > AUDIT_LINE_MAX || !take(&c, "{")) {
        return false;
    }
    do {
        if (out->n_fields == AUDIT_FIELDS_MAX || !take_field(&c, &out->fields[out->n_fields])) {
            return false;
        }
        out->n_fields++;
        if (repeated(out)) {
            return false;
        }
    } while (take(&c, ","));
    return take(&c, "}") && c.at == c.end && in_order(out);
}

enum status audit_read(struct str line, struct audit_record *out, struct error *err)
{
    uint8_t hash[SHA256_BYTES];
    out->n_fields = 0;
    if (!parse(line, out)) {
        return error_set(err, STATUS_CORRUPT, "this is no record");
    }
    out->seq = out->fields[1].number;
    out->at_wall_ms = out->fields[2].number;
    out->type = out->fields[4].text;
    const struct audit_field *h = &out->fields[out->n_fields - 1];
    if (!hex32(out->fields[3].text, out->prev) || h->is_number || !hex32(h->text, out->hash)) {
        return error_set(err, STATUS_CORRUPT, "this is no record");
    }
    sha256_of(line.ptr, line.len - HASH_TAIL, hash);
    if (memcmp(hash, out->hash, sizeof hash) != 0) {
        return error_set(err, STATUS_CORRUPT, "its hash is not that of its bytes");
    }
    return STATUS_OK;
}

struct str audit_text(const struct audit_record *r, const char *key)
{
    const struct audit_field *f = find(r, key);
    return f == NULL || f->is_number ? (struct str){NULL, 0} : f->text;
}

int64_t audit_number(const struct audit_record *r, const char *key)
{
    const struct audit_field *f = find(r, key);
    return f == NULL || !f->is_number ? 0 : f->number;
}

bool audit_hash(const struct audit_record *r, const char *key, uint8_t out[SHA256_BYTES])
{
    struct str t = audit_text(r, key);
    return t.ptr != NULL && hex32(t, out);
}

bool audit_range(struct str *rest, int64_t *from, int64_t *to)
{
    struct cursor c = {rest->ptr, rest->ptr + rest->len};
    struct str digits;
    if (rest->len == 0 || !take_number(&c, &digits, from) || *from <= 0) {
        return false;
    }
    *to = *from;
    if (take(&c, "-") && (!take_number(&c, &digits, to) || *to < *from)) {
        return false;
    }
    if (c.at < c.end && (!take(&c, ",") || c.at == c.end)) {
        return false;
    }
    *rest = (struct str){c.at, (size_t)(c.end - c.at)};
    return true;
}
