#include "ingest/formats/emit.h"

#include <stdlib.h>
#include <strings.h>

#include "ingest/formats/dates.h"
#include "ingest/utf8.h"

#define BATCH_BYTES (256 * 1024)
#define INFO_BYTES 1000U
#define UNREAD_BATCH 256

void emit_init(struct emitter *e, uint64_t max_bytes,
               enum status (*sink)(void *data, const Ex__Piece *piece, struct error *err),
               void *data)
{
    memset(e, 0, sizeof *e);
    e->sink = sink;
    e->data = data;
    e->left = max_bytes;
    e->max = max_bytes;
    buf_init(&e->text, EMIT_BLOCK_MAX + BATCH_BYTES + 64);
    buf_init(&e->info.title, 4096);
    buf_init(&e->info.language, 64);
    buf_init(&e->info.author, 4096);
    buf_init(&e->info.keywords, 4096);
}

void emit_deinit(struct emitter *e)
{
    buf_deinit(&e->text);
    buf_deinit(&e->info.title);
    buf_deinit(&e->info.language);
    buf_deinit(&e->info.author);
    buf_deinit(&e->info.keywords);
    free(e->lines);
    e->lines = NULL;
}

bool emit_failed(const struct emitter *e)
{
    return e->err.code != STATUS_OK;
}

static void flush(struct emitter *e)
{
    if (e->n == 0 || emit_failed(e)) {
        return;
    }
    Ex__Block blocks[EMIT_BATCH];
    Ex__Block *block_ptrs[EMIT_BATCH];
    Ex__Line **line_ptrs = NULL;
    if (e->n_lines > 0) {
        line_ptrs = calloc(e->n_lines, sizeof(Ex__Line *));
        if (line_ptrs == NULL) {
            error_set(&e->err, STATUS_NO_MEMORY, "out of memory");
            return;
        }
        for (size_t i = 0; i < e->n_lines; i++) {
            line_ptrs[i] = &e->lines[i];
        }
    }
    for (size_t i = 0; i < e->n; i++) {
        ex__block__init(&blocks[i]);
        blocks[i].kind = e->batch[i].kind;
        blocks[i].text.data = (uint8_t *)e->text.ptr + e->batch[i].start;
        blocks[i].text.len = e->batch[i].len;
        blocks[i].has_level = e->batch[i].level != 0;
        blocks[i].level = e->batch[i].level;
        blocks[i].has_page = e->batch[i].page != 0;
        blocks[i].page = e->batch[i].page;
        blocks[i].has_confidence = e->batch[i].confidence > 0;
        blocks[i].confidence = e->batch[i].confidence;
        blocks[i].has_unit = blocks[i].has_unit_kind = e->batch[i].unit != 0;
        blocks[i].unit = e->batch[i].unit;
        blocks[i].unit_kind = e->batch[i].unit_kind;
        blocks[i].has_unit_name = e->batch[i].name_len > 0;
        blocks[i].unit_name.data = (uint8_t *)e->text.ptr + e->batch[i].name;
        blocks[i].unit_name.len = e->batch[i].name_len;
        blocks[i].n_lines = e->batch[i].n_lines;
        blocks[i].lines = e->batch[i].n_lines > 0 ? line_ptrs + e->batch[i].line : NULL;
        block_ptrs[i] = &blocks[i];
    }
    Ex__Piece piece = EX__PIECE__INIT;
    piece.n_blocks = e->n;
    piece.blocks = block_ptrs;
    (void)!e->sink(e->data, &piece, &e->err);
    free(line_ptrs);
    e->n = 0;
    e->n_lines = 0;
    buf_reset(&e->text);
}

/* ---- what the document says of itself ---- */

/* NULL where there is nothing; the text is the buffer's. */
static char *said(struct emitter *e, struct buf *b)
{
    if (b->len == 0) {
        return NULL;
    }
    buf_char(b, '\0');
    if (buf_status(b) != STATUS_OK) {
        error_set(&e->err, STATUS_NO_MEMORY, "out of memory");
        return NULL;
    }
    b->len--;
    return b->ptr;
}

