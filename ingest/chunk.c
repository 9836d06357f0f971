/* Two passes. assemble() joins the blocks into the document's text and notes where each lies; cut()
 * goes over the blocks once and closes a chunk where structure or size says so. Sizes are in
 * shares: a word weighs target_cjk_chars, a character of an unspaced script target_words, so that
 * either target is the same number. */
#include "ingest/chunk.h"

#include "base/buf.h"
#include "ingest/sentence.h"
#include "ingest/utf8.h"

#define TEXT_MAX (64U * 1024 * 1024)
#define LEVELS 6
#define WORD_CHARS 40 /* a run of letters counts as one word for each so many */
#define PATH_MAX_BYTES 600
#define PATH_PART_MAX 160

struct span { /* a stretch of the document's text */
    size_t byte, byte_end;
    uint32_t point, point_end;
};

struct part { /* a block in the text */
    const Ex__Block *block;
    struct span at;
    uint64_t size;
    const char *path; /* the headings above, "A > B"; for a heading its own path */
    uint32_t section; /* counts headings */
};

struct cutter {
    struct arena *arena;
    struct chunked_document *out;
    struct sentence_splitter *splitter;
    struct part *parts;
    size_t n;
    uint64_t target, max, word, character;
    size_t cap;
    struct { /* the chunk being filled */
        bool open;
        bool body; /* holds more than headings */
        struct span at;
        uint64_t size;
        const char *path;
        uint32_t section;
        size_t first_part, last_part;
    } now;
    enum status status;
    struct error *err;
};

static enum status no_memory(struct error *err)
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

static uint64_t weigh(const struct cutter *c, struct str s)
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

/* --- the document's text --- */

static bool is_tight(const Ex__Block *a, const Ex__Block *b)
{
    return a->kind == b->kind &&
           (a->kind == EX__BLOCK__KIND__LIST_ITEM || a->kind == EX__BLOCK__KIND__TABLE_ROW);
}

/* Blank ends belong to no block. */
static struct span trim(struct str text, struct span s)
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

static void add_boxes(struct chunked_document *out, const struct part *p)
{
    uint32_t first = p->at.point, length = p->at.point_end - p->at.point;
    for (size_t i = 0; i < p->block->n_lines; i++) {
        const Ex__Line *l = p->block->lines[i];
        out->boxes[out->n_boxes++] = (struct chunk_box){
            .page = l->page,
            .x0 = l->x0,
            .y0 = l->y0,
            .x1 = l->x1,
            .y1 = l->y1,
            .start = first + (l->start < length ? l->start : length),
            .end = first + (l->end < length ? l->end : length),
        };
    }
}

static enum status assemble(struct cutter *c, const Ex__Block *const *blocks, size_t n)
{
    struct buf text;
    size_t n_lines = 0;
    uint32_t points = 0;
    enum status s = STATUS_OK;
    buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < n; i++) {
        n_lines += blocks[i]->n_lines;
    }
    c->parts = arena_array(c->arena, n + 1, sizeof *c->parts);
    c->out->boxes = arena_array(c->arena, n_lines + 1, sizeof *c->out->boxes);
    if (c->parts == NULL || c->out->boxes == NULL) {
        s = no_memory(c->err);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        struct part *p = &c->parts[c->n++];
        if (i > 0) {
            const char *gap = is_tight(blocks[i - 1], blocks[i]) ? "\n" : "\n\n";
            buf_z(&text, gap);
            points += (uint32_t)strlen(gap);
        }
        p->block = blocks[i];
        p->at.byte = text.len;
        p->at.point = points;
        utf8_clean(&text, (struct str){(const char *)blocks[i]->text.data, blocks[i]->text.len});
        if (buf_status(&text) != STATUS_OK) {
            s = error_set(c->err, STATUS_TOO_LARGE, "it holds more than %u MB of text",
                          TEXT_MAX >> 20);
            goto out;
        }
        struct str own = {buf_view(&text).ptr + p->at.byte, text.len - p->at.byte};
        points += (uint32_t)utf8_count(own);
        p->at.byte_end = text.len;
        p->at.point_end = points;
        p->size = weigh(c, own);
        add_boxes(c->out, p);
    }
    c->out->text.ptr = arena_strndup(c->arena, buf_view(&text).ptr, text.len);
    c->out->text.len = text.len;
    if (c->out->text.ptr == NULL) {
        s = no_memory(c->err);
        goto out;
    }
    for (size_t i = 0; i < c->n; i++) {
        c->parts[i].at = trim(c->out->text, c->parts[i].at);
    }
