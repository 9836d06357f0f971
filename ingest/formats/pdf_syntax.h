/* How a PDF's values are written (ISO 32000-1, 7.2 and 7.3): what its objects and its values are
 * read with. */
#ifndef CARREL_INGEST_FORMATS_PDF_SYNTAX_H
#define CARREL_INGEST_FORMATS_PDF_SYNTAX_H

#include "ingest/formats/pdf_objects.h"

static inline bool pdf_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == '\0';
}

static inline bool pdf_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline void pdf_advance(struct str *s, size_t n)
{
    s->ptr += n;
    s->len -= n;
}

/* White space and comments. */
void pdf_skip_space(struct str *s);
/* Past one value. False: there is none, or it does not end. */
bool pdf_skip_value(struct pdf_objects *f, struct str *s);
/* The value without what stands before it. */
struct str pdf_begun(struct str s);
/* How many digits stand at the beginning, ten at most, and the number that they make. */
size_t pdf_digits(struct str s);
uint32_t pdf_whole(struct str s);
/* Takes what was passed over from the budget; false: it is used up. */
bool pdf_pay(struct pdf_objects *f, size_t bytes);

#endif
