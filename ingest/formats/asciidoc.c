/* AsciiDoc: titles by their signs, delimited blocks, lists, tables, block titles as captions.
 * Attributes and comments are left out, and what is included from other files. */
#include "ingest/formats/fields.h"
#include "ingest/formats/inline.h"
#include "ingest/formats/source.h"

struct adoc {
    struct emitter *e;
    struct buf block, clean;
    Ex__Block__Kind kind;
    char fence[8];         /* of the delimited block that is open; "": none */
    bool verbatim, passed; /* it is code; it is left out */
    bool table;
    size_t columns, cells; /* of its rows: in the first line; in the row so far */
};

static void finish_block(struct adoc *d)
{
    struct str s = text_trim(buf_view(&d->block));
    buf_reset(&d->clean);
    if (d->kind == EX__BLOCK__KIND__CODE) {
        buf_str(&d->clean, buf_view(&d->block));
        while (d->clean.len > 0 && d->clean.ptr[d->clean.len - 1] == '\n') {
            d->clean.len--;
        }
    } else {
        inline_asciidoc(s, &d->clean);
    }
    if (d->clean.len > 0) {
        emit_document(d->e, "asciidoc", STR(""), STR(""), 0);
        emit_text(d->e, d->kind, 0, buf_view(&d->clean));
    }
    buf_reset(&d->block);
    d->kind = EX__BLOCK__KIND__PARAGRAPH;
}

static void emit_line(struct adoc *d, Ex__Block__Kind kind, uint32_t level, struct str s)
{
    buf_reset(&d->clean);
    inline_asciidoc(text_trim(s), &d->clean);
    emit_document(d->e, "asciidoc",
                  kind == EX__BLOCK__KIND__HEADING ? buf_view(&d->clean) : STR(""), STR(""), 0);
    emit_text(d->e, kind, level, buf_view(&d->clean));
}

/* "==" before a blank: how many; 0: it is no title. */
static size_t title_level(struct str s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] == s.ptr[0] && (s.ptr[0] == '=' || s.ptr[0] == '#')) {
        n++;
    }
    return n > 0 && n < 7 && n < s.len && s.ptr[n] == ' ' ? n : 0;
}

/* "* ", "** ", "- ", ". ", ".. ", "1. ": how long the mark is; 0: none. */
static size_t item_mark(struct str s)
{
    size_t n = 0;
    while (n < s.len && n < 6 && (s.ptr[n] == '*' || s.ptr[n] == '.') && s.ptr[n] == s.ptr[0]) {
        n++;
    }
    if (n > 0 && n < s.len && s.ptr[n] == ' ') {
        return n + 1;
    }
    if (s.len > 1 && s.ptr[0] == '-' && s.ptr[1] == ' ') {
        return 2;
    }
    for (n = 0; n < s.len && n < 3 && s.ptr[n] >= '0' && s.ptr[n] <= '9';) {
        n++;
    }
    return n > 0 && n + 1 < s.len && s.ptr[n] == '.' && s.ptr[n + 1] == ' ' ? n + 2 : 0;
}

/* Four or more of one sign, or two dashes: a block begins or ends. */
static bool is_fence(struct str s)
{
    if (str_eq(s, STR("--")) || str_starts(s, STR("```"))) {
        return true;
    }
    if (s.len < 4 || strchr("-.=*_+/", s.ptr[0]) == NULL || s.ptr[0] == '\0') {
        return false;
    }
    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] != s.ptr[0]) {
            return false;
        }
    }
    return true;
}

static void open_fence(struct adoc *d, struct str s)
{
    finish_block(d);
    size_t n = s.len < sizeof d->fence - 1 ? s.len : sizeof d->fence - 1;
    n = s.ptr[0] == '`' ? 3 : n;
    memcpy(d->fence, s.ptr, n);
    d->fence[n] = '\0';
    d->verbatim = s.ptr[0] == '.' || s.ptr[0] == '`' || (s.ptr[0] == '-' && s.len > 2);
    d->passed = s.ptr[0] == '/' || s.ptr[0] == '+';
    d->kind = d->verbatim       ? EX__BLOCK__KIND__CODE
              : s.ptr[0] == '_' ? EX__BLOCK__KIND__QUOTE
                                : EX__BLOCK__KIND__PARAGRAPH;
}

static bool closes(const struct adoc *d, struct str s)
{
    return d->fence[0] != '\0' && is_fence(s) && str_starts(s, str_from(d->fence)) &&
           (s.len < sizeof d->fence || strlen(d->fence) == sizeof d->fence - 1);
}

/* ---- tables ---- */

static void end_row(struct adoc *d)
{
    if (d->block.len > 0) {
        buf_reset(&d->clean);
        inline_asciidoc(text_trim(buf_view(&d->block)), &d->clean);
        emit_text(d->e, EX__BLOCK__KIND__TABLE_ROW, 0, buf_view(&d->clean));
    }
    buf_reset(&d->block);
    d->cells = 0;
}

/* Cells begin with '|', perhaps behind what says how they look ("2+|", "a|"). A row has as many as
 * the first line, else ends at an empty line. */