out:
    buf_deinit(&text);
    return s;
}

/* --- heading paths --- */

static void put_heading(struct buf *path, struct str heading)
{
    bool space = false;
    size_t start = path->len;
    for (size_t i = 0; i < heading.len && path->len - start < PATH_PART_MAX;) {
        size_t n;
        uint32_t c = utf8_next(heading.ptr + i, heading.ptr + heading.len, &n);
        if (utf8_is_space(c)) {
            space = true;
        } else {
            if (space && path->len > start) {
                buf_char(path, ' ');
            }
            space = false;
            buf_append(path, heading.ptr + i, n);
        }
        i += n;
    }
}

static enum status name_sections(struct cutter *c)
{
    struct str stack[LEVELS + 1] = {{0}};
    const char *path = "";
    uint32_t section = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct part *p = &c->parts[i];
        if (p->block->kind == EX__BLOCK__KIND__HEADING && p->at.byte < p->at.byte_end) {
            uint32_t level = p->block->has_level ? p->block->level : 1;
            level = level < 1 ? 1 : level > LEVELS ? LEVELS : level;
            stack[level] = (struct str){c->out->text.ptr + p->at.byte, p->at.byte_end - p->at.byte};
            for (uint32_t l = level + 1; l <= LEVELS; l++) {
                stack[l] = (struct str){0};
            }
            struct buf b;
            buf_init(&b, 8192);
            for (uint32_t l = 1; l <= level; l++) {
                if (stack[l].len > 0 && b.len < PATH_MAX_BYTES) {
                    buf_z(&b, b.len > 0 ? " > " : "");
                    put_heading(&b, stack[l]);
                }
            }
            path = arena_strndup(c->arena, buf_view(&b).ptr, b.len);
            buf_deinit(&b);
            if (path == NULL) {
                return no_memory(c->err);
            }
            section++;
        }
        p->path = path;
        p->section = section;
    }
    return STATUS_OK;
}

/* The headings that both paths begin with. */
static const char *common_path(struct cutter *c, const char *a, const char *b)
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
        c->status = no_memory(c->err);
        return "";
    }
    return out;
}

/* --- cutting --- */

static void find_pages(const struct cutter *c, struct chunk *k)
{
    for (size_t i = c->now.first_part; i <= c->now.last_part; i++) {
        const struct part *p = &c->parts[i];
        uint32_t first = p->block->has_page ? p->block->page : 0, last = first;
        uint32_t base = p->at.point;
        bool any = false;
        for (size_t j = 0; j < p->block->n_lines; j++) {
            const Ex__Line *l = p->block->lines[j];
            if (base + l->start < k->end && base + l->end > k->start) {
                first = any && first < l->page ? first : l->page;
                last = any && last > l->page ? last : l->page;
                any = true;
            }
        }
        if (first != 0) {
            k->page = k->page == 0 || first < k->page ? first : k->page;
            k->page_end = last > k->page_end ? last : k->page_end;
        }
    }
}

static void close_chunk(struct cutter *c)
{
    if (!c->now.open) {
        return;
    }
    c->now.open = false;
    if (c->out->n_chunks == c->cap) {
        size_t cap = c->cap == 0 ? 64 : c->cap * 2;
        struct chunk *grown = arena_array(c->arena, cap, sizeof *grown);
        if (grown == NULL) {
            c->status = no_memory(c->err);
            return;
        }
        if (c->out->n_chunks > 0) {
            memcpy(grown, c->out->chunks, c->out->n_chunks * sizeof *grown);
        }
        c->out->chunks = grown;
        c->cap = cap;
    }
    struct span at = trim(c->out->text, c->now.at);
    if (at.byte == at.byte_end) {
        return;
    }
    struct chunk *k = &c->out->chunks[c->out->n_chunks++];
    *k = (struct chunk){
        .start = at.point,
        .end = at.point_end,
        .text = {c->out->text.ptr + at.byte, at.byte_end - at.byte},
        .heading_path = c->now.path,
    };
    find_pages(c, k);
}

