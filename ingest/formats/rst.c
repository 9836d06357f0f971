/* reStructuredText: titles by the lines under (and over) them, their level by the order in which
 * those come first; lists, literal blocks, grid and simple tables, footnotes, directives. Comments
 * are left out. */
#include "ingest/formats/fields.h"
#include "ingest/formats/inline.h"
#include "ingest/formats/source.h"
#include "ingest/utf8.h"

#define STYLES_MAX 16
#define COLUMNS_MAX 256
#define ROW_LINES 64 /* a table's row of more lines is cut */

struct rst {
    struct emitter *e;
    struct buf block, clean;
    Ex__Block__Kind kind;
    size_t indent; /* of a literal block's or directive's introduction */
    enum { TEXT, LITERAL, LITERAL_BEGINS, COMMENT, GRID, SIMPLE } mode;
    struct {
        char mark;
        bool over;
    } styles[STYLES_MAX];
    size_t n_styles;
    bool titled;
    bool options; /* lines of a directive's options may come */
    struct {      /* of a simple table, in characters; the last one has no end */
        size_t from, to;
    } columns[COLUMNS_MAX];
    size_t n_columns;
    unsigned borders;
    struct row_line {
        struct str rest; /* what no column has taken */
        size_t at;       /* characters that have been */
    } row[ROW_LINES];    /* of a table's row that is not out */
    size_t n_row;
};

static size_t indent_of(struct str line)
{
    size_t n = 0;
    while (n < line.len && line.ptr[n] == ' ') {
        n++;
    }
    return n;
}

/* One punctuation character again and again; its mark, or 0. */
static char border(struct str s)
{
    if (s.len < 2 || strchr("=-~`'^\"#*+.:_<>", s.ptr[0]) == NULL || s.ptr[0] == '\0') {
        return '\0';
    }
    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] != s.ptr[0]) {
            return '\0';
        }
    }
    return s.ptr[0];
}

/* "====  ===": of a simple table. */
static bool is_columns(struct str s)
{
    bool gap = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '=' && s.ptr[i] != ' ') {
            return false;
        }
        gap = gap || s.ptr[i] == ' ';
    }
    return gap && s.len > 3 && s.ptr[0] == '=';
}

static bool is_grid(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (strchr("+-=", s.ptr[i]) == NULL || s.ptr[i] == '\0') {
            return false;
        }
    }
    return s.len > 4 && s.ptr[0] == '+' && s.ptr[s.len - 1] == '+';
}

static void finish_block(struct rst *r)
{
    struct str s = text_trim(buf_view(&r->block));
    buf_reset(&r->clean);
    if (r->kind == EX__BLOCK__KIND__CODE) {
        buf_str(&r->clean, buf_view(&r->block));
        while (r->clean.len > 0 && r->clean.ptr[r->clean.len - 1] == '\n') {
            r->clean.len--;
        }
    } else {
        inline_rst(s, &r->clean);
    }
    if (r->clean.len > 0) {
        emit_document(r->e, "rst", STR(""), STR(""), 0);
        emit_text(r->e, r->kind, 0, buf_view(&r->clean));
    }
    buf_reset(&r->block);
    r->kind = EX__BLOCK__KIND__PARAGRAPH;
}

static void put_title(struct rst *r, struct str title, char mark, bool over)
{
    size_t level = 0;
    while (level < r->n_styles &&
           (r->styles[level].mark != mark || r->styles[level].over != over)) {
        level++;
    }
    if (level == r->n_styles && r->n_styles < STYLES_MAX) {
        r->styles[r->n_styles].mark = mark;
        r->styles[r->n_styles++].over = over;
    }
    buf_reset(&r->clean);
    inline_rst(text_trim(title), &r->clean);
    emit_document(r->e, "rst", buf_view(&r->clean), STR(""), 0);
    emit_text(r->e, EX__BLOCK__KIND__HEADING, (uint32_t)(level < 5 ? level + 1 : 6),
              buf_view(&r->clean));
}

