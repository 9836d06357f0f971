/* The document's text with its blocks, what they weigh, and the headings above them. */
#include <utf8proc.h>

#include "base/buf.h"
#include "ingest/chunk_internal.h"
#include "ingest/utf8.h"

#define TEXT_MAX (64U * 1024 * 1024)
#define LEVELS 6
#define WORD_CHARS 40 /* a run of letters counts as one word for each so many */
#define PATH_MAX_BYTES 600
#define PATH_PART_MAX 160
#define UNIT_NAME_MAX 120

enum status chunk_no_memory(struct error *err)
{
    return error_set(err, STATUS_TOO_LARGE, "the document is too large for the memory allowed");
}

/* --- sizes --- */

struct weigher {
    uint64_t word, character;
    size_t run; /* characters of the word being read */
};

static uint64_t weigh_one(struct weigher *w, uint32_t c)
{
    if (c != UTF8_BAD && utf8_is_space(c)) {
        w->run = 0;
        return 0;
    }
    if (c != UTF8_BAD && utf8_is_unspaced(c)) {
        w->run = 0;
        return w->character;
    }
    return w->run++ % WORD_CHARS == 0 ? w->word : 0;
}

uint64_t chunk_weigh(const struct cutter *c, struct str s)
{
    struct weigher w = {.word = c->word, .character = c->character};
    uint64_t total = 0;
    const char *end = s.len == 0 ? s.ptr : s.ptr + s.len;
    for (const char *p = s.ptr; p < end;) {
        size_t n;
        total += weigh_one(&w, utf8_next(p, end, &n));
        p += n;
    }
    return total;
}

/* Where a line may be broken before c: not before a mark that belongs to what it follows. */
static bool may_begin(uint32_t c)
{
    utf8proc_category_t k =
        c == UTF8_BAD ? UTF8PROC_CATEGORY_CN : utf8proc_category((utf8proc_int32_t)c);
    return k != UTF8PROC_CATEGORY_MN && k != UTF8PROC_CATEGORY_MC && k != UTF8PROC_CATEGORY_ME &&
           k != UTF8PROC_CATEGORY_PE && k != UTF8PROC_CATEGORY_PF && k != UTF8PROC_CATEGORY_PO &&
           k != UTF8PROC_CATEGORY_LM && k != UTF8PROC_CATEGORY_CF;
}

/* Thai, Lao, Burmese, Khmer: words of several letters that nothing divides. */
static bool is_phrased(uint32_t c)
{
    return (c >= 0x0E00 && c <= 0x0EFF) || (c >= 0x1000 && c <= 0x109F) ||
           (c >= 0x1780 && c <= 0x17FF);
}

struct span chunk_first_words(const struct cutter *c, struct span at, uint64_t room, uint64_t *size)
{
    const char *text = c->out->text.ptr, *end = text + at.byte_end;
    struct weigher w = {.word = c->word, .character = c->character};
    struct span piece = {at.byte, at.byte, at.point, at.point};
    struct span good = piece; /* up to the last place where a cut is good */
    struct span fair = piece; /* up to the last end of a character as it is seen */
    uint64_t total = 0, good_size = 0, fair_size = 0;
    uint32_t before = UTF8_BAD;
    utf8proc_int32_t state = 0;
    while (piece.byte_end < at.byte_end) {
        size_t n;
        uint32_t ch = utf8_next(text + piece.byte_end, end, &n);
        bool seen = before == UTF8_BAD || ch == UTF8_BAD ||
                    utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)ch,
                                                     &state);
        bool unspaced = ch != UTF8_BAD && utf8_is_unspaced(ch) && !is_phrased(ch);
        if (piece.byte_end > at.byte && seen) {
            fair = piece;
            fair_size = total;
            if (utf8_is_space(ch) || (unspaced && may_begin(ch))) {
                good = piece;
                good_size = total;
            }
        }
        uint64_t more = weigh_one(&w, ch);
        if (total + more > room) {
            break;
        }
        total += more;
        piece.byte_end += n;
        piece.point_end++;
        before = ch;
    }
    if (piece.byte_end == at.byte_end) {
        *size = total;
        return piece;
    }
    if (good_size > 0 && good_size >= room / 4) {
        piece = good;
        total = good_size;
    } else if (fair.byte_end > at.byte) {
        piece = fair;
        total = fair_size;
    }
    if (piece.byte_end == at.byte) { /* always onward, whatever the options */
        size_t n;
        (void)utf8_next(text + at.byte, end, &n);
        piece.byte_end += n;
        piece.point_end++;
        total = room;
    }
    *size = total;
    return piece;
}

/* --- the document's text --- */

static bool is_tight(const Ex__Block *a, const Ex__Block *b)
{
    return a->kind == b->kind &&
           (a->kind == EX__BLOCK__KIND__LIST_ITEM || a->kind == EX__BLOCK__KIND__TABLE_ROW);
}

