/* What encoders of known families want in front of a query and of a passage, as their model cards
 * say. A file that is not recognised gets none. */
#ifndef CARREL_MODEL_PREFIXES_H
#define CARREL_MODEL_PREFIXES_H

struct prefixes {
    const char *family;          /* "" where none is recognised */
    const char *query, *passage; /* may be "" */
};

/* title: what the file calls itself (or its file name); any spelling of spaces and case. */
struct prefixes prefixes_of(const char *architecture, const char *title);

#endif
