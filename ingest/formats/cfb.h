/* Compound files ([MS-CFB]): the little file system that Word, Excel, PowerPoint and Outlook of
 * 1997 to 2007 write their files as. Over a document in memory; nothing is written. */
#ifndef CARREL_INGEST_FORMATS_CFB_H
#define CARREL_INGEST_FORMATS_CFB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

#define CFB_NONE UINT32_MAX

struct cfb_entry {
    struct str name; /* UTF-8 */
    bool storage;    /* a folder; else a stream */
    uint32_t start;  /* its first sector */
    uint64_t size;
    uint32_t parent, child, next; /* entries, or CFB_NONE; `next` in the same storage */
};

struct cfb {
    struct str data;
    struct arena *arena;
    uint32_t sector, mini_sector; /* bytes */
    uint64_t mini_max;            /* streams shorter than this lie in small sectors */
    uint32_t *fat, *mini;         /* what follows a sector */
    uint32_t n_fat, n_mini;
    struct str mini_stream;
    struct cfb_entry *entries; /* 0 is the root */
    uint32_t n_entries;
};

bool cfb_is(struct str data);
/* Everything lives in the arena. INVALID for what is none or has no directory; streams that end too
 * early only when they are read. */
enum status cfb_open(struct str data, struct arena *a, struct cfb *out,
                     struct error *err) MUST_CHECK;
/* The entry of that name (ASCII, case does not matter) in a storage; CFB_NONE. */
uint32_t cfb_find(const struct cfb *c, uint32_t storage, const char *name);
/* A stream's content, as much of it as is there: within the document, or a copy in the arena.
 * NO_MEMORY where the arena is too small. */
enum status cfb_read(const struct cfb *c, uint32_t entry, struct str *out,
                     struct error *err) MUST_CHECK;

#endif
