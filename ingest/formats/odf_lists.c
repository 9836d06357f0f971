#include "ingest/formats/odf_lists.h"

#include <string.h>

#include "base/map.h"

#define STYLES_MAX 4096U
#define OUTLINE 1U /* the style of headings; those with names follow */

struct odf_list_style {
    struct odf_list_style *next;
    struct str name;
    uint32_t id;
};

/* Made when new; 0: too many, or no memory. */
static uint32_t style_of(struct odf_lists *l, struct str name)
{
    struct odf_list_style **slot = &l->styles[hash64(name.ptr, name.len) % ODF_LISTS_SLOTS];
    struct odf_list_style *s = *slot;
    while (s != NULL && !str_eq(s->name, name)) {
        s = s->next;
    }
    if (s == NULL && l->n_styles < STYLES_MAX) {
        s = arena_alloc(l->numbering.arena, sizeof *s);
        const char *copy = arena_strndup(l->numbering.arena, name.ptr, name.len);
        if (s == NULL || copy == NULL) {
            return 0;
        }
        *s = (struct odf_list_style){
            .next = *slot, .name = {copy, name.len}, .id = OUTLINE + ++l->n_styles};
        *slot = s;
        numbering_list(&l->numbering, s->id, s->id);
    }
    return s == NULL ? 0 : s->id;
}

static enum numbering_format format_of(struct str f)
{
    return str_eq(f, STR("1"))   ? NUMBERING_DECIMAL
           : str_eq(f, STR("a")) ? NUMBERING_LOWER_LETTER
           : str_eq(f, STR("A")) ? NUMBERING_UPPER_LETTER
           : str_eq(f, STR("i")) ? NUMBERING_LOWER_ROMAN
           : str_eq(f, STR("I")) ? NUMBERING_UPPER_ROMAN
           : f.len == 0          ? NUMBERING_NONE
                                 : NUMBERING_DECIMAL;
}

static void level_style(struct odf_lists *l, const struct sax_attributes *a)
{
    long level = sax_number(sax_attribute(a, "level"), NUMBERING_LEVELS, 0);
    struct numbering_level *to =
        level < 1 ? NULL : numbering_level(&l->numbering, l->style, (uint32_t)level - 1);
    struct str prefix = sax_attribute(a, "num-prefix");
    struct str suffix = sax_attribute(a, "num-suffix");
    struct buf text;
    if (to == NULL) {
        return;
    }
    long shown = sax_number(sax_attribute(a, "display-levels"), level, 1);
    to->format = format_of(sax_attribute(a, "num-format"));
    to->start = (uint32_t)sax_number(sax_attribute(a, "start-value"), 1000000, 1);
    buf_init(&text, 1024);
    buf_str(&text, prefix.ptr == NULL ? STR("") : prefix);
    for (long i = level - shown + 1; i <= level; i++) {
        buf_printf(&text, "%%%ld%s", i, i < level ? "." : "");
    }
    buf_str(&text, suffix.ptr == NULL ? STR("") : suffix);
    const char *copy = to->format == NUMBERING_NONE || buf_status(&text) != STATUS_OK
                           ? NULL
                           : arena_strndup(l->numbering.arena, text.ptr, text.len);
    to->text = copy == NULL ? STR("") : (struct str){copy, text.len};
    buf_deinit(&text);
}

void odf_lists_style(struct odf_lists *l, const char *name, const struct sax_attributes *a)
{
    if (strcmp(name, "list-style") == 0) {
        struct str of = sax_attribute(a, "name");
        l->style = of.ptr == NULL ? 0 : style_of(l, of);
    } else if (strcmp(name, "outline-style") == 0) {
        l->style = OUTLINE;
        numbering_list(&l->numbering, OUTLINE, OUTLINE);
    } else if (l->style != 0 && (strcmp(name, "list-level-style-number") == 0 ||
                                 strcmp(name, "outline-level-style") == 0)) {
        level_style(l, a);
    }
}

void odf_lists_begin(struct odf_lists *l, const struct sax_attributes *a)
{
    struct str name = sax_attribute(a, "style-name");
    uint32_t above = l->depth == 0 || l->depth > ODF_LISTS_DEEP ? 0 : l->open[l->depth - 1];
    uint32_t level = l->depth;
    l->due = false;
    if (l->depth++ >= ODF_LISTS_DEEP) {
        return;
    }
    uint32_t id = name.ptr == NULL ? above : style_of(l, name);
    const struct numbering_level *at =
        id == 0 || level >= NUMBERING_LEVELS ? NULL : numbering_level(&l->numbering, id, level);
    l->open[level] = id;
    bool goes_on =
        sax_attribute_on(a, "continue-numbering") || sax_attribute(a, "continue-list").ptr != NULL;
    if (at != NULL && !goes_on) {
        numbering_restart(&l->numbering, id, level, at->start);
    }
}

void odf_lists_end(struct odf_lists *l)
{
    l->depth -= l->depth > 0;
    l->due = false;
}

void odf_lists_item(struct odf_lists *l, const struct sax_attributes *a)
{
    long start = sax_number(sax_attribute(a, "start-value"), 1000000, -1);
    l->due = l->depth > 0 && l->depth <= NUMBERING_LEVELS;
    if (l->due && start >= 0) {
        numbering_restart(&l->numbering, l->open[l->depth - 1], l->depth - 1, (uint32_t)start);
    }
}

static void next(struct odf_lists *l, uint32_t list, uint32_t level, struct buf *out)
{
    size_t before = out->len;
    numbering_next(&l->numbering, list, level, out);
    if (out->len > before) {
        buf_char(out, ' ');
    }
}

void odf_lists_label(struct odf_lists *l, struct buf *out)
{
    if (l->due) {
        l->due = false;
        next(l, l->open[l->depth - 1], l->depth - 1, out);
    }
}

void odf_lists_heading(struct odf_lists *l, uint32_t level, struct buf *out)
{
    if (level >= 1) {
        next(l, OUTLINE, level - 1, out);
    }
}
