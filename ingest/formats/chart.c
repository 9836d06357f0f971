#include "ingest/formats/chart.h"

#include <string.h>

#define SERIES_MAX 32U
#define POINTS_MAX 1000U
#define TEXT_MAX 65536U

struct series {
    struct str name;
    struct str *values; /* POINTS_MAX */
    size_t n;
};

enum into { NOTHING, TITLE, NAME, CATEGORY, VALUE };

struct reading {
    struct arena *arena;
    struct drawing_text *out;
    struct series *series;
    size_t n_series;
    struct str *categories; /* of the first series that has some */
    size_t n_categories;
    enum into into;
    bool in_series, in_value;
    size_t point;
    struct buf text, title;
};

static struct str keep(struct sax *x, struct reading *r, struct str s)
{
    struct buf squeezed;
    buf_init(&squeezed, TEXT_MAX);
    text_squeeze(&squeezed, s, false);
    const char *copy = arena_strndup(r->arena, buf_view(&squeezed).ptr, squeezed.len);
    struct str out = {copy, squeezed.len};
    buf_deinit(&squeezed);
    if (copy == NULL) {
        sax_fail(x, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
        return STR("");
    }
    return out;
}

static struct str *points(struct sax *x, struct reading *r)
{
    struct str *out = arena_array(r->arena, POINTS_MAX, sizeof *out);
    if (out == NULL) {
        sax_fail(x, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
        return NULL;
    }
    memset(out, 0, POINTS_MAX * sizeof *out);
    return out;
}

static void series_start(struct sax *x, struct reading *r)
{
    r->in_series = r->n_series < SERIES_MAX;
    if (!r->in_series) {
        sax_skip(x);
        return;
    }
    struct series *s = &r->series[r->n_series];
    *s = (struct series){.values = points(x, r)};
    r->n_series += s->values != NULL;
    r->in_series = s->values != NULL;
}

static void on_start(struct sax *x, const char *name, const char *uri,
                     const struct sax_attributes *a)
{
    struct reading *r = x->data;
    (void)uri;
    if (strcmp(name, "ser") == 0) {
        series_start(x, r);
    } else if (strcmp(name, "title") == 0) {
        r->into = TITLE;
    } else if (r->in_series && strcmp(name, "tx") == 0) {
        r->into = NAME;
    } else if (r->in_series && (strcmp(name, "cat") == 0 || strcmp(name, "xVal") == 0)) {
        r->into = CATEGORY;
    } else if (r->in_series && (strcmp(name, "val") == 0 || strcmp(name, "yVal") == 0)) {
        r->into = VALUE;
    } else if (strcmp(name, "pt") == 0) {
        r->point = (size_t)sax_number(sax_attribute(a, "idx"), POINTS_MAX, POINTS_MAX);
    } else if (strcmp(name, "v") == 0 || strcmp(name, "t") == 0) {
        r->in_value = r->into != NOTHING;
        buf_reset(&r->text);
    }
}

static void take_value(struct sax *x, struct reading *r)
{
    struct series *s = r->n_series == 0 ? NULL : &r->series[r->n_series - 1];
    struct str v = buf_view(&r->text);
    if (r->into == TITLE) {
        buf_char(&r->title, ' ');
        buf_str(&r->title, v);
    } else if (s == NULL || (r->into != NAME && r->point >= POINTS_MAX)) {
        return;
    } else if (r->into == NAME) {
        s->name = keep(x, r, v);
    } else if (r->into == VALUE) {
        s->values[r->point] = keep(x, r, v);
        s->n = r->point + 1 > s->n ? r->point + 1 : s->n;
    } else if (r->n_series == 1) {
        r->categories = r->categories == NULL ? points(x, r) : r->categories;
        if (r->categories != NULL) {
            r->categories[r->point] = keep(x, r, v);
            r->n_categories = r->point + 1 > r->n_categories ? r->point + 1 : r->n_categories;
        }
    }
}

static void on_end(struct sax *x, const char *name, const char *uri)
{
    struct reading *r = x->data;
    (void)uri;
    if ((strcmp(name, "v") == 0 || strcmp(name, "t") == 0) && r->in_value) {
        r->in_value = false;
        take_value(x, r);
    } else if (strcmp(name, "ser") == 0) {
        r->in_series = false;
        r->into = NOTHING;
    } else if (strcmp(name, "title") == 0 || strcmp(name, "tx") == 0 || strcmp(name, "cat") == 0 ||
               strcmp(name, "val") == 0 || strcmp(name, "xVal") == 0 || strcmp(name, "yVal") == 0) {
        bool still = strcmp(name, "tx") == 0 && r->into == TITLE; /* within the title */
        r->into = still ? TITLE : NOTHING;
    }
}

static void on_text(struct sax *x, struct str text)
{
    struct reading *r = x->data;
    if (r->in_value) {
        buf_str(&r->text, text);
    }
}

static enum status add(struct reading *r, Ex__Block__Kind kind, struct str text, struct error *err)
{
    struct drawing_block *b = arena_alloc(r->arena, sizeof *b);
    const char *copy = arena_strndup(r->arena, text.ptr, text.len);
    if (b == NULL || copy == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    *b = (struct drawing_block){.kind = kind, .text = {copy, text.len}};
    *r->out->last = b;
    r->out->last = &b->next;
    return STATUS_OK;
}

static enum status add_table(struct reading *r, struct error *err)
{
    size_t rows = r->n_categories;
    bool named = false;
    struct buf row;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < r->n_series; i++) {
        rows = r->series[i].n > rows ? r->series[i].n : rows;
        named = named || r->series[i].name.len > 0;
    }
    buf_init(&row, (size_t)SERIES_MAX * TEXT_MAX);
    for (size_t k = named ? 0 : 1; k <= rows && s == STATUS_OK; k++) {
        bool any = false;
        buf_reset(&row);
        if (k > 0 && k <= r->n_categories) {
            buf_str(&row, r->categories[k - 1]);
        }
        for (size_t i = 0; i < r->n_series; i++) {
            const struct series *of = &r->series[i];
            struct str v = k == 0 ? of->name : of->values[k - 1];
            buf_z(&row, " | ");
            buf_str(&row, v);
            any = any || v.len > 0;
        }
        if (any) {
            s = add(r, EX__BLOCK__KIND__TABLE_ROW, buf_view(&row), err);
        }
    }
    buf_deinit(&row);
    return s;
}

enum status chart_read(struct package *p, const char *name, struct arena *a,
                       struct drawing_text *out, struct error *err)
{
    static const struct sax_handler handler = {.start = on_start, .end = on_end, .text = on_text};
    struct reading r = {
        .arena = a, .out = out, .series = arena_array(a, SERIES_MAX, sizeof(struct series))};
    struct sax x = {.handler = &handler, .data = &r};
    struct buf title;
    out->first = NULL;
    out->last = &out->first;
    if (r.series == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    buf_init(&r.text, TEXT_MAX);
    buf_init(&r.title, TEXT_MAX);
    buf_init(&title, TEXT_MAX);
    enum status s = sax_read_help(&x, p, name, err);
    text_squeeze(&title, buf_view(&r.title), false);
    if (s == STATUS_OK && title.len > 0) {
        s = add(&r, EX__BLOCK__KIND__CAPTION, buf_view(&title), err);
    }
    if (s == STATUS_OK) {
        s = add_table(&r, err);
    }
    buf_deinit(&r.text);
    buf_deinit(&r.title);
    buf_deinit(&title);
    return s;
}
