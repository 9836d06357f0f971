/* Word's binary files ([MS-DOC]; Word 6 and 95 by their layout, with less known of them). The text
 * lies in pieces, some of 8-bit characters, some of UTF-16, in one order of positions: the body,
 * then the notes, headers, comments and boxes. A mark at a paragraph's end says what it is; what
 * belongs to a position (a footnote, a comment) is given behind its paragraph. */
#include <strings.h>

#include "ingest/formats/charset.h"
#include "ingest/formats/doc_lists.h"
#include "ingest/formats/doc_props.h"
#include "ingest/formats/ole.h"
#include "ingest/formats/source.h"
#include "ingest/utf8.h"

#define WORD_97 193U
#define WORD_6 101U
#define FIELDS_MAX 31U
#define LINK_MAX 2048U
#define TEXT_MAX (16U * 1024 * 1024) /* a paragraph, a row */
#define LABEL_MAX 4096U
#define STORIES 7U /* body, footnotes, headers, macros, comments, endnotes, boxes */

enum { BODY, FOOTNOTES, HEADERS, MACROS, COMMENTS, ENDNOTES, BOXES };

struct piece {
    uint32_t from, to; /* positions */
    uint32_t offset;   /* in the stream */
    bool wide;         /* UTF-16 */
};

struct notes { /* of one kind: where they are named, where their texts are */
    struct str at, texts;
    uint32_t n, next;
    uint32_t start; /* of their story */
    uint32_t end;   /* of the one that was read last */
};

struct doc {
    struct ole *o;
    struct str main;
    struct doc_props props;
    struct numbering numbering;
    bool old; /* Word 6, 95 */
    const char *charset;
    struct piece *pieces;
    uint32_t n_pieces;
    uint32_t starts[STORIES + 1];
    struct notes notes[3];
    uint64_t left; /* characters that may still be read: pieces and notes may lie over each other */
    bool failed;
};

struct story { /* one that is being read */
    struct doc *d;
    Ex__Block__Kind kind; /* of its paragraphs */
    struct buf text, row, link, bytes;
    unsigned cells;
    bool in_row, lead; /* lead: the first byte of two is the last of `bytes` */
    bool cell_ended;
    uint32_t fields, instructions; /* how many are open; a bit for each that is not at its result */
    bool drawn;                    /* the field that is open has a result */
};

/* ---- paragraphs and rows ---- */

static void decode_pending(struct story *s)
{
    struct error none = {0};
    if (s->bytes.len > 0) {
        (void)!charset_decode(buf_view(&s->bytes), s->d->charset, &s->text, &none);
        buf_reset(&s->bytes);
    }
    s->lead = false;
}

/* label: its automatic number; a paragraph without text counts, and is not given out. */
static void put(struct story *s, Ex__Block__Kind kind, uint32_t level, struct str label,
                struct str text)
{
    struct buf clean;
    buf_init(&clean, TEXT_MAX * 2);
    if (label.len > 0 && text_trim(text).len > 0) {
        buf_str(&clean, label);
        buf_char(&clean, ' ');
    }
    text_squeeze(&clean, text, true);
    emit_text(s->d->o->e, kind, level, buf_view(&clean));
    buf_deinit(&clean);
}

static void end_row(struct story *s)
{
    struct str r = buf_view(&s->row);
    bool blank = true;
    for (size_t i = 0; i < r.len && blank; i++) {
        blank = r.ptr[i] == ' ' || r.ptr[i] == '|';
    }
    if (!blank) {
        Ex__Block__Kind k =
            s->kind == EX__BLOCK__KIND__PARAGRAPH ? EX__BLOCK__KIND__TABLE_ROW : s->kind;
        emit_text(s->d->o->e, k, 0, r);
    }
    buf_reset(&s->row);
    s->cells = 0;
    s->in_row = false;
}

static void end_cell(struct story *s)
{
    decode_pending(s);
    buf_z(&s->row, s->cells++ > 0 ? " | " : "");
    text_squeeze(&s->row, buf_view(&s->text), false);
    buf_reset(&s->text);
    s->in_row = true;
}