static void add(struct cutter *c, size_t part, struct span at, uint64_t size)
{
    const struct part *p = &c->parts[part];
    bool heading = p->block->kind == EX__BLOCK__KIND__HEADING;
    if (!c->now.open) {
        c->now.open = true;
        c->now.body = false;
        c->now.at = at;
        c->now.size = 0;
        c->now.path = p->path;
        c->now.section = p->section;
        c->now.first_part = part;
    } else if (c->now.section != p->section) {
        /* headings one under the other: the chunk is of the last; sections put together: of what
         * they share */
        c->now.path = c->now.body ? common_path(c, c->now.path, p->path) : p->path;
        c->now.section = p->section;
    }
    c->now.at.byte_end = at.byte_end;
    c->now.at.point_end = at.point_end;
    c->now.size += size;
    c->now.last_part = part;
    c->now.body = c->now.body || !heading;
}

/* The first piece of `at`, at most `room` large: whole words where there are any, else characters.
 */
static struct span first_words(const struct cutter *c, struct span at, uint64_t room,
                               uint64_t *size)
{
    const char *text = c->out->text.ptr;
    struct weigher w = {.word = c->word, .character = c->character};
    struct span piece = {at.byte, at.byte, at.point, at.point};
    struct span now = piece; /* up to the last place where a cut is good */
    uint64_t total = 0, good = 0;
    while (piece.byte_end < at.byte_end) {
        size_t n;
        uint32_t ch = utf8_next(text + piece.byte_end, text + at.byte_end, &n);
        bool border = utf8_is_space(ch) || (ch != UTF8_BAD && utf8_is_unspaced(ch));
        if (border && piece.byte_end > at.byte) {
            now = piece;
            good = total;
        }
        uint64_t more = weigh_one(&w, ch);
        if (total + more > room) {
            break;
        }
        total += more;
        piece.byte_end += n;
        piece.point_end++;
    }
    bool whole = piece.byte_end == at.byte_end;
    if (!whole && now.byte_end > at.byte && good > 0) {
        piece = now;
        total = good;
    }
    if (piece.byte_end == at.byte) { /* always onward, whatever the options */
        size_t n;
        (void)utf8_next(text + at.byte, text + at.byte_end, &n);
        piece.byte_end += n;
        piece.point_end++;
        total = room;
    }
    *size = total;
    return piece;
}

static void add_by_words(struct cutter *c, size_t part, struct span at)
{
    while (at.byte < at.byte_end && c->status == STATUS_OK) {
        uint64_t size, room = c->now.open ? c->target - c->now.size : c->target;
        struct span piece = first_words(c, at, room, &size);
        add(c, part, piece, size);
        at.byte = piece.byte_end;
        at.point = piece.point_end;
        if (at.byte < at.byte_end) {
            close_chunk(c);
            at = trim(c->out->text, at);
        }
    }
}

/* A block larger than a chunk may be: sentence by sentence. */
static void add_by_sentences(struct cutter *c, size_t part)
{
    struct span left = c->parts[part].at;
    while (left.byte < left.byte_end && c->status == STATUS_OK) {
        struct str text = {c->out->text.ptr, left.byte_end};
        struct span one = left;
        one.byte_end = sentence_end(c->splitter, text, left.byte);
        struct str s = {text.ptr + one.byte, one.byte_end - one.byte};
        one.point_end = one.point + (uint32_t)utf8_count(s);
        uint64_t size = weigh(c, s);
        if (c->now.open && c->now.size + size > c->target && c->now.body) {
            close_chunk(c);
        }
        if ((c->now.open ? c->now.size : 0) + size > c->max) {
            if (c->now.open && c->now.size >= c->target) {
                close_chunk(c);
            }
            add_by_words(c, part, one);
        } else {
            add(c, part, one, size);
        }
        left.byte = one.byte_end;
        left.point = one.point_end;
    }
}

