/* What a remote source says that it has. The answers are another machine's words: bounded by the
 * caller, parsed without entities, recursion or loading anything. Pure; any thread. */
#ifndef CARREL_INGEST_SOURCES_LISTING_H
#define CARREL_INGEST_SOURCES_LISTING_H

#include <stdint.h>

#include "base/buf.h"

#define LISTING_KEY_MAX 4096 /* bytes of a key; longer ones are passed over */
#define LISTING_VERSION_CAP 256

/* Another machine's line without the white space and control characters at its ends. */
static inline struct str listing_trim(struct str s)
{
    while (s.len > 0 && (unsigned char)s.ptr[0] <= ' ') {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (unsigned char)s.ptr[s.len - 1] <= ' ') {
        s.len--;
    }
    return s;
}

/* Scheme, host, port and path that a source was configured with: nothing else is fetched. */
struct origin {
    char scheme[8];
    char host[256]; /* lower case; IPv6 in brackets */
    uint16_t port;
    char path[1024]; /* percent-decoded, begins and ends with '/' */
};

/* INVALID: no http or https address, or too long. */
enum status origin_of_url(const char *url, struct origin *out, struct error *err) MUST_CHECK;
/* "host" or "host:port", as a Host line has it. */
void origin_host(const struct origin *o, char out[280]);

enum href_kind { HREF_OUTSIDE, HREF_FILE, HREF_FOLDER };
/* What href on the page at `page` (an address) means: the key is its path below o's, decoded ("" is
 * the folder itself). HREF_OUTSIDE: elsewhere, or not plain (a query, a ".." or an encoded slash in
 * it). out is reset. */
enum href_kind origin_key(const struct origin *o, const char *page, struct str href,
                          struct buf *out);
/* The key of the page's own folder with its slash, "" for o itself. false: it is outside. */
bool origin_folder(const struct origin *o, const char *page, struct buf *out);
/* The address of a key below o, each byte that needs it encoded. */
void origin_url(const struct origin *o, struct str key, struct buf *out);
/* The same for a path alone: '/' stays, as S3 signs it too. */
void url_encode(struct buf *out, struct str s, bool slashes);

struct listed {
    struct str key;      /* borrowed, for the call */
    const char *version; /* changes with the content; "": not told */
    int64_t size;        /* -1: not told */
    bool folder;
};
typedef enum status (*listed_fn)(void *data, const struct listed *l, struct error *err);

struct listing {
    listed_fn on_entry; /* its failure ends the parsing and is given back */
    void *data;
    uint64_t passed_over; /* entries outside the source, without a name, too long */
};

/* One page of ListObjectsV2. *truncated: there is more, token (initialised by the caller, reset)
 * leads there. PROTOCOL: not such a page, cut off, a document type in it. */
enum status listing_s3(struct listing *l, struct str xml, bool *truncated, struct buf *token,
                       struct error *err) MUST_CHECK;
/* An answer to PROPFIND on the folder at `page`. Entries are what is in it, not the folder itself.
 */
enum status listing_dav(struct listing *l, const struct origin *o, const char *page, struct str xml,
                        struct error *err) MUST_CHECK;
/* A page of links. Those that stay below the folder at `page`, one level down. */
enum status listing_html(struct listing *l, const struct origin *o, const char *page,
                         struct str html, struct error *err) MUST_CHECK;
/* A list of addresses, one a line; '#' begins a remark. Those below o. */
enum status listing_lines(struct listing *l, const struct origin *o, struct str text,
                          struct error *err) MUST_CHECK;

#endif
