/* Jupyter's notebooks (nbformat 4, and 3): cells of Markdown as what they are, code and the text it
 * gave out as code. Pictures and pages among the results are left out: their text stands beside. */
#include <jansson.h>

#include "ingest/formats/source.h"

#define CELLS_MAX 100000U
#define SHEETS_MAX 1000U

struct notebook {
    const struct extract_input *in;
    struct emitter *e;
    struct buf text; /* of the cell, or result, at hand */
};

/* A text, or a list of its lines. Colours that terminals show are left out. */
static void put_lines(struct notebook *n, const json_t *v)
{
    size_t many = json_is_array(v) ? json_array_size(v) : 1;
    for (size_t i = 0; i < many; i++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
        const char *p = json_string_value(one);
        const char *end = p == NULL ? NULL : p + json_string_length(one);
        while (p != NULL && p < end) {
            const char *escape = memchr(p, '\033', (size_t)(end - p));
            const char *to = escape == NULL ? end : escape;
            buf_append(&n->text, p, (size_t)(to - p));
            p = to;
            if (escape != NULL) {
                p++;
                p += p < end && *p == '[' ? 1 : 0;
                while (p < end && ((*p >= '0' && *p <= '9') || *p == ';')) {
                    p++;
                }
                p += p < end ? 1 : 0; /* the letter */
            }
        }
    }
}

static void emit_code(struct notebook *n, const json_t *v)
{
    buf_reset(&n->text);
    put_lines(n, v);
    struct str s = buf_view(&n->text);
    while (s.len > 0 && s.ptr[s.len - 1] == '\n') {
        s.len--;
    }
    emit_text(n->e, EX__BLOCK__KIND__CODE, 0, s);
}

static enum status emit_markdown(struct notebook *n, const json_t *v, struct error *err)
{
    struct extract_input in = *n->in;
    struct error e = {0};
    buf_reset(&n->text);
    put_lines(n, v);
    in.data = buf_view(&n->text);
    enum status s = in.data.len == 0 ? STATUS_OK : markdown_extract(&in, n->e, &e);
    if (s != STATUS_OK && s != STATUS_INVALID) {
        *err = e;
        return s;
    }
    return STATUS_OK;
}

static void emit_outputs(struct notebook *n, const json_t *outputs)
{
    for (size_t i = 0; i < json_array_size(outputs) && i < CELLS_MAX; i++) {
        const json_t *o = json_array_get(outputs, i);
        const json_t *data = json_object_get(o, "data");
        const json_t *text = json_object_get(data != NULL ? data : o, "text/plain");
        text = text != NULL ? text : json_object_get(o, "text");
        if (text != NULL) {
            emit_code(n, text);
        } else if (json_object_get(o, "evalue") != NULL) {
            buf_reset(&n->text);
            put_lines(n, json_object_get(o, "ename"));
            buf_z(&n->text, ": ");
            put_lines(n, json_object_get(o, "evalue"));
            emit_text(n->e, EX__BLOCK__KIND__PARAGRAPH, 0, buf_view(&n->text));
        }
    }
}

static enum status emit_cells(struct notebook *n, const json_t *cells, struct error *err)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < json_array_size(cells) && i < CELLS_MAX && s == STATUS_OK; i++) {
        const json_t *cell = json_array_get(cells, i);
        const char *type = json_string_value(json_object_get(cell, "cell_type"));
        const json_t *source = json_object_get(cell, "source");
        if (type != NULL && strcmp(type, "code") == 0) {
            emit_code(n, source != NULL ? source : json_object_get(cell, "input"));
            emit_outputs(n, json_object_get(cell, "outputs"));
        } else if (type != NULL && strcmp(type, "heading") == 0) {
            json_int_t level = json_integer_value(json_object_get(cell, "level"));
            buf_reset(&n->text);
            put_lines(n, source);
            emit_text(n->e, EX__BLOCK__KIND__HEADING,
                      level >= 1 && level <= 6 ? (uint32_t)level : 1, buf_view(&n->text));
        } else if (type != NULL && strcmp(type, "raw") == 0) {
            buf_reset(&n->text);
            put_lines(n, source);
            emit_text(n->e, EX__BLOCK__KIND__PARAGRAPH, 0, buf_view(&n->text));
        } else {
            s = emit_markdown(n, source, err);
        }
    }
    return s;
}

static enum status emit_notebook(struct notebook *n, const json_t *root, struct error *err)
{
    const json_t *about = json_object_get(root, "metadata");
    const char *title = json_string_value(json_object_get(about, "title"));
    const json_t *authors = json_object_get(about, "authors");
    const json_t *cells = json_object_get(root, "cells");
    const json_t *sheets = json_object_get(root, "worksheets"); /* nbformat 3 */
    for (size_t i = 0; i < json_array_size(authors) && i < SHEETS_MAX; i++) {
        emit_author(
            n->e, str_from(json_string_value(json_object_get(json_array_get(authors, i), "name"))));
    }
    emit_document(n->e, "ipynb", str_from(title), STR(""), 0);
    enum status s = emit_cells(n, cells, err);
    for (size_t i = 0; i < json_array_size(sheets) && i < SHEETS_MAX && s == STATUS_OK; i++) {
        s = emit_cells(n, json_object_get(json_array_get(sheets, i), "cells"), err);
    }
    return s;
}

enum status ipynb_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct source source;
    struct notebook n = {.in = in, .e = e};
    json_error_t why;
    enum status s = source_open(&source, in, NULL, err);
    json_t *root =
        s == STATUS_OK ? json_loadb(source.text.ptr, source.text.len, JSON_ALLOW_NUL, &why) : NULL;
    buf_init(&n.text, in->max_bytes);
    if (s == STATUS_OK && !json_is_object(root)) {
        s = json_extract(in, e, err); /* damaged: as far as it goes */
    } else if (s == STATUS_OK) {
        s = emit_notebook(&n, root, err);
    }
    if (s == STATUS_OK && buf_status(&n.text) != STATUS_OK) {
        s = error_set(err, STATUS_TOO_LARGE, "a cell is too large for the memory allowed");
    }
    buf_deinit(&n.text);
    json_decref(root);
    source_close(&source);
    return s;
}
