#include "ingest/formats/doc_props.h"

#define PAGE 512U
#define STYLES_MAX 4096U
#define BASED_MAX 16 /* styles on styles */

/* ---- lists of property changes ---- */

struct change {
    uint32_t what;
    struct str operand;
};

/* The next of the list; false at its end. */
static bool next_change(struct str *list, struct change *out)
{
    static const uint8_t sizes[] = {1, 1, 2, 4, 2, 2, 0, 3};
    if (list->len < 3) {
        return false;
    }
    uint32_t what = le16(*list, 0);
    size_t head = 2, n = sizes[what >> 13];
    if (what == 0xD608) { /* a table's columns: a long one with a long length */
        n = le16(*list, 2);
        n = n > 0 ? n - 1 : 0;
        head = 4;
    } else if (what >> 13 == 6) {
        n = le8(*list, 2);
        head = 3;
        if (what == 0xC615 && n == 255) { /* tabs, of a length that nothing tells */
            return false;
        }
    }
    out->what = what;
    out->operand = cut(*list, head, n);
    *list = cut(*list, head + n, list->len);
    return true;
}

static uint32_t level_of(uint32_t outline) /* 0..8, 9: text */
{
    return outline > 8 ? 0 : outline < 6 ? outline + 1 : 6;
}

static void change_paragraph(struct doc_paragraph *p, struct doc_style *style, struct str list)
{
    struct change c;
    while (next_change(&list, &c)) {
        uint32_t v = le8(c.operand, 0);
        if (c.what == 0x2416) {
            p->in_table = v != 0;
        } else if (c.what == 0x2417) {
            p->row_end = v != 0;
        } else if (c.what == 0x244B) {
            p->inner_cell = v != 0;
        } else if (c.what == 0x244C) {
            p->inner_row_end = v != 0;
        } else if (c.what == 0x2640) {
            p->level = level_of(v);
            if (style != NULL) {
                style->leveled = true;
            }
        } else if (c.what == 0x260A) {
            p->list_level = v;
        } else if (c.what == 0x460B) {
            uint32_t of = le16(c.operand, 0);
            p->list = of < 0xF800 ? of : 0;
            if (style != NULL) {
                style->listing = true;
            }
        }
    }
}

static bool on(struct str operand)
{
    uint32_t v = le8(operand, 0);
    return v == 1 || v == 0x81; /* 0x80: as the style has it */
}

static void change_char(struct doc_char *p, struct str list)
{
    struct change c;
    while (next_change(&list, &c)) {
        if (c.what == 0x083C) {
            p->hidden = on(c.operand);
        } else if (c.what == 0x0800) {
            p->deleted = on(c.operand);
        } else if (c.what == 0x6A09) {
            p->symbol = true;
        }
    }
}

/* ---- styles ---- */

static void read_style(struct doc_style *s, struct str std, uint32_t base_size)
{
    uint32_t id = le16(std, 0) & 0xFFF;
    s->kind = (uint8_t)(le16(std, 2) & 0xF);
    s->base = (uint16_t)(le16(std, 2) >> 4);
    if (s->kind != 1) {
        return;
    }
    /* "heading 1" to 9 and "Title", in whatever language they are shown */
    if (id >= 1 && id <= 9) {
        s->p.level = level_of(id - 1);
        s->leveled = true;
    } else if (id == 62) {
        s->p.level = 1;
        s->leveled = true;
    }
    size_t at = base_size + 2 + (size_t)le16(std, base_size) * 2 + 2;
    at += at & 1;
    uint32_t n = le16(std, at);
    if (n > 2) {
        change_paragraph(&s->p, s, cut(std, at + 4, n - 2));
    }
}

static void inherit(struct doc_props *d)
{
    for (uint32_t i = 0; i < d->n_styles; i++) {
        struct doc_style *s = &d->styles[i];
        uint32_t at = s->base;
        for (int k = 0; k < BASED_MAX && at < d->n_styles && !(s->leveled && s->listing); k++) {
            const struct doc_style *b = &d->styles[at];
            if (!s->leveled && b->leveled) {
                s->p.level = b->p.level;
                s->leveled = true;
            }
            if (!s->listing && b->listing) {
                s->p.list = b->p.list;
                s->listing = true;
            }
            at = b->base;
        }
    }
}

