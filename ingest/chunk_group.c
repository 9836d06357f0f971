/* What stays together: a list or table with the sentence or caption that leads in, rows with the
 * row that names their columns, a slide, a mail. */
#include "base/buf.h"
#include "ingest/chunk_internal.h"
#include "ingest/utf8.h"

#define LEAD_MAX 400   /* bytes of a sentence that is said again */
#define HEADER_MAX 800 /* of a header row */
#define HEADER_CELL 60 /* a column's name is no longer */
#define CELLS STR(" | ")

static bool is_run(const struct part *p)
{
    return p->block->kind == EX__BLOCK__KIND__LIST_ITEM ||
           p->block->kind == EX__BLOCK__KIND__TABLE_ROW;
}

static bool is_blank(const struct part *p)
{
    return p->at.byte == p->at.byte_end;
}

/* The cell that begins at *at; false after the last. */
static bool next_cell(struct str row, size_t *at, struct str *cell)
{
    if (*at > row.len) {
        return false;
    }
    size_t end = *at;
    while (end < row.len && !str_starts((struct str){row.ptr + end, row.len - end}, CELLS)) {
        end++;
    }
    *cell = (struct str){row.ptr + *at, end - *at};
    *at = end < row.len ? end + CELLS.len : row.len + 1;
    return true;
}

/* More digits than letters. */
static bool is_number(struct str cell)
{
    size_t digits = 0, letters = 0;
    for (size_t i = 0; i < cell.len; i++) {
        unsigned char c = (unsigned char)cell.ptr[i];
        digits += c >= '0' && c <= '9';
        letters += (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        letters += c >= 0xC0;
    }
    return digits > letters;
}

/* "city: Lyon | year: 1990": each row says its columns itself. */
static bool says_columns(struct str row, struct str next)
{
    size_t n = 0;
    while (n < row.len && n < next.len && row.ptr[n] == next.ptr[n]) {
        if (row.ptr[n] == ':') {
            return true;
        }
        n++;
    }
    return false;
}

/* The first row of a table names its columns: several cells, all short, none a number. Formats that
 * know mark it. */
static bool is_header(const struct cutter *c, size_t first, size_t n)
{
    struct str row = chunk_part_text(c, &c->parts[first]), cell;
    size_t cells = 0;
    if (n < 2 || row.len > HEADER_MAX ||
        says_columns(row, chunk_part_text(c, &c->parts[first + 1]))) {
        return false;
    }
    if (c->parts[first].block->level == 1) {
        return true;
    }
    for (size_t at = 0; next_cell(row, &at, &cell); cells++) {
        if (cell.len > HEADER_CELL || is_number(cell)) {
            return false;
        }
    }
    return cells > 1;
}

/* A caption, or a paragraph that ends with a colon. */
static bool leads_in(const struct cutter *c, const struct part *p)
{
    struct str text = chunk_part_text(c, p);
    bool colon = str_ends(text, STR(":")) || str_ends(text, STR("\uFF1A"));
    return p->block->kind == EX__BLOCK__KIND__CAPTION ||
           ((p->block->kind == EX__BLOCK__KIND__PARAGRAPH ||
             p->block->kind == EX__BLOCK__KIND__QUOTE) &&
            colon);
}

static bool same_run(const struct part *a, const struct part *b)
{
    return a->block->kind == b->block->kind && a->block->unit == b->block->unit && !is_blank(b);
}

void chunk_groups(struct cutter *c)
{
    size_t before = NO_PART; /* the last part that is not blank */
    for (size_t i = 0; i < c->n; i++) {
        struct part *p = &c->parts[i];
        if (is_blank(p)) {
            continue;
        }
        p->leads = p->block->kind == EX__BLOCK__KIND__HEADING;
        if (!is_run(p)) {
            before = i;
            continue;
        }
        size_t end = i + 1;
        while (end < c->n && same_run(p, &c->parts[end])) {
            end++;
        }
        struct part *lead = before == NO_PART ? NULL : &c->parts[before];
        bool led = lead != NULL && lead->block->unit == p->block->unit && leads_in(c, lead);
        bool table = p->block->kind == EX__BLOCK__KIND__TABLE_ROW;
        bool headed = table && is_header(c, i, end - i);
        if (led) {
            lead->leads = true;
        }
        for (size_t k = i; k < end; k++) {
            c->parts[k].lead = led ? before : NO_PART;
            c->parts[k].header = headed ? i : NO_PART;
        }
        p->leads = headed;
        before = end - 1;
        i = end - 1;
    }
}

uint64_t chunk_group_size(const struct cutter *c, size_t i, size_t *last)
{
    uint64_t size = c->parts[i].size;
    *last = i;
    while (c->parts[*last].leads && *last + 1 < c->n) {
        const struct part *p = &c->parts[*last + 1];
        if (p->block->kind == EX__BLOCK__KIND__HEADING ||
            p->block->unit != c->parts[i].block->unit) {
            break;
        }
        (*last)++;
        size += p->size <= c->max ? p->size : 0;
    }
    return size;
}

bool chunk_unit_is_whole(const struct cutter *c, size_t i)
{
    uint32_t unit = c->parts[i].block->unit;
    uint64_t size = 0;
    const char *label = unit == 0 ? "" : c->out->units[unit - 1];
    if (strncmp(label, "slide ", 6) != 0 && strncmp(label, "message ", 8) != 0) {
        return false;
    }
    for (; i < c->n && c->parts[i].block->unit == unit && size <= c->max; i++) {
        size += c->parts[i].block->kind == EX__BLOCK__KIND__FURNITURE ? 0 : c->parts[i].size;
    }
    return size <= c->max;
}

/* The last sentence of part i; what is longer than said again does not fit. */
static struct str last_sentence(struct cutter *c, size_t i)
{
    if (c->leads_of != i) {
        const struct part *p = &c->parts[i];
        struct str text = {c->out->text.ptr, p->at.byte_end};
        size_t at = p->at.byte;
        for (size_t end = at; end < text.len;) {
            at = end;
            end = sentence_end(c->splitter, text, at);
        }
        c->leads_of = i;
        c->said = (struct str){text.ptr + at, text.len - at};
        c->said.len = c->said.len <= LEAD_MAX ? c->said.len : 0;
    }
    return c->said;
}

const char *chunk_context(struct cutter *c, size_t i, size_t byte)
{
    const struct part *p = &c->parts[i];
    struct buf b;
    buf_init(&b, 4096);
    if (p->lead != NO_PART && c->parts[p->lead].at.byte < byte) {
        buf_str(&b, last_sentence(c, p->lead));
    }
    if (p->header != NO_PART && c->parts[p->header].at.byte < byte) {
        buf_z(&b, b.len > 0 ? "\n" : "");
        buf_str(&b, chunk_part_text(c, &c->parts[p->header]));
    }
    const char *out = b.len == 0 ? "" : arena_strndup(c->arena, b.ptr, b.len);
    bool bad = buf_status(&b) != STATUS_OK || out == NULL;
    buf_deinit(&b);
    if (bad) {
        c->status = chunk_no_memory(c->err);
        return "";
    }
    return out;
}
