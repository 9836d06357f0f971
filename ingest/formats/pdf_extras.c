/* pages, with what they inherit -> named destinations -> outline -> annotations of each page ->
 * attachments. Trees are walked with stacks of a fixed depth, each object once. */
#include "ingest/formats/pdf_extras.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH 64
#define PAGES_MAX 100000
#define BOOKMARKS_MAX 20000
#define EXTRAS_MAX 20000
#define NAMES_MAX 50000
#define ATTACHMENTS_MAX 1000
#define TEXT_MAX (64U << 10)

struct name {
    struct str key; /* bytes */
    struct str value;
};

struct reader {
    struct pdf_objects *f;
    struct pdf_extras *out;
    unsigned char *seen; /* by object: 1 node of the page tree, 2 bookmark, 4 field, 8 name node */
    uint32_t *page_of;   /* by object */
    struct name *names;  /* destinations, sorted */
    size_t n_names;
    struct pdf_extra **next_extra;
    size_t n_extras;
    bool no_memory;
};

static void *take(struct reader *r, size_t n, size_t size)
{
    void *p = arena_array(r->f->arena, n, size);
    r->no_memory = r->no_memory || p == NULL;
    return p;
}

/* Marks the object; false: it was marked before, or is no reference. */
static bool first_time(struct reader *r, struct str value, unsigned char bit)
{
    uint32_t n = pdf_reference(value);
    if (n == 0 || n >= r->f->n || (r->seen[n] & bit) != 0) {
        return false;
    }
    r->seen[n] |= bit;
    return true;
}

static struct str text_of(struct reader *r, struct str value)
{
    struct buf b;
    struct str out = STR("");
    buf_init(&b, TEXT_MAX);
    if (pdf_text(r->f, value, &b) && b.len > 0) {
        const char *z = arena_strndup(r->f->arena, b.ptr, b.len);
        r->no_memory = r->no_memory || z == NULL;
        out = z == NULL ? out : (struct str){z, b.len};
    }
    buf_deinit(&b);
    return out;
}

static struct str text_at(struct reader *r, struct str dict, const char *key)
{
    struct str v;
    return pdf_get(r->f, dict, key, &v) ? text_of(r, v) : STR("");
}

/* --- pages --- */

static bool numbers(struct reader *r, struct str value, float *out, size_t n)
{
    struct str rest, v;
    if (!pdf_array(value, &rest)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!pdf_next(r->f, &rest, &v) || !pdf_resolve(r->f, v, &v) || !pdf_number(v, &out[i])) {
            return false;
        }
    }
    return true;
}

static void order(float *a, float *b)
{
    if (*a > *b) {
        float t = *a;
        *a = *b;
        *b = t;
    }
}

static bool rectangle(struct reader *r, struct str node, const char *key, struct bbox *out)
{
    struct str v;
    float box[4];
    if (!pdf_get(r->f, node, key, &v) || !numbers(r, v, box, 4)) {
        return false;
    }
    order(&box[0], &box[2]);
    order(&box[1], &box[3]);
    *out = (struct bbox){box[0], box[1], box[2], box[3]};
    return true;
}

static void inherit(struct reader *r, struct str node, struct pdf_page *p)
{
    struct str v;
    struct bbox box;
    float turn;
    if (rectangle(r, node, "MediaBox", &box)) {
        p->x0 = box.x0;
        p->y0 = box.y0;
        p->x1 = box.x1;
        p->y1 = box.y1;
    }
    (void)rectangle(r, node, "CropBox", &p->crop);
    if (pdf_get(r->f, node, "Resources", &v)) {
        p->resources = v;
    }
    if (pdf_get(r->f, node, "Rotate", &v) && pdf_number(v, &turn) && turn > -3600 && turn < 3600) {
        p->turned = (unsigned)(((int)turn / 90 % 4 + 4) % 4);
    }
}

void pdf_drawn(const struct pdf_page *p, float x, float y, float *out_x, float *out_y)
{
    const float to_x[] = {x - p->x0, y - p->y0, p->x1 - x, p->y1 - y};
    const float to_y[] = {p->y1 - y, x - p->x0, y - p->y0, p->x1 - x};
    *out_x = to_x[p->turned];
    *out_y = to_y[p->turned];
}