static void send_info(struct emitter *e)
{
    Ex__Document d = EX__DOCUMENT__INIT;
    d.format = (char *)(uintptr_t)e->info.format;
    d.title = said(e, &e->info.title);
    d.language = said(e, &e->info.language);
    d.author = said(e, &e->info.author);
    d.keywords = said(e, &e->info.keywords);
    d.has_pages = e->info.pages > 0;
    d.pages = e->info.pages;
    d.has_created_ms = e->info.has_date[EMIT_CREATED];
    d.created_ms = e->info.date_ms[EMIT_CREATED];
    d.has_modified_ms = e->info.has_date[EMIT_MODIFIED];
    d.modified_ms = e->info.date_ms[EMIT_MODIFIED];
    e->info.late = false;
    if (!emit_failed(e)) {
        Ex__Piece piece = EX__PIECE__INIT;
        piece.document = &d;
        (void)!e->sink(e->data, &piece, &e->err);
    }
}

/* Cleaned, on one line, at most INFO_BYTES of it, cut between characters. */
static void tidy(struct buf *out, struct str s)
{
    struct buf clean;
    buf_init(&clean, 4096);
    if (s.len > INFO_BYTES) {
        s.len = INFO_BYTES;
        while (s.len > INFO_BYTES - 4 && ((unsigned char)s.ptr[s.len] & 0xC0) == 0x80) {
            s.len--;
        }
    }
    utf8_clean(&clean, s);
    text_squeeze(out, buf_view(&clean), false);
    buf_deinit(&clean);
}

/* Whether the list has the part already, letters' case (ASCII) aside. */
static bool has_part(const struct buf *list, struct str part)
{
    for (size_t i = 0; i < list->len;) {
        const char *end = memchr(list->ptr + i, ';', list->len - i);
        size_t n = end == NULL ? list->len - i : (size_t)(end - list->ptr) - i;
        if (n == part.len && strncasecmp(list->ptr + i, part.ptr, n) == 0) {
            return true;
        }
        i += n + 2;
    }
    return false;
}

static void add_parts(struct emitter *e, struct buf *list, struct str s)
{
    struct buf whole;
    buf_init(&whole, 4096);
    tidy(&whole, s);
    struct str left = buf_view(&whole);
    while (left.len > 0 && !emit_failed(e)) {
        const char *end = memchr(left.ptr, ';', left.len);
        size_t n = end == NULL ? left.len : (size_t)(end - left.ptr);
        struct str part = str_trim((struct str){left.ptr, n});
        if (part.len > 0 && list->len + part.len + 2 <= INFO_BYTES && !has_part(list, part)) {
            buf_z(list, list->len > 0 ? "; " : "");
            buf_str(list, part);
            e->info.late = e->document_out;
        }
        n += n < left.len ? 1 : 0;
        left.ptr += n;
        left.len -= n;
    }
    buf_deinit(&whole);
}

void emit_author(struct emitter *e, struct str name)
{
    add_parts(e, &e->info.author, name);
}

void emit_keywords(struct emitter *e, struct str words)
{
    add_parts(e, &e->info.keywords, words);
}

void emit_date_ms(struct emitter *e, enum emit_date which, int64_t ms)
{
    if (!e->info.has_date[which]) {
        e->info.has_date[which] = true;
        e->info.date_ms[which] = ms;
        e->info.late = e->document_out;
    }
}

void emit_title(struct emitter *e, struct str title)
{
    if (e->info.title.len == 0) {
        tidy(&e->info.title, title);
        e->info.late = e->document_out;
    }
}

void emit_language(struct emitter *e, struct str language)
{
    if (e->info.language.len == 0) {
        language.len = language.len > 16 ? 16 : language.len;
        utf8_clean(&e->info.language, language);
        e->info.late = e->document_out;
    }
}

void emit_pages(struct emitter *e, uint32_t pages)
{
    if (e->info.pages == 0 && pages > 0) {
        e->info.pages = pages;
        e->info.late = e->document_out;
    }
}

