/* PowerPoint's binary presentations ([MS-PPT]): records within records in one stream. Where the
 * slides lie is told by the last saving and those before it, newest first; a slide's texts are in
 * its shapes, or in an outline that its shapes point into. Slides in their order, the title first,
 * tables by rows, then the speaker's notes. Where nothing leads to the slides, all texts as they
 * stand. */
#include <stdlib.h>

#include "ingest/formats/ole.h"
#include "ingest/utf8.h"

#define DEPTH_MAX 64U
#define SAVINGS_MAX 4096U
#define OBJECTS_MAX (1U << 20)
#define TEXT_MAX (4U * 1024 * 1024)
#define SLIDES_MAX 10000U
#define SHAPES_MAX 16384U /* of one slide */
#define ENCRYPTED 0xF3D1C4DFU

enum {
    DOCUMENT = 0x03E8,
    SLIDE = 0x03EE,
    NOTES = 0x03F0,
    NOTES_ATOM = 0x03F1,
    SLIDE_PERSIST = 0x03F3,
    PLACEHOLDER = 0x0BC3,
    OUTLINE_REF = 0x0F9E,
    TEXT_HEADER = 0x0F9F,
    TEXT_CHARS = 0x0FA0,
    TEXT_BYTES = 0x0FA8,
    CSTRING = 0x0FBA,
    SLIDE_LIST = 0x0FF0,
    SAVING = 0x0FF5,
    DIRECTORY = 0x1772,
    COMMENT = 0x2EE0,
    SHAPE_GROUP = 0xF003,
    SHAPE = 0xF004,
    SHAPE_KIND = 0xF00A,
    TEXT_BOX = 0xF00D,
    CHILD_ANCHOR = 0xF00F,
    MORE_OPTIONS = 0xF122
};

/* Kinds of text (TextTypeEnum). */
enum {
    TITLE = 0,
    BODY = 1,
    SPEAKERS = 2,
    CENTER_BODY = 5,
    CENTER_TITLE = 6,
    HALF = 7,
    QUARTER = 8
};

struct record {
    uint32_t type, instance;
    bool container;
    struct str data;
};

struct text { /* one of the outline's, or a shape's */
    uint32_t kind;
    bool wide;
    struct str chars;
};

struct shape {
    struct text t;
    uint32_t table; /* the group that is a table; 0: none */
    uint32_t left, top;
    bool furniture;
    bool cell; /* of a table: counts though nothing is in it */
};

struct slide {
    uint32_t persist, id;
    uint32_t first, n; /* of its texts in the outline */
};

struct show {
    struct ole *o;
    struct str stream;
    uint32_t *objects; /* one more than where they lie, by number; 0: nowhere */
    uint32_t n_objects;
    struct slide *slides, *notes;
    uint32_t n_slides, n_notes;
    struct text *outline;
    uint32_t n_outline;
    struct shape *shapes;
    uint32_t n_shapes;
    uint64_t left; /* bytes of records: objects may lie over each other */
    struct buf line, row;
    uint32_t page;
};

/* ---- records ---- */

/* The record at *at, *at behind it; false at the end. */
static bool next_record(struct str s, size_t *at, struct record *out)
{
    if (*at + 8 > s.len) {
        return false;
    }
    uint32_t head = le16(s, *at);
    *out = (struct record){.type = le16(s, *at + 2),
                           .instance = head >> 4,
                           .container = (head & 0xF) == 0xF,
                           .data = cut(s, *at + 8, le32(s, *at + 4))};
    *at += 8 + out->data.len;
    return true;
}

/* Goes through all that lies in a record, without recursion: a stack of how far each is read. */
struct walk {
    struct {
        struct str data;
        size_t at;
        uint32_t type;
    } stack[DEPTH_MAX];
    uint32_t depth;
};

static void walk_start(struct walk *w, struct str data, uint32_t type)
{
    w->stack[0].data = data;
    w->stack[0].at = 0;
    w->stack[0].type = type;
    w->depth = 1;
}

