/* The blob folder of a tenant: originals as <hash>, extracted text as <hash>.<pipeline>.text, boxes
 * as <hash>.<pipeline>.boxes (records of BOX_BYTES, little endian: page, x0, y0, x1, y1, start,
 * end), the table of its blocks, which is ingest's, as <hash>.<pipeline>.blocks. Files are written under a temporary name, fsynced and renamed; a name therefore always
 * holds a whole file. */
#ifndef CARREL_VECTORSTORE_BLOBS_H
#define CARREL_VECTORSTORE_BLOBS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/status.h"

#define BOX_BYTES 28U

struct blobs {
    char dir[1088];
};

enum blob_kind { BLOB_ORIGINAL, BLOB_TEXT, BLOB_BOXES, BLOB_BLOCKS };

struct blob_writer { /* zero-initialised: not open */
    bool open, synced, named;
    int fd;
    uint64_t size;
    struct buf pending; /* small pieces are gathered */
    char path[1200];
};

enum status blobs_open(struct blobs *b, const char *tenant_dir, struct error *err) MUST_CHECK;
/* Full path of a blob. */
enum status blobs_path(const struct blobs *b, const uint8_t hash[SHA256_BYTES],
                       const char *pipeline, enum blob_kind kind, char *out, size_t cap,
                       struct error *err) MUST_CHECK;
/* A whole blob in memory, to be read once. there false: it is missing or cannot be read. */
struct blob_view {
    struct str data;
    bool there;
};
enum status blob_look(const struct blobs *b, const uint8_t hash[SHA256_BYTES], const char *pipeline,
                      enum blob_kind kind, struct blob_view *out, struct error *err) MUST_CHECK;
void blob_looked(struct blob_view *v);
enum status blob_begin(const struct blobs *b, struct blob_writer *w, struct error *err) MUST_CHECK;
enum status blob_add(struct blob_writer *w, const void *p, size_t len,
                     struct error *err) MUST_CHECK;
/* Everything to the file, so that it can be read back. */
enum status blob_flush(struct blob_writer *w, struct error *err) MUST_CHECK;
/* What was added so far is durable, under no name yet. Any thread. */
enum status blob_sync(struct blob_writer *w, struct error *err) MUST_CHECK;
/* blob_sync and rename to path; it stays readable until blob_end. blobs_sync makes the names durable.
 */
enum status blob_finish(struct blob_writer *w, const char *path, struct error *err) MUST_CHECK;
/* Closes; without blob_finish the file goes. */
void blob_end(struct blob_writer *w);
enum status blobs_sync(const struct blobs *b, struct error *err) MUST_CHECK;
void blob_remove(const char *path);
/* Removes every file of a folder that wanted() does not want, temporary ones included. */
enum status blobs_sweep(const char *dir, bool (*wanted)(const char *name, void *data), void *data,
                        struct error *err) MUST_CHECK;
/* [A-Za-z0-9._-], 1 to 64 characters, not starting with a dot. */
bool blobs_name_ok(const char *name);

#endif
