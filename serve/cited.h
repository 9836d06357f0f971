/* Where in a passage the words are that an answer cites: a passage may run over two pages, and a
 * citation is to open the right one. Pure. */
#ifndef CARREL_SERVE_CITED_H
#define CARREL_SERVE_CITED_H

#include "base/str.h"
#include "vectorstore.pb-c.h"

/* answer: the text with its marks; mark: code points before the mark. The words before the mark are
 * looked for in the passage, any run of white space equal to any other; 0 when they are not there
 * (an answer in the model's own words) or the format has no pages. */
uint32_t cited_page(const Vs__Passage *p, struct str answer, uint32_t mark);

#endif