static bool walk_next(struct walk *w, struct record *out)
{
    while (w->depth > 0) {
        if (!next_record(w->stack[w->depth - 1].data, &w->stack[w->depth - 1].at, out)) {
            w->depth--;
            continue;
        }
        if (out->container && w->depth < DEPTH_MAX) {
            w->stack[w->depth].data = out->data;
            w->stack[w->depth].at = 0;
            w->stack[w->depth].type = out->type;
            w->depth++;
        }
        return true;
    }
    return false;
}

static bool spend(struct show *w, size_t n)
{
    bool enough = n <= w->left;
    w->left = enough ? w->left - n : 0;
    return enough;
}

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
}

/* ---- where objects lie ---- */

static void read_places(struct show *w, struct str list)
{
    for (size_t at = 0; at + 4 <= list.len;) {
        uint32_t head = le32(list, at), first = head & 0xFFFFF, n = head >> 20;
        at += 4;
        for (uint32_t i = 0; i < n && at + 4 <= list.len; i++, at += 4) {
            uint32_t number = first + i;
            if (number < w->n_objects && w->objects[number] == 0) { /* a newer one is known */
                w->objects[number] = le32(list, at) + 1;
            }
        }
    }
}

/* From the last saving back. document: the number of the part that everything starts from. */
static enum status read_savings(struct show *w, uint32_t at, uint32_t *document, struct error *err)
{
    uint64_t room = w->stream.len / 4 + 1;
    w->n_objects = room < OBJECTS_MAX ? (uint32_t)room : OBJECTS_MAX;
    w->objects = arena_array(w->o->in->arena, w->n_objects, sizeof *w->objects);
    if (w->objects == NULL) {
        return no_memory(err);
    }
    for (unsigned i = 0; i < SAVINGS_MAX; i++) {
        struct record saving, places;
        size_t from = at;
        if (!next_record(w->stream, &from, &saving) || saving.type != SAVING) {
            break;
        }
        if (saving.data.len >= 32 && le32(saving.data, 28) != 0) {
            return error_set(err, STATUS_UNSUPPORTED,
                             "the presentation is encrypted: save it without a password");
        }
        *document = i == 0 ? le32(saving.data, 16) : *document;
        from = le32(saving.data, 12);
        if (next_record(w->stream, &from, &places) && places.type == DIRECTORY &&
            spend(w, places.data.len)) {
            read_places(w, places.data);
        }
        uint32_t before = le32(saving.data, 8);
        if (before == 0 || before >= at) {
            break;
        }
        at = before;
    }
    return STATUS_OK;
}

static bool object(const struct show *w, uint32_t number, uint32_t type, struct record *out)
{
    size_t at = number < w->n_objects ? w->objects[number] : 0;
    return at-- > 0 && next_record(w->stream, &at, out) && out->type == type;
}

/* ---- the outline ---- */

static struct text text_of(const struct record *r, uint32_t kind)
{
    return (struct text){.kind = kind, .wide = r->type == TEXT_CHARS, .chars = r->data};
}

/* What the list of slides, or of notes, names: two passes, the first counts. */
static enum status read_list(struct show *w, const struct record *list, bool notes,
                             struct error *err)
{
    struct record r;
    uint32_t n = 0, texts = 0, kind = BODY;
    for (size_t at = 0; next_record(list->data, &at, &r);) {
        n += r.type == SLIDE_PERSIST && n < SLIDES_MAX;
        texts += r.type == TEXT_HEADER || r.type == TEXT_CHARS || r.type == TEXT_BYTES;
    }
    struct slide *slides = arena_array(w->o->in->arena, (size_t)n + 1, sizeof *slides);
    struct text *outline = arena_array(w->o->in->arena, (size_t)texts + 1, sizeof *outline);
    if (slides == NULL || outline == NULL) {
        return no_memory(err);
    }
    n = texts = 0;
    bool bare = true; /* no header stands in front of the text */
    for (size_t at = 0; next_record(list->data, &at, &r);) {
        if (r.type == SLIDE_PERSIST) {
            if (n == SLIDES_MAX) {
                break;
            }
            slides[n++] =
                (struct slide){.persist = le32(r.data, 0), .id = le32(r.data, 12), .first = texts};
            bare = true;
        } else if (n > 0 && r.type == TEXT_HEADER) {
            kind = le32(r.data, 0);
            outline[texts++] = (struct text){.kind = kind, .chars = STR("")};
            slides[n - 1].n++;
            bare = false;
        } else if (n > 0 && !bare && (r.type == TEXT_CHARS || r.type == TEXT_BYTES)) {
            outline[texts - 1] = text_of(&r, kind);
        }
    }
    if (notes) {
        w->notes = slides;
        w->n_notes = n;
    } else {
        w->slides = slides;
        w->n_slides = n;
        w->outline = outline;
        w->n_outline = texts;
    }
    return STATUS_OK;
}

