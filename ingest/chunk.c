/* Cutting: goes over the blocks once and closes a chunk where structure or size says so; then each
 * chunk reaches back into the one before by the overlap asked for, where no border but size lies
 * between them. */
#include "ingest/chunk.h"

#include "ingest/chunk_internal.h"
#include "ingest/utf8.h"

static uint32_t page_of(const struct cutter *c, const struct part *p)
{
    return p->block->n_boxes > 0 ? c->out->boxes[p->box].page : p->block->page;
}

static bool is_kind(const struct part *p, Ex__Block__Kind kind)
{
    return p->block->kind == kind;
}

/* --- the chunk being filled --- */

static void close_chunk(struct cutter *c)
{
    if (!c->now.open) {
        return;
    }
    c->now.open = false;
    if (c->n_pieces == c->cap) {
        size_t cap = c->cap == 0 ? 64 : c->cap * 2;
        struct piece *grown = arena_array(c->arena, cap, sizeof *grown);
        if (grown == NULL) {
            c->status = chunk_no_memory(c->err);
            return;
        }
        if (c->n_pieces > 0) {
            memcpy(grown, c->pieces, c->n_pieces * sizeof *grown);
        }
        c->pieces = grown;
        c->cap = cap;
    }
    c->now.p.at = chunk_trim(c->out->text, c->now.p.at);
    if (c->now.p.at.byte < c->now.p.at.byte_end) {
        c->pieces[c->n_pieces++] = c->now.p;
    }
}

static uint64_t held(const struct cutter *c)
{
    return c->now.open ? c->now.p.size : 0;
}

static void add(struct cutter *c, size_t part, struct span at, uint64_t size)
{
    const struct part *p = &c->parts[part];
    bool heading = is_kind(p, EX__BLOCK__KIND__HEADING);
    if (!c->now.open) {
        c->now.open = true;
        c->now.body = c->now.solid = false;
        c->now.section = p->section;
        c->now.p = (struct piece){.at = at, .path = p->path, .first_part = part};
    } else if (c->now.section != p->section) {
        /* headings one under the other: the chunk is of the last; sections put together: of what
         * they share */
        c->now.p.path = c->now.body ? chunk_common_path(c, c->now.p.path, p->path) : p->path;
        c->now.section = p->section;
    }
    c->now.p.at.byte_end = at.byte_end;
    c->now.p.at.point_end = at.point_end;
    c->now.p.size += size;
    c->now.p.last_part = part;
    c->now.body = c->now.body || !heading;
    c->now.solid = c->now.solid || !p->leads;
    c->now.leads = p->leads;
}

static void add_by_words(struct cutter *c, size_t part, struct span at)
{
    while (at.byte < at.byte_end && c->status == STATUS_OK) {
        uint64_t size, room = c->target > held(c) ? c->target - held(c) : c->word;
        struct span piece = chunk_first_words(c, at, room, &size);
        add(c, part, piece, size);
        at.byte = piece.byte_end;
        at.point = piece.point_end;
        if (at.byte < at.byte_end) {
            close_chunk(c);
            at = chunk_trim(c->out->text, at);
        }
    }
}

/* Where the sentence, of code the line, ends that begins at byte `from` of the part. */
static size_t border(const struct cutter *c, const struct part *p, size_t from)
{
    struct str text = {c->out->text.ptr, p->at.byte_end};
    if (!is_kind(p, EX__BLOCK__KIND__CODE)) {
        return sentence_end(c->splitter, text, from);
    }
    const char *end = memchr(text.ptr + from, '\n', text.len - from);
    size_t at = end == NULL ? text.len : (size_t)(end - text.ptr);
    while (at < text.len && text.ptr[at] == '\n') {
        at++;
    }
    return at;
}

