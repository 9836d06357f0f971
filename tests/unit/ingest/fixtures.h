/* Documents made on the spot, and a collector for what a parser emits. */
#ifndef CARREL_TESTS_INGEST_FIXTURES_H
#define CARREL_TESTS_INGEST_FIXTURES_H

#include "base/buf.h"
#include "ingest/formats/format.h"

struct pdf_line {
    unsigned page;    /* from 1 */
    unsigned size;    /* of the type */
    unsigned x, y;    /* points from the lower left corner */
    const char *text; /* no parentheses or backslashes */
};

/* A PDF of Helvetica lines. `extra` goes into the trailer ("" or an /Encrypt entry). */
void make_pdf(const struct pdf_line *lines, size_t n, const char *title, const char *extra,
              struct buf *out);
struct package_part {
    const char *name;
    struct str data;
};
/* A zip archive of these; initialises out. */
void make_package(const struct package_part *parts, size_t n, struct buf *out);
/* A .docx of the given parts: name, content, name, content, ..., NULL. The content types are added.
 */
void make_docx(const char *const *parts, struct buf *out);
/* Body, with and without styles, in the usual wrapping. */
#define W_OPEN                                                                                     \
    "<w:document "                                                                                 \
    "xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\"><w:body>"
#define W_CLOSE "</w:body></w:document>"

#define COLLECTED_MAX 2000

struct collected {
    struct arena arena;
    char *title, *language, *author, *keywords; /* "": not said */
    uint32_t pages;
    int64_t created_ms, modified_ms;  /* 0: not said */
    Ex__Block *blocks[COLLECTED_MAX]; /* copies */
    size_t n;
};

void collected_init(struct collected *c);
void collected_deinit(struct collected *c);
/* Runs a parser over memory; blocks land in c. */
enum status collect(enum status (*extract)(const struct extract_input *in, struct emitter *e,
                                           struct error *err),
                    struct str data, const struct tool_runner *tools, struct collected *c,
                    struct error *err);
/* The blocks as text: one a line, "P text", "H2 text", "L", "T", "C", "K", "Q", "F", "N". Lives in
 * c. */
const char *collected_text(struct collected *c);

#endif
