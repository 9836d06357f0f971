/* Where parsers put what they find: blocks are cleaned (UTF-8, no control characters, blank text
 * dropped), split at 1 MiB, counted against the output limit, and handed on in batches as ex.Piece
 * messages. The first failure is kept: later calls do nothing, and emit_finish tells. */
#ifndef CARREL_INGEST_FORMATS_EMIT_H
#define CARREL_INGEST_FORMATS_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "extract.pb-c.h"

#define EMIT_BLOCK_MAX (1024 * 1024)
#define EMIT_BATCH 64

struct emitter {
    /* One piece; its memory is valid only during the call. */
    enum status (*sink)(void *data, const Ex__Piece *piece, struct error *err);
    void *data;
    uint64_t left; /* bytes of text that may still come out */
    uint64_t max;
    bool document_out;
    struct { /* what the document says of itself; `format` is static */
        const char *format;
        struct buf title, language, author, keywords;
        uint32_t pages;
        int64_t date_ms[2]; /* by enum emit_date */
        bool has_date[2];
        bool late; /* something was said behind emit_document */
    } info;
    size_t blocks_out; /* other than FURNITURE */
    struct buf text;   /* of the batch */
    size_t n;
    struct {
        Ex__Block__Kind kind;
        uint32_t level, page;
        size_t start, len;
        size_t line, n_lines;
    } batch[EMIT_BATCH];
    Ex__Line *lines; /* of the batch */
    size_t n_lines, cap_lines;
    struct error err;
};

enum emit_date { EMIT_CREATED, EMIT_MODIFIED };

struct emit_block {
    Ex__Block__Kind kind;
    struct str text;
    uint32_t level; /* headings: 1..6 */
    uint32_t page;
    /* Their ranges count code points of `text`, which then must be clean already. */
    const Ex__Line *lines;
    size_t n_lines;
};

void emit_init(struct emitter *e, uint64_t max_bytes,
               enum status (*sink)(void *data, const Ex__Piece *piece, struct error *err),
               void *data);
void emit_deinit(struct emitter *e);
/* Before any block; title and language may be empty, pages 0. The first call counts. format:
 * static. */
void emit_document(struct emitter *e, const char *format, struct str title, struct str language,
                   uint32_t pages);
/* What else the document says of itself, at any time before emit_finish. Empty ones are passed
 * over. Names of authors add up, also those divided by ";" in one call, each once, within 1,000
 * bytes; keywords likewise. Of each date the first that can be read counts (dates.h says which
 * are). */
void emit_author(struct emitter *e, struct str name);
void emit_keywords(struct emitter *e, struct str words);
void emit_date(struct emitter *e, enum emit_date which, struct str date);
/* Where emit_document could not say. */
void emit_title(struct emitter *e, struct str title);
void emit_language(struct emitter *e, struct str language);
void emit_pages(struct emitter *e, uint32_t pages);
void emit_date_ms(struct emitter *e, enum emit_date which, int64_t ms);
void emit(struct emitter *e, const struct emit_block *b);
/* The usual block: a text and nothing else. */
void emit_text(struct emitter *e, Ex__Block__Kind kind, uint32_t level, struct str text);
/* Hands on what is left and tells how it went. INVALID when no text was found. */
enum status emit_finish(struct emitter *e, struct error *err) MUST_CHECK;
bool emit_failed(const struct emitter *e);

/* Runs of white space become one space, ends are trimmed; newlines stay newlines when keep_lines.
 */
void text_squeeze(struct buf *out, struct str s, bool keep_lines);

#endif
