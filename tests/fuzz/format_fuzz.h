/* What the fuzzers of the document formats share: run a parser, check what it emits. */
#ifndef CARREL_TESTS_FUZZ_FORMAT_FUZZ_H
#define CARREL_TESTS_FUZZ_FORMAT_FUZZ_H

#include <stdint.h>
#include <stdlib.h>

#include "ingest/formats/format.h"
#include "ingest/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static enum status check_piece(void *data, const Ex__Piece *piece, struct error *err)
{
    bool *inside = data;
    const Ex__Child *child = piece->child;
    (void)err;
    if (child != NULL) { /* begin, data, end or drop */
        if (child->has_name == *inside || child->data.len > EMIT_CHILD_PIECE) {
            abort();
        }
        *inside = !child->has_end && !child->has_drop;
    }
    for (size_t i = 0; i < piece->n_blocks; i++) {
        const Ex__Block *b = piece->blocks[i];
        const char *p = (const char *)b->text.data, *end = p + b->text.len;
        size_t points = 0;
        if (b->text.len > EMIT_BLOCK_MAX) {
            abort();
        }
        for (; p < end; points++) {
            size_t n;
            uint32_t c = utf8_next(p, end, &n);
            if (c == UTF8_BAD || c == 0) {
                abort();
            }
            p += n;
        }
        for (size_t j = 0; j < b->n_lines; j++) {
            if (b->lines[j]->start > b->lines[j]->end || b->lines[j]->end > points) {
                abort();
            }
        }
    }
    return STATUS_OK;
}

static inline int fuzz_format(enum status (*extract)(const struct extract_input *in,
                                                     struct emitter *e, struct error *err),
                              const uint8_t *data, size_t len, const struct tool_runner *tools)
{
    struct arena arena;
    struct emitter e;
    struct error err = {0};
    arena_init(&arena, 64U << 20);
    bool inside = false;
    emit_init(&e, 8U << 20, check_piece, &inside);
    emit_children_allow(&e, 1000, 8U << 20);
    struct extract_input in = {.fd = -1,
                               .data = {len == 0 ? "" : (const char *)data, len},
                               .arena = &arena,
                               .max_bytes = 8U << 20,
                               .tools = tools};
    enum status s = extract(&in, &e, &err);
    if (s == STATUS_OK) {
        s = emit_finish(&e, &err);
    }
    if (s != STATUS_OK && err.text[0] == '\0') {
        abort(); /* a failure without a reason */
    }
    emit_deinit(&e);
    arena_reset(&arena);
    return 0;
}

#endif