/* A rectangle of the page as drawn. */
static struct bbox draw_box(const struct pdf_page *p, const struct bbox *b)
{
    struct bbox out;
    pdf_drawn(p, b->x0, b->y0, &out.x0, &out.y0);
    pdf_drawn(p, b->x1, b->y1, &out.x1, &out.y1);
    order(&out.x0, &out.x1);
    order(&out.y0, &out.y1);
    return out;
}

static void finish_page(struct pdf_page *p)
{
    const struct bbox *c = &p->crop;
    bool smaller =
        c->x1 - c->x0 > 1 && c->y1 - c->y0 > 1 &&
        (c->x0 > p->x0 + 1 || c->y0 > p->y0 + 1 || c->x1 < p->x1 - 1 || c->y1 < p->y1 - 1);
    p->crop = smaller ? draw_box(p, c) : (struct bbox){0, 0, 0, 0};
}

static void read_pages(struct reader *r, struct str root)
{
    struct {
        struct str kids;
        struct pdf_page page; /* what is inherited */
    } stack[DEPTH];
    struct str v, node;
    size_t depth = 0;
    size_t cap = r->f->n < PAGES_MAX ? r->f->n : PAGES_MAX;
    r->out->pages = take(r, cap + 1, sizeof *r->out->pages);
    if (r->out->pages == NULL || !pdf_get_raw(r->f, root, "Pages", &v)) {
        return;
    }
    struct pdf_page page = {
        .x1 = 612, .y1 = 792, .dict = STR(""), .resources = STR(""), .annotations = STR("")};
    for (bool more = true; more;) {
        if (first_time(r, v, 1) && pdf_resolve(r->f, v, &node)) {
            struct pdf_page p = page;
            struct str kids;
            inherit(r, node, &p);
            if (pdf_get(r->f, node, "Kids", &kids) && pdf_array(kids, &kids)) {
                if (depth < DEPTH) {
                    stack[depth].kids = kids;
                    stack[depth++].page = p;
                }
            } else if (r->out->n_pages < cap) {
                p.annotations = pdf_get(r->f, node, "Annots", &kids) ? kids : STR("");
                p.dict = node;
                finish_page(&p);
                r->out->pages[r->out->n_pages++] = p;
                r->page_of[pdf_reference(v)] = r->out->n_pages;
            }
        }
        while (depth > 0 && !pdf_next(r->f, &stack[depth - 1].kids, &v)) {
            depth--;
        }
        more = depth > 0;
        page = more ? stack[depth - 1].page : page;
    }
}

/* --- trees of names --- */

/* Each pair of a name tree (7.9.6) to `each`, until that says no. */
static void walk_names(struct reader *r, struct str tree,
                       bool (*each)(struct reader *r, struct str key, struct str value))
{
    struct str stack[DEPTH], v, node, pair;
    size_t depth = 0;
    node = tree;
    for (bool more = true; more;) {
        if (pdf_get(r->f, node, "Names", &v) && pdf_array(v, &v)) {
            while (pdf_next(r->f, &v, &pair)) {
                struct str value;
                if (!pdf_next(r->f, &v, &value) || !each(r, pair, value)) {
                    break;
                }
            }
        }
        if (depth < DEPTH && pdf_get(r->f, node, "Kids", &v) && pdf_array(v, &v)) {
            stack[depth++] = v;
        }
        more = false;
        while (depth > 0 && !more) {
            if (!pdf_next(r->f, &stack[depth - 1], &v)) {
                depth--;
            } else {
                more = first_time(r, v, 8) && pdf_resolve(r->f, v, &node);
            }
        }
    }
}

static bool add_name(struct reader *r, struct str key, struct str value)
{
    struct buf b;
    struct str name;
    if (r->n_names == NAMES_MAX) {
        return false;
    }
    buf_init(&b, 4096);
    if (pdf_name(key, &name)) {
        buf_str(&b, name);
    } else if (!pdf_resolve(r->f, key, &key) || !pdf_bytes(r->f, key, &b)) {
        buf_reset(&b);
    }
    if (b.len > 0) {
        const char *z = arena_strndup(r->f->arena, b.ptr, b.len);
        r->no_memory = r->no_memory || z == NULL;
        if (z != NULL) {
            r->names[r->n_names++] = (struct name){{z, b.len}, value};
        }
    }
    buf_deinit(&b);
    return !r->no_memory;
}

