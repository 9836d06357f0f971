/* Blocks out of the input: each starts with a byte for its kind and level, and a unit, and ends at
 * a byte 0. The first byte chooses the overlap. What was cut is cut once more from the stored
 * table, and the input is read as such a table. */
#include "ingest/chunk.h"

#include <stdint.h>
#include <stdlib.h>

#include "ingest/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define BLOCKS_MAX 64

static void check(const struct chunked_document *d)
{
    const char *p = d->text.ptr, *end = p + d->text.len;
    uint32_t point = 0, last = 0;
    for (size_t i = 0; i < d->n_chunks; i++) {
        const struct chunk *k = &d->chunks[i];
        size_t n;
        for (; point < k->start && p < end; point++) {
            (void)utf8_next(p, end, &n);
            p += n;
        }
        if (point != k->start || p != k->text.ptr || k->end <= k->start || k->end <= last ||
            utf8_count(k->text) != k->end - k->start || k->text.ptr + k->text.len > end) {
            abort();
        }
        last = k->end;
    }
}

/* Whatever the table says, chunks stand in the text. */
static void cut_again(struct chunked_document *d, struct str table, const struct chunk_options *o,
                      struct arena *a)
{
    struct error err = {0};
    if (chunk_table_read(table, a, d, &err) == STATUS_OK && chunk_cut(d, o, a, &err) == STATUS_OK) {
        for (size_t i = 0; i < d->n_chunks; i++) {
            const struct chunk *k = &d->chunks[i];
            if (k->text.ptr < d->text.ptr ||
                k->text.ptr + k->text.len > d->text.ptr + d->text.len) {
                abort();
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct chunk_options options = {20, 38, 40, len > 0 ? data[0] % 20U : 0};
    Ex__Block blocks[BLOCKS_MAX];
    const Ex__Block *ptrs[BLOCKS_MAX];
    Ex__Line lines[BLOCKS_MAX], *line_ptrs[BLOCKS_MAX];
    struct arena a;
    struct chunked_document out;
    struct error err = {0};
    size_t n = 0;
    uint8_t *copy = malloc(len + 1); /* blocks point into memory that may be written */
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, data, len);
    copy[len] = 0;
    for (size_t i = 0; i + 1 < len && n < BLOCKS_MAX; n++) {
        size_t start = i + 1, stop = start;
        while (stop < len && copy[stop] != 0) {
            stop++;
        }
        ex__block__init(&blocks[n]);
        ex__line__init(&lines[n]);
        blocks[n].kind = (Ex__Block__Kind)(1 + copy[i] % 9);
        blocks[n].has_unit = blocks[n].has_unit_kind = true;
        blocks[n].unit = copy[i] / 64;
        blocks[n].unit_kind = (Ex__Block__Unit)(1 + copy[i] % 4);
        blocks[n].has_level = true;
        blocks[n].level = copy[i] / 8;
        blocks[n].text.data = copy + start;
        blocks[n].text.len = stop - start;
        lines[n].start = copy[i];
        lines[n].end = copy[i] * 2U;
        line_ptrs[n] = &lines[n];
        blocks[n].n_lines = 1;
        blocks[n].lines = &line_ptrs[n];
        ptrs[n] = &blocks[n];
        i = stop + 1;
    }
    arena_init(&a, 64U << 20);
    if (chunk_document(ptrs, n, &options, &a, &out, &err) == STATUS_OK) {
        check(&out);
        struct str table;
        if (chunk_table_write(&out, &a, &table, &err) != STATUS_OK) {
            abort();
        }
        size_t chunks = out.n_chunks;
        struct chunked_document again = {
            .text = out.text, .boxes = out.boxes, .n_boxes = out.n_boxes};
        cut_again(&again, table, &options, &a);
        if (again.n_chunks != chunks) {
            abort();
        }
        again =
            (struct chunked_document){.text = out.text, .boxes = out.boxes, .n_boxes = out.n_boxes};
        cut_again(&again, (struct str){(const char *)data, len}, &options, &a);
    }
    arena_reset(&a);
    free(copy);
    return 0;
}