static void end_paragraph(struct story *s, const struct doc_paragraph *p)
{
    decode_pending(s);
    if (s->in_row) {
        end_row(s);
    }
    Ex__Block__Kind kind = s->kind;
    uint32_t level = 0;
    struct buf label;
    buf_init(&label, LABEL_MAX);
    if (kind == EX__BLOCK__KIND__PARAGRAPH && p != NULL) {
        level = p->level;
        kind = level > 0     ? EX__BLOCK__KIND__HEADING
               : p->list > 0 ? EX__BLOCK__KIND__LIST_ITEM
                             : kind;
        if (p->list > 0) {
            numbering_next(&s->d->numbering, p->list, p->list_level, &label);
        }
    }
    put(s, kind, level, buf_view(&label), buf_view(&s->text));
    buf_deinit(&label);
    buf_reset(&s->text);
}

/* A paragraph's end that may be one within a cell. */
static void end_line(struct story *s, uint32_t offset)
{
    const struct doc_paragraph *p = doc_paragraph_at(&s->d->props, offset);
    if (p->inner_row_end) {
        decode_pending(s);
        buf_char(&s->text, '\n');
    } else if (p->in_table) {
        decode_pending(s);
        buf_z(&s->text, p->inner_cell ? " | " : "\n");
    } else {
        end_paragraph(s, p);
    }
}

/* The end of a cell, or of a row. Of Word 95 no properties are read: there a row ends where a cell
 * ends at once. */
static void end_mark(struct story *s, uint32_t offset)
{
    const struct doc_paragraph *p = doc_paragraph_at(&s->d->props, offset);
    bool at_once = s->text.len == 0 && s->bytes.len == 0 && s->cell_ended;
    if (p->row_end || (s->d->old && at_once)) {
        end_row(s);
    } else {
        end_cell(s);
        s->cell_ended = true;
    }
}

/* ---- fields: an instruction, perhaps a result ---- */

static void put_link(struct story *s)
{
    static const char word[] = "HYPERLINK";
    struct str k = text_trim(buf_view(&s->link));
    if (s->drawn && k.len > sizeof word && strncasecmp(k.ptr, word, sizeof word - 1) == 0) {
        k = text_trim((struct str){k.ptr + sizeof word - 1, k.len - sizeof word + 1});
        const char *to = k.len < 2 || k.ptr[0] != '"' ? NULL : memchr(k.ptr + 1, '"', k.len - 1);
        struct str url = to == NULL ? STR("") : (struct str){k.ptr + 1, (size_t)(to - k.ptr - 1)};
        bool shown = url.len == 0 || s->text.ptr == NULL ||
                     memmem(s->text.ptr, s->text.len, url.ptr, url.len) != NULL;
        if (!shown) {
            decode_pending(s);
            buf_z(&s->text, " (");
            buf_str(&s->text, url);
            buf_z(&s->text, ")");
        }
    }
    buf_reset(&s->link);
}

static void on_field(struct story *s, uint32_t c)
{
    uint32_t bit = s->fields > 0 && s->fields <= FIELDS_MAX ? 1U << (s->fields - 1) : 0;
    decode_pending(s);
    if (c == 0x13) {
        s->instructions |= s->fields < FIELDS_MAX ? 1U << s->fields : 0;
        s->fields++;
        if (s->fields == 1) {
            buf_reset(&s->link);
            s->drawn = false;
        }
    } else if (c == 0x14) {
        s->instructions &= ~bit;
        s->drawn = s->drawn || s->fields == 1;
    } else if (s->fields > 0) {
        s->instructions &= ~bit;
        s->fields--;
        if (s->fields == 0) {
            put_link(s);
        }
    }
}

/* ---- characters ---- */

