/* Members of a container on their way out (emit.h). */
#include <stdarg.h>
#include <stdio.h>

#include "ingest/formats/emit.h"
#include "ingest/utf8.h"

void emit_children_allow(struct emitter *e, uint64_t members, uint64_t bytes)
{
    e->children.wanted = true;
    e->children.members = e->children.members_max = members;
    e->children.bytes = e->children.bytes_max = bytes;
}

static bool send(struct emitter *e, Ex__Child *c)
{
    Ex__Piece piece = EX__PIECE__INIT;
    piece.child = c;
    return !emit_failed(e) && e->sink(e->data, &piece, &e->err) == STATUS_OK;
}

bool emit_child_begin(struct emitter *e, struct str name, uint64_t size, int64_t modified_ms)
{
    struct emit_children *k = &e->children;
    if (!k->wanted || emit_failed(e)) {
        return false;
    }
    if (k->members == 0) {
        k->over_number++;
        return false;
    }
    if (size > k->bytes) {
        k->over_bytes++;
        return false;
    }
    Ex__Child c = EX__CHILD__INIT;
    c.has_name = 1;
    c.name.data = (uint8_t *)(uintptr_t)name.ptr;
    c.name.len = name.len;
    c.has_size = size > 0;
    c.size = size;
    c.has_modified_wall_ms = modified_ms != 0;
    c.modified_wall_ms = modified_ms;
    k->members--;
    k->inside = true;
    return send(e, &c);
}

void emit_child_drop(struct emitter *e)
{
    Ex__Child c = EX__CHILD__INIT;
    c.has_drop = c.drop = 1;
    if (e->children.inside) {
        e->children.inside = false;
        (void)send(e, &c);
    }
}

bool emit_child_data(struct emitter *e, struct str bytes)
{
    struct emit_children *k = &e->children;
    if (bytes.len > k->bytes) {
        k->bytes = 0; /* what was unpacked counts, also of what is left out */
        k->over_bytes++;
        emit_child_drop(e);
        return false;
    }
    k->bytes -= bytes.len;
    while (bytes.len > 0 && !emit_failed(e)) {
        size_t n = bytes.len < EMIT_CHILD_PIECE ? bytes.len : EMIT_CHILD_PIECE;
        Ex__Child c = EX__CHILD__INIT;
        c.has_data = 1;
        c.data.data = (uint8_t *)(uintptr_t)bytes.ptr;
        c.data.len = n;
        (void)send(e, &c);
        bytes.ptr += n;
        bytes.len -= n;
    }
    return !emit_failed(e);
}

void emit_child_end(struct emitter *e)
{
    Ex__Child c = EX__CHILD__INIT;
    c.has_end = c.end = 1;
    if (e->children.inside) {
        e->children.inside = false;
        e->children.out += send(e, &c);
    }
}

bool emit_child(struct emitter *e, struct str name, struct str bytes, int64_t modified_ms)
{
    if (!emit_child_begin(e, name, bytes.len, modified_ms) || !emit_child_data(e, bytes)) {
        return false;
    }
    emit_child_end(e);
    return true;
}

void emit_note(struct emitter *e, const char *format, ...)
{
    char text[EMIT_NOTE_CAP];
    struct buf clean;
    va_list args;
    if (emit_failed(e) || !e->children.wanted || e->children.notes == EMIT_NOTES_MAX) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_init(&clean, (size_t)4 * EMIT_NOTE_CAP);
    utf8_clean(&clean, str_from(text));
    if (buf_status(&clean) == STATUS_OK && clean.len > 0) {
        char *list[] = {clean.ptr};
        Ex__Piece piece = EX__PIECE__INIT;
        piece.n_notes = 1;
        piece.notes = list;
        e->children.notes++;
        (void)!e->sink(e->data, &piece, &e->err);
    }
    buf_deinit(&clean);
}

void emit_children_finish(struct emitter *e)
{
    const struct emit_children *k = &e->children;
    emit_child_drop(e);
    if (k->over_number > 0 && k->members_max == 0) {
        emit_note(e, "%llu file%s left out: nothing more is unpacked this deep",
                  (unsigned long long)k->over_number,
                  k->over_number == 1 ? " in it was" : "s in it were");
    } else if (k->over_number > 0) {
        emit_note(e, "%llu of the files in it %s left out: more than %llu are not unpacked",
                  (unsigned long long)k->over_number, k->over_number == 1 ? "was" : "were",
                  (unsigned long long)k->members_max);
    }
    if (k->over_bytes > 0) {
        emit_note(e, "%llu of the files in it %s left out: more than %llu MB are not unpacked",
                  (unsigned long long)k->over_bytes, k->over_bytes == 1 ? "was" : "were",
                  (unsigned long long)(k->bytes_max >> 20));
    }
}