struct span chunk_trim(struct str text, struct span s)
{
    while (s.byte < s.byte_end) {
        size_t n;
        uint32_t c = utf8_next(text.ptr + s.byte, text.ptr + s.byte_end, &n);
        if (!utf8_is_space(c)) {
            break;
        }
        s.byte += n;
        s.point++;
    }
    while (s.byte_end > s.byte) {
        size_t back = 1, n;
        while (back < 4 && s.byte_end - back > s.byte &&
               ((unsigned char)text.ptr[s.byte_end - back] & 0xC0) == 0x80) {
            back++;
        }
        uint32_t c = utf8_next(text.ptr + s.byte_end - back, text.ptr + s.byte_end, &n);
        if (!utf8_is_space(c)) {
            break;
        }
        s.byte_end -= back;
        s.point_end--;
    }
    return s;
}

static void add_boxes(struct chunked_document *out, const Ex__Block *b,
                      const struct chunk_block *at)
{
    uint32_t length = at->end - at->start;
    for (size_t i = 0; i < b->n_lines; i++) {
        const Ex__Line *l = b->lines[i];
        out->boxes[out->n_boxes++] = (struct chunk_box){
            .page = l->page,
            .x0 = l->x0,
            .y0 = l->y0,
            .x1 = l->x1,
            .y1 = l->y1,
            .start = at->start + (l->start < length ? l->start : length),
            .end = at->start + (l->end < length ? l->end : length),
        };
    }
}

static void put_words(struct buf *out, struct str s, size_t max)
{
    bool space = false;
    size_t start = out->len;
    for (size_t i = 0; i < s.len && out->len - start < max;) {
        size_t n;
        uint32_t c = utf8_next(s.ptr + i, s.ptr + s.len, &n);
        if (utf8_is_space(c)) {
            space = true;
        } else {
            if (space && out->len > start) {
                buf_char(out, ' ');
            }
            space = false;
            buf_append(out, s.ptr + i, n);
        }
        i += n;
    }
}

static const char *unit_label(const Ex__Block *b, struct arena *a)
{
    static const char *const kinds[] = {"part", "slide", "sheet", "message", "chapter"};
    unsigned kind = b->has_unit_kind ? (unsigned)b->unit_kind : 0;
    struct buf clean, label;
    buf_init(&clean, 65536);
    buf_init(&label, 4096);
    buf_z(&label, kinds[kind < sizeof kinds / sizeof kinds[0] ? kind : 0]);
    buf_char(&label, ' ');
    size_t named = label.len;
    if (b->has_unit_name) {
        size_t len = b->unit_name.len < 4096 ? b->unit_name.len : 4096;
        utf8_clean(&clean, (struct str){(const char *)b->unit_name.data, len});
        put_words(&label, buf_view(&clean), UNIT_NAME_MAX);
    }
    if (label.len == named && kind == EX__BLOCK__UNIT__CHAPTER) {
        buf_reset(&label); /* its headings say more than its place in the file */
    } else if (label.len == named) {
        buf_printf(&label, "%u", b->unit);
    }
    const char *out = buf_status(&label) != STATUS_OK || buf_status(&clean) != STATUS_OK
                          ? NULL
                          : arena_strndup(a, buf_view(&label).ptr, label.len);
    buf_deinit(&clean);
    buf_deinit(&label);
    return out;
}

static enum status name_units(const Ex__Block *const *blocks, size_t n, struct arena *a,
                              struct chunked_document *d, struct error *err)
{
    size_t units = 0;
    for (size_t i = 0; i < n; i++) {
        units += blocks[i]->unit != 0 && (i == 0 || blocks[i]->unit != blocks[i - 1]->unit);
    }
    d->units = arena_array(a, units + 1, sizeof *d->units);
    if (d->units == NULL) {
        return chunk_no_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        if (blocks[i]->unit != 0 && (i == 0 || blocks[i]->unit != blocks[i - 1]->unit)) {
            d->units[d->n_units] = unit_label(blocks[i], a);
            if (d->units[d->n_units++] == NULL) {
                return chunk_no_memory(err);
            }
        }
        d->blocks[i].unit = blocks[i]->unit != 0 ? (uint32_t)d->n_units : 0;
    }
    return STATUS_OK;
}

static enum status join_texts(const Ex__Block *const *blocks, size_t n, struct buf *text,
                              struct chunked_document *d, struct error *err)
{
    uint32_t points = 0;
    for (size_t i = 0; i < n; i++) {
        struct chunk_block *b = &d->blocks[i];
        if (i > 0) {
            const char *gap = is_tight(blocks[i - 1], blocks[i]) ? "\n" : "\n\n";
            buf_z(text, gap);
            points += (uint32_t)strlen(gap);
        }
        size_t from = text->len;
        utf8_clean(text, (struct str){(const char *)blocks[i]->text.data, blocks[i]->text.len});
        if (buf_status(text) != STATUS_OK) {
            return error_set(err, STATUS_TOO_LARGE, "it holds more than %u MB of text",
                             TEXT_MAX >> 20);
        }
        *b = (struct chunk_block){.kind = blocks[i]->kind,
                                  .level = blocks[i]->has_level ? blocks[i]->level : 0,
                                  .page = blocks[i]->has_page ? blocks[i]->page : 0,
                                  .start = points,
                                  .n_boxes = (uint32_t)blocks[i]->n_lines};
        points += (uint32_t)utf8_count((struct str){buf_view(text).ptr + from, text->len - from});
        b->end = points;
        add_boxes(d, blocks[i], b);
    }
    return STATUS_OK;
}

