#include "ingest/formats/cfb.h"

#include <strings.h>

#include "ingest/formats/octets.h"

#define MAGIC "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"
#define HEADER 512U
#define IN_HEADER 109U /* sectors of the table that the header names itself */
#define ENTRY 128U
#define LAST 0xFFFFFFFAU /* from here on: no sector */

bool cfb_is(struct str data)
{
    return data.len >= HEADER && memcmp(data.ptr, MAGIC, 8) == 0;
}

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
}

static enum status damaged(struct error *err, const char *what)
{
    return error_set(err, STATUS_INVALID, "the file is damaged: %s", what);
}

static uint32_t n_sectors(const struct cfb *c)
{
    uint64_t n = c->data.len <= c->sector ? 0 : (c->data.len - 1) / c->sector;
    return n < LAST ? (uint32_t)n : LAST;
}

/* The last one may be cut off. */
static struct str sector_at(const struct cfb *c, uint32_t sector)
{
    return cut(c->data, ((size_t)sector + 1) * c->sector, c->sector);
}

/* The table of sectors is itself in sectors, which the header and a chain behind it name. */
static enum status read_fat(struct cfb *c, struct error *err)
{
    uint32_t n = n_sectors(c);
    uint32_t each = c->sector / 4;
    c->fat = arena_array(c->arena, n + 1, sizeof *c->fat);
    if (c->fat == NULL) {
        return no_memory(err);
    }
    struct str list = cut(c->data, 76, (size_t)IN_HEADER * 4);
    uint32_t next = le32(c->data, 68);
    for (uint32_t chained = 0; c->n_fat < n; chained++) {
        for (size_t i = 0; i + 4 <= list.len && c->n_fat < n; i += 4) {
            uint32_t at = le32(list, i);
            struct str part = at < n ? sector_at(c, at) : STR("");
            if (at >= LAST) {
                continue;
            }
            for (uint32_t k = 0; k < each && c->n_fat < n; k++) {
                c->fat[c->n_fat++] = part.len >= (k + 1) * 4U ? le32(part, k * 4U) : LAST;
            }
        }
        if (next >= n || chained > n / each) {
            break;
        }
        struct str more = sector_at(c, next);
        list = cut(more, 0, c->sector - 4);
        next = le32(more, c->sector - 4);
    }
    return STATUS_OK;
}

/* Sectors one behind the other are a stretch of the document; others are put together. `size` is as
 * claimed; a chain that runs in a circle ends with it. */
static enum status read_chain(const struct cfb *c, struct str from, uint32_t header_size,
                              const uint32_t *table, uint32_t n, uint32_t sector, uint32_t start,
                              uint64_t size, struct str *out, struct error *err)
{
    uint64_t left = size < from.len ? size : from.len;
    uint64_t whole = left;
    uint32_t at = start;
    bool straight = true;
    uint64_t seen = 0;
    for (; at < n && seen < left && straight; seen += sector) {
        uint32_t next = table[at];
        straight = next == at + 1 || seen + sector >= left || next >= n;
        at = next;
    }
    size_t first = (size_t)header_size + (size_t)start * sector;
    if (start >= n || left == 0) {
        *out = STR("");
        return STATUS_OK;
    }
    if (straight) {
        *out = cut(from, first, (size_t)(seen < whole ? seen : whole));
        return STATUS_OK;
    }
    char *copy = arena_alloc(c->arena, (size_t)whole);
    if (copy == NULL) {
        return no_memory(err);
    }
    size_t len = 0;
    for (at = start; at < n && left > 0; at = table[at]) {
        struct str part = cut(from, (size_t)header_size + (size_t)at * sector,
                              left < sector ? (size_t)left : sector);
        if (part.len == 0) {
            break;
        }
        memcpy(copy + len, part.ptr, part.len);
        len += part.len;
        left -= part.len;
    }
    *out = (struct str){copy, len};
    return STATUS_OK;
}

static enum status read_big(const struct cfb *c, uint32_t start, uint64_t size, struct str *out,
                            struct error *err)
{
    return read_chain(c, c->data, c->sector, c->fat, c->n_fat, c->sector, start, size, out, err);
}

static enum status read_mini_table(struct cfb *c, struct error *err)
{
    struct str table = STR("");
    enum status s =
        read_big(c, le32(c->data, 60), (uint64_t)le32(c->data, 64) * c->sector, &table, err);
    c->n_mini = (uint32_t)(table.len / 4);
    c->mini = s == STATUS_OK ? arena_array(c->arena, (size_t)c->n_mini + 1, sizeof *c->mini) : NULL;
    if (c->mini == NULL) {
        return s == STATUS_OK ? no_memory(err) : s;
    }
    for (uint32_t i = 0; i < c->n_mini; i++) {
        c->mini[i] = le32(table, (size_t)i * 4);
    }
    return read_big(c, c->entries[0].start, c->entries[0].size, &c->mini_stream, err);
}