static enum status read_document(struct show *w, const struct record *document, struct error *err)
{
    struct record r;
    enum status s = STATUS_OK;
    for (size_t at = 0; s == STATUS_OK && next_record(document->data, &at, &r);) {
        if (r.type == SLIDE_LIST && r.instance == 0 && w->slides == NULL) {
            s = read_list(w, &r, false, err);
        } else if (r.type == SLIDE_LIST && r.instance == 2 && w->notes == NULL) {
            s = read_list(w, &r, true, err);
        }
    }
    return s;
}

/* ---- the shapes of a slide ---- */

/* A group that says of itself that it is a table. */
static bool is_table(const struct record *options)
{
    for (uint32_t i = 0; i < options->instance && (size_t)i * 6 + 6 <= options->data.len; i++) {
        if ((le16(options->data, (size_t)i * 6) & 0x3FFF) == 0x039F) {
            return (le32(options->data, (size_t)i * 6 + 2) & 1) != 0;
        }
    }
    return false;
}

static void add_shape(struct show *w, const struct shape *s)
{
    if (s->cell && w->n_shapes > 0) {
        w->shapes[w->n_shapes - 1] = *s;
    } else if (w->n_shapes < SHAPES_MAX && s->t.chars.len > 0) {
        w->shapes[w->n_shapes++] = *s;
    }
}

/* In a table rectangles are cells; lines, its borders, are shapes too. */
static void add_cell(struct show *w, struct shape *s)
{
    s->cell = w->n_shapes < SHAPES_MAX;
    if (s->cell) {
        w->shapes[w->n_shapes++] = *s;
    }
}

static void on_shape_record(struct show *w, const struct slide *k, const struct record *r,
                            struct shape *s)
{
    if (r->type == CHILD_ANCHOR) {
        s->left = le32(r->data, 0);
        s->top = le32(r->data, 4);
        if (s->cell) {
            add_shape(w, s);
        }
    } else if (r->type == SHAPE_KIND && s->table != 0 && r->instance == 1) {
        add_cell(w, s);
    } else if (r->type == PLACEHOLDER) {
        uint32_t id = le8(r->data, 4);
        s->furniture = id >= 7 && id <= 10; /* date, number, footer, header */
    } else if (r->type == TEXT_HEADER) {
        s->t.kind = le32(r->data, 0);
    } else if (r->type == TEXT_CHARS || r->type == TEXT_BYTES) {
        s->t = text_of(r, s->t.kind);
        add_shape(w, s);
    } else if (r->type == OUTLINE_REF) {
        uint32_t i = le32(r->data, 0);
        if (k != NULL && i < k->n && k->first + i < w->n_outline) {
            s->t = w->outline[k->first + i];
            add_shape(w, s);
        }
    }
}

static void find_shapes(struct show *w, const struct slide *k, struct str data)
{
    struct walk walk;
    struct record r;
    struct shape s = {.t.kind = 4};
    uint32_t table = 0, table_depth = 0, n_tables = 0;
    w->n_shapes = 0;
    walk_start(&walk, data, SLIDE);
    while (walk_next(&walk, &r)) {
        /* a container is on the stack already: its own depth is one less */
        uint32_t depth = walk.depth - (r.container && r.data.len > 0 ? 1 : 0);
        if (table != 0 && depth < table_depth) {
            table = 0;
        }
        if (r.type == SHAPE) {
            s = (struct shape){.t.kind = 4, .table = table};
        } else if (r.type == MORE_OPTIONS && table == 0 && is_table(&r)) {
            table = ++n_tables;
            table_depth = depth > 0 ? depth - 1 : 0; /* of what lies in the group */
        } else if (!r.container) {
            on_shape_record(w, k, &r, &s);
        }
    }
}

/* ---- giving them out ---- */