enum status chunk_assemble(const Ex__Block *const *blocks, size_t n, struct arena *a,
                           struct chunked_document *out, struct error *err)
{
    struct chunked_document d = {.text = STR(""), .n_blocks = n};
    struct buf text;
    size_t n_lines = 0;
    buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < n; i++) {
        n_lines += blocks[i]->n_lines;
    }
    d.blocks = arena_array(a, n + 1, sizeof *d.blocks);
    d.boxes = arena_array(a, n_lines + 1, sizeof *d.boxes);
    enum status s = d.blocks == NULL || d.boxes == NULL ? chunk_no_memory(err) : STATUS_OK;
    if (s == STATUS_OK) {
        s = join_texts(blocks, n, &text, &d, err);
    }
    if (s == STATUS_OK) {
        s = name_units(blocks, n, a, &d, err);
    }
    if (s == STATUS_OK) {
        d.text.ptr = arena_strndup(a, buf_view(&text).ptr, text.len);
        d.text.len = text.len;
        s = d.text.ptr == NULL ? chunk_no_memory(err) : STATUS_OK;
    }
    if (s == STATUS_OK) {
        *out = d;
    }
    buf_deinit(&text);
    return s;
}

/* --- heading paths --- */

static const char *write_path(struct cutter *c, const struct str *stack, uint32_t level)
{
    struct buf b;
    buf_init(&b, 8192);
    for (uint32_t l = 1; l <= level; l++) {
        if (stack[l].len > 0 && b.len < PATH_MAX_BYTES) {
            buf_z(&b, b.len > 0 ? " > " : "");
            put_words(&b, stack[l], PATH_PART_MAX);
        }
    }
    const char *path = arena_strndup(c->arena, buf_view(&b).ptr, b.len);
    buf_deinit(&b);
    return path;
}

static enum status name_sections(struct cutter *c)
{
    struct str stack[LEVELS + 1] = {{0}};
    const char *path = "";
    uint32_t section = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct part *p = &c->parts[i];
        if (p->block->kind == EX__BLOCK__KIND__HEADING && p->at.byte < p->at.byte_end) {
            uint32_t level = p->block->level;
            level = level < 1 ? 1 : level > LEVELS ? LEVELS : level;
            stack[level] = chunk_part_text(c, p);
            for (uint32_t l = level + 1; l <= LEVELS; l++) {
                stack[l] = (struct str){0};
            }
            path = write_path(c, stack, level);
            if (path == NULL) {
                return chunk_no_memory(c->err);
            }
            section++;
        }
        p->path = path;
        p->section = section;
    }
    return STATUS_OK;
}

enum status chunk_parts(struct cutter *c)
{
    const struct chunked_document *d = c->out;
    const char *end = d->text.ptr + d->text.len, *at = d->text.ptr;
    uint32_t point = 0;
    size_t box = 0;
    c->parts = arena_array(c->arena, d->n_blocks + 1, sizeof *c->parts);
    if (c->parts == NULL) {
        return chunk_no_memory(c->err);
    }
    for (size_t i = 0; i < d->n_blocks; i++) {
        const struct chunk_block *b = &d->blocks[i];
        struct part *p = &c->parts[c->n++];
        *p = (struct part){.block = b, .box = box, .lead = NO_PART, .header = NO_PART};
        for (size_t n; point < b->start && at < end; point++, at += n) {
            (void)utf8_next(at, end, &n);
        }
        p->at.byte = (size_t)(at - d->text.ptr);
        p->at.point = point;
        for (size_t n; point < b->end && at < end; point++, at += n) {
            (void)utf8_next(at, end, &n);
        }
        p->at.byte_end = (size_t)(at - d->text.ptr);
        p->at.point_end = point;
        p->size = chunk_weigh(c, chunk_part_text(c, p));
        p->at = chunk_trim(d->text, p->at);
        box += b->n_boxes;
    }
    return name_sections(c);
}

const char *chunk_common_path(struct cutter *c, const char *a, const char *b)
{
    size_t same = 0;
    for (size_t i = 0;; i++) {
        bool a_ends = a[i] == '\0' || strncmp(a + i, " > ", 3) == 0;
        bool b_ends = b[i] == '\0' || strncmp(b + i, " > ", 3) == 0;
        if (a_ends && b_ends) {
            same = i;
        }
        if (a[i] != b[i] || a[i] == '\0') {
            break;
        }
    }
    const char *out = arena_strndup(c->arena, a, same);
    if (out == NULL) {
        c->status = chunk_no_memory(c->err);
        return "";
    }
    return out;
}