void emit_date(struct emitter *e, enum emit_date which, struct str date)
{
    int64_t ms;
    if (date_read(date, &ms)) {
        emit_date_ms(e, which, ms);
    }
}

void emit_document(struct emitter *e, const char *format, struct str title, struct str language,
                   uint32_t pages)
{
    if (emit_failed(e) || e->document_out) {
        return;
    }
    e->info.format = format;
    emit_title(e, title);
    emit_language(e, language);
    emit_pages(e, pages);
    e->document_out = true;
    send_info(e);
}

/* ---- blocks ---- */

static bool keep_lines(struct emitter *e, const struct emit_block *b)
{
    if (e->n_lines + b->n_lines > e->cap_lines) {
        size_t cap = (e->n_lines + b->n_lines) * 2;
        Ex__Line *grown = realloc(e->lines, cap * sizeof *grown);
        if (grown == NULL) {
            error_set(&e->err, STATUS_NO_MEMORY, "out of memory");
            return false;
        }
        e->lines = grown;
        e->cap_lines = cap;
    }
    if (b->n_lines > 0) {
        memcpy(e->lines + e->n_lines, b->lines, b->n_lines * sizeof *b->lines);
    }
    return true;
}

void emit_unit(struct emitter *e, Ex__Block__Unit kind, struct str name)
{
    struct buf clean;
    buf_init(&clean, 65536);
    utf8_clean(&clean, (struct str){name.ptr, name.len < 8192 ? name.len : 8192});
    struct str s = buf_view(&clean);
    if (s.len > sizeof e->unit.name) {
        s.len = sizeof e->unit.name;
        while (s.len > 0 && ((unsigned char)s.ptr[s.len] & 0xC0) == 0x80) {
            s.len--;
        }
    }
    memcpy(e->unit.name, s.ptr, s.len);
    e->unit.name_len = s.len;
    e->unit.kind = kind;
    e->unit.named = false;
    e->unit.n++;
    buf_deinit(&clean);
}

/* Of the block that is being added, e->batch[e->n]. */
static void note_unit(struct emitter *e)
{
    bool first = e->unit.n != 0 && !e->unit.named;
    e->batch[e->n].unit = e->unit.n;
    e->batch[e->n].unit_kind = e->unit.n == 0 ? EX__BLOCK__UNIT__SLIDE : e->unit.kind;
    e->batch[e->n].name = e->text.len;
    e->batch[e->n].name_len = first ? e->unit.name_len : 0;
    if (first) {
        buf_append(&e->text, e->unit.name, e->unit.name_len);
        e->unit.named = true;
    }
}

