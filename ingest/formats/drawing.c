#include "ingest/formats/drawing.h"

#include <stdio.h>
#include <string.h>

#include "ingest/formats/numbering.h"

#define TEXT_MAX (8U * 1024 * 1024)
#define PARAGRAPHS_MAX 100000U
#define LEVELS 9

struct reading {
    struct arena *arena;
    struct drawing_text *out;
    size_t n;
    struct buf text, row, label;
    enum drawing_place place;
    bool in_text, in_paragraph;
    bool listed, plain; /* the paragraph says that it has a bullet, or none */
    int level;          /* of the paragraph */
    uint32_t number;    /* of the paragraph, 0: none */
    enum numbering_format format;
    char before[2], after[2]; /* its number */
    uint32_t counts[LEVELS];  /* of the box at hand */
    unsigned tables, cells;
};

static void add(struct sax *x, struct reading *r, Ex__Block__Kind kind, struct buf *from,
                bool lines)
{
    struct buf squeezed;
    if (buf_status(from) != STATUS_OK || r->n == PARAGRAPHS_MAX) {
        sax_fail(x, STATUS_TOO_LARGE, "one of its texts is larger than 8 MB");
        return;
    }
    buf_init(&squeezed, TEXT_MAX + 16);
    buf_str(&squeezed, buf_view(&r->label));
    text_squeeze(&squeezed, buf_view(from), lines);
    if (squeezed.len > r->label.len) {
        struct drawing_block *b = arena_alloc(r->arena, sizeof *b);
        const char *copy = arena_strndup(r->arena, squeezed.ptr, squeezed.len);
        if (b == NULL || copy == NULL) {
            sax_fail(x, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
        } else {
            *b = (struct drawing_block){
                .kind = kind, .place = r->place, .text = {copy, squeezed.len}};
            *r->out->last = b;
            r->out->last = &b->next;
            r->n++;
        }
    }
    buf_deinit(&squeezed);
    buf_reset(&r->label);
    buf_reset(from);
}

static enum drawing_place place_of(struct str type)
{
    static const struct {
        const char *name;
        enum drawing_place place;
    } places[] = {{"title", DRAWING_TITLE},   {"ctrTitle", DRAWING_TITLE},
                  {"dt", DRAWING_FURNITURE},  {"ftr", DRAWING_FURNITURE},
                  {"hdr", DRAWING_FURNITURE}, {"sldNum", DRAWING_FURNITURE},
                  {"subTitle", DRAWING_SHAPE}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (str_eq(type, str_from(places[i].name))) {
            return places[i].place;
        }
    }
    return DRAWING_BODY;
}

/* "alphaLcParenR": how it is written, and what stands around it. */
static void numbered(struct reading *r, const struct sax_attributes *a)
{
    struct str type = sax_attribute(a, "type");
    uint32_t start = (uint32_t)sax_number(sax_attribute(a, "startAt"), 32767, 1);
    r->format = str_starts(type, STR("alphaLc"))   ? NUMBERING_LOWER_LETTER
                : str_starts(type, STR("alphaUc")) ? NUMBERING_UPPER_LETTER
                : str_starts(type, STR("romanLc")) ? NUMBERING_LOWER_ROMAN
                : str_starts(type, STR("romanUc")) ? NUMBERING_UPPER_ROMAN
                                                   : NUMBERING_DECIMAL;
    bool both = str_ends(type, STR("ParenBoth"));
    (void)snprintf(r->before, sizeof r->before, "%s", both ? "(" : "");
    (void)snprintf(r->after, sizeof r->after, "%s",
                   both || str_ends(type, STR("ParenR")) ? ")"
                   : str_ends(type, STR("Period"))       ? "."
                                                         : "");
    uint32_t *count = &r->counts[r->level];
    *count = *count == 0 ? start : *count + 1;
    r->number = *count;
    r->listed = true;
}

/* Before its text. What has no number ends the counting at its level, what stands higher that of
 * all below. */
static void put_number(struct reading *r, struct buf *out)
{
    for (int i = r->number > 0 ? r->level + 1 : r->level; i < LEVELS; i++) {
        r->counts[i] = 0;
    }
    if (r->number > 0) {
        buf_z(out, r->before);
        numbering_write(out, r->number, r->format);
        buf_printf(out, "%s ", r->after);
    }
}

static void paragraph_begin(struct reading *r)
{
    r->in_paragraph = true;
    r->listed = r->plain = false;
    r->level = 0;
    r->number = 0;
    buf_reset(&r->text);
}

static void on_start(struct sax *x, const char *name, const char *uri,
                     const struct sax_attributes *a)
{
    struct reading *r = x->data;
    bool main = sax_uri_ends(uri, "/main");
    if (strcmp(name, "sp") == 0 || strcmp(name, "graphicFrame") == 0) {
        r->place = DRAWING_SHAPE;
        memset(r->counts, 0, sizeof r->counts);
    } else if (strcmp(name, "ph") == 0) {
        r->place = place_of(sax_attribute(a, "type"));
    } else if (strcmp(name, "Fallback") == 0) {
        sax_skip(x); /* said twice */
    } else if (strcmp(name, "tbl") == 0) {
        r->tables++;
    } else if (strcmp(name, "tr") == 0 && r->tables == 1) {
        buf_reset(&r->row);
        r->cells = 0;
    } else if (strcmp(name, "tc") == 0 && r->tables == 1) {
        buf_z(&r->row, r->cells++ > 0 ? " | " : "");
    } else if (strcmp(name, "p") == 0 && main) {
        paragraph_begin(r);
    } else if (strcmp(name, "t") == 0 && main) {
        r->in_text = r->in_paragraph;
    } else if (strcmp(name, "text") == 0 && main && !r->in_paragraph) { /* a comment's */
        paragraph_begin(r);
        r->in_text = true;
    } else if (strcmp(name, "br") == 0 && r->in_paragraph) {
        buf_char(&r->text, '\n');
    } else if (strcmp(name, "buNone") == 0) {
        r->plain = true;
    } else if (strcmp(name, "pPr") == 0) {
        r->level = (int)sax_number(sax_attribute(a, "lvl"), LEVELS - 1, 0);
    } else if (strcmp(name, "buAutoNum") == 0 && r->in_paragraph) {
        numbered(r, a);
    } else if (strcmp(name, "buChar") == 0 || strcmp(name, "buBlip") == 0) {
        r->listed = true;
    }
}

static void on_end(struct sax *x, const char *name, const char *uri)
{
    struct reading *r = x->data;
    bool main = sax_uri_ends(uri, "/main");
    if (strcmp(name, "t") == 0 && main) {
        r->in_text = false;
    } else if ((strcmp(name, "p") == 0 || strcmp(name, "text") == 0) && main && r->in_paragraph) {
        r->in_paragraph = r->in_text = false;
        if (r->tables > 0) {
            bool first = r->row.len == 0 || r->row.ptr[r->row.len - 1] == ' ';
            buf_z(&r->row, first ? "" : " ");
            text_squeeze(&r->row, buf_view(&r->text), false);
            return;
        }
        if (r->text.len > 0) {
            put_number(r, &r->label);
        }
        bool item = r->listed || (r->place == DRAWING_BODY && !r->plain);
        add(x, r, item ? EX__BLOCK__KIND__LIST_ITEM : EX__BLOCK__KIND__PARAGRAPH, &r->text, true);
    } else if (strcmp(name, "tr") == 0 && r->tables == 1) {
        bool blank = true;
        for (size_t i = 0; i < r->row.len && blank; i++) {
            blank = r->row.ptr[i] == ' ' || r->row.ptr[i] == '|';
        }
        if (!blank) {
            add(x, r, EX__BLOCK__KIND__TABLE_ROW, &r->row, false);
        }
        buf_reset(&r->row);
    } else if (strcmp(name, "tbl") == 0) {
        r->tables -= r->tables > 0;
    } else if (strcmp(name, "sp") == 0) {
        r->place = DRAWING_SHAPE;
    }
}

static void on_text(struct sax *x, struct str text)
{
    struct reading *r = x->data;
    if (r->in_text) {
        buf_str(&r->text, text);
    }
}

static const struct sax_handler handler = {.start = on_start, .end = on_end, .text = on_text};

static void begin(struct reading *r, struct arena *a, struct drawing_text *out)
{
    *r = (struct reading){.arena = a, .out = out};
    out->first = NULL;
    out->last = &out->first;
    buf_init(&r->text, TEXT_MAX);
    buf_init(&r->row, TEXT_MAX);
    buf_init(&r->label, 256);
}

static void end(struct reading *r)
{
    buf_deinit(&r->text);
    buf_deinit(&r->row);
    buf_deinit(&r->label);
}

enum status drawing_read(struct package *p, const char *name, struct arena *a,
                         struct drawing_text *out, struct error *err)
{
    struct reading r;
    struct sax x = {.handler = &handler, .data = &r};
    begin(&r, a, out);
    enum status s = sax_read_help(&x, p, name, err);
    end(&r);
    return s;
}