bool doc_styles_read(struct doc_props *d, struct str sheet, struct arena *a)
{
    uint32_t n = le16(sheet, 2), base_size = le16(sheet, 4);
    size_t at = 2 + (size_t)le16(sheet, 0);
    n = n < STYLES_MAX ? n : STYLES_MAX;
    d->styles = arena_array(a, (size_t)n + 1, sizeof *d->styles);
    if (d->styles == NULL) {
        return false;
    }
    for (; d->n_styles < n && at + 2 <= sheet.len; d->n_styles++) {
        uint32_t size = le16(sheet, at);
        struct doc_style *s = &d->styles[d->n_styles];
        s->base = UINT16_MAX;
        read_style(s, cut(sheet, at + 2, size), base_size);
        at += 2 + (size_t)size;
        at += at & 1;
    }
    inherit(d);
    return true;
}

/* ---- runs ---- */

/* Where `offset` lies among n + 1 ascending numbers; n: nowhere. */
static uint32_t place(struct str list, uint32_t n, uint32_t offset)
{
    uint32_t low = 0, high = n;
    if (n == 0 || offset < le32(list, 0) || offset >= le32(list, (size_t)n * 4)) {
        return n;
    }
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (le32(list, (size_t)mid * 4) <= offset) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

/* The page and the run in it that the offset lies in, and how far that goes. width: of what stands
 * behind the offsets for each run. The page is empty where there is none. */
static struct str find_run(const struct doc_props *d, struct str table, uint32_t offset,
                           uint32_t width, uint32_t *from, uint32_t *to, size_t *slot)
{
    uint32_t n = table.len < 4 ? 0 : (uint32_t)((table.len - 4) / 8);
    uint32_t k = place(table, n, offset);
    *from = offset;
    *to = UINT32_MAX;
    if (k == n) {
        *to = n > 0 && offset < le32(table, 0) ? le32(table, 0) : UINT32_MAX;
        return STR("");
    }
    uint32_t end = le32(table, (size_t)(k + 1) * 4);
    uint32_t number = le32(table, (size_t)(n + 1) * 4 + (size_t)k * 4) & 0x3FFFFF;
    struct str page = cut(d->main, (size_t)number * PAGE, PAGE);
    uint32_t runs = le8(page, PAGE - 1);
    *to = end > offset ? end : offset + 1;
    if (page.len < PAGE || (size_t)(runs + 1) * 4 + (size_t)runs * width > PAGE - 1) {
        return STR("");
    }
    uint32_t i = place(page, runs, offset);
    if (i == runs) {
        return STR("");
    }
    *from = le32(page, (size_t)i * 4);
    *to = le32(page, (size_t)(i + 1) * 4);
    *slot = (size_t)(runs + 1) * 4 + (size_t)i * width;
    return page;
}

const struct doc_char *doc_char_at(struct doc_props *d, uint32_t offset)
{
    size_t slot = 0;
    if (offset >= d->char_from && offset < d->char_to) {
        return &d->c;
    }
    struct str page = find_run(d, d->chars, offset, 1, &d->char_from, &d->char_to, &slot);
    size_t at = (size_t)le8(page, slot) * 2;
    d->c = (struct doc_char){0};
    if (page.len > 0 && at > 0) {
        change_char(&d->c, cut(page, at + 1, le8(page, at)));
    }
    return &d->c;
}

const struct doc_paragraph *doc_paragraph_at(struct doc_props *d, uint32_t offset)
{
    size_t slot = 0;
    if (offset >= d->paragraph_from && offset < d->paragraph_to) {
        return &d->p;
    }
    struct str page =
        find_run(d, d->paragraphs, offset, 13, &d->paragraph_from, &d->paragraph_to, &slot);
    size_t at = (size_t)le8(page, slot) * 2;
    d->p = (struct doc_paragraph){0};
    if (page.len == 0 || at == 0) {
        return &d->p;
    }
    uint32_t half = le8(page, at);
    struct str all = half == 0 ? cut(page, at + 2, (size_t)le8(page, at + 1) * 2)
                               : cut(page, at + 1, (size_t)half * 2 - 1);
    uint32_t style = le16(all, 0);
    if (style < d->n_styles) {
        d->p = d->styles[style].p;
    }
    change_paragraph(&d->p, NULL, cut(all, 2, all.len));
    return &d->p;
}
