/* Tables as text (RFC 4180, and what programs write instead): the delimiter is the one that gives
 * most records the same number of fields; a first record of names is a header, and then each record
 * is one block of "column: value". Lines before the table, with one field, are paragraphs. */
#include <stdlib.h>

#include "ingest/formats/source.h"

#define LOOK_RECORDS 200
#define LOOK_BYTES (256 * 1024)
#define COLUMNS_MAX 4096
#define QUOTED_MAX (64 * 1024) /* of one field; a quotation mark that closes later is none */
#define STRAY_MAX 16           /* so many of those: quotation marks mean nothing in this file */

struct reader {
    struct str text;
    size_t at;
    char delimiter;
    unsigned stray;
    struct str fields[COLUMNS_MAX]; /* of the record: in the text, or (unquoted ones) in `plain` */
    size_t n;                       /* may be more: the rest is dropped from `fields`, not from n */
    struct buf plain;
};

static bool ends_field(const struct reader *r, size_t i)
{
    return i >= r->text.len || r->text.ptr[i] == r->delimiter || r->text.ptr[i] == '\n' ||
           r->text.ptr[i] == '\r';
}

/* The closing quotation mark of the field that opens at i; 0: there is none near. */
static size_t closing(const struct reader *r, size_t i)
{
    size_t end = r->text.len - i > QUOTED_MAX ? i + QUOTED_MAX : r->text.len;
    for (size_t k = i + 1; k < end; k++) {
        if (r->text.ptr[k] == '"') {
            if (ends_field(r, k + 1)) {
                return k;
            }
            k += k + 1 < end && r->text.ptr[k + 1] == '"' ? 1 : 0;
        }
    }
    return 0;
}

static struct str unquoted(struct reader *r, size_t from, size_t to)
{
    struct str raw = {r->text.ptr + from, to - from};
    if (memmem(raw.ptr, raw.len, "\"\"", 2) == NULL) {
        return raw;
    }
    size_t start = r->plain.len;
    for (size_t i = 0; i < raw.len; i++) {
        buf_char(&r->plain, raw.ptr[i]);
        i += raw.ptr[i] == '"' && i + 1 < raw.len && raw.ptr[i + 1] == '"' ? 1 : 0;
    }
    /* an offset for now: the buffer may move */
    return (struct str){(const char *)(uintptr_t)(start + 1), r->plain.len - start};
}

static struct str next_field(struct reader *r, bool *in_plain)
{
    size_t from = r->at;
    *in_plain = false;
    while (from < r->text.len && r->text.ptr[from] == ' ' && r->delimiter != ' ') {
        from++;
    }
    if (from < r->text.len && r->text.ptr[from] == '"' && r->stray < STRAY_MAX) {
        size_t close = closing(r, from);
        if (close > 0) {
            size_t before = r->plain.len;
            struct str f = unquoted(r, from + 1, close);
            *in_plain = r->plain.len > before;
            r->at = close + 1;
            return f;
        }
        r->stray++;
    }
    from = r->at;
    while (!ends_field(r, r->at)) {
        r->at++;
    }
    return (struct str){r->text.ptr + from, r->at - from};
}

/* Nothing but what divides fields: a row that a spreadsheet left empty. */
static bool is_empty(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\0' || strchr(" \t,;|", s.ptr[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* The next record that is not blank; false at the end. */
static bool next_record(struct reader *r)
{
    while (r->at < r->text.len) {
        bool blank = true;
        bool more = true;
        size_t moved[COLUMNS_MAX / 64] = {0}; /* one bit a field: it is in `plain` */
        r->n = 0;
        buf_reset(&r->plain);
        while (more) {
            bool in_plain = false;
            struct str f = next_field(r, &in_plain);
            blank = blank && !in_plain && is_empty(f);
            if (r->n < COLUMNS_MAX) {
                moved[r->n / 64] |= (size_t)in_plain << (r->n % 64);
                r->fields[r->n] = f;
            }
            r->n++;
            more = r->at < r->text.len && r->text.ptr[r->at] == r->delimiter;
            r->at += more ? 1 : 0;
        }
        if (r->at < r->text.len && r->text.ptr[r->at] == '\r') {
            r->at++;
        }
        if (r->at < r->text.len && r->text.ptr[r->at] == '\n') {
            r->at++;
        }
        for (size_t i = 0; i < r->n && i < COLUMNS_MAX && buf_status(&r->plain) == STATUS_OK; i++) {
            if ((moved[i / 64] >> (i % 64) & 1) != 0) {
                r->fields[i].ptr = r->plain.ptr + ((uintptr_t)r->fields[i].ptr - 1);
            }
            r->fields[i] = text_trim(r->fields[i]);
        }
        r->n = r->n < COLUMNS_MAX ? r->n : COLUMNS_MAX;
        if (!blank) {
            return true;
        }
    }
    return false;
}

/* ---- delimiter ---- */

/* How well it divides the first records: how many have the commonest number of fields above one. */
static size_t divides(struct reader *r, char delimiter, size_t *columns)
{
    size_t counts[65] = {0};
    size_t best = 0;
    size_t records = 0;
    struct str whole = r->text;
    r->text.len = whole.len < LOOK_BYTES ? whole.len : LOOK_BYTES;
    r->at = 0;
    r->delimiter = delimiter;
    r->stray = 0;
    while (records < LOOK_RECORDS && next_record(r)) {
        counts[r->n < 64 ? r->n : 64]++;
        records++;
    }
    for (size_t n = 2; n <= 64; n++) {
        if (counts[n] > best) {
            best = counts[n];
            *columns = n;
        }
    }
    r->text = whole;
    r->at = 0;
    r->stray = 0;
    return records == 0 ? 0 : best * 1000 / records;
}

/* "sep=;" on a line of its own, as spreadsheets write and read it: taken off. */
static char said_delimiter(struct str *text)
{
    if (text->len < 6 || memcmp(text->ptr, "sep=", 4) != 0 ||
        (text->ptr[5] != '\n' && text->ptr[5] != '\r')) {
        return '\0';
    }
    char c = text->ptr[4];
    size_t n = text->ptr[5] == '\r' && text->len > 6 && text->ptr[6] == '\n' ? 7 : 6;
    *text = (struct str){text->ptr + n, text->len - n};
    return c;
}

static char find_delimiter(struct reader *r)
{
    static const char candidates[] = ",;\t|";
    size_t best = 0;
    size_t best_columns = 0;
    char found = '\0';
    for (const char *c = candidates; *c != '\0'; c++) {
        size_t columns = 0;
        size_t part = divides(r, *c, &columns);
        /* a comma within semicolons' fields divides a few records too, seldom all alike */
        if (part > best + 50 || (part + 50 > best && part > 0 && columns > best_columns)) {
            best = part;
            best_columns = columns;
            found = *c;
        }
    }
    return found;
}

/* ---- header ---- */

static bool is_number(struct str s)
{
    bool digit = false;
    for (size_t i = 0; i < s.len; i++) {
        bool d = s.ptr[i] >= '0' && s.ptr[i] <= '9';
        digit = digit || d;
        if (!d && strchr("+-.,:/%eE \xE2\x82\xAC$", s.ptr[i]) == NULL) {
            return false;
        }
    }
    return digit;
}

/* Names: none is a number, none comes twice, none is missing but perhaps the first or last. */
static bool could_be_header(const struct reader *r)
{
    size_t empty = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (r->fields[i].len == 0) {
            empty++;
            continue;
        }
        if (is_number(r->fields[i]) || r->fields[i].len > 200) {
            return false;
        }
        for (size_t k = 0; k < i && r->n <= 256; k++) {
            if (str_eq(r->fields[i], r->fields[k])) {
                return false;
            }
        }
    }
    return r->n > 1 && empty * 4 <= r->n;
}