/* "- ", "* ", "1. ", "#. ", "(a) ": how long the mark is; 0: none. */
static size_t item_mark(struct str s)
{
    size_t n = 0;
    if (s.len > 1 && strchr("-*+", s.ptr[0]) != NULL && s.ptr[0] != '\0' && s.ptr[1] == ' ') {
        return 2;
    }
    n += s.len > 0 && s.ptr[0] == '(' ? 1 : 0;
    size_t from = n;
    while (n < s.len && n - from < 4 && ((s.ptr[n] >= '0' && s.ptr[n] <= '9') || s.ptr[n] == '#')) {
        n++;
    }
    return n > from && n + 1 < s.len && (s.ptr[n] == '.' || s.ptr[n] == ')') && s.ptr[n + 1] == ' '
               ? n + 2
               : 0;
}

/* What of a grid table's line comes before the next bar. False: no bar comes. */
static bool grid_cell(struct row_line *l, struct str *cell)
{
    const char *bar = memchr(l->rest.ptr, '|', l->rest.len);
    if (bar == NULL) {
        return false;
    }
    *cell = (struct str){l->rest.ptr, (size_t)(bar - l->rest.ptr)};
    l->rest = (struct str){bar + 1, l->rest.len - cell->len - 1};
    return true;
}

/* Of a simple table's line: its characters, not bytes, from the one to the other. */
static struct str simple_cell(struct row_line *l, size_t from, size_t to)
{
    const char *p = l->rest.ptr, *end = p + l->rest.len, *begin = NULL;
    for (size_t n; p < end && l->at < to; l->at++, p += n) {
        begin = l->at == from ? p : begin;
        (void)utf8_next(p, end, &n);
    }
    l->rest = (struct str){p, (size_t)(end - p)};
    return (struct str){begin == NULL ? p : begin, begin == NULL ? 0 : (size_t)(p - begin)};
}

/* The stretches of a simple table's border, that far in. */
static void read_columns(struct rst *r, struct str border, size_t inset)
{
    r->n_columns = 0;
    for (size_t i = 0; i < border.len && r->n_columns < COLUMNS_MAX;) {
        size_t from = i;
        while (i < border.len && border.ptr[i] == '=') {
            i++;
        }
        r->columns[r->n_columns].from = from + inset;
        r->columns[r->n_columns++].to = i + inset;
        while (i < border.len && border.ptr[i] == ' ') {
            i++;
        }
    }
    r->columns[r->n_columns - 1].to = SIZE_MAX;
}

/* The row's lines, each cell's put together. */
static void put_row(struct rst *r, bool head)
{
    size_t room = 16;
    for (size_t i = 0; i < r->n_row; i++) {
        room += r->row[i].rest.len * 4;
    }
    struct buf row;
    bool any = r->n_row > 0;
    buf_init(&row, room);
    for (size_t column = 0; any; column++) {
        size_t before = row.len + (column > 0 ? 3 : 0);
        any = r->mode == SIMPLE && column < r->n_columns;
        for (size_t i = 0; i < r->n_row; i++) {
            struct str cell = STR("");
            if (r->mode == GRID) {
                any = grid_cell(&r->row[i], &cell) || any;
            } else if (any) {
                cell = simple_cell(&r->row[i], r->columns[column].from, r->columns[column].to);
            }
            cell = text_trim(cell);
            if (any && column > 0 && row.len < before) {
                buf_z(&row, " | ");
            }
            buf_z(&row, cell.len > 0 && row.len > before ? " " : "");
            buf_str(&row, cell);
        }
    }
    if (r->n_row > 0) {
        buf_reset(&r->clean);
        inline_rst(buf_view(&row), &r->clean);
        emit_document(r->e, "rst", STR(""), STR(""), 0);
        emit_text(r->e, EX__BLOCK__KIND__TABLE_ROW, head ? 1 : 0, buf_view(&r->clean));
    }
    buf_deinit(&row);
    r->n_row = 0;
}

static void add_row_line(struct rst *r, struct str line)
{
    if (r->n_row == ROW_LINES) {
        put_row(r, false);
    }
    r->row[r->n_row++] = (struct row_line){.rest = line};
}

static bool only(struct str s, const char *chars)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\0' || strchr(chars, s.ptr[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* A line of a grid table; false: it is behind it. */
static bool read_grid(struct rst *r, struct str s)
{
    if (is_grid(s)) {
        put_row(r, memchr(s.ptr, '=', s.len) != NULL);
        return true;
    }
    if (s.len > 0 && s.ptr[0] == '|') {
        if (memmem(s.ptr, s.len, "+--", 3) != NULL) { /* some cells go on under it */
            put_row(r, false);
        } else {
            add_row_line(r, (struct str){s.ptr + 1, s.len - 1});
        }
        return true;
    }
    put_row(r, false);
    return false;
}

