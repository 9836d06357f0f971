/* What people type into a search field, pure. Mostly that is text and stays text; what is read as
 * more:
 *
 *   "notice period"     these words side by side (curly and angled quotes too)
 *   -draft -"old plan"  not these
 *   title:leave         a word of the title or a heading; title:"parental leave"
 *   collection:hr  label:internal  tag:policy  type:pdf  language:de
 *   path:contracts/2024  file:handbook   a folder or a file; a part of the file's name
 *   author:berg author:"Anna Berg"       words of an author's name
 *   pages:10  pages:10-50  pages:50+     how many it has; hash:9f86d081 its file's SHA-256, or how it begins
 *   after:2024-05  before:2024-12-31     the document's date: from then on; until that day begins
 *
 * No text is ever an error: what does not read as one of these (a URL, 12:30, an unclosed quote, an
 * unknown field) is text. A whole sentence, with a full stop or question mark at its end, several
 * function words or more than ten words, keeps its quotes and dashes as text: it was pasted or
 * asked, not composed. */
#ifndef CARREL_RETRIEVE_QUERY_H
#define CARREL_RETRIEVE_QUERY_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/text/text.h"

#define QUERY_LIST_MAX 16               /* of each kind; further ones are text */
#define QUERY_BYTES_READ ((size_t)2048) /* longer questions are text */

struct query_list {
    char *items[QUERY_LIST_MAX];
    size_t n;
};

struct query {
    struct str text; /* to be searched: words, those of phrases and titles included; never empty
                        unless the query is */
    struct query_list phrases, excluded, in_title;
    struct query_list collections, labels, tags, languages, formats, paths, names, authors, hashes;
    bool has_pages_from, has_pages_to;
    uint32_t pages_from, pages_to;
    bool has_from, has_until;
    int64_t from_ms, until_ms;
    struct query_list shown; /* "type: pdf", for people */
    bool composed;           /* something was read as more than text */
};

/* All in a, nothing of `typed` is kept. */
enum status query_read(struct text_analyzer *t, struct str typed, struct arena *a,
                       struct query *out, struct error *err) MUST_CHECK;

#endif