static void put(struct show *w, Ex__Block__Kind kind, struct str text)
{
    struct emit_block b = {.kind = kind,
                           .level = kind == EX__BLOCK__KIND__HEADING ? 1 : 0,
                           .page = w->page,
                           .text = text};
    emit(w->o->e, &b);
}

/* As UTF-8; a line's end within a paragraph is 0x0B, a paragraph's 0x0D. */
static void decode(struct buf *out, struct text t)
{
    buf_reset(out);
    if (t.wide) {
        utf16_put(out, t.chars);
    } else {
        for (size_t i = 0; i < t.chars.len; i++) {
            utf8_put(out, le8(t.chars, i));
        }
    }
    for (size_t i = 0; i < out->len; i++) {
        if (out->ptr[i] == 0x0B) {
            out->ptr[i] = ' ';
        }
    }
}

static void put_paragraphs(struct show *w, Ex__Block__Kind kind, struct text t)
{
    decode(&w->line, t);
    struct str rest = buf_view(&w->line);
    while (rest.len > 0) {
        const char *end = memchr(rest.ptr, '\r', rest.len);
        struct str p = {rest.ptr, end == NULL ? rest.len : (size_t)(end - rest.ptr)};
        size_t n = end == NULL ? rest.len : p.len + 1;
        /* a lone asterisk is where the date or the slide's number comes */
        if (!str_eq(p, STR("*"))) {
            put(w, kind, p);
        }
        rest.ptr += n;
        rest.len -= n;
    }
}

static bool is_title(const struct shape *s)
{
    return s->t.kind == TITLE || s->t.kind == CENTER_TITLE;
}

static int by_place(const void *a, const void *b)
{
    const struct shape *x = a, *y = b;
    int32_t x_top = (int32_t)x->top, y_top = (int32_t)y->top;
    int32_t x_left = (int32_t)x->left, y_left = (int32_t)y->left;
    return x_top != y_top ? (x_top > y_top) - (x_top < y_top)
                          : (x_left > y_left) - (x_left < y_left);
}

/* Cells of a table that begin at the same height are a row. */
static void put_table(struct show *w, struct shape *cells, uint32_t n)
{
    qsort(cells, n, sizeof *cells, by_place);
    buf_reset(&w->row);
    for (uint32_t i = 0, row = 0; i < n; i++) {
        decode(&w->line, cells[i].t);
        buf_z(&w->row, i > row ? " | " : "");
        text_squeeze(&w->row, buf_view(&w->line), false);
        if (i + 1 == n || cells[i + 1].top != cells[i].top) {
            put(w, EX__BLOCK__KIND__TABLE_ROW, buf_view(&w->row));
            buf_reset(&w->row);
            row = i + 1;
        }
    }
}

static void put_slide(struct show *w, const struct slide *k, const struct record *slide)
{
    find_shapes(w, k, slide->data);
    for (uint32_t i = 0; i < w->n_shapes; i++) {
        if (is_title(&w->shapes[i])) {
            decode(&w->line, w->shapes[i].t);
            buf_reset(&w->row);
            text_squeeze(&w->row, buf_view(&w->line), false);
            put(w, EX__BLOCK__KIND__HEADING, buf_view(&w->row));
        }
    }
    for (uint32_t i = 0; i < w->n_shapes; i++) {
        struct shape *s = &w->shapes[i];
        uint32_t kind = s->t.kind;
        if (s->table != 0) {
            uint32_t n = 1;
            while (i + n < w->n_shapes && w->shapes[i + n].table == s->table) {
                n++;
            }
            put_table(w, s, n);
            i += n - 1;
        } else if (s->furniture) {
            put_paragraphs(w, EX__BLOCK__KIND__FURNITURE, s->t);
        } else if (!is_title(s)) {
            bool body = kind == BODY || kind == CENTER_BODY || kind == HALF || kind == QUARTER;
            put_paragraphs(w, body ? EX__BLOCK__KIND__LIST_ITEM : EX__BLOCK__KIND__PARAGRAPH, s->t);
        }
    }
}