static void read_row(struct adoc *d, struct str s)
{
    if (s.len == 0) {
        if (d->columns <= 1) {
            d->columns = d->cells > d->columns ? d->cells : d->columns;
            end_row(d);
        }
        return;
    }
    size_t in_line = 0;
    for (size_t i = 0; i < s.len; i++) {
        in_line += s.ptr[i] == '|' && (i == 0 || s.ptr[i - 1] != '\\');
    }
    d->columns = d->columns == 0 && in_line > 1 ? in_line : d->columns;
    for (size_t i = 0; i < s.len;) {
        bool cell = s.ptr[i] == '|';
        if (cell && d->columns > 0 && d->cells == d->columns) {
            end_row(d);
        }
        d->cells += cell ? 1 : 0;
        i += cell ? 1 : 0;
        size_t from = i;
        while (i < s.len && (s.ptr[i] != '|' || (i > 0 && s.ptr[i - 1] == '\\'))) {
            i++;
        }
        struct str text = text_trim((struct str){s.ptr + from, i - from});
        buf_z(&d->block, d->block.len == 0 ? "" : cell ? " | " : " ");
        buf_str(&d->block, text);
    }
}

/* ---- lines ---- */

static void read_text(struct adoc *d, struct str line)
{
    struct str s = text_trim(line);
    size_t level = title_level(s);
    size_t mark = item_mark(s);
    bool at_start = d->block.len == 0;
    if (s.len == 0) {
        finish_block(d);
    } else if (str_starts(s, STR("|===")) || str_starts(s, STR("!==="))) {
        finish_block(d);
        d->table = true;
        d->columns = d->cells = 0;
    } else if (is_fence(s)) {
        open_fence(d, s);
    } else if (level > 0 && line.ptr[0] == s.ptr[0]) {
        finish_block(d);
        emit_line(d, EX__BLOCK__KIND__HEADING, (uint32_t)(level < 6 ? level : 6),
                  (struct str){s.ptr + level, s.len - level});
    } else if (str_starts(s, STR("//"))) {
        return; /* a comment */
    } else if (at_start && s.ptr[0] == ':' && s.len > 2 &&
               memchr(s.ptr + 1, ':', s.len - 1) != NULL) {
        if (d->e->blocks_out < FIELD_BLOCKS) {
            emit_field_line(d->e, s);
        }
        return; /* an attribute */
    } else if (s.ptr[0] == '[' && s.ptr[s.len - 1] == ']' && at_start) {
        return; /* what the next block is like */
    } else if (str_starts(s, STR("include::")) || str_eq(s, STR("<<<")) || str_eq(s, STR("'''")) ||
               str_eq(s, STR("+")) || str_starts(s, STR("toc::"))) {
        finish_block(d);
    } else if (str_starts(s, STR("image::")) || str_starts(s, STR("video::"))) {
        const char *open = memchr(s.ptr, '[', s.len);
        finish_block(d);
        if (open != NULL && s.ptr[s.len - 1] == ']') {
            emit_line(d, EX__BLOCK__KIND__CAPTION, 0,
                      (struct str){open + 1, (size_t)(s.ptr + s.len - 1 - (open + 1))});
        }
    } else if (at_start && s.ptr[0] == '.' && s.len > 1 && s.ptr[1] != ' ' && s.ptr[1] != '.') {
        emit_line(d, EX__BLOCK__KIND__CAPTION, 0, (struct str){s.ptr + 1, s.len - 1});
    } else {
        if (mark > 0) {
            finish_block(d);
            d->kind = EX__BLOCK__KIND__LIST_ITEM;
            s = (struct str){s.ptr + mark, s.len - mark};
        }
        buf_str(&d->block, s);
        buf_char(&d->block, '\n');
    }
}

static void read_line(struct adoc *d, struct str line)
{
    struct str s = text_trim(line);
    if (d->table) {
        if (str_starts(s, STR("|===")) || str_starts(s, STR("!==="))) {
            end_row(d);
            d->table = false;
        } else {
            emit_document(d->e, "asciidoc", STR(""), STR(""), 0);
            read_row(d, s);
        }
    } else if (closes(d, s)) {
        finish_block(d);
        d->fence[0] = '\0';
        d->verbatim = d->passed = false;
    } else if (d->verbatim) {
        buf_str(&d->block, line);
        buf_char(&d->block, '\n');
    } else if (!d->passed) {
        Ex__Block__Kind kind = d->fence[0] == '_' ? EX__BLOCK__KIND__QUOTE : d->kind;
        d->kind = d->block.len == 0 && d->kind == EX__BLOCK__KIND__PARAGRAPH ? kind : d->kind;
        read_text(d, line);
    }
}

enum status asciidoc_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct source source;
    struct str line;
    struct adoc d = {.e = e, .kind = EX__BLOCK__KIND__PARAGRAPH};
    enum status s = source_open(&source, in, NULL, err);
    buf_init(&d.block, in->max_bytes);
    buf_init(&d.clean, in->max_bytes);
    for (size_t at = 0;
         s == STATUS_OK && !emit_failed(e) && source_line(source.text, &at, &line);) {
        read_line(&d, line);
        if (buf_status(&d.block) != STATUS_OK || buf_status(&d.clean) != STATUS_OK) {
            s = error_set(err, STATUS_TOO_LARGE, "it is too large for the memory allowed");
        }
    }
    if (s == STATUS_OK) {
        finish_block(&d);
    }
    buf_deinit(&d.block);
    buf_deinit(&d.clean);
    source_close(&source);
    return s;
}