static int by_key(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    return str_compare(x->key, y->key);
}

static void read_names(struct reader *r, struct str root)
{
    struct str v, name, value, names;
    bool tree = pdf_get(r->f, root, "Names", &names) && pdf_get(r->f, names, "Dests", &v);
    bool flat = pdf_get(r->f, root, "Dests", &value);
    if (!tree && !flat) {
        return;
    }
    r->names = take(r, NAMES_MAX, sizeof *r->names);
    if (r->names == NULL) {
        return;
    }
    if (tree) {
        walk_names(r, v, add_name);
    }
    if (flat && pdf_is_dict(value)) { /* PDF 1.1: a dictionary */
        struct str rest = {value.ptr + 2, value.len - 2};
        while (pdf_next(r->f, &rest, &name) && pdf_name(name, &v) && pdf_next(r->f, &rest, &v) &&
               add_name(r, name, v)) {
        }
    }
    qsort(r->names, r->n_names, sizeof *r->names, by_key);
}

/* --- outline --- */

/* Where a destination leads. */
static void follow(struct reader *r, struct str dest, struct pdf_bookmark *b)
{
    struct str rest, page, how = STR(""), v = dest;
    struct name key = {STR(""), STR("")};
    struct buf bytes;
    buf_init(&bytes, 4096);
    if (pdf_is_string(v) && pdf_bytes(r->f, v, &bytes)) {
        key.key = buf_view(&bytes);
    } else {
        (void)pdf_name(v, &key.key);
    }
    if (key.key.len > 0) {
        const struct name *hit =
            r->n_names == 0 ? NULL : bsearch(&key, r->names, r->n_names, sizeof *r->names, by_key);
        v = hit != NULL && pdf_resolve(r->f, hit->value, &v) ? v : STR("");
        if (pdf_is_dict(v) && !pdf_get(r->f, v, "D", &v)) {
            v = STR("");
        }
    }
    buf_deinit(&bytes);
    if (!pdf_array(v, &rest) || !pdf_next(r->f, &rest, &page)) {
        return;
    }
    uint32_t n = pdf_reference(page);
    b->page = n > 0 && n < r->f->n ? r->page_of[n] : 0;
    if (b->page == 0) {
        return;
    }
    const struct pdf_page *p = &r->out->pages[b->page - 1];
    bool xyz = pdf_next(r->f, &rest, &how) && pdf_is_name(how, "XYZ");
    float x = p->x0, y;
    if (xyz && pdf_next(r->f, &rest, &v) && (pdf_number(v, &x) || true) &&
        pdf_next(r->f, &rest, &v) && pdf_number(v, &y)) {
        float across;
        pdf_drawn(p, x, y, &across, &b->y);
    } else if (!xyz && pdf_is_name(how, "FitH") && pdf_next(r->f, &rest, &v) && pdf_number(v, &y)) {
        float across;
        pdf_drawn(p, x, y, &across, &b->y);
    }
}

static void read_outline(struct reader *r, struct str root)
{
    struct str stack[DEPTH], v, item, first;
    struct pdf_bookmark **next = &r->out->bookmarks;
    size_t depth = 0, n = 0;
    if (!pdf_get(r->f, root, "Outlines", &v) || !pdf_get_raw(r->f, v, "First", &v)) {
        return;
    }
    for (bool more = true; more && n < BOOKMARKS_MAX && !r->no_memory;) {
        bool deeper = false;
        struct str after = STR("");
        if (first_time(r, v, 2) && pdf_resolve(r->f, v, &item)) {
            struct pdf_bookmark *b = take(r, 1, sizeof *b);
            if (b == NULL) {
                return;
            }
            b->title = text_at(r, item, "Title");
            b->level = (uint32_t)depth + 1;
            b->y = -1;
            if (pdf_get(r->f, item, "Dest", &v) ||
                (pdf_get(r->f, item, "A", &v) && pdf_get(r->f, v, "D", &v))) {
                follow(r, v, b);
            }
            if (b->title.len > 0) {
                *next = b;
                next = &b->next;
                n++;
            }
            (void)pdf_get_raw(r->f, item, "Next", &after);
            deeper = depth < DEPTH && pdf_get_raw(r->f, item, "First", &first);
        }
        if (deeper) {
            stack[depth++] = after;
            v = first;
            continue;
        }
        v = after;
        while (v.len == 0 && depth > 0) {
            v = stack[--depth];
        }
        more = v.len > 0;
    }
}