static bool is_two_bytes(const char *charset, uint32_t c)
{
    bool asian = strcmp(charset, "CP932") == 0 || strcmp(charset, "GBK") == 0 ||
                 strcmp(charset, "CP949") == 0 || strcmp(charset, "BIG5") == 0;
    bool half = strcmp(charset, "CP932") == 0 && c >= 0xA0 && c < 0xE0;
    return asian && c > 0x80 && c < 0xFF && !half;
}

/* Of an 8-bit piece. */
static void put_byte(struct story *s, uint32_t c)
{
    if (c < 0x80 && !s->lead) {
        decode_pending(s);
        buf_char(&s->text, (char)c);
        return;
    }
    buf_char(&s->bytes, (char)c);
    s->lead = !s->lead && is_two_bytes(s->d->charset, c);
}

static void put_text(struct story *s, uint32_t c, bool wide, const char *at)
{
    if (s->instructions != 0) {
        if (s->fields == 1 && s->link.len < LINK_MAX - 4) {
            utf8_put(&s->link, c);
        }
    } else if (!wide) {
        put_byte(s, c);
    } else {
        utf16_put(&s->text, (struct str){at, c >= 0xD800 && c < 0xDC00 ? 4 : 2});
    }
}

/* Characters below a space, most of which mean something. */
static void on_control(struct story *s, uint32_t c, uint32_t offset)
{
    if (c == 0x13 || c == 0x14 || c == 0x15) {
        on_field(s, c);
    } else if (c == '\r') {
        end_line(s, offset);
    } else if (c == 0x07) {
        end_mark(s, offset);
        return;
    } else if (c == '\f' || c == 0x0E) {
        if (!s->in_row) {
            end_paragraph(s, doc_paragraph_at(&s->d->props, offset));
        }
    } else if (s->instructions == 0 && (c == '\t' || c == 0x0B)) {
        decode_pending(s);
        buf_char(&s->text, c == '\t' ? '\t' : '\n');
    } else if (s->instructions == 0 && c == 0x1E) {
        decode_pending(s);
        buf_char(&s->text, '-');
    }
}

static void on_char(struct story *s, const struct piece *p, uint32_t position)
{
    struct doc *d = s->d;
    uint32_t offset = p->offset + (position - p->from) * (p->wide ? 2 : 1);
    uint32_t c = p->wide ? le16(d->main, offset) : le8(d->main, offset);
    if (s->lead && !p->wide) {
        put_text(s, c, false, NULL);
        return;
    }
    if (c < ' ') {
        on_control(s, c, offset);
        s->cell_ended = s->cell_ended && c == 0x07;
        return;
    }
    const struct doc_char *k = doc_char_at(&d->props, offset);
    bool half = p->wide && c >= 0xDC00 && c < 0xE000; /* went with the one before */
    s->cell_ended = false;
    if (!k->hidden && !k->deleted && !k->symbol && !half) {
        put_text(s, c, p->wide, p->wide ? d->main.ptr + offset : NULL);
    }
}

/* ---- stories ---- */

static void read_notes(struct doc *d, uint32_t before);