/* What lies in a storage is a tree of entries, which here becomes a list; an entry is taken once,
 * whatever else points to it. */
static enum status hang_up(struct cfb *c, struct str directory, struct error *err)
{
    struct {
        uint32_t entry, parent;
    } *stack = arena_array(c->arena, (size_t)c->n_entries * 3 + 1, sizeof *stack);
    bool *seen = arena_array(c->arena, c->n_entries, sizeof *seen);
    if (stack == NULL || seen == NULL) {
        return no_memory(err);
    }
    size_t n = 0;
    seen[0] = true;
    stack[n].entry = le32(directory, 76);
    stack[n++].parent = 0;
    while (n > 0) {
        uint32_t at = stack[--n].entry;
        uint32_t parent = stack[n].parent;
        if (at >= c->n_entries || seen[at]) {
            continue;
        }
        struct cfb_entry *k = &c->entries[at];
        size_t from = (size_t)at * ENTRY;
        seen[at] = true;
        k->parent = parent;
        k->next = c->entries[parent].child;
        c->entries[parent].child = at;
        const uint32_t to[] = {le32(directory, from + 68), le32(directory, from + 72),
                               k->storage ? le32(directory, from + 76) : CFB_NONE};
        for (size_t i = 0; i < 3; i++) {
            stack[n].entry = to[i];
            stack[n++].parent = i == 2 ? at : parent;
        }
    }
    return STATUS_OK;
}

static enum status read_directory(struct cfb *c, struct error *err)
{
    struct str d = STR("");
    struct buf name;
    enum status s = read_big(c, le32(c->data, 48), c->data.len, &d, err);
    c->n_entries = (uint32_t)(d.len / ENTRY);
    if (s != STATUS_OK || c->n_entries == 0) {
        return s != STATUS_OK ? s : damaged(err, "its directory is missing");
    }
    c->entries = arena_array(c->arena, c->n_entries, sizeof *c->entries);
    if (c->entries == NULL) {
        return no_memory(err);
    }
    buf_init(&name, 256);
    for (uint32_t i = 0; i < c->n_entries; i++) {
        struct str k = cut(d, (size_t)i * ENTRY, ENTRY);
        uint32_t len = le16(k, 64);
        buf_reset(&name);
        utf16_put(&name, cut(k, 0, len >= 2 && len <= 64 ? len - 2 : 0));
        const char *copy = arena_strndup(c->arena, name.ptr == NULL ? "" : name.ptr, name.len);
        if (copy == NULL) {
            s = no_memory(err);
            break;
        }
        c->entries[i] = (struct cfb_entry){
            .name = {copy, name.len},
            .storage = le8(k, 66) == 1 || le8(k, 66) == 5,
            .start = le32(k, 116),
            .size = c->sector == 512 ? le32(k, 120) : le64(k, 120),
            .parent = CFB_NONE,
            .child = CFB_NONE,
            .next = CFB_NONE,
        };
    }
    buf_deinit(&name);
    return s == STATUS_OK ? hang_up(c, d, err) : s;
}

enum status cfb_open(struct str data, struct arena *a, struct cfb *out, struct error *err)
{
    uint32_t shift = le16(data, 30), mini_shift = le16(data, 32);
    *out = (struct cfb){.data = data, .arena = a, .mini_max = le32(data, 56)};
    if (!cfb_is(data) || (shift != 9 && shift != 12) || mini_shift < 4 || mini_shift >= shift) {
        return damaged(err, "its beginning is not that of an Office file");
    }
    out->sector = 1U << shift;
    out->mini_sector = 1U << mini_shift;
    enum status s = read_fat(out, err);
    if (s == STATUS_OK) {
        s = read_directory(out, err);
    }
    return s == STATUS_OK ? read_mini_table(out, err) : s;
}

uint32_t cfb_find(const struct cfb *c, uint32_t storage, const char *name)
{
    uint32_t at = storage < c->n_entries ? c->entries[storage].child : CFB_NONE;
    while (at != CFB_NONE && strcasecmp(c->entries[at].name.ptr, name) != 0) {
        at = c->entries[at].next;
    }
    return at;
}

enum status cfb_read(const struct cfb *c, uint32_t entry, struct str *out, struct error *err)
{
    *out = STR("");
    if (entry >= c->n_entries) {
        return STATUS_OK;
    }
    const struct cfb_entry *k = &c->entries[entry];
    return k->size >= c->mini_max ? read_big(c, k->start, k->size, out, err)
                                  : read_chain(c, c->mini_stream, 0, c->mini, c->n_mini,
                                               c->mini_sector, k->start, k->size, out, err);
}