static void put_comments(struct show *w, const struct record *slide)
{
    struct walk walk;
    struct record r;
    walk_start(&walk, slide->data, SLIDE);
    while (walk_next(&walk, &r)) {
        uint32_t in = r.container ? 0 : walk.stack[walk.depth - 1].type;
        if (r.type == CSTRING && in == COMMENT && r.instance == 1) {
            put_paragraphs(w, EX__BLOCK__KIND__NOTE, (struct text){.wide = true, .chars = r.data});
        }
    }
}

static void put_notes(struct show *w, uint32_t slide_id)
{
    for (uint32_t i = 0; i < w->n_notes; i++) {
        struct record notes, atom;
        size_t at = 0;
        if (w->notes[i].persist == 0 || !object(w, w->notes[i].persist, NOTES, &notes) ||
            !next_record(notes.data, &at, &atom) || atom.type != NOTES_ATOM ||
            le32(atom.data, 0) != slide_id) {
            continue;
        }
        w->notes[i].persist = 0; /* each once */
        if (!spend(w, notes.data.len)) {
            return;
        }
        find_shapes(w, NULL, notes.data);
        for (uint32_t k = 0; k < w->n_shapes; k++) {
            if (w->shapes[k].t.kind == SPEAKERS) {
                put_paragraphs(w, EX__BLOCK__KIND__NOTE, w->shapes[k].t);
            }
        }
        return;
    }
}

static enum status put_slides(struct show *w, struct error *err)
{
    for (uint32_t i = 0; i < w->n_slides && !emit_failed(w->o->e); i++) {
        const struct slide *k = &w->slides[i];
        struct record slide;
        w->page = i + 1;
        emit_unit(w->o->e, EX__BLOCK__UNIT__SLIDE, STR(""));
        if (!object(w, k->persist, SLIDE, &slide)) {
            for (uint32_t t = 0; t < k->n; t++) {
                put_paragraphs(w, EX__BLOCK__KIND__PARAGRAPH, w->outline[k->first + t]);
            }
            continue;
        }
        if (!spend(w, slide.data.len)) {
            return error_set(err, STATUS_INVALID,
                             "the presentation is damaged: its slides lie over each other");
        }
        put_slide(w, k, &slide);
        put_notes(w, k->id);
        put_comments(w, &slide);
    }
    return STATUS_OK;
}

static void put_all_texts(struct show *w)
{
    struct walk walk;
    struct record r;
    w->page = 0;
    walk_start(&walk, w->stream, 0);
    while (walk_next(&walk, &r) && !emit_failed(w->o->e)) {
        if (r.type == TEXT_CHARS || r.type == TEXT_BYTES) {
            put_paragraphs(w, EX__BLOCK__KIND__PARAGRAPH, text_of(&r, BODY));
        }
    }
}

static enum status read_show(struct show *w, struct str user, struct error *err)
{
    uint32_t number = 0;
    struct record document;
    if (le32(user, 12) == ENCRYPTED) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the presentation is encrypted: save it without a password");
    }
    enum status s = read_savings(w, le32(user, 16), &number, err);
    if (s == STATUS_OK && object(w, number, DOCUMENT, &document)) {
        s = read_document(w, &document, err);
    }
    if (s == STATUS_OK) {
        emit_document(w->o->e, "ppt", w->o->title, STR(""), w->n_slides);
        s = put_slides(w, err);
    }
    if (s == STATUS_OK && w->o->e->blocks_out == 0) {
        put_all_texts(w);
    }
    return s;
}

enum status ppt_read(struct ole *o, uint32_t stream, struct error *err)
{
    struct show w = {.o = o};
    struct str user = STR("");
    buf_init(&w.line, TEXT_MAX);
    buf_init(&w.row, TEXT_MAX);
    w.shapes = arena_array(o->in->arena, SHAPES_MAX, sizeof *w.shapes);
    enum status s = w.shapes == NULL ? no_memory(err) : STATUS_OK;
    if (s == STATUS_OK) {
        s = cfb_read(&o->file, stream, &w.stream, err);
    }
    if (s == STATUS_OK) {
        s = cfb_read(&o->file, cfb_find(&o->file, 0, "Current User"), &user, err);
    }
    w.left = (uint64_t)w.stream.len * 4 + 65536;
    if (s == STATUS_OK) {
        s = read_show(&w, user, err);
    }
    buf_deinit(&w.line);
    buf_deinit(&w.row);
    return s;
}
