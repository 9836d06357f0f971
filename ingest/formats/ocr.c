#include "ingest/formats/ocr.h"

#include <stdlib.h>

#include "ingest/formats/ocr_words.h"
#include "ingest/utf8.h"

#define SIGN_CONFIDENCE 55.0F /* what is no letter and no digit is more often dirt */
#define BULLETS_MAX 64
#define HEADING_CONFIDENCE 60.0F
#define HEADING_LINES 3
#define HEADING_BYTES 160
#define PARAGRAPH_BYTES ((size_t)256 * 1024)

struct reading {
    const struct ocr_options *options;
    struct emitter *emitter;
    const struct ocr_words *words;
    float body; /* pixels: the height of an ordinary line */
    struct buf text;
    Ex__Line *lines; /* of the block; room for all words */
    size_t n_lines;
    uint32_t points; /* code points in text */
};

static bool has_letter(struct str s)
{
    for (size_t i = 0; i < s.len;) {
        size_t n;
        uint32_t c = utf8_next(s.ptr + i, s.ptr + s.len, &n);
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            (c >= 0xC0 && c != 0xD7 && c != 0xF7 && !(c >= 0x2000 && c < 0x2C00) && c != 0xFFFD)) {
            return true;
        }
        i += n;
    }
    return false;
}

static bool same_line(const struct ocr_word *a, const struct ocr_word *b)
{
    return a->block == b->block && a->paragraph == b->paragraph && a->line == b->line;
}

static bool same_paragraph(const struct ocr_word *a, const struct ocr_word *b)
{
    return a->block == b->block && a->paragraph == b->paragraph;
}

/* The first of a line, and more in it. */
static bool leads(const struct ocr_words *w, size_t i)
{
    const struct ocr_word *x = &w->list[i];
    bool first = i == 0 || !same_line(x - 1, x);
    return first && i + 1 < w->n && same_line(x, x + 1) && has_letter(x[1].text);
}

/* A sign that stands before an item of a list, as what it is or as what it is mostly taken for. */
static bool is_bullet(const struct ocr_words *w, size_t i)
{
    static const char *const signs[] = {"\u2022", "*",      "\u00A9", "\u00A2", "\u00AE",
                                        "\u00AB", "\u00BB", "\u00B7", "\u25CF", "\u25AA",
                                        "-",      "\u2013", "\u2014"};
    const struct ocr_word *x = &w->list[i];
    for (size_t k = 0; k < sizeof signs / sizeof signs[0] && leads(w, i); k++) {
        if (str_eq(x->text, str_from(signs[k]))) {
            bool year = x[1].text.ptr[0] >= '0' && x[1].text.ptr[0] <= '9';
            return !(year && str_eq(x->text, STR("\u00A9")));
        }
    }
    return false;
}

/* A bullet is also taken for a small letter. It is one where it stands under or over others and a
 * capital follows: they become alike. */
static void mend_bullets(struct ocr_words *w)
{
    float left[BULLETS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < w->n && n < BULLETS_MAX; i++) {
        if (is_bullet(w, i)) {
            left[n++] = w->list[i].x0;
        }
    }
    for (size_t i = 0; i < w->n && n > 0; i++) {
        struct ocr_word *x = &w->list[i];
        if (!(str_eq(x->text, STR("e")) || str_eq(x->text, STR("o"))) || !leads(w, i) ||
            x[1].text.ptr[0] < 'A' || x[1].text.ptr[0] > 'Z') {
            continue;
        }
        float near = (x[1].y1 - x[1].y0) / 2;
        for (size_t k = 0; k < n; k++) {
            if (x->x0 > left[k] - near && x->x0 < left[k] + near) {
                x->text = STR("\u2022");
                break;
            }
        }
    }
}