/* The piece that the position lies in, or the first behind it. */
static uint32_t piece_of(const struct doc *d, uint32_t position)
{
    uint32_t low = 0, high = d->n_pieces;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (d->pieces[mid].to <= position) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static bool read_piece(struct story *s, const struct piece *p, uint32_t from, uint32_t to)
{
    struct doc *d = s->d;
    uint32_t width = p->wide ? 2 : 1;
    for (uint32_t at = from; at < to && !emit_failed(d->o->e); at++) {
        uint64_t offset = p->offset + (uint64_t)(at - p->from) * width;
        if (offset + width > d->main.len) {
            return true; /* cut off */
        }
        if (d->left == 0) {
            return false;
        }
        d->left--;
        on_char(s, p, at);
        if (s->kind == EX__BLOCK__KIND__PARAGRAPH && s->text.len == 0 && !s->in_row) {
            read_notes(d, at + 1);
        }
    }
    return true;
}

static void read_story(struct doc *d, Ex__Block__Kind kind, uint32_t from, uint32_t to)
{
    struct story s = {.d = d, .kind = kind};
    buf_init(&s.text, TEXT_MAX);
    buf_init(&s.row, TEXT_MAX);
    buf_init(&s.link, LINK_MAX);
    buf_init(&s.bytes, TEXT_MAX);
    for (uint32_t i = piece_of(d, from); i < d->n_pieces && !d->failed; i++) {
        const struct piece *p = &d->pieces[i];
        if (p->from >= to) {
            break;
        }
        d->failed = !read_piece(&s, p, p->from < from ? from : p->from, p->to < to ? p->to : to);
    }
    end_paragraph(&s, NULL);
    if (buf_status(&s.text) != STATUS_OK || buf_status(&s.row) != STATUS_OK ||
        buf_status(&s.bytes) != STATUS_OK) {
        d->failed = true;
    }
    buf_deinit(&s.text);
    buf_deinit(&s.row);
    buf_deinit(&s.link);
    buf_deinit(&s.bytes);
}

/* Those named before that position that have not been read: in order, each text behind the last. */
static void read_notes(struct doc *d, uint32_t before)
{
    for (size_t i = 0; i < sizeof d->notes / sizeof d->notes[0]; i++) {
        struct notes *k = &d->notes[i];
        while (k->next < k->n && le32(k->at, (size_t)k->next * 4) < before) {
            uint32_t from = le32(k->texts, (size_t)k->next * 4);
            uint32_t to = le32(k->texts, (size_t)k->next * 4 + 4);
            k->next++;
            if (from >= k->end && to > from && to < UINT32_MAX - k->start) {
                k->end = to;
                read_story(d, EX__BLOCK__KIND__NOTE, k->start + from, k->start + to);
            }
        }
    }
}

/* ---- the file's information block, and what it leads to ---- */

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
}

/* An offset and a length in the block, as what they mean in `stream`. */
static struct str part(const struct doc *d, struct str stream, size_t at)
{
    return cut(stream, le32(d->main, at), le32(d->main, at + 4));
}

static enum status read_pieces(struct doc *d, struct str clx, struct error *err)
{
    uint32_t first = le32(d->main, 0x18), length = d->starts[STORIES];
    struct str table = STR("");
    while (clx.len >= 5) {
        if (le8(clx, 0) == 2) {
            table = cut(clx, 5, le32(clx, 1));
            break;
        }
        if (le8(clx, 0) != 1) {
            break;
        }
        clx = cut(clx, 3 + (size_t)le16(clx, 1), clx.len);
    }
    uint32_t n = table.len < 16 ? 0 : (uint32_t)((table.len - 4) / 12);
    d->pieces = arena_array(d->o->in->arena, (size_t)n + 1, sizeof *d->pieces);
    if (d->pieces == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < n; i++) {
        struct piece *p = &d->pieces[d->n_pieces];
        uint32_t fc = le32(table, ((size_t)n + 1) * 4 + (size_t)i * 8 + 2);
        p->from = le32(table, (size_t)i * 4);
        p->to = le32(table, (size_t)i * 4 + 4);
        p->wide = !d->old && (fc & 0x40000000) == 0;
        p->offset = p->wide || d->old ? fc & 0x3FFFFFFF : (fc & 0x3FFFFFFF) / 2;
        bool behind = d->n_pieces == 0 || p->from >= d->pieces[d->n_pieces - 1].to;
        d->n_pieces += p->to > p->from && behind;
    }
    if (n == 0) { /* saved in one go, without a table */
        bool wide = !d->old && (le16(d->main, 10) & 0x1000) != 0;
        d->pieces[0] = (struct piece){.to = length, .offset = first, .wide = wide};
        d->n_pieces = 1;
    }
    return STATUS_OK;
}