struct table {
    struct emitter *e;
    struct str *names; /* NULL: no header */
    size_t n;
    struct buf line;
    struct str title;
};

static enum status keep_header(struct table *t, const struct reader *r, struct arena *a,
                               struct error *err)
{
    t->names = arena_array(a, r->n, sizeof *t->names);
    t->n = r->n;
    for (size_t i = 0; t->names != NULL && i < r->n; i++) {
        char *name = arena_strndup(a, r->fields[i].ptr, r->fields[i].len);
        if (name == NULL) {
            t->names = NULL;
            break;
        }
        t->names[i] = (struct str){name, r->fields[i].len};
    }
    return t->names != NULL ? STATUS_OK : error_set(err, STATUS_NO_MEMORY, "out of memory");
}

static void emit_record(struct table *t, const struct reader *r)
{
    buf_reset(&t->line);
    for (size_t i = 0; i < r->n; i++) {
        if (r->fields[i].len == 0) {
            continue;
        }
        buf_z(&t->line, t->line.len > 0 ? " | " : "");
        if (t->names != NULL && i < t->n && t->names[i].len > 0) {
            text_squeeze(&t->line, t->names[i], false);
            buf_z(&t->line, ": ");
        }
        text_squeeze(&t->line, r->fields[i], false);
    }
    emit_text(t->e, EX__BLOCK__KIND__TABLE_ROW, 0, buf_view(&t->line));
}

static enum status read_table(struct reader *r, struct table *t, struct arena *a, struct error *err)
{
    enum status s = STATUS_OK;
    bool first = true;
    while (s == STATUS_OK && !emit_failed(t->e) && next_record(r)) {
        if (first && r->n == 1 && r->delimiter != '\0') { /* a title above the table */
            emit_text(t->e, EX__BLOCK__KIND__PARAGRAPH, 0, r->fields[0]);
            continue;
        }
        if (first && could_be_header(r)) {
            s = keep_header(t, r, a, err);
        } else {
            emit_record(t, r);
        }
        first = false;
        if (buf_status(&r->plain) != STATUS_OK || buf_status(&t->line) != STATUS_OK) {
            s = error_set(err, STATUS_TOO_LARGE, "a row is too large for the memory allowed");
        }
    }
    if (s == STATUS_OK && t->names != NULL && t->e->blocks_out == 0) { /* nothing but a header */
        for (size_t i = 0; i < t->n; i++) {
            emit_text(t->e, EX__BLOCK__KIND__TABLE_ROW, 0, t->names[i]);
        }
    }
    return s;
}

enum status csv_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct source source;
    struct reader *r = arena_alloc(in->arena, sizeof *r);
    struct table t = {.e = e};
    enum status s = source_open(&source, in, NULL, err);
    buf_init(&t.line, in->max_bytes);
    if (s == STATUS_OK && r == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (s == STATUS_OK) {
        *r = (struct reader){.text = source.text};
        buf_init(&r->plain, in->max_bytes);
        r->delimiter = said_delimiter(&r->text);
        r->delimiter = r->delimiter != '\0' ? r->delimiter : find_delimiter(r);
        emit_document(e, "csv", STR(""), STR(""), 0);
        s = read_table(r, &t, in->arena, err);
        buf_deinit(&r->plain);
    }
    buf_deinit(&t.line);
    source_close(&source);
    return s;
}
