/* The table of a text's blocks as the store keeps it beside the text (ex.BlockTable). */
#include "ingest/chunk.h"
#include "ingest/utf8.h"

#define COLUMNS 7

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_TOO_LARGE, "the document is too large for the memory allowed");
}

static enum status damaged(struct error *err)
{
    return error_set(err, STATUS_CORRUPT, "the stored table of its blocks does not fit its text");
}

enum status chunk_table_write(const struct chunked_document *d, struct arena *a, struct str *out,
                              struct error *err)
{
    size_t n = d->n_blocks;
    uint32_t *cells = arena_array(a, n + 1, COLUMNS * sizeof *cells);
    if (cells == NULL) {
        return no_memory(err);
    }
    Ex__BlockTable m = EX__BLOCK_TABLE__INIT;
    m.n_kind = m.n_level = m.n_gap = m.n_length = m.n_page = m.n_boxes = m.n_unit = n;
    m.kind = cells;
    m.level = cells + n;
    m.gap = cells + 2 * n;
    m.length = cells + 3 * n;
    m.page = cells + 4 * n;
    m.boxes = cells + 5 * n;
    m.unit = cells + 6 * n;
    m.n_units = d->n_units;
    m.units = (char **)(uintptr_t)d->units;
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct chunk_block *b = &d->blocks[i];
        m.kind[i] = (uint32_t)b->kind;
        m.level[i] = b->level;
        m.gap[i] = b->start - at;
        m.length[i] = b->end - b->start;
        m.page[i] = b->page;
        m.boxes[i] = b->n_boxes;
        m.unit[i] = b->unit;
        at = b->end;
    }
    size_t len = ex__block_table__get_packed_size(&m);
    uint8_t *packed = arena_alloc(a, len + 1);
    if (packed == NULL) {
        return no_memory(err);
    }
    *out = (struct str){(const char *)packed, ex__block_table__pack(&m, packed)};
    return STATUS_OK;
}

static enum status take_blocks(const Ex__BlockTable *m, struct chunked_document *d,
                               struct error *err)
{
    size_t length = utf8_count(d->text);
    uint64_t at = 0, boxes = 0;
    for (size_t i = 0; i < m->n_kind; i++) {
        struct chunk_block *b = &d->blocks[i];
        uint64_t start = at + m->gap[i];
        at = start + m->length[i];
        boxes += m->boxes[i];
        if (m->kind[i] < EX__BLOCK__KIND__PARAGRAPH || m->kind[i] > EX__BLOCK__KIND__NOTE ||
            at > length || boxes > d->n_boxes || m->unit[i] > m->n_units) {
            return damaged(err);
        }
        *b = (struct chunk_block){.kind = (Ex__Block__Kind)m->kind[i],
                                  .level = m->level[i],
                                  .page = m->page[i],
                                  .unit = m->unit[i],
                                  .start = (uint32_t)start,
                                  .end = (uint32_t)at,
                                  .n_boxes = m->boxes[i]};
    }
    return boxes == d->n_boxes ? STATUS_OK : damaged(err);
}

enum status chunk_table_read(struct str table, struct arena *a, struct chunked_document *d,
                             struct error *err)
{
    ProtobufCAllocator allocator;
    arena_protobuf(a, &allocator);
    Ex__BlockTable *m = ex__block_table__unpack(&allocator, table.len, (const uint8_t *)table.ptr);
    if (m == NULL || m->n_level != m->n_kind || m->n_gap != m->n_kind || m->n_length != m->n_kind ||
        m->n_page != m->n_kind || m->n_boxes != m->n_kind || m->n_unit != m->n_kind) {
        return damaged(err);
    }
    d->n_blocks = m->n_kind;
    d->blocks = arena_array(a, m->n_kind + 1, sizeof *d->blocks);
    d->n_units = m->n_units;
    d->units = (const char **)(uintptr_t)m->units;
    return d->blocks == NULL ? no_memory(err) : take_blocks(m, d, err);
}
