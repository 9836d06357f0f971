/* JSON, and JSON values one after the other (JSONL). Read as it comes, without a tree, so that
 * numbers stay as they are written and a large file needs no memory; a first pass tells whether it
 * is JSON at all. What is not, or is damaged, is read as plain text.
 *
 * An object in an array, or one of several values at the top, is a record: one block of "path:
 * value", the path from the record on. Elsewhere a key whose value is an object or array is a
 * heading, and what stands directly in an object is one block. */
#include <stdlib.h>

#include "ingest/formats/source.h"
#include "ingest/utf8.h"

#define DEPTH_MAX 512
#define KEY_MAX 512
#define BLOCK_BYTES 4096 /* a record longer than this is handed on in parts */

struct frame {
    bool array;
    bool headed; /* its key is a heading's */
    size_t path; /* length of the path at its beginning */
};

struct walk {
    struct emitter *e; /* NULL: the first pass */
    const char *p, *end;
    struct frame stack[DEPTH_MAX];
    size_t depth;
    size_t records;   /* frames that are records, around us: within one there are no headings */
    size_t record_at; /* depth of the outermost one */
    uint32_t headings;
    size_t values; /* at the top */
    bool several;
    struct buf path; /* from the record, or the last heading, on: "a.b" */
    struct buf block;
    struct buf text; /* the string read last */
};

static void skip_space(struct walk *w)
{
    while (w->p < w->end && (*w->p == ' ' || *w->p == '\t' || *w->p == '\n' || *w->p == '\r')) {
        w->p++;
    }
}

static bool hex4(const char *p, const char *end, uint32_t *out)
{
    uint32_t v = 0;
    if (end - p < 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        int d = text_hex(p[i]);
        if (d < 0) {
            return false;
        }
        v = v * 16 + (uint32_t)d;
    }
    *out = v;
    return true;
}

/* Behind "\u": a surrogate counts with its other half. */
static bool escaped(struct walk *w)
{
    uint32_t c = 0;
    uint32_t low = 0;
    if (!hex4(w->p, w->end, &c)) {
        return false;
    }
    w->p += 4;
    if (c >= 0xD800 && c < 0xDC00 && w->end - w->p >= 6 && w->p[0] == '\\' && w->p[1] == 'u' &&
        hex4(w->p + 2, w->end, &low) && low >= 0xDC00 && low < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        w->p += 6;
    }
    utf8_put(&w->text, c >= 0xD800 && c < 0xE000 ? 0xFFFD : c);
    return true;
}

static bool read_string(struct walk *w)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/ \n\n\n\t";
    buf_reset(&w->text);
    if (w->p >= w->end || *w->p != '"') {
        return false;
    }
    for (w->p++; w->p < w->end;) {
        const char *run = w->p;
        while (w->p < w->end && *w->p != '"' && *w->p != '\\') {
            w->p++;
        }
        if (w->e != NULL) {
            buf_append(&w->text, run, (size_t)(w->p - run));
        }
        if (w->p >= w->end) {
            return false;
        }
        if (*w->p++ == '"') {
            return true;
        }
        char c = w->p < w->end ? *w->p++ : '\0';
        const char *known = c == '\0' ? NULL : strchr(from, c);
        if (c == 'u') {
            if (!escaped(w)) {
                return false;
            }
        } else if (known != NULL) {
            buf_char(&w->text, to[known - from]);
        } else {
            return false;
        }
    }
    return false;
}

/* A number, true, false, null. */
static bool read_word(struct walk *w)
{
    const char *from = w->p;
    while (w->p < w->end &&
           (strchr("+-.0123456789", *w->p) != NULL || (*w->p >= 'a' && *w->p <= 'z') ||
            (*w->p >= 'A' && *w->p <= 'Z')) &&
           *w->p != '\0') {
        w->p++;
    }
    struct str s = {from, (size_t)(w->p - from)};
    bool literal = str_eq(s, STR("true")) || str_eq(s, STR("false")) || str_eq(s, STR("null")) ||
                   str_eq(s, STR("NaN")) || str_eq(s, STR("Infinity"));
    buf_reset(&w->text);
    if (!literal && !(s.len > 0 && (*from == '-' || (*from >= '0' && *from <= '9')))) {
        return false;
    }
    if (!str_eq(s, STR("null"))) {
        buf_str(&w->text, s);
    }
    return true;
}

/* ---- blocks ---- */

static void flush(struct walk *w)
{
    if (w->e != NULL && w->block.len > 0) {
        emit_text(w->e, w->records > 0 ? EX__BLOCK__KIND__TABLE_ROW : EX__BLOCK__KIND__PARAGRAPH, 0,
                  buf_view(&w->block));
    }
    buf_reset(&w->block);
}

static void put_value(struct walk *w)
{
    struct str value = text_trim(buf_view(&w->text));
    bool item = w->depth > 0 && w->stack[w->depth - 1].array;
    if (w->e == NULL || value.len == 0) {
        return;
    }
    if (item && w->records == 0) { /* a list of plain values */
        emit_text(w->e, EX__BLOCK__KIND__LIST_ITEM, 0, value);
        return;
    }
    if (w->block.len + value.len > BLOCK_BYTES) {
        flush(w);
    }
    buf_z(&w->block, w->block.len == 0 ? "" : w->records > 0 ? " | " : "\n");
    if (w->path.len > 0) {
        buf_str(&w->block, buf_view(&w->path));
        buf_z(&w->block, ": ");
    }
    text_squeeze(&w->block, value, w->records == 0);
}

