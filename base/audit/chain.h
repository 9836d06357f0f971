/* The audit chain as files: <folder>/00000001.log, 00000002.log, ... lines of base/audit/record.h,
 * one after the other through all of them. Reading only; blocks. */
#ifndef CARREL_BASE_AUDIT_CHAIN_H
#define CARREL_BASE_AUDIT_CHAIN_H

#include "base/audit/record.h"

#define AUDIT_SEGMENT_BYTES ((size_t)16 << 20)     /* then the next one begins */
#define AUDIT_SEGMENT_BYTES_MAX ((size_t)64 << 20) /* none is larger: it would not be ours */

/* First and last segment's number, 0: there is none. holes: numbers between that are not there. */
struct audit_segments {
    unsigned first, last, holes;
};
enum status audit_segments(const char *folder, struct audit_segments *out,
                           struct error *err) MUST_CHECK;
/* One segment's bytes; out has its ceiling. */
enum status audit_segment_read(const char *folder, unsigned number, struct buf *out,
                               struct error *err) MUST_CHECK;

/* line without its newline, NULL record: it is none (why says so). false: that is enough. */
typedef bool (*audit_visit_fn)(unsigned segment, struct str line, const struct audit_record *r,
                               const struct error *why, void *data);
/* Every line in order; *torn: bytes after the last newline of the last segment. */
enum status audit_walk(const char *folder, audit_visit_fn visit, void *data, size_t *torn,
                       struct error *err) MUST_CHECK;
/* The same of one segment's bytes; false: the visitor has enough. */
bool audit_walk_bytes(unsigned segment, struct str bytes, audit_visit_fn visit, void *data,
                      size_t *torn);

#endif