/* What the section that part i's heading opens weighs, as far as that matters. */
static uint64_t section_size(const struct cutter *c, size_t i)
{
    uint64_t size = c->parts[i].size;
    for (size_t k = i + 1; k < c->n && size <= c->target; k++) {
        if (c->parts[k].block->kind == EX__BLOCK__KIND__HEADING) {
            break;
        }
        size += c->parts[k].block->kind == EX__BLOCK__KIND__FURNITURE ? 0 : c->parts[k].size;
    }
    return size;
}

static void on_heading(struct cutter *c, size_t i)
{
    const struct part *p = &c->parts[i];
    if (c->now.open && c->now.body) {
        /* short sections under the same parent share a chunk */
        bool fits = c->now.size + section_size(c, i) <= c->target;
        if (!fits || common_path(c, c->now.path, p->path)[0] == '\0') {
            close_chunk(c);
        }
    }
    if (c->now.open && c->now.size + p->size > c->target) {
        close_chunk(c);
    }
    if (p->size > c->target) {
        add_by_sentences(c, i);
    } else {
        add(c, i, p->at, p->size);
    }
}

static void on_body(struct cutter *c, size_t i)
{
    const struct part *p = &c->parts[i];
    uint64_t held = c->now.open ? c->now.size : 0;
    bool fits_target = held + p->size <= c->target;
    bool fits_max = held + p->size <= c->max;
    bool room_to_spare = !c->now.open || !c->now.body || held < c->target / 2;
    if (fits_target || (fits_max && room_to_spare)) {
        add(c, i, p->at, p->size);
    } else if (p->size <= c->max && c->now.open && c->now.body) {
        close_chunk(c);
        add(c, i, p->at, p->size);
    } else {
        if (c->now.open && c->now.body) {
            close_chunk(c);
        }
        add_by_sentences(c, i);
    }
    if (c->now.open && c->now.size >= c->target) {
        close_chunk(c);
    }
}

/* The page on which a part's text begins; 0: the format has none. */
static uint32_t first_page(const struct part *p)
{
    return p->block->n_lines > 0 ? p->block->lines[0]->page : p->block->has_page ? p->block->page : 0;
}

/* A citation must open the page its words stand on: a chunk goes on to another page only where one block
 * does, or where nothing but headings stands before. */
static void on_page(struct cutter *c, const struct part *p)
{
    uint32_t here = c->now.open && c->now.body ? first_page(&c->parts[c->now.first_part]) : 0;
    uint32_t next = first_page(p);
    if (here != 0 && next != 0 && here != next) {
        close_chunk(c);
    }
}

static void cut(struct cutter *c)
{
    for (size_t i = 0; i < c->n && c->status == STATUS_OK; i++) {
        const struct part *p = &c->parts[i];
        if (p->at.byte == p->at.byte_end) {
            continue;
        }
        on_page(c, p);
        if (p->block->kind == EX__BLOCK__KIND__FURNITURE) {
            close_chunk(c);
        } else if (p->block->kind == EX__BLOCK__KIND__HEADING) {
            on_heading(c, i);
        } else {
            on_body(c, i);
        }
    }
    if (c->status == STATUS_OK) {
        close_chunk(c);
    }
}

enum status chunk_document(const Ex__Block *const *blocks, size_t n, const struct chunk_options *o,
                           struct arena *a, struct chunked_document *out, struct error *err)
{
    struct chunked_document d = {.text = STR("")};
    struct cutter c = {.arena = a, .out = &d, .err = err};
    c.word = o->target_cjk_chars > 0 ? o->target_cjk_chars : 1;
    c.character = o->target_words > 0 ? o->target_words : 1;
    c.target = c.word * c.character;
    c.max = c.word * (o->max_words > c.character ? o->max_words : c.character);
    enum status s = sentence_splitter_new(&c.splitter, err);
    if (s == STATUS_OK) {
        s = assemble(&c, blocks, n);
    }
    if (s == STATUS_OK) {
        s = name_sections(&c);
    }
    if (s == STATUS_OK) {
        cut(&c);
        s = c.status;
    }
    sentence_splitter_free(c.splitter);
    if (s == STATUS_OK) {
        *out = d;
    }
    return s;
}
