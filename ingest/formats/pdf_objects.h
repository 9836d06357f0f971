/* A PDF's objects, for what pdftotext does not tell: outlines, links, fields, attachments. Found by
 * looking through the whole file for "N G obj" (ISO 32000-1, 7.3 and 7.5) and not by its tables,
 * which are what is broken in broken files; the last definition of a number counts, as after an
 * incremental update. Objects in object streams are found as well. Nothing is drawn and nothing
 * decrypted.
 *
 * A value is a view that begins at it and ends with the buffer in which it stands; it is parsed
 * again whenever it is asked, without recursion, and all asking together is bounded by a budget of
 * bytes: when that is used up, everything is absent. */
#ifndef CARREL_INGEST_FORMATS_PDF_OBJECTS_H
#define CARREL_INGEST_FORMATS_PDF_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct pdf_objects {
    struct arena *arena;
    struct str data;    /* borrowed */
    struct str *at;     /* by number; without ptr: none */
    uint32_t n;         /* numbers are below */
    struct str root;    /* the catalogue */
    struct str trailer; /* without ptr: none was found */
    bool encrypted;     /* then its strings are not to be read */
    uint64_t budget;
};

/* False: it has no catalogue, or memory ran out. data and a outlive it. */
bool pdf_objects_open(struct pdf_objects *f, struct str data, struct arena *a);

/* The value of a key, references followed; false: absent or null. */
bool pdf_get(struct pdf_objects *f, struct str dict, const char *key, struct str *out);
/* The same with a reference as it stands. */
bool pdf_get_raw(struct pdf_objects *f, struct str dict, const char *key, struct str *out);
/* What a reference means; anything else is itself. False: no such object. */
bool pdf_resolve(struct pdf_objects *f, struct str value, struct str *out);
/* The number of the object that a reference means; 0: it is none. */
uint32_t pdf_reference(struct str value);
/* *rest: what an array holds; false: it is none. */
bool pdf_array(struct str value, struct str *rest);
/* The next element as it stands. */
bool pdf_next(struct pdf_objects *f, struct str *rest, struct str *out);

bool pdf_is_dict(struct str value);
bool pdf_is_string(struct str value);
bool pdf_is_name(struct str value, const char *name);
/* Any name, without its slash. */
bool pdf_name(struct str value, struct str *out);
bool pdf_number(struct str value, float *out);
/* A string's bytes. */
bool pdf_bytes(struct pdf_objects *f, struct str value, struct buf *out);
/* A text string as UTF-8, white space made one (7.9.2.2). */
bool pdf_text(struct pdf_objects *f, struct str value, struct buf *out);
/* A stream's content, plain or deflated. False: neither, damaged, or larger than out takes. */
bool pdf_stream(struct pdf_objects *f, struct str value, struct buf *out);

#endif