static void emit_one(struct emitter *e, const struct emit_block *b)
{
    if (e->n == EMIT_BATCH || e->text.len > BATCH_BYTES) {
        flush(e);
        if (emit_failed(e)) {
            return;
        }
    }
    size_t start = e->text.len;
    utf8_clean(&e->text, b->text);
    if (buf_status(&e->text) != STATUS_OK) {
        error_set(&e->err, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    size_t len = e->text.len - start;
    if (len > e->left) {
        error_set(&e->err, STATUS_TOO_LARGE, "it holds more than %llu MB of text",
                  (unsigned long long)(e->max >> 20));
        return;
    }
    bool blank = true;
    for (size_t i = start; i < e->text.len && blank; i++) {
        blank = strchr(" \t\n", e->text.ptr[i]) != NULL;
    }
    if (blank || !keep_lines(e, b)) {
        e->text.len = start;
        return;
    }
    e->left -= len;
    e->blocks_out += b->kind != EX__BLOCK__KIND__FURNITURE;
    e->batch[e->n].kind = b->kind;
    e->batch[e->n].level = b->level;
    e->batch[e->n].page = b->page;
    e->batch[e->n].start = start;
    e->batch[e->n].len = len;
    e->batch[e->n].line = e->n_lines;
    e->batch[e->n].n_lines = b->n_lines;
    e->batch[e->n].confidence = b->confidence;
    e->n_lines += b->n_lines;
    note_unit(e);
    e->n++;
}

/* Where to cut the first at most `max` bytes off: at white space, else between characters. */
static size_t cut_at(struct str s, size_t max)
{
    for (size_t i = max; i > max - 4096; i--) {
        if (strchr(" \t\n", s.ptr[i]) != NULL) {
            return i;
        }
    }
    size_t i = max;
    while (i > max - 4 && ((unsigned char)s.ptr[i] & 0xC0) == 0x80) {
        i--;
    }
    return i;
}

void emit(struct emitter *e, const struct emit_block *b)
{
    struct emit_block part = *b;
    /* a bad byte becomes three, so a third of the room is what surely fits */
    while (!emit_failed(e) && part.text.len > EMIT_BLOCK_MAX / 3) {
        struct emit_block head = part;
        head.text.len = cut_at(part.text, EMIT_BLOCK_MAX / 3 - 8);
        head.n_lines = 0; /* a block this long is no paragraph of a page */
        emit_one(e, &head);
        part.text.ptr += head.text.len;
        part.text.len -= head.text.len;
        part.n_lines = 0;
    }
    if (!emit_failed(e)) {
        emit_one(e, &part);
    }
}

void emit_text(struct emitter *e, Ex__Block__Kind kind, uint32_t level, struct str text)
{
    struct emit_block b = {.kind = kind, .level = level, .text = text};
    emit(e, &b);
}

struct emit_later {
    struct emit_later *next;
    struct emit_block block;
};

bool emit_later(struct emit_waiting *w, struct arena *a, const struct emit_block *b)
{
    struct emit_later *l = arena_alloc(a, sizeof *l);
    const char *copy = arena_strndup(a, b->text.ptr, b->text.len);
    if (l == NULL || copy == NULL) {
        return false;
    }
    *l = (struct emit_later){.block = *b};
    l->block.text.ptr = copy;
    *(w->first == NULL ? &w->first : &w->last->next) = l;
    w->last = l;
    return true;
}

void emit_waited(struct emitter *e, struct emit_waiting *w)
{
    for (const struct emit_later *l = w->first; l != NULL; l = l->next) {
        emit(e, &l->block);
    }
    *w = (struct emit_waiting){0};
}

void emit_unread(struct emitter *e, const Ex__UnreadPage *pages, size_t n)
{
    Ex__UnreadPage copies[UNREAD_BATCH];
    Ex__UnreadPage *list[UNREAD_BATCH];
    for (size_t at = 0; at < n && !emit_failed(e); at += UNREAD_BATCH) {
        Ex__Piece piece = EX__PIECE__INIT;
        piece.n_unread = n - at < UNREAD_BATCH ? n - at : UNREAD_BATCH;
        piece.unread = list;
        for (size_t i = 0; i < piece.n_unread; i++) {
            copies[i] = pages[at + i];
            list[i] = &copies[i];
        }
        (void)!e->sink(e->data, &piece, &e->err);
    }
    e->unread_out += n;
}

enum status emit_finish(struct emitter *e, struct error *err)
{
    flush(e);
    if (e->info.late && !emit_failed(e)) {
        send_info(e);
    }
    emit_children_finish(e);
    bool none = e->blocks_out == 0 && e->children.out == 0 && e->unread_out == 0;
    if (!emit_failed(e) && none && !e->may_be_empty) {
        error_set(&e->err, STATUS_INVALID, "no text was found in it");
    }
    if (emit_failed(e) && err != NULL) {
        *err = e->err;
    }
    return e->err.code;
}

void text_squeeze(struct buf *out, struct str s, bool lines)
{
    size_t start = out->len;
    char pending = 0;
    for (size_t i = 0; i < s.len;) {
        size_t n;
        uint32_t c = utf8_next(s.ptr + i, s.ptr + s.len, &n);
        if (c != UTF8_BAD && utf8_is_space(c)) {
            pending = lines && (c == '\n' || pending == '\n') ? '\n' : ' ';
        } else {
            if (pending != 0 && out->len > start) {
                buf_char(out, pending);
            }
            pending = 0;
            buf_append(out, s.ptr + i, n);
        }
        i += n;
    }
}