/* --- annotations --- */

static struct pdf_extra *add_extra(struct reader *r, enum pdf_extra_kind kind, uint32_t page,
                                   struct str annotation)
{
    struct pdf_extra *x = take(r, 1, sizeof *x);
    if (x == NULL) {
        return NULL;
    }
    const struct pdf_page *p = &r->out->pages[page - 1];
    x->kind = kind;
    x->page = page;
    x->name = x->text = STR("");
    if (rectangle(r, annotation, "Rect", &x->box)) {
        x->box = draw_box(p, &x->box);
    }
    *r->next_extra = x;
    r->next_extra = &x->next;
    r->n_extras++;
    return x;
}

/* Names from the form down to the field, the value and whether it is a button. */
struct field {
    struct str name, value, type, label;
};

static struct field field_of(struct reader *r, struct str annotation)
{
    struct field f = {STR(""), STR(""), STR(""), STR("")};
    struct str at = annotation, v;
    for (int i = 0; i < 16; i++) {
        f.label = f.label.len == 0 ? text_at(r, at, "TU") : f.label;
        if (f.value.len == 0 && pdf_get(r->f, at, "V", &v)) {
            f.value = v;
        }
        if (f.type.len == 0 && pdf_get(r->f, at, "FT", &v)) {
            (void)pdf_name(v, &f.type);
        }
        struct str part = text_at(r, at, "T");
        if (part.len > 0 && f.name.len == 0) {
            f.name = part;
        } else if (part.len > 0 && part.len + f.name.len < TEXT_MAX) {
            const char *z = arena_printf(r->f->arena, "%.*s.%.*s", (int)part.len, part.ptr,
                                         (int)f.name.len, f.name.ptr);
            f.name = z == NULL ? f.name : str_from(z);
        }
        if (!pdf_get_raw(r->f, at, "Parent", &v)) {
            break;
        }
        /* the buttons of one group have one value */
        if (str_eq(f.type, STR("Btn")) && f.value.len > 0 && !first_time(r, v, 4)) {
            f.value = STR("");
            break;
        }
        if (!pdf_resolve(r->f, v, &at)) {
            break;
        }
    }
    return f;
}

static struct str value_text(struct reader *r, const struct field *f)
{
    struct str name, rest, v;
    if (pdf_name(f->value, &name)) { /* a button's state */
        return str_eq(name, STR("Off")) ? STR("") : name;
    }
    if (!pdf_array(f->value, &rest)) {
        return text_of(r, f->value);
    }
    struct buf b; /* several of a list */
    buf_init(&b, TEXT_MAX);
    while (pdf_next(r->f, &rest, &v) && pdf_resolve(r->f, v, &v)) {
        struct str one = text_of(r, v);
        buf_z(&b, one.len > 0 && b.len > 0 ? "; " : "");
        buf_str(&b, one);
    }
    const char *z = arena_strndup(r->f->arena, buf_view(&b).ptr, b.len);
    struct str out = {z == NULL ? "" : z, z == NULL ? 0 : b.len};
    buf_deinit(&b);
    return out;
}

static void read_field(struct reader *r, struct str annotation, uint32_t page)
{
    struct field f = field_of(r, annotation);
    struct str text = f.value.len > 0 ? value_text(r, &f) : STR("");
    if (text.len == 0) {
        return; /* not filled in */
    }
    struct pdf_extra *x = add_extra(r, PDF_FIELD, page, annotation);
    if (x != NULL) {
        x->name = f.label.len > 0 ? f.label : f.name;
        x->text = text;
    }
}