/* A block larger than a chunk may be: sentence by sentence. */
static void add_by_sentences(struct cutter *c, size_t part)
{
    const struct part *p = &c->parts[part];
    struct span left = p->at;
    while (left.byte < left.byte_end && c->status == STATUS_OK) {
        struct span one = left;
        one.byte_end = border(c, p, left.byte);
        struct str s = {c->out->text.ptr + one.byte, one.byte_end - one.byte};
        one.point_end = one.point + (uint32_t)utf8_count(s);
        uint64_t size = chunk_weigh(c, s);
        if (held(c) + size > c->target && c->now.solid) {
            close_chunk(c);
        }
        if (held(c) + size > c->max) {
            if (held(c) >= c->target) {
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

/* --- block by block --- */

/* What the section that part i's heading opens weighs, as far as that matters. */
static uint64_t section_size(const struct cutter *c, size_t i)
{
    uint64_t size = c->parts[i].size;
    for (size_t k = i + 1; k < c->n && size <= c->target; k++) {
        if (is_kind(&c->parts[k], EX__BLOCK__KIND__HEADING)) {
            break;
        }
        size += is_kind(&c->parts[k], EX__BLOCK__KIND__FURNITURE) ? 0 : c->parts[k].size;
    }
    return size;
}

static void on_heading(struct cutter *c, size_t i)
{
    const struct part *p = &c->parts[i];
    if (c->now.open && c->now.body) {
        /* short sections under the same parent share a chunk */
        bool fits = held(c) + section_size(c, i) <= c->target;
        if (!fits || chunk_common_path(c, c->now.p.path, p->path)[0] == '\0') {
            close_chunk(c);
        }
    }
    if (c->now.open && held(c) + p->size > c->target) {
        close_chunk(c);
    }
    if (p->size > c->target) {
        add_by_sentences(c, i);
    } else {
        add(c, i, p->at, p->size);
    }
}

/* What `size` more may join the open chunk. A caption below its table stays with it. */
static bool joins(const struct cutter *c, const struct part *p, uint64_t size)
{
    bool below = is_kind(p, EX__BLOCK__KIND__CAPTION) && c->now.open &&
                 is_kind(&c->parts[c->now.p.last_part], EX__BLOCK__KIND__TABLE_ROW);
    bool room = !c->now.open || !c->now.solid || c->now.leads || below || held(c) < c->target / 2;
    return held(c) + size <= c->target || (held(c) + size <= c->max && room);
}

static void on_body(struct cutter *c, size_t i)
{
    const struct part *p = &c->parts[i];
    size_t last = i;
    uint64_t size = p->leads ? chunk_group_size(c, i, &last) : p->size;
    bool turns = p->leads && page_of(c, p) != page_of(c, &c->parts[last]);
    if (c->now.open && c->now.body && !c->now.leads && (!joins(c, p, size) || turns)) {
        close_chunk(c);
    }
    if (p->size <= c->max && held(c) + p->size <= c->max) {
        add(c, i, p->at, p->size);
    } else {
        add_by_sentences(c, i);
    }
    if (held(c) >= c->target && !p->leads) {
        close_chunk(c);
    }
}

/* Nothing but size closes a chunk within a page and a unit. A citation must open the page its words
 * stand on: a chunk goes on to another page only where one block does, or where nothing but what
 * leads in stands before. */
static void on_border(struct cutter *c, size_t i)
{
    const struct part *p = &c->parts[i];
    const struct part *first = &c->parts[c->now.p.first_part];
    uint32_t unit = p->block->unit;
    if (c->now.open && first->block->unit != unit) {
        close_chunk(c);
    }
    if (unit != c->whole && (i == 0 || c->parts[i - 1].block->unit != unit)) {
        c->whole = chunk_unit_is_whole(c, i) ? unit : 0;
    }
    uint32_t here = c->now.open && c->now.solid ? page_of(c, first) : 0;
    uint32_t next = page_of(c, p);
    if (here != 0 && next != 0 && here != next && (unit == 0 || unit != c->whole)) {
        close_chunk(c);
    }
}

static void cut(struct cutter *c)
{
    for (size_t i = 0; i < c->n && c->status == STATUS_OK; i++) {
        const struct part *p = &c->parts[i];
        on_border(c, i);
        if (p->at.byte == p->at.byte_end) {
            continue;
        }
        if (is_kind(p, EX__BLOCK__KIND__FURNITURE)) {
            close_chunk(c);
        } else if (p->block->unit != 0 && p->block->unit == c->whole) {
            add(c, i, p->at, p->size);
        } else if (is_kind(p, EX__BLOCK__KIND__HEADING)) {
            on_heading(c, i);
        } else {
            on_body(c, i);
        }
    }
    if (c->status == STATUS_OK) {
        close_chunk(c);
    }
}

/* --- overlap --- */

/* Only size lies between the two. */
static bool goes_on(const struct cutter *c, const struct piece *before, const struct piece *p)
{
    const struct part *a = &c->parts[before->last_part], *b = &c->parts[p->first_part];
    for (size_t i = before->last_part + 1; i < p->first_part; i++) {
        if (c->parts[i].at.byte < c->parts[i].at.byte_end) {
            return false; /* furniture */
        }
    }
    return a == b || (a->section == b->section && a->block->unit == b->block->unit &&
                      page_of(c, a) == page_of(c, b));
}

/* Moves p's begin back over whole sentences of the piece before, as many as weigh at most `room`,
 * never all. */
static void reach_back(const struct cutter *c, const struct piece *before, struct piece *p,
                       uint64_t room)
{
    size_t part = before->last_part;
    while (part > before->first_part && c->parts[part - 1].section == c->parts[part].section) {
        part--;
    }
    if (is_kind(&c->parts[part], EX__BLOCK__KIND__HEADING) && part < before->last_part) {
        part++;
    }
    struct span at = c->parts[part].at;
    if (at.byte < before->at.byte) {
        at = before->at;
    }
    at.byte_end = before->at.byte_end;
    uint64_t left = chunk_weigh(c, (struct str){c->out->text.ptr + at.byte, at.byte_end - at.byte});
    bool first = true;
    for (; part <= before->last_part; part++) {
        const struct part *q = &c->parts[part];
        size_t stop = q->at.byte_end < at.byte_end ? q->at.byte_end : at.byte_end;
        if (q->at.byte >= q->at.byte_end) {
            continue;
        }
        if (at.byte < q->at.byte) {
            at = (struct span){q->at.byte, at.byte_end, q->at.point, 0};
        }
        while (at.byte < stop) {
            if (!first && left <= room) {
                p->at.byte = at.byte;
                p->at.point = at.point;
                p->first_part = part;
                return;
            }
            size_t end = border(c, q, at.byte);
            end = end < stop ? end : stop;
            struct str s = {c->out->text.ptr + at.byte, end - at.byte};
            uint64_t size = chunk_weigh(c, s);
            left -= size < left ? size : left;
            at.byte = end;
            at.point += (uint32_t)utf8_count(s);
            first = false;
        }
    }
}

static void overlap(struct cutter *c)
{
    for (size_t i = c->n_pieces; c->overlap > 0 && i-- > 1;) { /* the one before is as it was cut */
        struct piece *p = &c->pieces[i];
        uint64_t room = p->size < c->max ? c->max - p->size : 0;
        room = room < c->overlap ? room : c->overlap;
        if (room > 0 && goes_on(c, p - 1, p)) {
            reach_back(c, p - 1, p, room);
            p->at = chunk_trim(c->out->text, p->at);
        }
    }
}

/* --- what is told of each --- */

static void find_pages(const struct cutter *c, const struct piece *p, struct chunk *k)
{
    for (size_t i = p->first_part; i <= p->last_part; i++) {
        const struct part *q = &c->parts[i];
        uint32_t first = q->block->page, last = first;
        bool any = false;
        for (size_t j = 0; j < q->block->n_boxes; j++) {
            const struct chunk_box *b = &c->out->boxes[q->box + j];
            if (b->start < k->end && b->end > k->start) {
                first = any && first < b->page ? first : b->page;
                last = any && last > b->page ? last : b->page;
                any = true;
            }
        }
        if (first != 0) {
            k->page = k->page == 0 || first < k->page ? first : k->page;
            k->page_end = last > k->page_end ? last : k->page_end;
        }
    }
}

static void describe(struct cutter *c)
{
    struct chunked_document *d = c->out;
    d->chunks = arena_array(c->arena, c->n_pieces + 1, sizeof *d->chunks);
    if (d->chunks == NULL) {
        c->status = chunk_no_memory(c->err);
        return;
    }
    for (size_t i = 0; i < c->n_pieces && c->status == STATUS_OK; i++) {
        const struct piece *p = &c->pieces[i];
        uint32_t unit = c->parts[p->first_part].block->unit;
        struct chunk *k = &d->chunks[d->n_chunks++];
        *k = (struct chunk){
            .start = p->at.point,
            .end = p->at.point_end,
            .text = {d->text.ptr + p->at.byte, p->at.byte_end - p->at.byte},
            .heading_path = p->path,
            .context = chunk_context(c, p->first_part, p->at.byte),
            .unit = unit == 0 ? "" : d->units[unit - 1],
        };
        find_pages(c, p, k);
    }
}

enum status chunk_cut(struct chunked_document *d, const struct chunk_options *o, struct arena *a,
                      struct error *err)
{
    struct cutter c = {.arena = a, .out = d, .err = err, .leads_of = NO_PART};
    c.word = o->target_cjk_chars > 0 ? o->target_cjk_chars : 1;
    c.character = o->target_words > 0 ? o->target_words : 1;
    c.target = c.word * c.character;
    c.max = c.word * (o->max_words > c.character ? o->max_words : c.character);
    c.overlap = c.word * o->overlap_words;
    d->chunks = NULL;
    d->n_chunks = 0;
    enum status s = sentence_splitter_new(&c.splitter, err);
    if (s == STATUS_OK) {
        s = chunk_parts(&c);
    }
    if (s == STATUS_OK) {
        chunk_groups(&c);
        cut(&c);
        s = c.status;
    }
    if (s == STATUS_OK) {
        overlap(&c);
        describe(&c);
        s = c.status;
    }
    sentence_splitter_free(c.splitter);
    return s;
}

enum status chunk_document(const Ex__Block *const *blocks, size_t n, const struct chunk_options *o,
                           struct arena *a, struct chunked_document *out, struct error *err)
{
    struct chunked_document d = {.text = STR("")};
    enum status s = chunk_assemble(blocks, n, a, &d, err);
    if (s == STATUS_OK) {
        s = chunk_cut(&d, o, a, err);
    }
    if (s == STATUS_OK) {
        *out = d;
    }
    return s;
}