static void push_key(struct walk *w)
{
    struct str key = text_trim(buf_view(&w->text));
    key.len = key.len < KEY_MAX ? key.len : KEY_MAX;
    buf_z(&w->path, w->path.len > 0 && key.len > 0 ? "." : "");
    text_squeeze(&w->path, key, false);
}

/* ---- structure ---- */

static bool begin(struct walk *w, bool array)
{
    if (w->depth == DEPTH_MAX) {
        return false;
    }
    struct frame *f = &w->stack[w->depth];
    bool in_array = w->depth > 0 && w->stack[w->depth - 1].array;
    bool at_top = w->depth == 0;
    *f = (struct frame){.array = array, .path = w->path.len};
    w->depth++;
    if (w->records > 0) {
        return true; /* part of the record */
    }
    flush(w);
    if (!array && (in_array || (at_top && w->several))) {
        w->records++;
        w->record_at = w->depth;
        buf_reset(&w->path);
        f->path = 0;
    } else if (w->path.len > 0 && w->e != NULL) {
        f->headed = true;
        w->headings++;
        emit_text(w->e, EX__BLOCK__KIND__HEADING, w->headings < 6 ? w->headings : 6,
                  buf_view(&w->path));
        buf_reset(&w->path);
    }
    return true;
}

static void finish(struct walk *w)
{
    struct frame *f = &w->stack[w->depth - 1];
    bool record = w->records > 0 && w->record_at == w->depth;
    if (w->records == 0 || record) {
        flush(w);
        w->records = 0;
        buf_reset(&w->path);
    }
    w->headings -= f->headed;
    w->depth--;
}

/* The path at the beginning of the next member or element. */
static void rewind_path(struct walk *w)
{
    const struct frame *f = &w->stack[w->depth - 1];
    size_t len = w->records > 0 && w->record_at != w->depth ? f->path : 0;
    w->path.len = w->path.len < len ? w->path.len : len;
}

static bool read_key(struct walk *w)
{
    skip_space(w);
    if (!read_string(w)) {
        return false;
    }
    push_key(w);
    skip_space(w);
    return w->p < w->end && *w->p++ == ':';
}

/* One step: a scalar, or the beginning of something with its first key. */
static bool read_value(struct walk *w, bool *opened)
{
    skip_space(w);
    *opened = false;
    if (w->p >= w->end) {
        return false;
    }
    if (*w->p == '{' || *w->p == '[') {
        bool array = *w->p++ == '[';
        skip_space(w);
        if (w->p < w->end && *w->p == (array ? ']' : '}')) {
            w->p++; /* nothing is in it */
            return true;
        }
        if (!begin(w, array)) {
            return false;
        }
        *opened = true;
        return array || read_key(w);
    }
    if (*w->p == '"' ? !read_string(w) : !read_word(w)) {
        return false;
    }
    put_value(w);
    return true;
}

/* Behind a value: closes what ends here. false: something else stands there. */
static bool after_value(struct walk *w, bool *more)
{
    *more = false;
    while (w->depth > 0) {
        bool array = w->stack[w->depth - 1].array;
        skip_space(w);
        if (w->p >= w->end) {
            return false;
        }
        char c = *w->p++;
        if (c == ',') {
            rewind_path(w);
            *more = true;
            return array || read_key(w);
        }
        if (c != (array ? ']' : '}')) {
            return false;
        }
        finish(w);
    }
    return true;
}

/* All values of the text; false: it is not JSON. */
static bool walk(struct walk *w, struct str text)
{
    w->p = text.ptr;
    w->end = text.ptr + text.len;
    w->values = 0;
    w->depth = w->records = 0;
    w->headings = 0;
    for (;;) {
        bool opened = true;
        bool more = true;
        skip_space(w);
        if (w->p >= w->end) {
            return w->values > 0;
        }
        buf_reset(&w->path);
        while (opened || more) {
            if (!read_value(w, &opened)) {
                return false;
            }
            more = false;
            if (!opened && !after_value(w, &more)) {
                return false;
            }
            if (w->e != NULL && emit_failed(w->e)) {
                return true;
            }
        }
        w->values++;
        flush(w);
        skip_space(w);
        if (w->p < w->end && *w->p == ',') { /* lines that were an array's once */
            w->p++;
        }
    }
}

enum status json_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct source source;
    struct walk *w = arena_alloc(in->arena, sizeof *w);
    enum status s = source_open(&source, in, NULL, err);
    if (s == STATUS_OK && w == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (s != STATUS_OK) {
        source_close(&source);
        return s;
    }
    *w = (struct walk){.e = NULL};
    buf_init(&w->path, (size_t)DEPTH_MAX * (KEY_MAX + 2));
    buf_init(&w->block, in->max_bytes);
    buf_init(&w->text, in->max_bytes);
    bool good = walk(w, source.text);
    if (good) {
        w->several = w->values > 1;
        w->e = e;
        emit_document(e, "json", STR(""), STR(""), 0);
        (void)walk(w, source.text);
        if (buf_status(&w->path) != STATUS_OK || buf_status(&w->block) != STATUS_OK ||
            buf_status(&w->text) != STATUS_OK) {
            s = error_set(err, STATUS_TOO_LARGE, "a value is too large for the memory allowed");
        }
    }
    buf_deinit(&w->path);
    buf_deinit(&w->block);
    buf_deinit(&w->text);
    source_close(&source);
    return good ? s : text_extract(in, e, err);
}