static void attach(struct reader *r, struct str specification)
{
    struct str files, stream;
    if (!pdf_get(r->f, specification, "EF", &files) ||
        !(pdf_get_raw(r->f, files, "UF", &stream) || pdf_get_raw(r->f, files, "F", &stream)) ||
        !first_time(r, stream, 4) || !pdf_resolve(r->f, stream, &stream)) {
        return;
    }
    size_t n = 0;
    struct pdf_attachment **at = &r->out->attachments;
    for (; *at != NULL; at = &(*at)->next) {
        n++;
    }
    struct pdf_attachment *a = n < ATTACHMENTS_MAX ? take(r, 1, sizeof *a) : NULL;
    if (a != NULL) {
        a->name = text_at(r, specification, "UF");
        a->name = a->name.len > 0 ? a->name : text_at(r, specification, "F");
        a->description = text_at(r, specification, "Desc");
        a->stream = stream;
        *at = a;
    }
}

static void read_annotation(struct reader *r, struct str annotation, uint32_t page)
{
    static const char *const notes[] = {"Text",  "Highlight", "Underline", "StrikeOut", "Squiggly",
                                        "Caret", "Stamp",     "Square",    "Circle",    "Ink",
                                        "Line",  "Polygon",   "PolyLine"};
    struct str type, v;
    if (!pdf_get(r->f, annotation, "Subtype", &type)) {
        return;
    }
    if (pdf_is_name(type, "Widget")) {
        read_field(r, annotation, page);
    } else if (pdf_is_name(type, "Link") && pdf_get(r->f, annotation, "A", &v) &&
               pdf_get(r->f, v, "URI", &v)) {
        struct pdf_extra *x = add_extra(r, PDF_LINK, page, annotation);
        if (x != NULL) {
            x->text = text_of(r, v);
        }
    } else if (pdf_is_name(type, "FileAttachment") && pdf_get(r->f, annotation, "FS", &v)) {
        attach(r, v);
    }
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        if (pdf_is_name(type, notes[i])) {
            struct str text = text_at(r, annotation, "Contents");
            struct pdf_extra *x = text.len > 0 ? add_extra(r, PDF_COMMENT, page, annotation) : NULL;
            if (x != NULL) {
                x->text = text;
                x->name = text_at(r, annotation, "T");
            }
        }
    }
}

static void read_annotations(struct reader *r)
{
    struct str rest, v;
    for (uint32_t i = 0; i < r->out->n_pages; i++) {
        if (!pdf_array(r->out->pages[i].annotations, &rest)) {
            continue;
        }
        while (r->n_extras < EXTRAS_MAX && !r->no_memory && pdf_next(r->f, &rest, &v)) {
            if (pdf_resolve(r->f, v, &v) && pdf_is_dict(v)) {
                read_annotation(r, v, i + 1);
            }
        }
    }
}

static bool add_attachment(struct reader *r, struct str key, struct str value)
{
    (void)key;
    if (pdf_resolve(r->f, value, &value)) {
        attach(r, value);
    }
    return !r->no_memory;
}

bool pdf_extras_read(struct pdf_objects *f, struct pdf_extras *out)
{
    struct reader r = {.f = f, .out = out, .next_extra = &out->extras};
    struct str root = f->root, v, names;
    *out = (struct pdf_extras){.encrypted = f->encrypted};
    out->title = out->author = out->keywords = out->subject = out->created = out->modified =
        STR("");
    r.seen = take(&r, (size_t)f->n + 1, 1);
    r.page_of = take(&r, (size_t)f->n + 1, sizeof *r.page_of);
    if (r.no_memory) {
        return false;
    }
    read_pages(&r, root);
    if (f->encrypted || r.no_memory) {
        return !r.no_memory;
    }
    read_names(&r, root);
    read_outline(&r, root);
    read_annotations(&r);
    if (pdf_get(f, root, "Names", &names) && pdf_get(f, names, "EmbeddedFiles", &v)) {
        walk_names(&r, v, add_attachment);
    }
    if (pdf_get(f, f->trailer, "Info", &v)) {
        out->title = text_at(&r, v, "Title");
        out->author = text_at(&r, v, "Author");
        out->keywords = text_at(&r, v, "Keywords");
        out->subject = text_at(&r, v, "Subject");
        out->created = text_at(&r, v, "CreationDate");
        out->modified = text_at(&r, v, "ModDate");
    }
    return !r.no_memory;
}
