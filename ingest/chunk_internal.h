/* Between the files of the chunker: chunk_text.c (text, sizes, sections), chunk_group.c (what stays
 * together), chunk.c (cutting), chunk_table.c (the stored table of blocks). Sizes are in shares: a
 * word weighs target_cjk_chars, a character of an unspaced script target_words, so that either
 * target is the same number. */
#ifndef CARREL_INGEST_CHUNK_INTERNAL_H
#define CARREL_INGEST_CHUNK_INTERNAL_H

#include "ingest/chunk.h"
#include "ingest/sentence.h"

#define NO_PART SIZE_MAX

struct span { /* a stretch of the document's text */
    size_t byte, byte_end;
    uint32_t point, point_end;
};

struct part { /* a block in the text */
    const struct chunk_block *block;
    struct span at; /* without blank ends */
    uint64_t size;
    const char *path; /* the headings above, "A > B"; for a heading its own path */
    uint32_t section; /* counts headings */
    size_t box;       /* the first of its boxes */
    size_t lead;      /* of an item or row: the part that leads in; NO_PART: none */
    size_t header;    /* of a row: the part with the columns' names; NO_PART: none */
    bool leads;       /* no chunk ends with it where it can be helped: what follows belongs to it */
};

struct piece { /* a chunk as cut, before overlap */
    struct span at;
    uint64_t size;
    const char *path;
    size_t first_part, last_part;
};

struct cutter {
    struct arena *arena;
    struct chunked_document *out;
    struct sentence_splitter *splitter;
    struct part *parts;
    size_t n;
    uint64_t target, max, overlap, word, character;
    struct piece *pieces;
    size_t n_pieces, cap;
    struct { /* the chunk being filled */
        bool open;
        bool body;  /* holds more than headings, */
        bool solid; /* and more than what leads in; */
        bool leads; /* ends with something that does */
        uint32_t section;
        struct piece p;
    } now;
    uint32_t whole;  /* the unit that is one chunk; 0: none */
    size_t leads_of; /* the last part asked for its last sentence, */
    struct str said; /* which is this */
    enum status status;
    struct error *err;
};

/* ---- chunk_text.c ---- */

enum status chunk_no_memory(struct error *err);
uint64_t chunk_weigh(const struct cutter *c, struct str s);
/* Blank ends belong to no block. */
struct span chunk_trim(struct str text, struct span s);
/* The first piece of `at`, at most `room` large: whole words where there are any, else whole
 * characters as they are seen. Never nothing. */
struct span chunk_first_words(const struct cutter *c, struct span at, uint64_t room,
                              uint64_t *size);
/* c->parts of the document's blocks, with their sections. */
enum status chunk_parts(struct cutter *c) MUST_CHECK;
/* The headings that both paths begin with. */
const char *chunk_common_path(struct cutter *c, const char *a, const char *b);
static inline struct str chunk_part_text(const struct cutter *c, const struct part *p)
{
    return (struct str){c->out->text.ptr + p->at.byte, p->at.byte_end - p->at.byte};
}

/* ---- chunk_group.c ---- */

/* lead, header and leads of every part. */
void chunk_groups(struct cutter *c);
/* What part i weighs with what it leads to: up to the first part that leads to nothing, which
 * counts unless it is cut anyway. *last: that part. */
uint64_t chunk_group_size(const struct cutter *c, size_t i, size_t *last);
/* Whether the unit that begins with part i is one chunk. */
bool chunk_unit_is_whole(const struct cutter *c, size_t i);
/* What is said again before a chunk that begins at `byte` within part i; "". */
const char *chunk_context(struct cutter *c, size_t i, size_t byte);

#endif