/* A line of a simple table. Its last border is the third, or one with nothing under it; a row goes
 * on in lines whose first cell is empty. */
static void read_simple(struct rst *r, struct str text, size_t at, struct str line)
{
    struct str s = text_trim(line), next = STR("");
    struct row_line whole = {.rest = line};
    if (is_columns(s)) {
        bool last = ++r->borders >= 3 || !source_line(text, &at, &next) || text_trim(next).len == 0;
        put_row(r, !last);
        r->mode = last ? TEXT : SIMPLE;
        return;
    }
    if (s.len == 0 || only(s, "- ")) { /* a line under cells that are one */
        put_row(r, false);
        return;
    }
    if (text_trim(simple_cell(&whole, r->columns[0].from, r->columns[0].to)).len > 0) {
        put_row(r, false);
    }
    add_row_line(r, line);
}

/* ":name:" or ":name: value", and no role. */
static bool is_field(struct str s)
{
    const char *colon = s.len > 2 && s.ptr[0] == ':' ? memchr(s.ptr + 1, ':', s.len - 1) : NULL;
    return colon != NULL && (colon + 1 == s.ptr + s.len || colon[1] == ' ');
}

/* ".. something": what it brings. */
static void read_explicit(struct rst *r, struct str s, size_t indent)
{
    static const char *const literal[] = {
        "code",           "code-block", "sourcecode", "parsed-literal",
        "literalinclude", "highlight",  "math",       "raw"};
    struct str rest = text_trim((struct str){s.ptr + 2, s.len - 2});
    const char *colons = memmem(rest.ptr, rest.len, "::", 2);
    r->indent = indent;
    if (rest.len > 0 && rest.ptr[0] == '[') { /* a footnote or citation */
        const char *close = memchr(rest.ptr, ']', rest.len);
        size_t n = close == NULL ? 0 : (size_t)(close + 1 - rest.ptr);
        r->kind = EX__BLOCK__KIND__NOTE;
        buf_append(&r->block, rest.ptr + n, rest.len - n);
        buf_char(&r->block, '\n');
    } else if (rest.len > 0 && rest.ptr[0] == '_') { /* a target */
        return;
    } else if (colons != NULL) {
        struct str name = {rest.ptr, (size_t)(colons - rest.ptr)};
        struct str argument =
            text_trim((struct str){colons + 2, (size_t)(rest.ptr + rest.len - colons - 2)});
        for (size_t i = 0; i < sizeof literal / sizeof literal[0]; i++) {
            if (str_eq(name, str_from(literal[i]))) {
                if (str_eq(name, STR("math")) && argument.len > 0) { /* the formula, or its first */
                    buf_str(&r->block, argument);
                    buf_char(&r->block, '\n');
                    r->kind = EX__BLOCK__KIND__CODE;
                } else {
                    r->mode = LITERAL_BEGINS;
                }
                return;
            }
        }
        r->options = true;
        bool file = str_eq(name, STR("image")) || str_eq(name, STR("figure")) ||
                    str_eq(name, STR("include")) || str_eq(name, STR("toctree"));
        if (!file && argument.len > 0) {
            buf_str(&r->block, argument);
            buf_char(&r->block, '\n');
        }
    } else {
        r->mode = COMMENT;
    }
}

static void read_text(struct rst *r, struct str line)
{
    size_t indent = indent_of(line);
    struct str s = text_trim(line);
    if (s.len == 0) {
        struct str before = text_trim(buf_view(&r->block));
        bool literal = before.len >= 2 && before.ptr[before.len - 1] == ':' &&
                       before.ptr[before.len - 2] == ':';
        if (literal) {
            r->block.len =
                (size_t)(before.ptr + before.len - r->block.ptr) - (before.len == 2 ? 2 : 1);
        }
        finish_block(r);
        r->mode = literal ? LITERAL_BEGINS : TEXT;
        r->options = false;
        return;
    }
    if (s.len >= 2 && s.ptr[0] == '.' && s.ptr[1] == '.' && (s.len == 2 || s.ptr[2] == ' ')) {
        finish_block(r);
        read_explicit(r, s, indent);
        return;
    }
    if (r->e->blocks_out < FIELD_BLOCKS && indent == 0) {
        emit_field_line(r->e, s); /* it stays text as well */
    }
    size_t mark = item_mark(s);
    if (mark > 0) {
        finish_block(r);
        r->kind = EX__BLOCK__KIND__LIST_ITEM;
        s = (struct str){s.ptr + mark, s.len - mark};
    } else if (r->options && indent > r->indent && is_field(s)) {
        return;
    }
    r->options = false;
    buf_str(&r->block, s);
    buf_char(&r->block, '\n');
    r->indent = indent;
}

