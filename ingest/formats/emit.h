/* Where parsers put what they find: blocks are cleaned (UTF-8, no control characters, blank text
 * dropped), split at 1 MiB, counted against the output limit, and handed on in batches as ex.Piece
 * messages. The first failure is kept: later calls do nothing, and emit_finish tells. */
#ifndef CARREL_INGEST_FORMATS_EMIT_H
#define CARREL_INGEST_FORMATS_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "extract.pb-c.h"

#define EMIT_BLOCK_MAX (1024 * 1024)
#define EMIT_BATCH 64
#define EMIT_CHILD_PIECE (256 * 1024)
#define EMIT_NOTES_MAX 12
#define EMIT_NOTE_CAP 300
#define EMIT_UNIT_NAME 480 /* bytes; the rest is cut off */

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
    size_t unread_out; /* pages */
    bool may_be_empty; /* no text is a result and no failure */
    struct buf text;   /* of the batch */
    size_t n;
    struct {
        Ex__Block__Kind kind;
        uint32_t level, page;
        size_t start, len;
        size_t line, n_lines;
        float confidence;
        uint32_t unit;
        Ex__Block__Unit unit_kind;
        size_t name, name_len; /* of the unit, in `text`, on its first block */
    } batch[EMIT_BATCH];
    Ex__Line *lines; /* of the batch */
    size_t n_lines, cap_lines;
    struct emit_children {       /* emit_child.c */
        uint64_t members, bytes; /* that may still come out */
        uint64_t members_max, bytes_max;
        uint64_t out;         /* whole ones */
        uint64_t over_number; /* left out: there were too many, */
        uint64_t over_bytes;  /* or too much was in them */
        bool wanted, inside;
        size_t notes;
    } children;
    struct {
        uint32_t n; /* 0: none has begun */
        Ex__Block__Unit kind;
        char name[EMIT_UNIT_NAME];
        size_t name_len;
        bool named; /* its first block is out */
    } unit;
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
    float confidence; /* above 0: read from a picture */
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
/* Blocks that wait: a box for the end of the paragraph that it is anchored in. {0} is empty. */
struct emit_waiting {
    struct emit_later *first, *last;
};
/* Keeps b, with a copy of its text, in a; false: no memory. */
bool emit_later(struct emit_waiting *w, struct arena *a, const struct emit_block *b);
/* Hands them on in their order; none is left. */
void emit_waited(struct emitter *e, struct emit_waiting *w);
/* What follows is a part of its own: a slide, a sheet, a mail, a chapter. name: "Q3", "Re: offer";
 * empty: its number among those that have begun. One without blocks leaves no trace. */
void emit_unit(struct emitter *e, Ex__Block__Unit kind, struct str name);
/* The usual block: a text and nothing else. */
void emit_text(struct emitter *e, Ex__Block__Kind kind, uint32_t level, struct str text);
/* Pages that must be read from their pictures, in order; called once. Then no text is no failure.
 */
void emit_unread(struct emitter *e, const Ex__UnreadPage *pages, size_t n);
/* Hands on what is left and tells how it went. INVALID when neither text nor a child was found. */
enum status emit_finish(struct emitter *e, struct error *err) MUST_CHECK;
bool emit_failed(const struct emitter *e);

/* ---- members of a container: they become documents of their own ---- */

/* How many may come out and with how many bytes; without this call none does, and nothing is said
 * of those left out. members 0: none does, and how many were left out is said. */
void emit_children_allow(struct emitter *e, uint64_t members, uint64_t bytes);
/* A member begins; the one before has ended. name: as the container has it, any bytes; "": named
 * after the container. size and modified_ms: 0 where not known. False: it is not taken, go on with
 * the next (and do not unpack it). */
bool emit_child_begin(struct emitter *e, struct str name, uint64_t size, int64_t modified_ms);
/* False: it is too much, the member is left out; no emit_child_end for it. */
bool emit_child_data(struct emitter *e, struct str bytes);
void emit_child_end(struct emitter *e);
/* Instead of the end: what came of it is damaged. */
void emit_child_drop(struct emitter *e);
/* All of it at once; true: it was taken. */
bool emit_child(struct emitter *e, struct str name, struct str bytes, int64_t modified_ms);
/* What of the document was left out, in words for its owner; at most EMIT_NOTES_MAX of them. */
void emit_note(struct emitter *e, const char *format, ...) PRINTF_LIKE(2, 3);
/* emit_finish: the notes of what was left out. */
void emit_children_finish(struct emitter *e);

/* Runs of white space become one space, ends are trimmed; newlines stay newlines when keep_lines.
 */
void text_squeeze(struct buf *out, struct str s, bool keep_lines);

#endif