/* In place: what is too uncertain goes. */
static enum status drop_uncertain(struct ocr_words *w, float least, struct error *err)
{
    size_t n = 0;
    bool *keep = arena_array(w->arena, w->n + 1, sizeof *keep);
    if (keep == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    for (size_t i = 0; i < w->n; i++) {
        const struct ocr_word *x = &w->list[i];
        bool sign = !has_letter(x->text);
        float need = sign && least < SIGN_CONFIDENCE ? SIGN_CONFIDENCE : least;
        keep[i] = x->confidence >= need || is_bullet(w, i);
    }
    for (size_t i = 0; i < w->n; i++) {
        if (keep[i]) {
            w->list[n++] = w->list[i];
        }
    }
    w->n = n;
    return STATUS_OK;
}

/* Of a line that begins at `from`: its height, and where it ends. The tallest word of several, as
 * one may be all small letters; turned text has its height across. */
static float line_height(const struct ocr_words *w, size_t from, size_t *end)
{
    float tall = 0;
    float x0 = w->list[from].x0, x1 = w->list[from].x1;
    float y0 = w->list[from].y0, y1 = w->list[from].y1;
    float wide = 0;
    size_t i = from;
    for (; i < w->n && same_line(&w->list[from], &w->list[i]); i++) {
        const struct ocr_word *x = &w->list[i];
        tall = x->y1 - x->y0 > tall ? x->y1 - x->y0 : tall;
        wide = x->x1 - x->x0 > wide ? x->x1 - x->x0 : wide;
        x0 = x->x0 < x0 ? x->x0 : x0;
        x1 = x->x1 > x1 ? x->x1 : x1;
        y0 = x->y0 < y0 ? x->y0 : y0;
        y1 = x->y1 > y1 ? x->y1 : y1;
    }
    *end = i;
    return y1 - y0 > 2 * (x1 - x0) && i - from > 1 ? wide : tall;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The median over words: that of the text, not of the titles. */
static enum status measure(struct reading *r, struct arena *a, struct error *err)
{
    const struct ocr_words *w = r->words;
    float *heights = arena_array(a, w->n + 1, sizeof *heights);
    if (heights == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    for (size_t i = 0; i < w->n;) {
        size_t end;
        float h = line_height(w, i, &end);
        for (; i < end; i++) {
            heights[i] = h;
        }
    }
    qsort(heights, w->n, sizeof *heights, by_size);
    r->body = w->n == 0 ? 0 : heights[w->n / 2];
    return STATUS_OK;
}

static bool is_lower(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 0xDF && c <= 0xFF && c != 0xF7);
}

/* Bytes of the hyphen that divides a word at its line's end, where the next line goes on with a
 * small letter. */
static size_t dividing_hyphen(const struct ocr_word *x, const struct ocr_word *next)
{
    static const char *const hyphens[] = {"-", "\u2010", "\u00AD", "\u00AC"};
    if (same_line(x, next) || !same_paragraph(x, next)) {
        return 0;
    }
    size_t unused;
    uint32_t first = utf8_next(next->text.ptr, next->text.ptr + next->text.len, &unused);
    for (size_t i = 0; i < sizeof hyphens / sizeof hyphens[0] && is_lower(first); i++) {
        struct str h = str_from(hyphens[i]);
        if (str_ends(x->text, h) && x->text.len > h.len) {
            unsigned char before = (unsigned char)x->text.ptr[x->text.len - h.len - 1];
            bool letter = before >= 0x80 || (before >= 'a' && before <= 'z') ||
                          (before >= 'A' && before <= 'Z');
            return letter ? h.len : 0;
        }
    }
    return 0;
}

static void add_word(struct reading *r, const struct ocr_word *x, size_t hyphen)
{
    float k = r->options->scale;
    struct str text = {x->text.ptr, x->text.len - hyphen};
    Ex__Line *out = &r->lines[r->n_lines++];
    ex__line__init(out);
    out->page = r->options->page;
    out->x0 = x->x0 * k;
    out->y0 = x->y0 * k;
    out->x1 = x->x1 * k;
    out->y1 = x->y1 * k;
    out->start = r->points;
    r->points += (uint32_t)utf8_count(text);
    out->end = r->points;
    buf_str(&r->text, text);
}

static uint32_t heading_level(const struct reading *r, float height, size_t lines)
{
    float ratio = r->body > 0 ? height / r->body : 0;
    if (lines > HEADING_LINES || r->text.len > HEADING_BYTES || ratio < 1.45F) {
        return 0;
    }
    return ratio >= 2.2F ? 1 : 2;
}

/* Words from up to end, which are of one paragraph or one item of a list. */
static enum status emit_words(struct reading *r, size_t from, size_t end, bool item,
                              struct error *err)
{
    const struct ocr_word *list = r->words->list;
    float confidence = 0;
    float least_height = 0;
    size_t lines = 0;
    buf_reset(&r->text);
    r->n_lines = 0;
    r->points = 0;
    for (size_t i = from; i < end; i++) {
        if (i == from || !same_line(&list[i - 1], &list[i])) {
            size_t unused;
            float h = line_height(r->words, i, &unused);
            least_height = lines == 0 || h < least_height ? h : least_height;
            lines++;
        }
        size_t hyphen = i + 1 < end ? dividing_hyphen(&list[i], &list[i + 1]) : 0;
        add_word(r, &list[i], hyphen);
        confidence += list[i].confidence;
        if (i + 1 < end && hyphen == 0) {
            buf_char(&r->text, ' ');
            r->points++;
        }
    }
    if (buf_status(&r->text) != STATUS_OK) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    confidence /= (float)(end - from);
    bool sure = !item && confidence >= HEADING_CONFIDENCE;
    uint32_t level = sure ? heading_level(r, least_height, lines) : 0;
    struct emit_block b = {
        .kind = item        ? EX__BLOCK__KIND__LIST_ITEM
                : level > 0 ? EX__BLOCK__KIND__HEADING
                            : EX__BLOCK__KIND__PARAGRAPH,
        .text = buf_view(&r->text),
        .level = level,
        .page = r->options->page,
        .lines = r->lines,
        .n_lines = r->n_lines,
        .confidence = confidence > 0 ? confidence : 0.01F,
    };
    emit(r->emitter, &b);
    return STATUS_OK;
}

static enum status emit_paragraphs(struct reading *r, struct error *err)
{
    const struct ocr_words *w = r->words;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < w->n && s == STATUS_OK && !emit_failed(r->emitter);) {
        bool item = is_bullet(w, i);
        i += item;
        size_t end = i;
        size_t bytes = 0;
        for (; end < w->n && same_paragraph(&w->list[i], &w->list[end]) &&
               (end == i || !is_bullet(w, end)) && bytes < PARAGRAPH_BYTES - OCR_ROW_MAX;
             end++) {
            bytes += w->list[end].text.len + 1;
        }
        s = emit_words(r, i, end, item, err);
        i = end;
    }
    return s;
}

static enum status on_data(void *data, struct str piece, struct error *err)
{
    return ocr_words_feed(data, piece, err);
}

enum status ocr_page(const struct tool_runner *runner, const struct ocr_options *o, struct arena *a,
                     struct emitter *e, struct error *err)
{
    struct ocr_words words;
    struct reading r = {.options = o, .emitter = e, .words = &words};
    ocr_words_init(&words, a);
    buf_init(&r.text, 4 * PARAGRAPH_BYTES);
    enum status s = runner->run(runner, on_data, &words, err);
    if (s == STATUS_OK) {
        s = ocr_words_end(&words, err);
    }
    if (s != STATUS_OK) {
        goto out;
    }
    mend_bullets(&words);
    s = drop_uncertain(&words, o->min_confidence, err);
    if (s != STATUS_OK) {
        goto out;
    }
    r.lines = arena_array(a, words.n + 1, sizeof *r.lines);
    if (r.lines == NULL) {
        s = error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
        goto out;
    }
    s = measure(&r, a, err);
    if (s == STATUS_OK) {
        e->may_be_empty = true;
        s = emit_paragraphs(&r, err);
    }
out:
    ocr_words_deinit(&words);
    buf_deinit(&r.text);
    return s;
}