/* A title or table begins at this line; *at is moved behind what it takes. */
static bool read_structure(struct rst *r, struct str text, size_t *at, struct str line)
{
    struct str next;
    struct str third;
    size_t after = *at;
    bool has_next = source_line(text, &after, &next);
    size_t end = after;
    bool has_third = has_next && source_line(text, &end, &third);
    struct str s = text_trim(line);
    if (is_grid(s)) {
        finish_block(r);
        r->mode = GRID;
        return true;
    }
    if (is_columns(s)) {
        finish_block(r);
        r->mode = SIMPLE;
        read_columns(r, s, indent_of(line));
        r->borders = 1;
        return true;
    }
    char mark = border(s);
    if (mark != '\0' && has_third && border(text_trim(third)) == mark && text_trim(next).len > 0 &&
        text_trim(third).len >= text_trim(next).len) {
        finish_block(r);
        put_title(r, next, mark, true);
        *at = end;
        return true;
    }
    if (mark == '\0' && has_next && r->block.len == 0 && indent_of(line) == 0 && s.len > 0) {
        struct str under = text_trim(next);
        char below = border(under);
        if (below != '\0' && under.len >= utf8_count(s)) {
            finish_block(r);
            put_title(r, line, below, false);
            *at = after;
            return true;
        }
    }
    if (mark != '\0' && s.len >= 4 && r->block.len == 0) { /* a line across */
        return true;
    }
    return false;
}

static void read_line(struct rst *r, struct str text, size_t *at, struct str line)
{
    struct str s = text_trim(line);
    switch (r->mode) {
    case LITERAL_BEGINS:
        if (s.len == 0 || s.ptr[0] == ':') { /* a directive's option */
            return;
        }
        r->mode = indent_of(line) > r->indent ? LITERAL : TEXT;
        r->kind = r->mode == LITERAL ? EX__BLOCK__KIND__CODE : EX__BLOCK__KIND__PARAGRAPH;
        break;
    case LITERAL:
    case COMMENT:
        if (s.len > 0 && indent_of(line) <= r->indent) {
            if (r->mode == LITERAL) {
                finish_block(r);
            }
            r->mode = TEXT;
        }
        break;
    case GRID:
        if (read_grid(r, s)) {
            return;
        }
        r->mode = TEXT;
        break;
    case SIMPLE:
        read_simple(r, text, *at, line);
        return;
    case TEXT:
        break;
    }
    if (r->mode == LITERAL) {
        buf_str(&r->block, line);
        buf_char(&r->block, '\n');
    } else if (r->mode == TEXT && !read_structure(r, text, at, line)) {
        read_text(r, line);
    }
}

enum status rst_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct source source;
    struct str line;
    struct rst r = {.e = e, .kind = EX__BLOCK__KIND__PARAGRAPH};
    enum status s = source_open(&source, in, NULL, err);
    buf_init(&r.block, in->max_bytes);
    buf_init(&r.clean, in->max_bytes);
    for (size_t at = 0;
         s == STATUS_OK && !emit_failed(e) && source_line(source.text, &at, &line);) {
        read_line(&r, source.text, &at, line);
        if (buf_status(&r.block) != STATUS_OK || buf_status(&r.clean) != STATUS_OK) {
            s = error_set(err, STATUS_TOO_LARGE, "it is too large for the memory allowed");
        }
    }
    if (s == STATUS_OK) {
        put_row(&r, false);
        finish_block(&r);
    }
    buf_deinit(&r.block);
    buf_deinit(&r.clean);
    source_close(&source);
    return s;
}
