/* The reader of the audit's records: what it takes, the writer would have written the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/audit/chain.h"
#include "base/audit/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool visit(unsigned segment, struct str line, const struct audit_record *r,
                  const struct error *why, void *data)
{
    (void)segment;
    (void)why;
    (void)data;
    if (r != NULL) {
        struct str rest = audit_text(r, "rows");
        int64_t from, to;
        while (audit_range(&rest, &from, &to)) {
            if (from > to) {
                abort();
            }
        }
        if (r->n_fields > AUDIT_FIELDS_MAX || line.len > AUDIT_LINE_MAX) {
            abort();
        }
    }
    return true;
}

/* The input as the fields of a record that is made whole, so that its hash is right. */
static void read_fields(struct str text)
{
    struct buf b;
    uint8_t prev[SHA256_BYTES] = {0}, hash[SHA256_BYTES];
    struct audit_record r;
    buf_init(&b, 2 * AUDIT_LINE_MAX);
    audit_line(&b, 1, 1, prev, "open", text, hash);
    if (buf_status(&b) == STATUS_OK &&
        audit_read((struct str){b.ptr, b.len - 1}, &r, NULL) == STATUS_OK &&
        memcmp(r.hash, hash, sizeof hash) != 0) {
        abort();
    }
    buf_deinit(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct audit_anchor anchor;
    size_t torn;
    (void)audit_walk_bytes(1, text, visit, NULL, &torn);
    (void)audit_anchor_read(text, &anchor);
    read_fields(text);
    return 0;
}