static void find_notes(struct doc *d, struct str table)
{
    static const struct {
        size_t at, texts;
        uint32_t width;
        uint8_t story;
    } where[] = {
        {0xAA, 0xB2, 2, FOOTNOTES}, {0xBA, 0xC2, 30, COMMENTS}, {0x20A, 0x212, 2, ENDNOTES}};
    for (size_t i = 0; i < sizeof where / sizeof where[0] && !d->old; i++) {
        struct notes *k = &d->notes[i];
        k->at = part(d, table, where[i].at);
        k->texts = part(d, table, where[i].texts);
        k->n = k->at.len < 4 ? 0 : (uint32_t)((k->at.len - 4) / (4 + where[i].width));
        k->n = k->n < k->texts.len / 4 ? k->n : (uint32_t)(k->texts.len / 4);
        k->start = d->starts[where[i].story];
    }
}

static void find_stories(struct doc *d)
{
    size_t at = d->old ? 0x34 : 0x4C;
    for (size_t i = 0; i < STORIES; i++) {
        uint32_t n = le32(d->main, at + i * 4);
        uint32_t room = INT32_MAX - d->starts[i];
        d->starts[i + 1] = d->starts[i] + (n < room ? n : room);
    }
}

static enum status open_doc(struct doc *d, struct error *err)
{
    uint32_t version = le16(d->main, 2), flags = le16(d->main, 10);
    uint32_t ident = le16(d->main, 0);
    struct str table = d->main;
    enum status s = STATUS_OK;
    if (d->main.len < 0x170 || (ident != 0xA5EC && ident != 0xA5DC) || version < WORD_6) {
        return error_set(err, STATUS_INVALID,
                         "the Word document is damaged, or older than Word 6: save it anew");
    }
    if ((flags & 0x0100) != 0) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the Word document is encrypted: save it without a password");
    }
    d->old = version < WORD_97;
    d->charset = d->old ? ole_charset_of_language(le16(d->main, 6)) : "WINDOWS-1252";
    find_stories(d);
    if (!d->old) {
        const char *name = (flags & 0x0200) != 0 ? "1Table" : "0Table";
        s = cfb_read(&d->o->file, cfb_find(&d->o->file, 0, name), &table, err);
    }
    if (s == STATUS_OK) {
        s = read_pieces(d, part(d, table, d->old ? 0x160 : 0x1A2), err);
    }
    if (s == STATUS_OK && !d->old) {
        d->props.main = d->main;
        d->props.chars = part(d, table, 0xFA);
        d->props.paragraphs = part(d, table, 0x102);
        s = doc_styles_read(&d->props, part(d, table, 0xA2), d->o->in->arena) ? STATUS_OK
                                                                              : no_memory(err);
        d->numbering.arena = d->o->in->arena;
        doc_lists_read(&d->numbering, table, le32(d->main, 0x2E2), le32(d->main, 0x2E6),
                       le32(d->main, 0x2EA), le32(d->main, 0x2EE));
    }
    find_notes(d, table);
    return s;
}

enum status doc_read(struct ole *o, uint32_t stream, struct error *err)
{
    struct doc d = {.o = o};
    enum status s = cfb_read(&o->file, stream, &d.main, err);
    if (s == STATUS_OK) {
        s = open_doc(&d, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    d.left = (uint64_t)d.main.len * 4 + 65536;
    emit_document(o->e, "doc", o->title, STR(""), o->pages);
    read_story(&d, EX__BLOCK__KIND__PARAGRAPH, 0, d.starts[BODY + 1]);
    read_notes(&d, UINT32_MAX);
    if (d.old) {
        read_story(&d, EX__BLOCK__KIND__NOTE, d.starts[FOOTNOTES], d.starts[HEADERS]);
        read_story(&d, EX__BLOCK__KIND__NOTE, d.starts[COMMENTS], d.starts[BOXES]);
    }
    read_story(&d, EX__BLOCK__KIND__PARAGRAPH, d.starts[BOXES], d.starts[BOXES + 1]);
    read_story(&d, EX__BLOCK__KIND__FURNITURE, d.starts[HEADERS], d.starts[MACROS]);
    return d.failed ? error_set(err, STATUS_INVALID,
                                "the Word document is damaged: its text runs over itself")
                    : STATUS_OK;
}
